"""Jobs that are done for many things at once: a bad thing is held alone, and nothing is lost on the way there."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.domain.models import Job as QueuedJob
from pgqueuer.domain.types import QueueEntrypoint, QueueManagerId
from pgqueuer.ports.repository import EntrypointExecutionParameter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.database import connect, transaction
from engine.foundation.errors import NotFound, TryLater
from engine.jobs.lease import FencedQueries
from engine.jobs.queue import MANY, enqueue, enqueue_each, ids_of
from engine.jobs.worker import LEASE, Job, Worker
from tests.eventually import PATIENCE, eventually

IDS = [UUID(int=number) for number in range(1, 6)]
BAD = IDS[2]
_GREET = QueueEntrypoint("greet")


@asynccontextmanager
async def _working(url: str, job: Job, *, lease: timedelta = LEASE) -> AsyncIterator[Worker]:
    worker = Worker(url, {_GREET: job}, lease=lease)
    running = asyncio.ensure_future(worker.run())
    try:
        yield worker
        assert not running.done(), running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def _queries(url: str) -> AsyncIterator[FencedQueries]:
    connection = await connect(url, command_timeout=PATIENCE)
    try:
        yield FencedQueries(AsyncpgDriver(connection), worker=QueueManagerId(uuid4()))
    finally:
        await connection.close()


async def _picked(queries: FencedQueries, at_most: int = 1, lease: timedelta = LEASE) -> list[QueuedJob]:
    assert queries.worker is not None
    return await queries.dequeue(
        batch_size=at_most,
        entrypoints={_GREET: EntrypointExecutionParameter(concurrency_limit=0)},
        queue_manager_id=queries.worker,
        global_concurrency_limit=None,
        heartbeat_timeout=lease,
    )


async def _enqueue_each(database: AsyncEngine, ids: Sequence[UUID]) -> None:
    async with transaction(database) as connection:
        await enqueue_each(connection, _GREET, ids)


async def _queue(database: AsyncEngine) -> list[tuple[str, list[UUID]]]:
    """The state and the ids of each job, in the order of the ids."""
    async with transaction(database) as connection:
        rows = await connection.execute(text("SELECT status::text, payload FROM pgqueuer ORDER BY payload"))
        return [(status, ids_of(payload)) for status, payload in rows]


async def _is_empty(database: AsyncEngine) -> bool:
    return not await _queue(database)


@pytest.mark.parametrize(("many", "sizes"), [(0, []), (1, [1]), (MANY, [50]), (2 * MANY + 1, [50, 50, 1])])
async def test_one_job_is_put_in_for_up_to_fifty_ids(database: AsyncEngine, many: int, sizes: list[int]) -> None:
    ids = [uuid4() for _ in range(many)]
    await _enqueue_each(database, ids)
    jobs = [ids for _, ids in await _queue(database)]
    assert sorted(map(len, jobs), reverse=True) == sizes
    assert sorted(id_ for job in jobs for id_ in job) == sorted(ids)


async def test_a_job_for_one_id_is_as_it_was_before_there_were_jobs_for_many(database: AsyncEngine) -> None:
    await _enqueue_each(database, IDS[:1])
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT payload FROM pgqueuer")) == str(IDS[0]).encode()


async def test_many_are_done_at_once_and_put_in_for_later_only_then(database: AsyncEngine, database_url: str) -> None:
    done: list[list[UUID]] = []

    async def greet(payload: bytes) -> None:
        done.append(ids_of(payload))

    async with transaction(database) as connection:
        await enqueue_each(connection, _GREET, IDS[3:], after=timedelta(days=1))
    await _enqueue_each(database, IDS[:3])
    async with _working(database_url, Job(greet, many=True)):
        await eventually(lambda: bool(done))
        await eventually(lambda: _has(database, [("queued", IDS[3:])]))
    assert done == [IDS[:3]]


async def _has(database: AsyncEngine, jobs: list[tuple[str, list[UUID]]]) -> bool:
    return await _queue(database) == jobs


@pytest.mark.parametrize("error", [NotFound("there is none"), ZeroDivisionError()])
async def test_the_bad_one_of_many_is_held_alone_and_the_others_are_done(
    database: AsyncEngine, database_url: str, error: Exception
) -> None:
    done: Counter[UUID] = Counter()
    tried: list[list[UUID]] = []

    async def greet(payload: bytes) -> None:
        ids = ids_of(payload)
        tried.append(ids)
        if BAD in ids:
            raise error
        done.update(ids)

    await _enqueue_each(database, IDS)
    async with _working(database_url, Job(greet, many=True)) as worker:
        await eventually(lambda: _has(database, [("failed", [BAD])]))
    assert done == Counter(set(IDS) - {BAD})
    assert worker.held == {_GREET: 1}
    assert tried[0] == IDS
    assert sorted(tried[1:]) == [[one] for one in IDS]


async def test_a_line_that_is_no_id_is_held_alone(database: AsyncEngine, database_url: str) -> None:
    done: list[UUID] = []

    async def greet(payload: bytes) -> None:
        done.extend(ids_of(payload))

    async with transaction(database) as connection:
        await enqueue(connection, _GREET, f"{IDS[0]}\nnonsense\n{IDS[1]}".encode())
    async with _working(database_url, Job(greet, many=True)) as worker:
        await eventually(lambda: worker.held.total() == 1)
        await eventually(lambda: len(done) == 2)
    assert sorted(done) == IDS[:2]


async def test_many_that_ask_for_later_stay_together(database: AsyncEngine, database_url: str) -> None:
    tried: list[list[UUID]] = []

    async def hesitate(payload: bytes) -> None:
        tried.append(ids_of(payload))
        if len(tried) < 3:
            raise TryLater("not yet", after=0.01)

    await _enqueue_each(database, IDS)
    async with _working(database_url, Job(hesitate, many=True)) as worker:
        await eventually(lambda: _is_empty(database))
    assert tried == [IDS] * 3
    assert worker.held.total() == 0


async def test_one_of_many_that_asks_for_later_too_long_is_held_alone(database: AsyncEngine, database_url: str) -> None:
    done: set[UUID] = set()

    async def hesitate(payload: bytes) -> None:
        if BAD in ids_of(payload):
            raise TryLater("not yet", after=0.01)
        done.update(ids_of(payload))

    await _enqueue_each(database, IDS)
    async with _working(database_url, Job(hesitate, many=True, patience=timedelta(seconds=0.1))):
        await eventually(lambda: _has(database, [("failed", [BAD])]))
    assert done == set(IDS) - {BAD}


async def test_a_job_whose_payload_is_one_thing_is_held_whole_whatever_its_lines(
    database: AsyncEngine, database_url: str
) -> None:
    async def fail(_: bytes) -> None:
        raise NotFound("there is none")

    await _enqueue_each(database, IDS)
    async with _working(database_url, Job(fail)):
        await eventually(lambda: _has(database, [("failed", IDS)]))


DIES = """
import asyncio, os, signal, sys
from datetime import timedelta
from engine.jobs.worker import Job, Worker

async def die(payload: bytes) -> None:
    if sys.argv[2].encode() in payload:
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(Worker(sys.argv[1], {"greet": Job(die, many=True)}, lease=timedelta(seconds=1)).run())
"""


def _die(url: str, of: UUID) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DIES, url, str(of)], cwd=Path(__file__).parents[2], check=False, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


async def test_many_that_took_their_worker_down_are_done_one_by_one_and_the_killer_is_held(
    database: AsyncEngine, database_url: str
) -> None:
    tried: list[list[UUID]] = []

    async def note(payload: bytes) -> None:
        tried.append(ids_of(payload))

    await _enqueue_each(database, IDS)
    await asyncio.to_thread(_die, database_url, BAD)
    assert await _queue(database) == [("picked", IDS)]
    for _ in range(2):  # by itself now, as a job of its own
        await asyncio.to_thread(_die, database_url, BAD)
    async with _working(database_url, Job(note, many=True, crashes=2), lease=timedelta(seconds=2)):
        await eventually(lambda: _has(database, [("failed", [BAD])]))
    assert [BAD] not in tried
    assert all(len(ids) == 1 for ids in tried)


async def test_jobs_that_were_under_way_beside_a_killer_are_not_blamed(
    database: AsyncEngine, database_url: str
) -> None:
    done: set[UUID] = set()

    async def note(payload: bytes) -> None:
        done.update(ids_of(payload))

    for one in IDS:
        await _enqueue_each(database, [one])
    for _ in range(2):
        await asyncio.to_thread(_die, database_url, BAD)
    async with _working(database_url, Job(note, many=True, crashes=2), lease=timedelta(seconds=2)):
        await eventually(lambda: _has(database, [("failed", [BAD])]))
    assert BAD not in done


async def test_the_first_start_of_a_job_is_not_written_and_that_of_one_that_lost_its_worker_is(
    database: AsyncEngine, database_url: str
) -> None:
    await _enqueue_each(database, IDS[:1])
    async with _queries(database_url) as first, _queries(database_url) as second:
        [job] = await _picked(first)
        assert job.headers == {}
        [again] = await _picked(second, lease=timedelta(0))
        assert again.headers == {"starts": 1}
        assert await second.count_start(again) == 2
        await second.retry_job(again, timedelta(0), None)
        [anew] = await _picked(first)
        assert anew.headers == {}


async def test_a_worker_that_lost_a_job_of_many_cannot_take_it_apart(database: AsyncEngine, database_url: str) -> None:
    await _enqueue_each(database, IDS)
    async with _queries(database_url) as stale, _queries(database_url) as fresh:
        [job] = await _picked(stale)
        [again] = await _picked(fresh, lease=timedelta(0))
        assert not await stale.replace(job, [b"a", b"b"])
        assert await _queue(database) == [("picked", IDS)]
        assert await fresh.replace(again, [str(one).encode() for one in IDS])
        assert not await fresh.replace(again, [str(one).encode() for one in IDS])
        assert await _queue(database) == [("queued", [one]) for one in IDS]
    async with transaction(database) as connection:
        created = set((await connection.execute(text("SELECT created FROM pgqueuer"))).scalars())
    assert created == {job.created}  # its age counts, not theirs


async def test_a_worker_that_got_less_than_it_wanted_does_not_ask_again_at_once(
    database: AsyncEngine, database_url: str
) -> None:
    async with _queries(database_url) as queries:
        await _enqueue_each(database, IDS[:1])
        assert len(await _picked(queries, at_most=2)) == 1
        await _enqueue_each(database, IDS[1:2])
        assert await _picked(queries, at_most=2) == []
        assert len(await _picked(queries, at_most=2)) == 1


async def test_a_worker_hears_of_jobs_put_in_and_not_of_those_taken_out(
    database: AsyncEngine, database_url: str
) -> None:
    heard: list[str] = []
    async with _queries(database_url) as queries:
        await queries.driver.add_listener("ch_pgqueuer", lambda payload: heard.append(str(payload)))
        await _enqueue_each(database, IDS[:1])
        [job] = await _picked(queries)
        await queries.log_jobs([(job, "successful", None)])
        await queries.driver.notify("ch_pgqueuer", "the last")
        await eventually(lambda: "the last" in heard)
    assert len(heard) == 2
    assert '"insert"' in heard[0]


def test_what_a_queue_of_an_older_version_holds_is_read_as_one_id() -> None:
    call: UUID = uuid4()
    assert ids_of(str(call).encode()) == [call]
