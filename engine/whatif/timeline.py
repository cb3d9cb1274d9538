"""What comes when in a call. Values."""

from __future__ import annotations

from enum import Enum

import msgspec


class Ear(Enum):
    """Who hears it."""

    CALLER = "caller"
    TARGET = "target"
    BOTH = "both"


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """Something that one hears, or that happens, from `at` for `seconds`."""

    at: float
    seconds: float
    ear: Ear
    what: str
    sound: str | None = None
    missing: bool = False
    """The sound is not there: the call would go on without it."""
