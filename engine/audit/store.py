"""The SQL of the audit and its chain. Every function works in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.audit.model import Entry, Head, Wanted

_FIELDS = "id, at, who, deed, account_id, object_kind, object_id, before::text AS before, after::text AS after, peer"
# The names below are our own field names; values are always parameters.
_INSERT = text("""
    WITH entry AS (
        INSERT INTO audit (id, at, who, deed, account_id, object_kind, object_id, before, after, peer)
        VALUES (:id, :at, :who, :deed, :account_id, :object_kind, :object_id,
                CAST(CAST(:before AS text) AS jsonb), CAST(CAST(:after AS text) AS jsonb), :peer)
        RETURNING id)
    INSERT INTO audit_waiting (id) SELECT id FROM entry
""")
_LIST = "SELECT {fields} FROM audit WHERE {conditions} ORDER BY id DESC LIMIT :limit"
_CONDITIONS = {
    "within": "account_id = ANY(ARRAY(SELECT a.id FROM accounts a WHERE a.path @> ARRAY[CAST(:within AS uuid)]))",
    "who": "who = :who",
    "deed": "deed = :deed",
    "object_kind": "object_kind = :object_kind",
    "object_id": "object_id = :object_id",
    "since": "at >= :since",
    "until": "at < :until",
    "first": "id >= :first",
    "end": "id < :end",
    "before": "id < :before",
}
_ROOT = UUID(int=1)
"""The operator's account (the folder of accounts stands above this one): within it is everything, nobody's too."""
_LOCK_HEAD = text("SELECT number, hash FROM audit_head FOR UPDATE")
_HEAD = text("SELECT number, hash FROM audit_head")
_TAKE_WAITING = text(f"""
    WITH taken AS (
        DELETE FROM audit_waiting WHERE id IN (SELECT id FROM audit_waiting ORDER BY id LIMIT :limit) RETURNING id)
    SELECT taken.id AS taken, {_FIELDS.replace("id,", "audit.id,", 1)}
    FROM taken LEFT JOIN audit ON audit.id = taken.id ORDER BY taken.id
""")  # noqa: S608
_ADD_LINK = text("INSERT INTO audit_chain (number, entry, digest, hash) VALUES (:number, :entry, :digest, :hash)")
_SET_HEAD = text("UPDATE audit_head SET number = :number, hash = :hash")
_LINKS = text(f"""
    SELECT number, entry, digest, hash, {_FIELDS} FROM audit_chain LEFT JOIN audit ON audit.id = entry
    WHERE number > :after AND number <= :last ORDER BY number LIMIT :limit
""")  # noqa: S608
_HASH_AT = text("SELECT hash FROM audit_chain WHERE number = :number")
_LAST_NUMBER = text("SELECT coalesce(max(number), 0) FROM audit_chain")
_WAITING = text("SELECT count(*) FROM audit_waiting")
_ADRIFT = text("""
    SELECT id FROM audit
    WHERE NOT EXISTS (SELECT FROM audit_chain WHERE entry = audit.id)
      AND NOT EXISTS (SELECT FROM audit_waiting WHERE audit_waiting.id = audit.id)
    ORDER BY id LIMIT :limit
""")


class Waiting(NamedTuple):
    """One that was waiting to be chained."""

    id: UUID
    entry: Entry | None
    """None: somebody took it out of the audit meanwhile."""


class Link(NamedTuple):
    """One place in the chain, and the entry that stands there now."""

    number: int
    entry_id: UUID
    digest: bytes
    hash: bytes
    entry: Entry | None


async def insert(connection: AsyncConnection, entry: Entry) -> None:
    values = msgspec.structs.asdict(entry)
    values |= {"before": _encoded(entry.before), "after": _encoded(entry.after)}
    await connection.execute(_INSERT, values)


async def listing(connection: AsyncConnection, wanted: Wanted, before: UUID | None, limit: int) -> list[Entry]:
    values = msgspec.structs.asdict(wanted)
    values |= {"first": _first_id(wanted.since), "end": _first_id(wanted.until, 1), "before": before}
    if wanted.within == _ROOT:
        values["within"] = None
    asked = {name: value for name, value in values.items() if value is not None}
    # Only the conditions asked for, so that the database finds the index for them.
    conditions = " AND ".join(_CONDITIONS[name] for name in asked) or "true"
    statement = text(_LIST.format(fields=_FIELDS, conditions=conditions))
    return [_entry(row) for row in await connection.execute(statement, asked | {"limit": limit})]


async def head(connection: AsyncConnection, *, lock: bool = False) -> Head | None:
    """The end of the chain; None when somebody removed it. With `lock` nobody else chains until we are done."""
    row = (await connection.execute(_LOCK_HEAD if lock else _HEAD)).one_or_none()
    return Head(row.number, row.hash) if row else None


async def take_waiting(connection: AsyncConnection, limit: int) -> list[Waiting]:
    """The oldest that wait; they do not any more."""
    rows = await connection.execute(_TAKE_WAITING, {"limit": limit})
    return [Waiting(row.taken, _entry(row) if row.id else None) for row in rows]


async def add_links(connection: AsyncConnection, links: Sequence[tuple[Head, UUID, bytes]]) -> None:
    """Each with the chain after it, its entry and that one's digest; the last one is the new end."""
    await connection.execute(
        _ADD_LINK,
        [{"number": head.number, "entry": entry, "digest": digest, "hash": head.hash} for head, entry, digest in links],
    )
    end = links[-1][0]
    await connection.execute(_SET_HEAD, {"number": end.number, "hash": end.hash})


async def links(connection: AsyncConnection, after: int, last: int, limit: int) -> list[Link]:
    """Places with a larger number than `after`, up to `last`, ascending."""
    rows = await connection.execute(_LINKS, {"after": after, "last": last, "limit": limit})
    return [Link(row.number, row.entry, row.digest, row.hash, _entry(row) if row.id else None) for row in rows]


async def hash_at(connection: AsyncConnection, number: int) -> bytes | None:
    found: bytes | None = await connection.scalar(_HASH_AT, {"number": number})
    return found


async def last_number(connection: AsyncConnection) -> int:
    return int(await connection.scalar(_LAST_NUMBER) or 0)


async def count_waiting(connection: AsyncConnection) -> int:
    return int(await connection.scalar(_WAITING) or 0)


async def adrift(connection: AsyncConnection, limit: int) -> list[UUID]:
    """Entries that are neither chained nor waiting for it."""
    return list(await connection.scalars(_ADRIFT, {"limit": limit}))


def _entry(row: Row[Any]) -> Entry:
    return Entry(
        id=row.id,
        at=row.at,
        who=row.who,
        deed=row.deed,
        account_id=row.account_id,
        object_kind=row.object_kind,
        object_id=row.object_id,
        before=_decoded(row.before),
        after=_decoded(row.after),
        peer=row.peer,
    )


def _encoded(values: object) -> str | None:
    # PostgreSQL's JSON has no NUL.
    return None if values is None else msgspec.json.encode(values).decode().replace("\\u0000", "\\ufffd")


def _decoded(written: str | None) -> Any:
    return None if written is None else msgspec.json.decode(written)


def _first_id(instant: datetime | None, more: int = 0) -> UUID | None:
    """The smallest id of an entry of that millisecond, or of one `more` later: ids are in order of time."""
    return None if instant is None else UUID(int=(int(instant.timestamp() * 1000) + more) << 80)
