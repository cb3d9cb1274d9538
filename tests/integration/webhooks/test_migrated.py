"""Receivers of the version before: their letters get their stream, and those that moved go on where they have to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.database import open_database, transaction
from engine.foundation.ids import new_id
from engine.foundation.schema import downgrade, upgrade
from tests.databases import MIGRATIONS
from tests.stream_written import happened, move_node, open_node

_ADD = """
    INSERT INTO webhooks (id, account_id, top, url, secret, created_at, position, positioned_at, next_at)
    VALUES (:id, :account, :top, 'https://example.com/x', 'x', now(), :position, now() - interval '1 hour', now())
"""
_BURY = """
    INSERT INTO webhook_dead_letters (webhook_id, seq, event_uid, kind, at, reason, died_at)
    SELECT :id, seq, uid, kind, at, 'it answered 422', now() FROM events WHERE top = :top
"""
_REPLAY = """
    INSERT INTO webhook_replays (id, webhook_id, first_seq, last_seq, position, asked_at)
    VALUES (gen_random_uuid(), :id, 1, 2, 0, now())
"""
_LETTERS = "SELECT webhook_id, top, seq FROM webhook_dead_letters ORDER BY seq"
_MOVES = "SELECT webhook_id, left_top, upto, top, after FROM webhook_moves"


@pytest.fixture
async def before(empty_url: str) -> AsyncIterator[tuple[str, AsyncEngine]]:
    """A database of the version before."""
    await upgrade(empty_url, MIGRATIONS, "0014")
    engine = open_database(empty_url, command_timeout=10.0, application_name="dari test")
    yield empty_url, engine
    await engine.dispose()


async def test_letters_get_their_stream_and_one_that_moved_reads_on(before: tuple[str, AsyncEngine]) -> None:
    url, database = before
    old = await open_node(database, "old", "agency")
    new = await open_node(database, "new", "agency")
    stays, moves = [await open_node(database, name, "shop", old) for name in ("stays", "moves")]
    await happened(database, stays, 1)
    await happened(database, moves, 2)
    await happened(database, new, *range(4))
    webhooks: dict[UUID, UUID] = {}
    async with transaction(database) as connection:
        for account in (stays, moves):
            webhooks[account] = new_id(datetime.now(UTC))
            values = {"id": webhooks[account], "account": account, "top": old, "position": 1}
            await connection.execute(text(_ADD), values)
        await connection.execute(text(_BURY), {"id": webhooks[stays], "top": old})
        await connection.execute(text(_REPLAY), {"id": webhooks[stays]})
    await move_node(database, moves, new)
    await happened(database, moves, 3)

    await upgrade(url, MIGRATIONS, "0015")
    async with transaction(database) as connection:
        letters = [tuple(row) for row in await connection.execute(text(_LETTERS))]
        assert letters == [(webhooks[stays], old, 1), (webhooks[stays], old, 2)]
        assert await connection.scalar(text("SELECT top FROM webhook_replays")) == old
        assert [tuple(row) for row in await connection.execute(text(_MOVES))] == [(webhooks[moves], old, 2, new, 4)]
        newest = await connection.scalar(text("SELECT max(id) FROM events"))
        assert await connection.scalar(text("SELECT max(upto) FROM event_marks")) == newest

    await downgrade(url, MIGRATIONS, "0014")
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM webhook_dead_letters")) == 2
        assert await connection.scalar(text("SELECT count(positioned_at) FROM webhooks")) == 2
