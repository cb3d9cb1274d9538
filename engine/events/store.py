"""The SQL of the stream. Every function works in the caller's transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, Text, Uuid, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncConnection

NUMBERING_LOCK = 0x64617273
"""Advisory lock of whoever numbers events: any constant of ours, free again when the transaction ends."""

_LOCK = text("SELECT pg_try_advisory_xact_lock(:key)")
# An event of an account that there is not goes to the operator, whose path is that of the root.
_NUMBER = text("""
    WITH fresh AS (
        SELECT e.id, coalesce(a.path, root.path) AS path
        FROM events e
        CROSS JOIN (SELECT path FROM accounts WHERE parent_id IS NULL ORDER BY id LIMIT 1) AS root
        LEFT JOIN accounts a ON a.id = e.account_id
        WHERE e.seq IS NULL ORDER BY e.id LIMIT :limit
    ), placed AS (
        SELECT id, path, coalesce(path[2], path[1]) AS top,
               row_number() OVER (PARTITION BY coalesce(path[2], path[1]) ORDER BY id) AS nth
        FROM fresh
    ), counted AS (
        SELECT top, count(*) AS many FROM placed GROUP BY top
    ), moved AS (
        INSERT INTO event_streams AS stream (top, last) SELECT top, many FROM counted
        ON CONFLICT (top) DO UPDATE SET last = stream.last + excluded.last
        RETURNING top, last
    ), numbered AS (
        UPDATE events e SET top = placed.top, path = placed.path, numbered_at = clock_timestamp(),
               seq = moved.last - counted.many + placed.nth
        FROM placed JOIN counted USING (top) JOIN moved USING (top)
        WHERE e.id = placed.id
        RETURNING e.top
    )
    SELECT count(*) AS many, (SELECT count(*) FROM (
        SELECT pg_notify('dari_stream', top::text) FROM counted) AS told) AS streams FROM numbered
""")
_ENDS = text("SELECT last, kept_after FROM event_streams WHERE top = :top")
_READ = text("""
    SELECT uid, seq, kind, at, numbered_at, account_id, call_id, path, body FROM events
    WHERE top = :top AND seq > :after ORDER BY seq LIMIT :limit
""").columns(
    uid=Uuid,
    seq=BigInteger,
    kind=Text,
    at=TIMESTAMP(timezone=True),
    numbered_at=TIMESTAMP(timezone=True),
    account_id=Uuid,
    call_id=Uuid,
    path=ARRAY(Uuid),
    body=JSONB,
)
# The oldest ids only, so that nothing is searched for; one that has no place yet stays until it has.
_FORGET = text("""
    WITH oldest AS (
        SELECT id FROM events WHERE id <= :upto AND seq IS NOT NULL ORDER BY id LIMIT :limit
    ), gone AS (
        DELETE FROM events USING oldest WHERE events.id = oldest.id RETURNING events.top, events.seq
    ), kept AS (
        UPDATE event_streams AS stream SET kept_after = greatest(stream.kept_after, last_gone.seq)
        FROM (SELECT top, max(seq) AS seq FROM gone GROUP BY top) AS last_gone
        WHERE stream.top = last_gone.top
    )
    SELECT count(*) FROM gone
""")
_NEWEST_MARK = text("SELECT reckoned, noted_at, upto FROM event_marks ORDER BY reckoned DESC LIMIT 1")
_NEWEST_ID = text("SELECT max(id) FROM events")
_ADD_MARK = text("""
    INSERT INTO event_marks (reckoned, noted_at, upto) VALUES (:reckoned, :noted_at, :upto)
    ON CONFLICT (reckoned) DO UPDATE
    SET noted_at = excluded.noted_at, upto = greatest(event_marks.upto, excluded.upto)
""")
_LAST_MARK = text("""
    SELECT reckoned, noted_at, upto FROM event_marks WHERE reckoned <= :before ORDER BY reckoned DESC LIMIT 1
""")
_FORGET_MARKS = text("DELETE FROM event_marks WHERE reckoned < :before")


@dataclass(frozen=True, slots=True)
class Mark:
    """What there was at one look at the events."""

    reckoned: datetime
    """When it was, by the clock of `engine.events.keeping`."""
    noted_at: datetime
    """When it was by the machine's clock."""
    upto: int
    """The largest id of an event."""


@dataclass(frozen=True, slots=True)
class Ends:
    """Where a stream begins and ends."""

    last: int
    """The place of its newest event; 0: there was none yet."""
    kept_after: int
    """Up to there it was deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """An event in its place."""

    uid: UUID
    seq: int
    kind: str
    at: datetime
    numbered_at: datetime
    account_id: UUID | None
    call_id: UUID | None
    path: tuple[UUID, ...]
    body: dict[str, object]


async def number(connection: AsyncConnection, limit: int) -> int | None:
    """Gives the oldest events without a place theirs, `limit` at most, and wakes who reads; how many they were.

    None: somebody else numbers at this moment. What is committed later gets a later place, whatever its id.
    """
    if not await connection.scalar(_LOCK, {"key": NUMBERING_LOCK}):
        return None
    # A statement of its own: it sees all that was committed before the lock was free.
    return int((await connection.execute(_NUMBER, {"limit": limit})).one().many)


async def ends(connection: AsyncConnection, top: UUID) -> Ends:
    row = (await connection.execute(_ENDS, {"top": top})).one_or_none()
    return Ends(row.last, row.kept_after) if row else Ends(0, 0)


async def read(connection: AsyncConnection, top: UUID, after: int, limit: int) -> list[Numbered]:
    """Events behind the place `after`, in order."""
    rows = await connection.execute(_READ, {"top": top, "after": after, "limit": limit})
    return [Numbered(**{**row, "path": tuple(row["path"])}) for row in rows.mappings()]


async def forget(connection: AsyncConnection, upto: int, limit: int) -> int:
    """Deletes some of the oldest events with an id up to this one; how many."""
    return int((await connection.execute(_FORGET, {"upto": upto, "limit": limit})).scalar_one())


async def newest_mark(connection: AsyncConnection) -> Mark | None:
    row = (await connection.execute(_NEWEST_MARK)).one_or_none()
    return Mark(*row) if row else None


async def newest_id(connection: AsyncConnection) -> int:
    """The largest id of an event; 0: there is none."""
    return await connection.scalar(_NEWEST_ID) or 0


async def add_mark(connection: AsyncConnection, mark: Mark) -> None:
    """One at the same reckoned instant takes its place."""
    values = {"reckoned": mark.reckoned, "noted_at": mark.noted_at, "upto": mark.upto}
    await connection.execute(_ADD_MARK, values)


async def last_mark(connection: AsyncConnection, before: datetime) -> Mark | None:
    """The last mark that was made by that reckoned instant; those before it are forgotten."""
    row = (await connection.execute(_LAST_MARK, {"before": before})).one_or_none()
    if row is None:
        return None
    await connection.execute(_FORGET_MARKS, {"before": row.reckoned})
    return Mark(*row)
