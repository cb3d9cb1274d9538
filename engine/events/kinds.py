"""What the stream tells of. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from enum import Enum

from engine.foundation.errors import Invalid

MOST_WISHES = 32


class EventKind(Enum):
    """The kinds of events, as those outside know them."""

    CALL_STARTED = "call.started"
    """A call has come, or Dari places one."""
    CALL_RINGING = "call.ringing"
    """A telephone rings; once for each number that is rung in the call."""
    CALL_ANSWERED = "call.answered"
    """Caller and target talk."""
    CALL_ENDED = "call.ended"
    """The whole record; nothing else of the call comes after it but its recording and its messages."""
    RECORDING_READY = "recording.ready"
    MESSAGE_QUEUED = "message.queued"
    MESSAGE_HELD = "message.held"
    """It is not sent; the reason says why."""
    MESSAGE_SENT = "message.sent"
    """A gateway took it."""
    MESSAGE_DELIVERED = "message.delivered"
    MESSAGE_FAILED = "message.failed"
    MESSAGE_RECEIVED = "message.received"
    NUMBER_CHANGED = "number.changed"
    ACCOUNT_CHANGED = "account.changed"
    WEBHOOK_TEST = "webhook.test"
    """Sent to a webhook on request only; it is in no stream."""


_GROUPS = frozenset(kind.value.partition(".")[0] for kind in EventKind)


def read_kinds(wished: Iterable[str], field: str = "kinds") -> tuple[str, ...]:
    """Kinds as people name them, `call.ended` or `call.*`, each once, in order. Raises Invalid naming `field`."""
    kinds = tuple(dict.fromkeys(kind.strip() for kind in wished))
    if len(kinds) > MOST_WISHES:
        raise Invalid(f"{field}: {len(kinds)} kinds are too many; name {MOST_WISHES} at most, or none for all")
    known = {kind.value for kind in EventKind if kind is not EventKind.WEBHOOK_TEST}
    for kind in kinds:
        group, _, what = kind.partition(".")
        if kind not in known and not (what == "*" and group in _GROUPS):
            raise Invalid(f"{field}: there are no events {kind[:40]!r}; name some like call.ended or call.*")
    return kinds


def is_wanted(kind: str, wished: Collection[str]) -> bool:
    """Whether an event of that kind is among those wished; no wish means all."""
    return not wished or kind in wished or f"{kind.partition('.')[0]}.*" in wished
