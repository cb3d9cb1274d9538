"""Does the jobs in the queue, several at once, beside any number of other workers.

One of the two places that catch every exception: a job that fails must not end the worker. It is logged and held.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import asyncpg
import structlog
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.core.qm import QueueManager
from pgqueuer.domain.errors import RetryRequested
from pgqueuer.domain.models import Job as QueuedJob
from pgqueuer.domain.models import utc_now
from pgqueuer.domain.types import QueueManagerId

from engine.foundation.database import connect, database_errors
from engine.foundation.errors import DariError, GaveUp, TryLater
from engine.foundation.tasks import Tasks
from engine.jobs.lease import GATHER, STARTS, FencedQueries

LEASE = timedelta(seconds=30)
"""A job whose worker has shown no sign of life for so long is given to another one."""
_POLL = timedelta(seconds=5)  # jobs are notified at once; this is for a notification that was lost
_BATCH = 50
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0
_FAREWELL = 2.0  # seconds in which the outcomes of the last jobs are written; the end of the lease tells them else

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """What is done for a job of one name, and when it is given up: it is then held for somebody to look at."""

    function: Callable[[bytes], Awaitable[None]]
    """Gets the payload. Raises TryLater to be called again after that time; any other error holds the job.
    It may be called again after it has succeeded: what it does, it does under a key."""
    many: bool = False
    """Whether its payload may name several things, one in a line, which are done together or not at all. When that
    fails, or took its worker down, each is done by a job of its own: a bad one is held alone."""
    patience: timedelta = timedelta(days=1)
    """A job of this age that still says TryLater is held."""
    crashes: int = 3
    """A job that took its worker down so often in a row is held, not started again."""


class Worker:
    """Does jobs of the names in its table. A database that is away is waited for."""

    def __init__(
        self,
        database_url: str,
        table: Mapping[str, Job],
        *,
        at_once: int = 10,
        lease: timedelta = LEASE,
        command_timeout: float = 10.0,
    ) -> None:
        self.done: Counter[str] = Counter()
        self.held: Counter[str] = Counter()
        """Jobs by name that this worker has done and held; see `Job`."""
        self.reason = ""
        """Why no jobs are done now; empty when they are."""
        self._database_url = database_url
        self._table = table
        self._room = asyncio.Semaphore(at_once)
        self._alone = asyncio.Lock()
        """For a job that lost its worker: should it take this one down too, no other such job is blamed for that."""
        self._lease = lease
        self._command_timeout = command_timeout
        self._periodic: list[tuple[float, str, Callable[[], Awaitable[None]]]] = []
        self._tasks = Tasks("jobs")
        self._stopping = asyncio.Event()
        self._manager: QueueManager | None = None
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._busy = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._former: set[QueueManagerId] = set()
        """Who this worker was over connections that it lost; nothing of theirs runs any more."""

    def every(self, seconds: float, name: str, function: Callable[[], Awaitable[None]]) -> None:
        """While the worker runs, calls `function` at once and then again `seconds` after each return, errors or not."""
        self._periodic.append((seconds, name, function))

    async def run(self) -> None:
        """Does jobs until cancelled; then finishes those that run. A second cancellation puts them back."""
        # The traceback of a held job is told here, once.
        logging.getLogger("pgqueuer").addFilter(_not_told_here)
        for seconds, name, function in self._periodic:
            self._tasks.start(name, _repeat(seconds, name, function))
        serving = self._tasks.start("serve", self._serve())
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self._stopping.set()
            if self._manager:
                self._manager.shutdown.set()
            self._tasks.start("farewell", self._take_leave())
            await serving
            raise
        finally:
            await self._tasks.close()

    async def _serve(self) -> None:
        wait = _FIRST_WAIT
        while not self._stopping.is_set():
            try:
                await self._serve_once()
                wait = _FIRST_WAIT
                if not self._stopping.is_set():
                    self._note("the connection to the database was lost")
            except DariError as error:
                self._note(str(error))
            except Exception:
                log.exception("the queue failed")
                self._note("the queue failed")
            await _wait(self._stopping, wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _take_leave(self) -> None:
        """Once no job runs any more, a database that is silent is not waited for."""
        await self._idle.wait()
        await asyncio.sleep(_FAREWELL)
        if self._connection is not None:
            self._connection.terminate()

    async def _serve_once(self) -> None:
        """Does jobs until the connection is lost or the worker stops."""
        connection = await connect(self._database_url, self._command_timeout, application_name="dari jobs")
        self._connection = connection
        try:
            await self._serve_over(connection)
        finally:
            connection.terminate()

    async def _serve_over(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        queries = FencedQueries(AsyncpgDriver(connection))
        manager = QueueManager(queries)
        queries.worker = manager.queue_manager_id
        manager.min_dequeue_poll_interval = timedelta(seconds=GATHER)
        for name, job in self._table.items():
            manager.entrypoint(name, on_failure="hold", accepts_context=False)(partial(self._do, queries, job))
        connection.add_termination_listener(lambda _connection: manager.shutdown.set())
        self._manager = manager
        if self._stopping.is_set() or connection.is_closed():
            return
        with database_errors():
            if self._former and (count := await queries.give_back(self._former)):
                log.info("jobs whose outcome could not be written are done again", count=count)
            self._former = {manager.queue_manager_id}
            self._note("")
            await manager.run(
                dequeue_timeout=min(_POLL, self._lease),
                batch_size=_BATCH,
                max_concurrent_tasks=2 * _BATCH,
                heartbeat_timeout=self._lease,
                shutdown_on_listener_failure=True,
            )

    async def _do(self, queries: FencedQueries, job: Job, queued: QueuedJob) -> None:
        """Does one job. Raises RetryRequested to get it again later, any other error to have it held."""
        try:
            async with self._alone if _lost_its_worker(queued) else self._room:
                await self._start(queries, job, queued)
        except RetryRequested:
            raise
        except TryLater as error:
            if utc_now() - queued.created < job.patience:
                raise RetryRequested(timedelta(seconds=error.after), str(error)) from None
            if not await _taken_apart(queries, job, queued):
                self._told_held(queued, f"it has waited for {job.patience}: {error}")
                raise
        except asyncio.CancelledError:
            # As a cancelled job PgQueuer would delete it.
            raise RetryRequested(reason="its worker was stopped") from None
        except Exception as error:
            if not await _taken_apart(queries, job, queued):
                known = isinstance(error, DariError)
                self._told_held(queued, str(error) if known else "it failed", with_traceback=not known)
                raise

    async def _start(self, queries: FencedQueries, job: Job, queued: QueuedJob) -> None:
        if self._stopping.is_set():
            raise RetryRequested(reason="its worker was stopped before it began")
        suspect = _lost_its_worker(queued)
        if suspect and await _taken_apart(queries, job, queued):
            return
        if await self._may_start(queries, job, queued):
            with self._at_work():
                await job.function(queued.payload or b"")
            self.done[queued.entrypoint] += 1
            if suspect:
                await queries.clear(queued)

    async def _may_start(self, queries: FencedQueries, job: Job, queued: QueuedJob) -> bool:
        """Whether the job is still ours. Raises GaveUp when it took down too many workers.

        That of a job which was picked just now, from among those that waited, need not be asked, nor its start counted.
        """
        if not _lost_its_worker(queued) and utc_now() - queued.updated < self._lease / 2:
            return True
        with database_errors():
            starts = await queries.count_start(queued)
        if starts is not None and starts > job.crashes:
            raise GaveUp(f"its worker died {job.crashes} times in a row while doing it")
        return starts is not None

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self._busy += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._busy -= 1
            if not self._busy:
                self._idle.set()

    def _told_held(self, queued: QueuedJob, reason: str, *, with_traceback: bool = False) -> None:
        self.held[queued.entrypoint] += 1
        log.error("a job is held", job=queued.entrypoint, id=queued.id, reason=reason, exc_info=with_traceback)

    def _note(self, reason: str) -> None:
        if reason and not self.reason:
            log.warning("jobs wait", reason=reason)
        elif self.reason and not reason:
            log.info("jobs are done again")
        self.reason = reason


def _lost_its_worker(queued: QueuedJob) -> bool:
    """Whether it was picked before, and nobody knows what became of it."""
    return bool(queued.headers and queued.headers.get(STARTS))


async def _taken_apart(queries: FencedQueries, job: Job, queued: QueuedJob) -> bool:
    """Puts jobs of one thing each into the place of a job of many. False: it is one of those.

    Raises RetryRequested when the database is away.
    """
    lines = (queued.payload or b"").splitlines()
    if not job.many or len(lines) < 2:
        return False
    try:
        with database_errors():
            await queries.replace(queued, lines)
    except TryLater as error:
        raise RetryRequested(timedelta(seconds=error.after), str(error)) from None
    log.warning("a job of many is done one by one", job=queued.entrypoint, id=queued.id, count=len(lines))
    return True


async def _repeat(seconds: float, name: str, function: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await function()
        except DariError as error:
            log.warning("periodic work failed", work=name, reason=str(error))
        except Exception:
            log.exception("periodic work failed", work=name)
        await asyncio.sleep(seconds)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _not_told_here(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Exception while processing")
