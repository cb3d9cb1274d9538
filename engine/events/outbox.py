"""Events are written in the transaction of the change that they tell of, so that neither is there without the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, Column, MetaData, Table, Text, Uuid, func, insert, select
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
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened to an account's call."""

    kind: str
    """What, in two words: call.ended, message.sent …"""
    account_id: UUID | None
    """Whose stream it goes into; None: nobody's, kept for the operator."""
    call_id: UUID | None
    at: datetime
    body: Mapping[str, object]
    """JSON values. Never the text of a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent(Event):
    """An event as it stands in the table; ids ascend, but a smaller one may become visible after a larger one."""

    id: int


async def last_id(connection: AsyncConnection) -> int:
    """The largest id so far; 0 when there is none."""
    newest: int | None = (await connection.execute(select(func.max(_events.c.id)))).scalar_one()
    return newest or 0


async def read_after(connection: AsyncConnection, after: int, limit: int) -> list[StoredEvent]:
    """Events with a larger id, ascending."""
    rows = await connection.execute(select(_events).where(_events.c.id > after).order_by(_events.c.id).limit(limit))
    return [StoredEvent(**row) for row in rows.mappings()]


async def append(connection: AsyncConnection, events: Sequence[Event]) -> None:
    """Writes the events in the caller's transaction; their ids ascend in the order given."""
    if events:
        await connection.execute(
            insert(_events),
            [
                {
                    "account_id": event.account_id,
                    "kind": event.kind,
                    "call_id": event.call_id,
                    "at": event.at,
                    "body": event.body,
                }
                for event in events
            ],
        )
