"""Time-ordered ids (UUID version 7, RFC 9562): sorting by id is sorting by arrival, and the id tells its instant."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

_EPOCH = datetime.fromtimestamp(0, UTC)


def new_id(now: datetime) -> UUID:
    """A fresh version 7 UUID: 48 bits of Unix milliseconds from `now`, 12 of the rest of it, then 62 random bits.

    The rest of the millisecond keeps two that came right after each other in their order (RFC 9562, method 3).
    """
    milliseconds, microseconds = divmod((now - _EPOCH) // timedelta(microseconds=1), 1000)
    return UUID(
        int=(milliseconds << 80)
        | (0x7 << 76)
        | (microseconds * 4096 // 1000 << 64)
        | (0b10 << 62)
        | secrets.randbits(62)
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
