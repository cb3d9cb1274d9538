"""What a number is and what it is set to do."""

from __future__ import annotations

from enum import Enum
from uuid import UUID

import msgspec

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import Limits, Treatment


class NumberKind(Enum):
    """Why Dari serves a number (K11)."""

    VIRTUAL = "050"
    OWN = "own"
    MESSAGE_RECEIVING = "mo"
    OPT_OUT = "080"


class ServiceNumber(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A number in service with its settings, as routing and callbacks see it."""

    number: PhoneNumber
    kind: NumberKind
    account_id: UUID
    target: PhoneNumber
    """Whom its calls ring, unless the treatment names others."""
    treatment: Treatment = Treatment()
    """What its calls go through when no rule says otherwise."""
    limits: Limits = Limits()
    callback: str | None = None
    """Text of the message after an answered call; None: no message."""
    sender: PhoneNumber | None = None
    """The registered number that the message comes from."""
    repeat_window_days: int = 7
    """A recipient gets at most one message of this account in so many days; 0: no limit."""
    min_talk_seconds: int = 10
    suspended: str | None = None
    """The announcement that all its callers hear while it is suspended; None: its calls are forwarded."""
