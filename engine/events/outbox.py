"""Events are written in the transaction of the change that they tell of, so that neither is there without the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, MetaData, Table, Text, Uuid, func, select
from sqlalchemy.dialects.postgresql import JSONB, TIMESTAMP, insert
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
    newest: int | None = (await connection.execute(select(func.max(_events.c.id)))).scalar_one()
    return newest or 0


async def read_after(connection: AsyncConnection, after: int, limit: int) -> list[StoredEvent]:
    """Events with a larger id, ascending. For this system itself; others read `engine.events.stream`."""
    rows = await connection.execute(select(_events).where(_events.c.id > after).order_by(_events.c.id).limit(limit))
    return [StoredEvent(**row) for row in rows.mappings()]


async def append(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """Writes the events in the caller's transaction; their ids ascend in the order given.

    One that happens once (`Event.leg`) and is there already stays as it is.
    """
    if events:
        once = [_events.c.call_id, _events.c.kind, _events.c.leg]
        await connection.execute(
            insert(_events).on_conflict_do_nothing(index_elements=once),
            [
                {
                    "account_id": event.account_id,
                    "kind": event.kind,
                    "call_id": event.call_id,
                    "at": event.at,
                    "body": event.body,
                    "leg": event.leg,
                }
                for event in events
            ],
        )


async def ended_among(connection: AsyncConnection, calls: Sequence[UUID]) -> set[UUID]:
    """Those of these calls of which everything was told, to their end."""
    ended = select(_events.c.call_id).where(_events.c.call_id.in_(calls), _events.c.kind == "call.ended")
    return set((await connection.execute(ended)).scalars())
