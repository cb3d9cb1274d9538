"""What an account is."""

from __future__ import annotations

from uuid import UUID

import msgspec


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An owner of numbers: its calls, messages and sender numbers are its own."""

    id: UUID
    name: str
    zone: str = "Asia/Seoul"
    """IANA time zone in which its days begin and its hours are meant."""
