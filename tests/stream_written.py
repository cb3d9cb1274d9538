"""Accounts and their events, written as the product writes them, for tests of the stream."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts.model import OPERATOR_ID
from engine.events.outbox import Event, append
from engine.events.sequencer import number_all
from engine.foundation.database import transaction
from engine.foundation.ids import new_id
from tests.eventually import eventually

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


async def open_node(database: AsyncEngine, name: str, kind: str = "shop", parent: UUID = OPERATOR_ID) -> UUID:
    """An account under `parent`, written past all rules."""
    identifier = new_id(datetime.now(UTC))
    async with transaction(database) as connection:
        await connection.execute(
            text("INSERT INTO accounts (id, name, kind, parent_id) VALUES (:id, :name, :kind, :parent)"),
            {"id": identifier, "name": name, "kind": kind, "parent": parent},
        )
    return identifier


def event(account: UUID | None, what: object, kind: str = "number.changed", call: UUID | None = None) -> Event:
    """An event that is told from others by `what`."""
    return Event(kind=kind, account_id=account, call_id=call, at=AT, body={"what": what})


async def write(database: AsyncEngine, events: Sequence[Event]) -> None:
    async with transaction(database) as connection:
        await append(connection, events)


async def happened(database: AsyncEngine, account: UUID | None, *whats: object) -> None:
    """Events of one account, written and numbered."""
    await write(database, [event(account, what) for what in whats])
    await number_all(database)


async def all_numbered(database: AsyncEngine) -> None:
    """Returns when every event that was written so far has its place in a stream."""

    async def none_left() -> bool:
        async with transaction(database) as connection:
            return await connection.scalar(text("SELECT NOT EXISTS (SELECT FROM events WHERE seq IS NULL)")) is True

    await number_all(database)
    await eventually(none_left)


async def path_of(connection: AsyncConnection, account: UUID) -> tuple[UUID, ...]:
    path = await connection.scalar(text("SELECT path FROM accounts WHERE id = :id"), {"id": account})
    return tuple(path)


async def move_node(database: AsyncEngine, account: UUID, parent: UUID) -> None:
    """An account without any below it stands under another one from now on."""
    async with transaction(database) as connection:
        path = [*await path_of(connection, parent), account]
        await connection.execute(
            text("UPDATE accounts SET parent_id = :parent, path = CAST(:path AS uuid[]) WHERE id = :id"),
            {"id": account, "parent": parent, "path": path},
        )
