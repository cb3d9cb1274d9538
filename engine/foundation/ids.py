"""Time-ordered ids (UUID version 7, RFC 9562): sorting by id is sorting by arrival, and the id tells its instant."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from hashlib import sha256
from uuid import UUID


def new_id(now: datetime) -> UUID:
    """A fresh version 7 UUID: 48 bits of Unix milliseconds from `now`, then 74 random bits."""
    milliseconds = int(now.timestamp() * 1000)
    return UUID(
        int=(milliseconds << 80) | (0x7 << 76) | (secrets.randbits(12) << 64) | (0b10 << 62) | secrets.randbits(62)
    )


def instant_of(identifier: UUID) -> datetime:
    """The instant, to the millisecond, that a version 7 UUID carries."""
    return datetime.fromtimestamp((identifier.int >> 80) / 1000, UTC)


def id_from(instant: datetime, name: bytes) -> UUID:
    """The version 7 UUID of what is known by `instant` and `name`: the same one, whoever asks and whenever."""
    milliseconds = int(instant.timestamp() * 1000)
    bits = int.from_bytes(sha256(name).digest())
    return UUID(
        int=(milliseconds << 80) | (0x7 << 76) | ((bits >> 64 & 0xFFF) << 64) | (0b10 << 62) | (bits & (1 << 62) - 1)
    )
