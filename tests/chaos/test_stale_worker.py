"""A worker that was away longer than its lease comes back: others did its work, and nothing that it says counts."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
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

from engine.foundation.database import connect, open_database, transaction
from engine.foundation.process import Process
from engine.foundation.tasks import Tasks
from engine.jobs.lease import FencedQueries
from engine.jobs.queue import enqueue
from engine.messages.search import messages
from tests.chaos.processes import STRIKING, Hand, froze, is_stopped, vacuous
from tests.chaos.proof import Proof, landed
from tests.chaos.provider import Day, Provider, each_message_once, provider
from tests.chaos.size import INSTANTS, seeds
from tests.chaos.workers import QUICK, Life, Nursery, Point, ended_call, settled, work
from tests.databases import Databases
from tests.shop import open_shop

_JOB = QueueEntrypoint("greet")
_AT_ONCE = timedelta(0)
"""A lease that has always run out."""
_WHILE = 0.3
"""Seconds within which it is stopped while it waits for the gateway's answer; it would wait longer."""


async def test_a_worker_stopped_while_it_sent_changes_nothing_when_it_comes_back(
    databases: Databases, tmp_path: Path
) -> None:
    await vacuous(lambda hand: _stopped_while_it_sent(databases, tmp_path / "spared", 1, hand))
    for seed in seeds(INSTANTS):
        await _stopped_while_it_sent(databases, tmp_path / str(seed), seed)


async def _stopped_while_it_sent(databases: Databases, folder: Path, seed: int, hand: Hand = STRIKING) -> None:
    """At a random instant between its request and the answer."""
    async with _database(databases) as (url, database):
        call = await ended_call(database, await open_shop(database), 1)
        # Without receipts, which would settle it before anybody else looks.
        async with provider(database, folder, lambda: None, receipt_copies=0) as gateway:
            gateway.go_on = asyncio.Event()
            async with _worker(Life(url, gateway.url, gateway.receipts, QUICK)) as (worker, ends):
                await asyncio.wait_for(gateway.holding.wait(), 60.0)
                await asyncio.sleep(random.Random(seed).uniform(0.0, _WHILE))
                stopped = await froze(worker, hand)
                gateway.go_on.set()
                landed(stopped.proof)
                before = await _away_too_long(database, worker, gateway, url)
                await ends()
            assert await _all_that_is_kept(database) == before
            [kept] = await messages(database)
            assert kept.attempt == 2
            await each_message_once(database, gateway, [call])


async def test_a_worker_stopped_before_it_sent_sends_nothing_when_it_comes_back(
    databases: Databases, tmp_path: Path
) -> None:
    await vacuous(lambda hand: _stopped_before_it_sent(databases, tmp_path / "spared", 1, hand))
    for seed in seeds(INSTANTS):
        await _stopped_before_it_sent(databases, tmp_path / str(seed), seed)


async def _stopped_before_it_sent(databases: Databases, folder: Path, seed: int, hand: Hand = STRIKING) -> None:
    """At the first or a later time that it is about to send what is in doubt."""
    doubts = random.Random(seed).randint(1, 2)
    days = iter([Day.CUT_BEFORE] * doubts)  # in doubt: it is asked for before it is sent again
    async with _database(databases) as (url, database):
        call = await ended_call(database, await open_shop(database), 1)
        async with provider(database, folder, lambda: next(days, None)) as gateway:
            point = Point.STOPPED_ONCE_ASKED if hand.strikes else None
            async with _worker(Life(url, gateway.url, gateway.receipts, QUICK, point, doubts)) as (worker, ends):
                stands = await hand.sees(lambda: is_stopped(worker))
                landed(Proof("a worker is stopped as it is about to send", float(stands), "worker"))
                before = await _away_too_long(database, worker, gateway, url)
                sent = gateway.submitted()
                await ends()
            assert await _all_that_is_kept(database) == before
            assert gateway.submitted() == sent == doubts + 1
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
async def _database(databases: Databases) -> AsyncIterator[tuple[str, AsyncEngine]]:
    """Of one instant alone."""
    url = await databases.fresh()
    engine = open_database(url, command_timeout=10.0, application_name="dari test")
    try:
        yield url, engine
    finally:
        await engine.dispose()
        await databases.drop(url)


@asynccontextmanager
async def _worker(life: Life) -> AsyncIterator[tuple[Process, Callable[[], Awaitable[None]]]]:
    """It, and what waits for its end; it is ended at last, stopped or not."""
    process, hears = Nursery().begin(life)
    try:
        assert process.pid is not None
        there = Process.of(process.pid)
        assert there is not None
        yield there, partial(asyncio.to_thread, process.join, 60.0)
        assert process.exitcode is not None, "it does not end"
    finally:
        process.kill()
        await asyncio.to_thread(process.join)
        process.close()
        hears.close()


async def _away_too_long(database: AsyncEngine, worker: Process, gateway: Provider, url: str) -> list[object]:
    """Its leases run out and another does its work; then it may go on. What was kept when it came back."""
    tasks = Tasks("test")
    tasks.start("worker", work(Life(url, gateway.url, gateway.receipts, QUICK)))
    try:
        await settled(database, 1)
    finally:
        await tasks.close()
    before = await _all_that_is_kept(database)
    landed(Proof("a worker away for longer than its lease", float(is_stopped(worker)), "worker"))
    worker.send(signal.SIGCONT)
    worker.send(signal.SIGINT)  # it ends in order: it finishes what it had begun and says so
    return before


async def _all_that_is_kept(database: AsyncEngine) -> list[object]:
    async with transaction(database) as connection:
        rows = [
            *await connection.execute(text("SELECT * FROM messages ORDER BY id")),
            *await connection.execute(text("SELECT id, kind, at, body FROM events ORDER BY id")),
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
