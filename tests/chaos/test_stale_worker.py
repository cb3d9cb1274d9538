"""A worker that was away longer than its lease comes back: others did its work, and nothing that it says counts."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.domain.models import Job as QueuedJob
from pgqueuer.domain.types import QueueEntrypoint, QueueManagerId
from pgqueuer.ports.repository import EntrypointExecutionParameter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.database import connect, transaction
from engine.foundation.tasks import Tasks
from engine.jobs.lease import FencedQueries
from engine.jobs.queue import enqueue
from engine.messages.search import messages
from tests.chaos.proof import Proof, landed
from tests.chaos.provider import Day, each_message_once, provider
from tests.chaos.workers import QUICK, Life, Nursery, Point, ended_call, settled, work
from tests.eventually import eventually
from tests.shop import open_shop

_JOB = QueueEntrypoint("greet")
_AT_ONCE = timedelta(0)
"""A lease that has always run out."""


async def test_a_worker_stopped_while_it_sent_changes_nothing_when_it_comes_back(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    shop = await open_shop(database)
    call = await ended_call(database, shop, 1)
    # Without receipts, which would settle it before anybody else looks.
    async with provider(database, tmp_path, lambda: None, receipt_copies=0) as gateway:
        gateway.go_on = asyncio.Event()
        async with _worker(Life(database_url, gateway.url, gateway.receipts, QUICK)) as (pid, ends):
            await asyncio.wait_for(gateway.holding.wait(), 60.0)
            os.kill(pid, signal.SIGSTOP)
            await eventually(lambda: _state(pid) == "T")
            gateway.go_on.set()
            await _done_by_another(database, Life(database_url, gateway.url, gateway.receipts, QUICK))
            before = await _all_that_is_kept(database)
            landed(Proof("a worker away for longer than its lease", float(_state(pid) == "T"), "worker"))
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGINT)  # it ends in order: it finishes what it had begun and says so
            await ends
        assert await _all_that_is_kept(database) == before
        [kept] = await messages(database)
        assert kept.attempt == 2
        await each_message_once(database, gateway, [call])


async def test_a_worker_stopped_before_it_sent_sends_nothing_when_it_comes_back(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    shop = await open_shop(database)
    call = await ended_call(database, shop, 1)
    days = iter([Day.CUT_BEFORE])  # in doubt: it is asked for before it is sent again
    async with provider(database, tmp_path, lambda: next(days, None)) as gateway:
        life = Life(database_url, gateway.url, gateway.receipts, QUICK, Point.STOPPED_ONCE_ASKED)
        async with _worker(life) as (pid, ends):
            await eventually(lambda: _state(pid) == "T")
            await _done_by_another(database, Life(database_url, gateway.url, gateway.receipts, QUICK))
            before, sent = await _all_that_is_kept(database), gateway.submitted()
            landed(Proof("a worker away for longer than its lease", float(_state(pid) == "T"), "worker"))
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGINT)  # it ends in order: it finishes what it had begun and says so
            await ends
        assert await _all_that_is_kept(database) == before
        assert gateway.submitted() == sent == 2
        await each_message_once(database, gateway, [call])


async def test_each_word_of_a_stale_worker_about_its_job_is_refused(database: AsyncEngine, database_url: str) -> None:
    async with transaction(database) as connection:
        await enqueue(connection, _JOB, b"")
    async with _queries(database_url) as stale, _queries(database_url) as fresh:
        [job] = await _picked(stale)
        assert await stale.count_start(job) == 1
        [again] = await _picked(fresh)
        assert again.id == job.id
        assert await fresh.count_start(again) == 2
        before = await _row(database)

        assert await stale.count_start(job) is None
        await stale.update_heartbeat([job.id])
        await stale.log_jobs([(job, "successful", None)])
        await stale.log_jobs([(job, "failed", None)])
        await stale.retry_job(job, timedelta(0), None)
        assert await _row(database) == before

        await fresh.log_jobs([(again, "successful", None)])
        assert await _row(database) is None


@pytest.mark.parametrize("word", ["successful", "failed"])
async def test_a_stale_worker_does_not_end_a_job_that_was_put_back(
    database: AsyncEngine, database_url: str, word: str
) -> None:
    async with transaction(database) as connection:
        await enqueue(connection, _JOB, b"")
    async with _queries(database_url) as stale, _queries(database_url) as fresh:
        [job] = await _picked(stale)
        [again] = await _picked(fresh)
        await fresh.retry_job(again, timedelta(hours=1), None)
        before = await _row(database)
        await stale.log_jobs([(job, word, None)])  # type: ignore[list-item]
        await stale.retry_job(job, timedelta(0), None)
        assert await _row(database) == before


@asynccontextmanager
async def _worker(life: Life) -> AsyncIterator[tuple[int, Awaitable[None]]]:
    """Its process id, and what waits for its end; it is ended at last, stopped or not."""
    process, hears = Nursery().begin(life)
    try:
        assert process.pid is not None
        ends = asyncio.to_thread(process.join, 60.0)
        yield process.pid, ends
        assert process.exitcode is not None, "it does not end"
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        process.close()
        hears.close()


async def _done_by_another(database: AsyncEngine, life: Life) -> None:
    """Another worker waits until the leases run out, and does what there is."""
    tasks = Tasks("test")
    tasks.start("worker", work(life))
    try:
        await settled(database, 1)
    finally:
        await tasks.close()


async def _all_that_is_kept(database: AsyncEngine) -> list[object]:
    async with transaction(database) as connection:
        rows = [
            *await connection.execute(text("SELECT * FROM messages ORDER BY id")),
            *await connection.execute(text("SELECT * FROM events ORDER BY id")),
        ]
        return [tuple(row) for row in rows]


async def _row(database: AsyncEngine) -> object:
    async with transaction(database) as connection:
        return (await connection.execute(text("SELECT * FROM pgqueuer"))).first()


@asynccontextmanager
async def _queries(url: str) -> AsyncIterator[FencedQueries]:
    connection: asyncpg.Connection[asyncpg.Record] = await connect(url, command_timeout=10.0)
    try:
        yield FencedQueries(AsyncpgDriver(connection), worker=QueueManagerId(uuid4()))
    finally:
        await connection.close()


async def _picked(queries: FencedQueries) -> list[QueuedJob]:
    assert queries.worker is not None
    return await queries.dequeue(
        batch_size=1,
        entrypoints={_JOB: EntrypointExecutionParameter(concurrency_limit=0)},
        queue_manager_id=queries.worker,
        global_concurrency_limit=None,
        heartbeat_timeout=_AT_ONCE,
    )


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""
