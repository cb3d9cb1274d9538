"""The step to the life of numbers: what was in service is in the stock, and the suspended rings nobody after it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from engine.foundation.schema import downgrade, upgrade
from tests.databases import MIGRATIONS, at_step

ACCOUNT = UUID("0190a8a0-0000-7000-8000-000000000001")
FIRST, SECOND = "050712345678", "0212345678"


@pytest.fixture
async def rows(empty_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to a database of the step before, with two numbers in it."""
    async with at_step(empty_url, "0011") as connection:
        await connection.execute("INSERT INTO accounts (id, name) VALUES ($1, 'shop')", ACCOUNT)
        await connection.execute(
            """
            INSERT INTO numbers (number, kind, account_id, target) VALUES
                ($2, '050', $1, '0311234567'), ($3, 'own', $1, '0311234567')
            """,
            ACCOUNT,
            FIRST,
            SECOND,
        )
        yield connection


async def stock(rows: asyncpg.Connection[asyncpg.Record]) -> list[tuple[object, ...]]:
    return [tuple(row) for row in await rows.fetch("SELECT number, kind, state, held_by FROM number_stock ORDER BY 1")]


async def test_numbers_in_service_are_in_the_stock_with_a_history(
    rows: asyncpg.Connection[asyncpg.Record], empty_url: str
) -> None:
    await upgrade(empty_url, MIGRATIONS, "0012")
    expected = [(SECOND, "own", "in service", ACCOUNT), (FIRST, "050", "in service", ACCOUNT)]
    assert await stock(rows) == expected
    moves = await rows.fetch("SELECT number, move, account_id FROM number_history ORDER BY number")
    assert [tuple(row) for row in moves] == [(SECOND, "issued", ACCOUNT), (FIRST, "issued", ACCOUNT)]
    assert await rows.fetchval("SELECT count(*) FROM numbers WHERE suspended IS NULL") == 2


async def test_down_and_up_again_a_suspended_number_rings_nobody(
    rows: asyncpg.Connection[asyncpg.Record], empty_url: str
) -> None:
    await upgrade(empty_url, MIGRATIONS, "0012")
    await rows.execute("UPDATE numbers SET suspended = 'ko/not-in-service' WHERE number = $1", FIRST)
    await downgrade(empty_url, MIGRATIONS, "0011")
    treatments = await rows.fetch("SELECT treatment FROM numbers ORDER BY number DESC")
    assert [json.loads(row[0]) for row in treatments] == [{"announcement": "ko/not-in-service"}, {}]
    assert await rows.fetchval("SELECT to_regclass('number_stock')") is None
    await upgrade(empty_url, MIGRATIONS, "0012")
    assert len(await stock(rows)) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        "UPDATE number_stock SET held_by = NULL",
        "UPDATE number_stock SET state = 'available'",
        "UPDATE number_stock SET state = 'suspended'",
        "UPDATE number_stock SET state = 'lost'",
        "UPDATE number_stock SET reserved_until = now()",
        "UPDATE number_stock SET state = 'quarantined', held_by = NULL, quarantined_until = now()",
        "INSERT INTO number_history (number, at, move, state, who) VALUES (NULL, now(), 'x', 'y', 'z')",
        "INSERT INTO stray_calls VALUES ('050712345678', '2026-11-22', 0)",
        "INSERT INTO stray_calls VALUES ('050700000000', '2026-11-22', 1)",
    ],
)
async def test_the_database_itself_refuses_what_cannot_be(
    rows: asyncpg.Connection[asyncpg.Record], empty_url: str, wrong: str
) -> None:
    await upgrade(empty_url, MIGRATIONS, "0012")
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await rows.execute(wrong)
