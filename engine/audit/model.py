"""What is written down of a deed, and what the chain over it is. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from engine.foundation.errors import Invalid

PERSONAL = "personal"
"""The field of `before` and `after` in which people's phone numbers and the like stand; it is masked where it is shown.

Service numbers (050 …) are what the deeds are about and stand anywhere; message texts stand nowhere.
"""

HASH_BYTES = 32


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One deed, done or refused."""

    id: UUID
    at: datetime
    who: str
    """user:UUID, key:UUID, or `operator of this machine`; whoever is not known yet: `nobody`."""
    deed: str
    """In plain words: `issue numbers`, `sign in` …"""
    account_id: UUID | None
    """To whose thing it was done; None: nobody's."""
    object_kind: str
    """What kind of thing: number, user, key …"""
    object_id: str
    before: Mapping[str, Any] | None
    """What changes, as it was; None: the thing was not there, or nothing changed."""
    after: Mapping[str, Any] | None
    peer: str
    """From where: an address, or `command line: USER`; empty: from within."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries; None: whatever."""

    within: UUID | None = None
    """An account: its own entries and those of all that are below it; the operator's: all, nobody's too."""
    who: str | None = None
    deed: str | None = None
    object_kind: str | None = None
    object_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    """Before this instant."""


class Head(msgspec.Struct, frozen=True):
    """The end of the chain at some time: whoever noted it elsewhere can tell later whether it was changed since."""

    number: int
    """How many entries are in the chain; the last one has this number."""
    hash: bytes

    @property
    def written(self) -> str:
        """NUMBER:HASH, the hash in hexadecimal."""
        return f"{self.number}:{self.hash.hex()}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """From what `written` gives. Raises Invalid."""
        number, _, digest = text.strip().partition(":")
        try:
            head = cls(int(number), bytes.fromhex(digest))
        except ValueError:
            head = cls(-1, b"")
        if head.number < 0 or len(head.hash) != HASH_BYTES:
            raise Invalid(f"head of the audit: {text[:100]!r} is not NUMBER:HASH as `dari audit verify` shows it")
        return head


START = Head(0, bytes(HASH_BYTES))
"""Before the first entry."""
