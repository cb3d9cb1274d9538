"""Why a number is suspended, by whom, and what its callers hear meanwhile. Values and rules, pure.

A number may be suspended for several reasons at a time: each is lifted by itself, by whom it is due, and the number is
forwarded again when none is left.
"""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import msgspec

NOT_IN_SERVICE = "ko/not-in-service"
"""What callers of a suspended number hear where nothing else is said."""


class SuspendedFor(Enum):
    """Why a number is suspended; it decides who may lift that. The graver the later."""

    WISH = "wish"
    """The holder's own."""
    PERIOD_OVER = "period over"
    """What was ordered has ended: a longer period lifts it."""
    BARRED = "barred"
    """By somebody above the holder, who alone lifts it."""


class Suspension(msgspec.Struct, frozen=True, kw_only=True):
    """One reason for which a number is suspended."""

    why: SuspendedFor
    by: str
    at: datetime
    announcement: str = NOT_IN_SERVICE
    """What all callers hear while no graver reason is there."""


_GRAVITY = {why: place for place, why in enumerate(SuspendedFor)}


def gravest_first(suspensions: tuple[Suspension, ...]) -> tuple[Suspension, ...]:
    """In the order in which a number has them: the first is in force."""
    return tuple(sorted(suspensions, key=lambda one: -_GRAVITY[one.why]))
