"""What is written down of a number's life. Values only."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.states import Move, State


class Happened(msgspec.Struct, frozen=True, kw_only=True):
    """One move of one number."""

    number: PhoneNumber
    at: datetime
    move: Move
    state: State
    """In which it came out."""
    account_id: UUID | None
    """Whose it was: of a transfer, who gave it."""
    to_account: UUID | None = None
    """Of a transfer, who got it."""
    who: str
    """By whose hand."""
    note: str = ""
