"""The step to reasons of suspension: what was suspended stays so, for the same reason and by the same hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from engine.foundation.schema import downgrade, upgrade
from tests.databases import MIGRATIONS, at_step

ACCOUNT = UUID("0190a8a0-0000-7000-8000-000000000001")
SUSPENDED, SERVING = "050712345678", "050712345679"


@pytest.fixture
async def rows(empty_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A database of the step before, with a number that was barred and one in service."""
    async with at_step(empty_url, "0015") as connection:
        await connection.execute(
            f"""
            INSERT INTO accounts (id, name, path) VALUES
                ('{ACCOUNT}', 'shop', ARRAY['{UUID(int=1)}', '{ACCOUNT}']::uuid[]);
            INSERT INTO numbers (number, kind, account_id, target, suspended) VALUES
                ('{SUSPENDED}', '050', '{ACCOUNT}', '0311234567', 'ko/closed'),
                ('{SERVING}', '050', '{ACCOUNT}', '0311234567', NULL);
            INSERT INTO number_stock (number, kind, state, held_by, suspended_for, changed_at) VALUES
                ('{SUSPENDED}', '050', 'suspended', '{ACCOUNT}', 'barred', '2026-11-22T03:00:00Z'),
                ('{SERVING}', '050', 'in service', '{ACCOUNT}', NULL, '2026-11-22T03:00:00Z');
            INSERT INTO number_history (number, at, move, state, account_id, who) VALUES
                ('{SUSPENDED}', '2026-11-22T03:00:00Z', 'suspended', 'suspended', '{ACCOUNT}', 'user:manager');
            """  # noqa: S608 - the test's own values
        )
        yield connection


async def test_up_and_down_the_reason_stays(rows: asyncpg.Connection[asyncpg.Record], empty_url: str) -> None:
    await upgrade(empty_url, MIGRATIONS, "0016")
    found = await rows.fetch("SELECT suspensions FROM number_stock ORDER BY number")
    (barred,) = json.loads(found[0][0])
    assert barred == {
        "why": "barred",
        "by": "user:manager",
        "at": "2026-11-22T03:00:00.000000Z",
        "announcement": "ko/closed",
    }
    assert json.loads(found[1][0]) == []
    await downgrade(empty_url, MIGRATIONS, "0015")
    found = await rows.fetch("SELECT suspended_for FROM number_stock ORDER BY number")
    assert [row[0] for row in found] == ["barred", None]
    await upgrade(empty_url, MIGRATIONS, "0016")


@pytest.mark.parametrize(
    "wrong",
    [
        "UPDATE number_stock SET suspensions = '[]'",
        "UPDATE number_stock SET suspensions = '[1]'",
    ],
)
async def test_a_number_is_suspended_for_a_reason_or_not_at_all(
    rows: asyncpg.Connection[asyncpg.Record], empty_url: str, wrong: str
) -> None:
    await upgrade(empty_url, MIGRATIONS, "0016")
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await rows.execute(wrong)
