"""The step to a queue that wakes nobody for what is done, up and down, over a log of jobs that is there already."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from engine.foundation.schema import downgrade, upgrade
from tests.databases import MIGRATIONS, at_step
from tests.eventually import PATIENCE

LOG = "INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, traceback) VALUES ($1, $2, 0, 'greet', $3)"


@pytest.fixture
async def connection(empty_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    async with at_step(empty_url, "0018") as opened:
        yield opened


async def noted(connection: asyncpg.Connection[asyncpg.Record]) -> list[int]:
    """Writes how one job succeeded and another failed; the jobs in the log."""
    await connection.execute(LOG, 1, "successful", None)
    await connection.execute(LOG, 2, "failed", '{"reason": "it failed"}')
    return [row["job_id"] for row in await connection.fetch("SELECT job_id FROM pgqueuer_log ORDER BY id")]


async def told_of(connection: asyncpg.Connection[asyncpg.Record]) -> int:
    """How many times workers are told of a job that comes, is picked and is done."""
    told: asyncio.Queue[str] = asyncio.Queue()

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        told.put_nowait(str(payload))

    await connection.add_listener("ch_pgqueuer", hear)
    await connection.execute("INSERT INTO pgqueuer (priority, status, entrypoint) VALUES (0, 'queued', 'greet')")
    await connection.execute("UPDATE pgqueuer SET status = 'picked'")
    await connection.execute("DELETE FROM pgqueuer")
    await connection.execute("SELECT pg_notify('ch_pgqueuer', 'end')")
    times = 0
    async with asyncio.timeout(PATIENCE):
        while await told.get() != "end":
            times += 1
    await connection.remove_listener("ch_pgqueuer", hear)
    return times


async def test_only_failures_stay_and_only_new_jobs_are_told(
    empty_url: str, connection: asyncpg.Connection[asyncpg.Record]
) -> None:
    assert await noted(connection) == [1, 2]
    assert await told_of(connection) == 2
    await upgrade(empty_url, MIGRATIONS, "0019")
    assert await noted(connection) == [2, 2]
    assert await told_of(connection) == 1
    await downgrade(empty_url, MIGRATIONS, "0018")
    assert await noted(connection) == [2, 2, 1, 2]
    assert await told_of(connection) == 2
