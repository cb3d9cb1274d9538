"""The stream as those outside read it: one per top-level account, in an order that never changes, by place.

Whoever reads sees what is of their own account and of those below it, as these were when the event was numbered. A
place never changes its event, and what is after a place is all that was not read yet.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.events import store
from engine.events.kinds import is_wanted
from engine.events.store import Numbered
from engine.foundation.errors import Invalid, NotFound
from engine.foundation.phone_number import PhoneNumber, e164

_LOOKED_AT = 2000
"""Events looked at with one statement while the wanted ones are sought."""
_LOOKS = 10
"""So many statements at most for one reading: who wants little of a large stream goes on in the next."""
_NUMBERS = ("number", "caller", "target", "sender", "recipient")
_TOP_DIGITS = 12
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Reader:
    """Whose events are read: those of `node` and of all below it, out of the stream of `top`."""

    top: UUID
    node: UUID

    @classmethod
    def at(cls, path: Sequence[UUID]) -> Reader:
        """Of the account at the end of `path` (`Place.path`)."""
        return cls(top_of(path), path[-1])

    def sees(self, event: StreamEvent) -> bool:
        return self.node == self.top or self.node in event.path


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One event, as every receiver gets it."""

    uid: UUID
    """The same in each way and each time it is sent."""
    seq: int
    kind: str
    at: datetime
    numbered_at: datetime
    call_id: UUID | None
    path: tuple[UUID, ...]
    told: bytes
    """As JSON: id, type, sequence, timestamp, account_id, call_id, data."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Some events in order. `upto` is the place from which to go on, also when none of the events was wanted."""

    events: tuple[StreamEvent, ...]
    upto: int
    more: bool
    """Whether there was more behind `upto` when it was read."""


def top_of(path: Sequence[UUID]) -> UUID:
    """The top-level account in a path: in whose stream its events are."""
    return path[1] if len(path) > 1 else path[0]


async def head(connection: AsyncConnection, top: UUID) -> int:
    """The place of the newest event; 0: there was none yet."""
    return (await store.ends(connection, top)).last


async def kept_after(connection: AsyncConnection, top: UUID) -> int:
    """Up to which place the stream was deleted."""
    return (await store.ends(connection, top)).kept_after


async def check_kept(connection: AsyncConnection, top: UUID, after: int) -> int:
    """The place itself; for 0 the one before the oldest event that is kept.

    Raises as `read` when not all that is behind it can be read.
    """
    ends = await store.ends(connection, top)
    check_place(after, ends)
    return max(after, ends.kept_after)


async def read(
    connection: AsyncConnection, reader: Reader, after: int, limit: int, kinds: Collection[str] = ()
) -> Slice:
    """The events behind the place `after`, `limit` at most; `kinds` as `read_kinds` gives them, none: all.

    0 means from the oldest that is kept. Raises NotFound for a place whose next events were deleted since, Invalid
    for one that the stream has not come to.
    """
    ends = await store.ends(connection, reader.top)
    check_place(after, ends)
    at = max(after, ends.kept_after)
    found: list[StreamEvent] = []
    for _ in range(_LOOKS):
        rows = await store.read(connection, reader.top, at, min(_LOOKED_AT, max(limit, 1) * 4))
        for row in rows:
            if len(found) == limit:
                return Slice(tuple(found), at, more=True)
            at = row.seq
            if (reader.node == reader.top or reader.node in row.path) and is_wanted(row.kind, kinds):
                found.append(as_told(row))
        if not rows or at >= ends.last:
            return Slice(tuple(found), at, more=False)
    return Slice(tuple(found), at, more=True)


def check_place(after: int, ends: store.Ends) -> None:
    """Raises as `read`."""
    if 0 < after < ends.kept_after:
        raise NotFound(
            f"cursor: the events after place {after} were deleted when their time was over; the oldest that is kept is "
            f"{ends.kept_after + 1}: begin again without a cursor, and read what you miss from the call records"
        )
    if after > ends.last:
        raise Invalid(f"cursor: place {after} is ahead of the stream, which is at {ends.last}; give one that you got")


def as_told(row: Numbered) -> StreamEvent:
    """As it goes out, in whichever way."""
    told = {
        "id": event_id(row.uid),
        "type": row.kind,
        "sequence": row.seq,
        "timestamp": row.at.astimezone(UTC),
        "account_id": row.account_id,
        "call_id": row.call_id,
        "data": {name: _shown(name, value) for name, value in row.body.items()},
    }
    return StreamEvent(
        uid=row.uid,
        seq=row.seq,
        kind=row.kind,
        at=row.at,
        numbered_at=row.numbered_at,
        call_id=row.call_id,
        path=row.path,
        told=_encoder.encode(told),
    )


def event_id(uid: UUID) -> str:
    """An event's id as it is told."""
    return f"evt_{uid.hex}"


def stream_id(top: UUID) -> str:
    """A stream as those outside know it: what its cursors begin with."""
    return top.hex[-_TOP_DIGITS:]


def cursor_of(top: UUID, seq: int) -> str:
    """A place in a stream as those outside keep it."""
    return f"{stream_id(top)}-{seq}"


def read_cursor(text: str, top: UUID, field: str = "after") -> int:
    """The place in the stream of `top`. Raises Invalid for what is no cursor, or one of another stream."""
    stream, _, seq = text.strip().partition("-")
    if len(stream) != _TOP_DIGITS or not (seq.isascii() and seq.isdigit() and len(seq) <= _LONGEST_PLACE):
        raise Invalid(f"{field}: {text[:40]!r} is no cursor; give one that an answer had, or none for the beginning")
    if stream != stream_id(top):
        raise Invalid(
            f"{field}: this cursor is of another stream; begin without one, and with the account that it is about"
        )
    return int(seq)


_LONGEST_PLACE = 18
"""Digits; what has more is no bigint."""


def _shown(name: str, value: object) -> object:
    """Phone numbers in both writings, as the whole API has them."""
    if name in _NUMBERS and isinstance(value, str):
        return {"national": value, "e164": e164(PhoneNumber(value))}
    return value
