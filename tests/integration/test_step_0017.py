"""The step to functions that are switched off, up and down, over messages and accounts that are there already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from engine.accounts.model import OPERATOR_ID
from engine.foundation.schema import downgrade, upgrade
from tests.databases import MIGRATIONS, at_step

AGENCY, SHOP, MESSAGE = (UUID(int=number) for number in (2, 3, 4))
PATIENCE = 30.0


@pytest.fixture
async def connection(empty_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    async with at_step(empty_url, "0016") as opened:
        yield opened


async def told_of(connection: asyncpg.Connection[asyncpg.Record], change: str) -> list[str]:
    """What engines are told by a change of the agency, in order."""
    told: asyncio.Queue[str] = asyncio.Queue()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        told.put_nowait(str(payload))

    await connection.add_listener("dari_accounts", hear)
    await connection.execute(f"UPDATE accounts SET {change} WHERE id = $1", AGENCY)  # noqa: S608 - a test's own
    await connection.execute("SELECT pg_notify('dari_accounts', 'end')")
    heard: list[str] = []
    async with asyncio.timeout(PATIENCE):
        while (one := await told.get()) != "end":
            heard.append(one)
    await connection.remove_listener("dari_accounts", hear)
    return heard


async def test_messages_and_news_stay_through_up_and_down(
    empty_url: str, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    for account, kind, above in ((AGENCY, "agency", OPERATOR_ID), (SHOP, "shop", AGENCY)):
        await connection.execute(
            "INSERT INTO accounts (id, name, kind, parent_id) VALUES ($1, $2, $2, $3)", account, kind, above
        )
    await connection.execute(
        "INSERT INTO messages (id, account_id, recipient, sender, channel, category, text, status, certificate,"
        " decided_at) VALUES ($1, $2, '01023456789', '0212345678', 'sms', 'information', 't', 'queued', '[]', now())",
        *(MESSAGE, SHOP),
    )
    await upgrade(empty_url, MIGRATIONS, "0017")
    assert await connection.fetchval("SELECT needs FROM messages") == ["callback"]
    assert await told_of(connection, "name = 'other'") == [str(AGENCY)]
    assert set(await told_of(connection, "modules = '{\"calls\": false}'")) == {str(AGENCY), str(SHOP)}
    await downgrade(empty_url, MIGRATIONS, "0016")
    assert await told_of(connection, "name = 'agency'") == [str(AGENCY)]
    assert await connection.fetchval("SELECT status FROM messages") == "queued"
    await upgrade(empty_url, MIGRATIONS, "0017")
    assert set(await told_of(connection, "modules = '{}'")) == {str(AGENCY), str(SHOP)}
