"""The states a live call can be seen in, and the table of allowed moves."""

from __future__ import annotations

from enum import Enum

from engine.foundation.errors import Conflict


class CallState(Enum):
    ARRIVED = "arrived"
    ANNOUNCING = "announcing"
    RINGING = "ringing"
    WHISPERING = "whispering"
    CONNECTED = "connected"
    ENDED = "ended"


ALLOWED: dict[CallState, frozenset[CallState]] = {
    CallState.ARRIVED: frozenset({CallState.ANNOUNCING, CallState.RINGING, CallState.CONNECTED, CallState.ENDED}),
    CallState.ANNOUNCING: frozenset({CallState.ENDED}),
    CallState.RINGING: frozenset({CallState.WHISPERING, CallState.CONNECTED, CallState.ANNOUNCING, CallState.ENDED}),
    CallState.WHISPERING: frozenset({CallState.CONNECTED, CallState.RINGING, CallState.ANNOUNCING, CallState.ENDED}),
    CallState.CONNECTED: frozenset({CallState.ENDED}),
    CallState.ENDED: frozenset(),
}
"""ARRIVED -> CONNECTED is an adopted call: it was connected before this engine knew it. RINGING -> CONNECTED is one
that the dialplan rings and connects by itself."""


def check_move(old: CallState, new: CallState) -> None:
    """Raises Conflict when the table does not allow the move."""
    if new not in ALLOWED[old]:
        raise Conflict(f"a call cannot go from {old.value} to {new.value}")
