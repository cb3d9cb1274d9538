"""Events are written in the transaction of the change that they tell of, so that neither is there without the other."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from msgspec import json
from sqlalchemy import ARRAY, BigInteger, Column, MetaData, Table, Text, Uuid, all_, any_, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP
from sqlalchemy.ext.asyncio import AsyncConnection

_events = Table(
    "events",
    MetaData(),
    Column("id", BigInteger),
    Column("account_id", Uuid),
    Column("kind", Text),
    Column("call_id", Uuid),
    Column("at", TIMESTAMP(timezone=True)),
    Column("body", JSONB),
    Column("leg", Text),
)


_LAST_ID = select(func.max(_events.c.id))
# Arrays, not lists in brackets: each length of those is another statement, to be parsed and planned.
_READ_AFTER = (
    select(_events)
    .where(
        _events.c.id > bindparam("after"),
        _events.c.kind == any_(bindparam("kinds", type_=ARRAY(Text))),
        _events.c.id != all_(bindparam("known", type_=ARRAY(BigInteger))),
    )
    .order_by(_events.c.id)
    .limit(bindparam("limit"))
)
_ENDED = select(_events.c.call_id).where(
    _events.c.call_id == any_(bindparam("calls", type_=ARRAY(Uuid))), _events.c.kind == "call.ended"
)
# However many they are, one statement, and so one notification.
_APPEND = text("""
    INSERT INTO events (account_id, kind, call_id, at, body, leg)
    SELECT account_id, kind, call_id, at, CAST(body AS jsonb), leg
    FROM unnest(:account_id, :kind, :call_id, :at, :body, :leg) WITH ORDINALITY
        AS told (account_id, kind, call_id, at, body, leg, nth)
    ORDER BY nth
    ON CONFLICT (call_id, kind, leg) DO NOTHING
""").bindparams(
    bindparam("account_id", type_=ARRAY(Uuid)),
    bindparam("kind", type_=ARRAY(Text)),
    bindparam("call_id", type_=ARRAY(Uuid)),
    bindparam("at", type_=ARRAY(TIMESTAMP(timezone=True))),
    bindparam("body", type_=ARRAY(Text)),
    bindparam("leg", type_=ARRAY(Text)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to what is an account's: a call, a message, a number, the account itself."""

    kind: str
    """What, in two words: call.ended, message.sent … (`engine.events.kinds`)."""
    account_id: UUID | None
    """Whose stream it goes into; None: nobody's, kept for the operator."""
    call_id: UUID | None
    at: datetime
    body: Mapping[str, object]
    """JSON values. Never the text of a message."""
    leg: str | None = None
    """With `call_id` and `kind` it names what happens once, and is told once however often it is written.
    None: each one is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent(Event):
    """An event as it stands in the table; ids ascend, but a smaller one may become visible after a larger one."""

    id: int


async def last_id(connection: AsyncConnection) -> int:
    """The largest id so far; 0 when there is none."""
    newest: int | None = (await connection.execute(_LAST_ID)).scalar_one()
    return newest or 0


async def read_after(
    connection: AsyncConnection, after: int, kinds: Collection[str], known: Collection[int], limit: int
) -> list[StoredEvent]:
    """Events of these kinds with a larger id, ascending, but for those known already.

    For this system itself; others read `engine.events.stream`.
    """
    rows = await connection.execute(
        _READ_AFTER, {"after": after, "kinds": list(kinds), "known": list(known), "limit": limit}
    )
    return [StoredEvent(**row) for row in rows.mappings()]


async def append(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """Writes the events in the caller's transaction; their ids ascend in the order given.

    One that happens once (`Event.leg`) and is there already stays as it is.
    """
    if not events:
        return
    values: dict[str, list[object]] = {
        "account_id": [event.account_id for event in events],
        "kind": [event.kind for event in events],
        "call_id": [event.call_id for event in events],
        "at": [event.at for event in events],
        "body": [json.encode(event.body).decode() for event in events],
        "leg": [event.leg for event in events],
    }
    await connection.execute(_APPEND, values)


async def ended_among(connection: AsyncConnection, calls: Sequence[UUID]) -> set[UUID]:
    """Those of these calls of which everything was told, to their end."""
    return set((await connection.execute(_ENDED, {"calls": list(calls)})).scalars())
