"""Jobs on a real database: each is done, whoever dies."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.domain.types import QueueEntrypoint
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from engine.foundation.database import connect, open_database, transaction
from engine.foundation.errors import NotFound, TryLater
from engine.jobs.lease import FencedQueries
from engine.jobs.queue import enqueue
from engine.jobs.worker import LEASE, Job, Worker
from tests.eventually import PATIENCE, eventually
from tests.own_server import OwnServer

SHORT = timedelta(seconds=2)
"""The lease where a test waits for its end. Everywhere else it must not run out, however busy the machine."""


@asynccontextmanager
async def _working(url: str, table: Mapping[str, Job], *, lease: timedelta = LEASE) -> AsyncIterator[Worker]:
    """A worker that runs, and is stopped in order at the end."""
    worker = Worker(url, table, lease=lease)
    running = asyncio.ensure_future(worker.run())
    try:
        yield worker
        assert not running.done(), running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _enqueue(database: AsyncEngine, job: str, *payloads: bytes) -> None:
    async with transaction(database) as connection:
        for payload in payloads:
            await enqueue(connection, job, payload)


async def _queue(database: AsyncEngine) -> Counter[str]:
    """How many jobs the queue has, by state."""
    async with transaction(database) as connection:
        return Counter((await connection.execute(text("SELECT status::text FROM pgqueuer"))).scalars())


def _is(database: AsyncEngine, **states: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return await _queue(database) == states

    return holds


async def test_a_job_is_there_if_and_only_if_its_transaction_is(database: AsyncEngine) -> None:
    async with transaction(database) as connection:
        await enqueue(connection, "greet", b"undone")
        await connection.rollback()
    assert not await _queue(database)
    await _enqueue(database, "greet", b"done")
    assert await _queue(database) == {"queued": 1}


async def test_a_second_job_with_the_same_key_is_not_put_in(database: AsyncEngine) -> None:
    for _ in range(2):
        async with transaction(database) as connection:
            await enqueue(connection, "greet", b"", key="only one")
            await enqueue(connection, "greet", b"", key="only one")
    assert await _queue(database) == {"queued": 1}


async def test_a_job_that_is_for_later_waits(database: AsyncEngine, database_url: str) -> None:
    done: list[bytes] = []

    async def greet(payload: bytes) -> None:
        done.append(payload)

    async with transaction(database) as connection:
        await enqueue(connection, "greet", b"tomorrow", after=timedelta(days=1))
        await enqueue(connection, "greet", b"soon", after=timedelta(seconds=0.1))
    async with _working(database_url, {"greet": Job(greet)}):
        await eventually(lambda: bool(done))
        await eventually(_is(database, queued=1))
    assert done == [b"soon"]


async def test_one_look_tells_what_is_due_what_will_be_and_whether_there_is_anything(
    database: AsyncEngine, database_url: str
) -> None:
    connection = await connect(database_url, command_timeout=PATIENCE)
    greet = [QueueEntrypoint("greet")]
    looks: list[tuple[int, bool, int]] = []

    async def look() -> None:
        due = await queries.eligible_queued_work(greet)
        looks.append((due, await queries.next_deferred_eta(greet) is not None, await queries.queued_work(greet)))

    try:
        queries = FencedQueries(AsyncpgDriver(connection))
        await _enqueue(database, "another", b"")
        await look()
        async with transaction(database) as later:
            await enqueue(later, "greet", b"", after=timedelta(days=1))
        await look()
        assert timedelta(hours=23) < (await queries.next_deferred_eta(greet) or timedelta()) <= timedelta(days=1)
        await _enqueue(database, "greet", b"")
        assert await queries.eligible_queued_work(greet) == 1
    finally:
        await connection.close()
    assert looks == [(0, False, 0), (0, True, 1)]


async def test_many_workers_do_each_job_once(database: AsyncEngine, database_url: str) -> None:
    done: Counter[bytes] = Counter()

    async def count(payload: bytes) -> None:
        await asyncio.sleep(0)
        done[payload] += 1

    payloads = [str(n).encode() for n in range(300)]
    table = {"count": Job(count)}
    async with _working(database_url, table), _working(database_url, table), _working(database_url, table):
        await _enqueue(database, "count", *payloads)
        await eventually(lambda: len(done) == 300)
        await eventually(_is(database))
    assert done == Counter(payloads)


async def test_a_job_that_asks_for_later_is_done_again(database: AsyncEngine, database_url: str) -> None:
    starts = 0

    async def hesitate(_: bytes) -> None:
        nonlocal starts
        starts += 1
        if starts < 5:
            raise TryLater("not yet", after=0.01)

    await _enqueue(database, "hesitate", b"")
    async with _working(database_url, {"hesitate": Job(hesitate, crashes=1)}) as worker:
        await eventually(lambda: worker.done["hesitate"] == 1)
        await eventually(_is(database))
    assert (starts, worker.held.total()) == (5, 0)


async def test_a_job_that_asks_for_later_too_long_is_held(database: AsyncEngine, database_url: str) -> None:
    async def hesitate(_: bytes) -> None:
        raise TryLater("not yet", after=0.01)

    await _enqueue(database, "hesitate", b"")
    async with _working(database_url, {"hesitate": Job(hesitate, patience=timedelta(seconds=0.1))}) as worker:
        await eventually(_is(database, failed=1))
    assert worker.held == {"hesitate": 1}


async def test_a_job_that_fails_is_held_and_the_others_are_done(database: AsyncEngine, database_url: str) -> None:
    async def fail(payload: bytes) -> None:
        if payload == b"refused":
            raise NotFound("the thing is not there")
        if payload == b"broken":
            raise ZeroDivisionError

    await _enqueue(database, "fail", b"refused", b"broken", b"fine")
    with capture_logs() as logs:
        async with _working(database_url, {"fail": Job(fail)}) as worker:
            await eventually(_is(database, failed=2))
            await _enqueue(database, "fail", b"fine too")
            await eventually(lambda: worker.done["fail"] == 2)
    assert worker.held == {"fail": 2}
    told = {entry["reason"]: entry["exc_info"] for entry in logs if entry["event"] == "a job is held"}
    assert told == {"the thing is not there": False, "it failed": True}


async def test_a_stopped_worker_finishes_what_it_has_begun(database: AsyncEngine, database_url: str) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: bytes) -> None:
        begun.set()
        await go_on.wait()

    await _enqueue(database, "slow", b"")
    worker = Worker(database_url, {"slow": Job(slow)})
    running = asyncio.ensure_future(worker.run())
    await begun.wait()
    running.cancel()
    await asyncio.sleep(0.05)
    assert not running.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert worker.done == {"slow": 1}
    assert not await _queue(database)


async def test_a_worker_that_is_stopped_twice_puts_its_jobs_back(database: AsyncEngine, database_url: str) -> None:
    begun = asyncio.Event()

    async def endless(_: bytes) -> None:
        begun.set()
        await asyncio.Event().wait()

    await _enqueue(database, "endless", b"")
    running = asyncio.ensure_future(Worker(database_url, {"endless": Job(endless)}).run())
    await begun.wait()
    running.cancel()
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await _queue(database) == {"queued": 1}


async def test_a_worker_that_lost_its_job_cannot_end_it(database: AsyncEngine, database_url: str) -> None:
    begun, go_on, starts = asyncio.Event(), asyncio.Event(), 0

    async def slow(_: bytes) -> None:
        nonlocal starts
        starts += 1
        begun.set()
        await go_on.wait()

    await _enqueue(database, "slow", b"")
    async with _working(database_url, {"slow": Job(slow)}, lease=SHORT) as worker:
        await begun.wait()
        async with transaction(database) as connection:
            await connection.execute(text("UPDATE pgqueuer SET queue_manager_id = gen_random_uuid()"))
        go_on.set()
        await eventually(lambda: worker.done["slow"] >= 1)
        await eventually(lambda: starts >= 2)  # its new owner never showed a sign of life
        await eventually(_is(database))


DIES = """
import asyncio, os, signal, sys
from engine.jobs.worker import Job, Worker
from datetime import timedelta

async def die(payload: bytes) -> None:
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(Worker(sys.argv[1], {"die": Job(die)}, lease=timedelta(seconds=1)).run())
"""


def _die_of_the_job(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DIES, url], cwd=Path(__file__).parents[2], check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


async def test_the_job_of_a_killed_worker_is_done_by_another_one(database: AsyncEngine, database_url: str) -> None:
    async def live(_: bytes) -> None:
        pass

    await _enqueue(database, "die", b"")
    await asyncio.to_thread(_die_of_the_job, database_url)
    assert await _queue(database) == {"picked": 1}
    async with _working(database_url, {"die": Job(live)}, lease=SHORT) as worker:
        await eventually(lambda: worker.done["die"] >= 1)
        await eventually(_is(database))


async def test_a_job_that_kills_its_workers_is_held(database: AsyncEngine, database_url: str) -> None:
    async def never(_: bytes) -> None:
        raise AssertionError

    await _enqueue(database, "die", b"")
    for _ in range(2):
        await asyncio.to_thread(_die_of_the_job, database_url)
    async with _working(database_url, {"die": Job(never, crashes=2)}, lease=SHORT) as worker:
        await eventually(_is(database, failed=1))
    assert worker.held == {"die": 1}
    async with transaction(database) as connection:
        await connection.execute(text("UPDATE pgqueuer SET status = 'queued'"))

    async def live(_: bytes) -> None:
        pass

    async with _working(database_url, {"die": Job(live, crashes=2)}) as worker:
        await eventually(lambda: worker.done["die"] == 1)


async def test_work_goes_on_when_the_database_comes_back() -> None:
    done: list[bytes] = []

    async def note(payload: bytes) -> None:
        done.append(payload)

    async with OwnServer.running() as server:
        database = open_database(server.url, command_timeout=5.0)
        async with _working(server.url, {"note": Job(note)}, lease=SHORT) as worker:
            await _enqueue(database, "note", b"before")
            await eventually(lambda: b"before" in done)
            await server.stop_at_once()
            await eventually(lambda: worker.reason != "")
            await server.start()
            await _enqueue(database, "note", b"after")
            await eventually(lambda: b"after" in done)
            await eventually(_is(database))
        await database.dispose()


async def test_jobs_whose_outcome_went_with_the_connection_are_done_again_at_once(
    database: AsyncEngine, database_url: str
) -> None:
    cut, starts = asyncio.Event(), 0

    async def slow(_: bytes) -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            await cut.wait()

    async with _working(database_url, {"slow": Job(slow)}):
        await _enqueue(database, "slow", b"")
        await eventually(lambda: starts == 1)
        async with transaction(database) as connection:
            await connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'dari jobs' AND datname = current_database()"
                )
            )
        cut.set()
        await eventually(lambda: starts == 2)  # the lease would have been longer than a test waits
        await eventually(_is(database))


async def test_a_cut_connection_is_made_anew(database: AsyncEngine, database_url: str) -> None:
    async def nothing(_: bytes) -> None:
        pass

    async with _working(database_url, {"nothing": Job(nothing)}) as worker:
        await _enqueue(database, "nothing", b"")
        await eventually(lambda: worker.done.total() == 1)
        async with transaction(database) as connection:
            cut = await connection.execute(
                text(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE application_name = 'dari jobs' AND datname = current_database()"
                )
            )
            assert cut.scalar() == 1
        await _enqueue(database, "nothing", b"")
        await eventually(lambda: worker.done.total() >= 2)  # the first again, if its outcome went with the connection


async def test_periodic_work_is_done_again_though_it_fails(database_url: str) -> None:
    calls = 0

    async def look_up() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise TryLater("away")
        if calls == 2:
            raise ZeroDivisionError

    worker = Worker(database_url, {})
    worker.every(0.01, "look up", look_up)
    running = asyncio.ensure_future(worker.run())
    with capture_logs() as logs:
        await eventually(lambda: calls >= 3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [entry["log_level"] for entry in logs if entry.get("work") == "look up"] == ["warning", "error"]
