"""Workers of messages as processes of their own, forked from one that has all modules loaded, and killed at a point."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from uuid import UUID

import aiohttp
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.callbacks.call_ended import calls_ended, message_failed
from engine.cdr.drain import CALL_ENDED
from engine.cdr.model import CallRecord
from engine.foundation.clock import SystemClock
from engine.foundation.database import open_database, transaction
from engine.foundation.log import set_up_log
from engine.foundation.phone_number import PhoneNumber
from engine.jobs.queue import enqueue_each, ids_of
from engine.jobs.worker import Job, Worker
from engine.messages.gateways.gateway import Answer, Finding, Outgoing
from engine.messages.gateways.sandbox import SandboxGateway
from engine.messages.outbox import LOOK_UP_MESSAGE, MESSAGE_FAILED, SEND_MESSAGE, Outbox
from engine.messages.outcome import Pace
from engine.messages.search import messages
from engine.numbers.model import ServiceNumber
from tests.answered_call import answered_call
from tests.chaos.processes import STRIKING, Hand
from tests.shop import keep_call

KEY = "test-key"
QUICK = Pace(
    lease=timedelta(seconds=3),
    first_pause=timedelta(seconds=0.1),
    longest_pause=timedelta(seconds=0.5),
    attempts=50,
    receipt_after=timedelta(seconds=2),
    overdue_after=timedelta(seconds=1),
)
"""The outbox's pace where a test waits for its ends."""
LEASE = timedelta(seconds=2)
"""Of a job, likewise."""

AT_ONCE = 3
"""Messages that the gateway takes together: a job of many needs several submissions, each of several."""

_ANY_NUMBER_OF_DEATHS = 1_000_000  # the rule that holds a job which kills its workers is tested elsewhere
_GATEWAY_TIMEOUT = 0.7
_OVERDUE_EVERY = 0.2
_NO_NEWS = 60.0


class Point(Enum):
    """Where a worker dies."""

    BEFORE_COMMIT = "before a commit"
    AFTER_COMMIT = "after a commit"
    BEFORE_SEND = "before it sends"
    WHILE_SENDING = "while it sends"
    AFTER_ACCEPT = "after the gateway accepted"
    AFTER_JOB = "after the job, before its outcome is written"
    ANY_INSTANT = "at any instant"
    STOPPED_ONCE_ASKED = "stopped when it has asked and is about to send, to come back later"


DEADLY = tuple(point for point in Point if point is not Point.STOPPED_ONCE_ASKED)


@dataclass(frozen=True, slots=True)
class Life:
    """A worker: what it works with, and at which passing of which point it dies; None: it lives on."""

    database: str
    gateway: str
    receipts: str
    pace: Pace
    point: Point | None = None
    passing: int = 1


class _Fate:
    """Counts how often its point was passed, and kills or stops the process at the last."""

    def __init__(self, life: Life) -> None:
        self._point = life.point
        self._left = life.passing

    def pass_by(self, point: Point) -> None:
        if point is self._point:
            self._left -= 1
            if self._left <= 0:
                self._point = None
                os.kill(os.getpid(), signal.SIGKILL if point in DEADLY else signal.SIGSTOP)


class _MortalGateway:
    """The real adapter, with the points around it."""

    def __init__(self, inner: SandboxGateway, fate: _Fate) -> None:
        self.name, self.at_once = inner.name, AT_ONCE
        self._inner = inner
        self._fate = fate

    async def submit(self, messages: Sequence[Outgoing]) -> Sequence[Answer]:
        self._fate.pass_by(Point.BEFORE_SEND)
        sending = asyncio.ensure_future(self._inner.submit(messages))
        await asyncio.wait([sending], timeout=0.001)
        self._fate.pass_by(Point.WHILE_SENDING)
        answers = await sending
        self._fate.pass_by(Point.AFTER_ACCEPT)
        return answers

    async def look_up(self, message_id: UUID) -> Finding:
        finding = await self._inner.look_up(message_id)
        self._fate.pass_by(Point.STOPPED_ONCE_ASKED)
        return finding


async def work(life: Life, begun: Callable[[], None] = lambda: None) -> None:
    """Does the jobs around messages until cancelled or killed; `begun` is called at the first."""
    clock, fate = SystemClock(), _Fate(life)
    async with AsyncExitStack() as stack:
        database = open_database(life.database, command_timeout=10.0, pool_size=10)
        stack.push_async_callback(database.dispose)
        _die_around_commits(database, fate)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        adapter = SandboxGateway(session, life.gateway, KEY, life.receipts, _GATEWAY_TIMEOUT)
        outbox = Outbox(database, _MortalGateway(adapter, fate), clock, life.pace)

        def of_ids(function: Callable[[Sequence[UUID]], Awaitable[None]]) -> Job:
            async def do(payload: bytes) -> None:
                begun()
                await function(ids_of(payload))
                fate.pass_by(Point.AFTER_JOB)

            return Job(do, many=True, crashes=_ANY_NUMBER_OF_DEATHS)

        def of_id(function: Callable[[UUID], Awaitable[None]]) -> Job:
            async def each(ids: Sequence[UUID]) -> None:
                for one in ids:
                    await function(one)

            return of_ids(each)

        async def decide(call_ids: Sequence[UUID]) -> None:
            await calls_ended(database, call_ids, clock.now())

        async def free(message_id: UUID) -> None:
            await message_failed(database, message_id)

        table = {
            CALL_ENDED: of_ids(decide),
            SEND_MESSAGE: of_ids(outbox.send_all),
            LOOK_UP_MESSAGE: of_id(outbox.look_up),
            MESSAGE_FAILED: of_id(free),
        }
        worker = Worker(life.database, table, lease=LEASE)
        worker.every(_OVERDUE_EVERY, "overdue messages", outbox.look_after)
        await worker.run()


def _die_around_commits(database: AsyncEngine, fate: _Fate) -> None:
    committed = False

    def commits(_connection: object) -> None:
        nonlocal committed
        fate.pass_by(Point.BEFORE_COMMIT)
        committed = True

    def comes_back(_raw: object, _entry: object) -> None:
        nonlocal committed
        if committed:
            committed = False
            fate.pass_by(Point.AFTER_COMMIT)

    event.listen(database.sync_engine, "commit", commits)
    event.listen(database.sync_engine, "checkin", comes_back)


async def settled(database: AsyncEngine, calls: int) -> None:
    """Returns when each of so many calls has its message, nothing more happens to any, and no job is left.

    Raises TimeoutError when for a long time nothing changed.
    """
    seen, since = None, time.monotonic()
    while time.monotonic() - since < _NO_NEWS:
        async with transaction(database) as connection:
            kept = await connection.execute(text("SELECT status, count(*) FROM messages GROUP BY 1 ORDER BY 1"))
            jobs = await connection.execute(text("SELECT status::text, count(*) FROM pgqueuer GROUP BY 1 ORDER BY 1"))
            now = ([(state, many) for state, many in kept], [(state, many) for state, many in jobs])
        ended = sum(many for state, many in now[0] if state in ("delivered", "failed", "held"))
        if ended == sum(many for _, many in now[0]) == calls and not now[1]:
            return
        if now != seen:
            seen, since = now, time.monotonic()
        await asyncio.sleep(0.05)
    raise TimeoutError(f"messages and jobs stay at {seen}")


async def ended_calls(database: AsyncEngine, shop: ServiceNumber, numbers: Iterable[int]) -> list[CallRecord]:
    """Calls that deserve a message, of the callers with these numbers in a row, and the one job that follows them."""
    calls = [answered_call(datetime.now(UTC), caller=PhoneNumber(f"0102{number:06}1")) for number in numbers]
    kept = [await keep_call(database, call, shop) for call in calls]
    async with transaction(database) as connection:
        await enqueue_each(connection, CALL_ENDED, [call.call_id for call in kept])
    return kept


async def ended_call(database: AsyncEngine, shop: ServiceNumber, number: int) -> CallRecord:
    """As `ended_calls`, one."""
    return (await ended_calls(database, shop, [number]))[0]


async def queued_together(database: AsyncEngine, shop: ServiceNumber, numbers: Sequence[int]) -> list[CallRecord]:
    """Calls of these callers whose messages are decided and kept, and one job that sends them all."""
    calls = await ended_calls(database, shop, numbers)
    await calls_ended(database, [call.call_id for call in calls], SystemClock().now())
    ids = [one.id for call in calls for one in await messages(database, call_id=call.call_id)]
    async with transaction(database) as connection:
        await connection.execute(text("DELETE FROM pgqueuer"))
        await enqueue_each(connection, SEND_MESSAGE, ids)
    return calls


class Nursery:
    """Where workers come from: each a process of its own, quick to have."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__])

    def begin(self, life: Life) -> tuple[ForkServerProcess, Connection]:
        """A worker, and where it tells that it has begun its first job."""
        hears, tells = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_live, args=(life, tells), daemon=True)
        process.start()
        tells.close()
        return process, hears

    async def live_and_die(self, life: Life, after: float, hand: Hand = STRIKING) -> bool:
        """A worker's whole life; at any instant means `after` seconds after it began to work. False: it lived."""
        process, hears = self.begin(life if hand.strikes else replace(life, point=None))
        try:
            if life.point is Point.ANY_INSTANT and hand.strikes:
                await asyncio.to_thread(hears.poll, _NO_NEWS)
                await asyncio.sleep(after)
                process.kill()
            await asyncio.to_thread(process.join, _NO_NEWS if hand.strikes else hand.patience)
            return process.exitcode == -signal.SIGKILL
        finally:
            process.kill()
            await asyncio.to_thread(process.join)
            process.close()
            hears.close()


def _live(life: Life, tells: Connection) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    set_up_log("CRITICAL")
    told = False

    def begun() -> None:
        nonlocal told
        if not told:
            told = True
            tells.send_bytes(b"begun")

    with suppress(KeyboardInterrupt):
        asyncio.run(work(life, begun))
