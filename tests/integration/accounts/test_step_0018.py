"""The step to several applications of one company, up and down, over applications that are there already."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from engine.accounts.model import OPERATOR_ID
from engine.foundation.schema import downgrade, upgrade
from tests.databases import MIGRATIONS, at_step

DECIDED = "decided_at = now(), decided_by = 'x', reason = 'x'"
FIRST, SECOND, THIRD, LATER = (UUID(int=number) for number in (2, 3, 4, 5))


@pytest.fixture
async def connection(empty_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    async with at_step(empty_url, "0018") as opened:
        yield opened


async def handed_in(connection: asyncpg.Connection[asyncpg.Record], identifier: UUID, by: str = "applicant") -> None:
    await connection.execute(
        "INSERT INTO applications (id, by, parent_id, kind, company, registration_number, contact_name, contact,"
        " applied_at) VALUES ($1, $2, $3, 'shop', 'c', '1234567891', 'kim', 'kim@example.com', now())",
        *(identifier, by, OPERATOR_ID),
    )


async def test_the_oldest_waits_on_where_there_may_be_one_only(
    empty_url: str, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    for identifier in (FIRST, SECOND, THIRD):
        await handed_in(connection, identifier)
    settle = f"UPDATE applications SET status = 'settled', settled_by = $1, {DECIDED} WHERE id = $2"  # noqa: S608
    await connection.execute(settle, FIRST, THIRD)
    await downgrade(empty_url, MIGRATIONS, "0017")
    rows = await connection.fetch("SELECT id, status FROM applications ORDER BY id")
    assert [row["status"] for row in rows] == ["applied", "rejected", "rejected"]
    with pytest.raises(asyncpg.UniqueViolationError):
        await handed_in(connection, LATER)
    await upgrade(empty_url, MIGRATIONS, "0018")
    await handed_in(connection, LATER)


async def test_the_database_refuses_what_cannot_be(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    await handed_in(connection, FIRST, "user:1")
    with pytest.raises(asyncpg.UniqueViolationError):
        await handed_in(connection, SECOND, "user:2")
    await handed_in(connection, SECOND)
    for wrong in (
        f"status = 'settled', {DECIDED}",
        f"status = 'settled', settled_by = '{FIRST}', {DECIDED}",
        f"status = 'rejected', settled_by = '{SECOND}', {DECIDED}",
        f"settled_by = '{SECOND}'",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute(f"UPDATE applications SET {wrong} WHERE id = $1", FIRST)  # noqa: S608
