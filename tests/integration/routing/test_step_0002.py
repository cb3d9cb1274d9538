"""The step to rules: settings that numbers had before it are in their treatment after it, and come back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from engine.foundation.schema import downgrade, upgrade
from tests.databases import MIGRATIONS, at_step

ACCOUNT = UUID("0190a8a0-0000-7000-8000-000000000001")


@pytest.fixture
async def rows(empty_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection to a database of the first step, with two numbers in it."""
    async with at_step(empty_url, "0001") as connection:
        await connection.execute("INSERT INTO accounts (id, name) VALUES ($1, 'shop')", ACCOUNT)
        await connection.execute(
            """
            INSERT INTO numbers (number, kind, account_id, target, ring_seconds, ringback, whisper, record) VALUES
                ('050712345678', '050', $1, '0212345678', 20, 'own/tune', 'own/order', true),
                ('050712345679', '050', $1, '0212345678', NULL, NULL, NULL, false)
            """,
            ACCOUNT,
        )
        yield connection


TREATED = {"ring_seconds": 20, "ringback": ["own/tune"], "whisper": {"sound": "own/order"}, "recording": "always"}
BEFORE = [(20, "own/tune", "own/order", True), (None, None, None, False)]


async def treatments(rows: asyncpg.Connection[asyncpg.Record]) -> list[object]:
    return [json.loads(row[0]) for row in await rows.fetch("SELECT treatment FROM numbers ORDER BY number")]


async def settings(rows: asyncpg.Connection[asyncpg.Record]) -> list[tuple[object, ...]]:
    found = await rows.fetch("SELECT ring_seconds, ringback, whisper, record FROM numbers ORDER BY number")
    return [tuple(row) for row in found]


async def test_what_numbers_were_set_to_goes_up_down_and_up_with_them(
    rows: asyncpg.Connection[asyncpg.Record], empty_url: str
) -> None:
    await upgrade(empty_url, MIGRATIONS, "0002")
    assert await treatments(rows) == [TREATED, {}]
    await rows.execute("""
        INSERT INTO number_rules (number, name, position, condition, treatment)
        VALUES ('050712345678', 'night', 1, '{"weekdays": [7]}', '{"announcement": "ko/closed"}')
    """)
    await rows.execute("INSERT INTO closed_days (number, day) VALUES ('050712345679', '2026-12-25')")
    await rows.execute("INSERT INTO caller_groups (account_id, name, number) VALUES ($1, 'vip', '0101234')", ACCOUNT)
    await rows.execute("INSERT INTO holidays VALUES ('2026-12-25', 'Christmas', 'public')")
    await downgrade(empty_url, MIGRATIONS, "0001")
    assert await settings(rows) == BEFORE
    await upgrade(empty_url, MIGRATIONS, "0002")
    assert await treatments(rows) == [TREATED, {}]
    assert await rows.fetchval("SELECT count(*) FROM number_rules") == 0


async def test_what_the_old_columns_cannot_hold_is_left_out_on_the_way_down(
    rows: asyncpg.Connection[asyncpg.Record], empty_url: str
) -> None:
    await upgrade(empty_url, MIGRATIONS, "0002")
    await rows.execute("""
        UPDATE numbers SET treatment =
            '{"ringback": ["own/a", "own/b"], "whisper": {"text": "hello"}, "recording": "on key", "accept": true}'
        WHERE number = '050712345678'
    """)
    await downgrade(empty_url, MIGRATIONS, "0001")
    assert await settings(rows) == [(None, "own/a", None, False), BEFORE[1]]
