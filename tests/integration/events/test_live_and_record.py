"""Live events and records in one table: whichever comes first, whoever dies, each is there once, the end last."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.cdr.drain import Drain
from engine.cdr.model import CallRecord, Side, Step, StepKind
from engine.cdr.spool import Spool
from engine.events.call_log import CallEvent, CallEventKind
from engine.events.live import LiveEvents
from engine.events.sequencer import number_all
from engine.foundation.clock import SystemClock
from engine.foundation.database import open_database, transaction
from engine.foundation.tasks import Tasks
from tests.call_records import CALLER, NUMBER, TARGET, arrival, record
from tests.eventually import eventually
from tests.own_server import OwnServer
from tests.stream_written import open_node

WHOLE = ["call.started", "call.ringing", "call.answered", "call.ended"]


def call_of(account: UUID) -> CallRecord:
    call = record(arrival(account_id=account))
    (leg,) = call.legs
    assert call.answered_at is not None
    connected = Step(kind=StepKind.CONNECT, to=(Side.CALLER, Side.TARGET), started_at=call.answered_at)
    legs = (msgspec.structs.replace(leg, ringing_at=call.ringing_at),)
    return msgspec.structs.replace(call, legs=legs, steps=(*call.steps, connected))


def lines_of(call: CallRecord) -> list[CallEvent]:
    """What the engine tells while the call lives."""
    kinds = (CallEventKind.ARRIVED, CallEventKind.RINGING, CallEventKind.CONNECTED)
    return [
        CallEvent(
            at=call.arrived_at,
            call_id=call.call_id,
            kind=kind,
            number=NUMBER,
            caller=CALLER,
            target=None if kind is CallEventKind.ARRIVED else TARGET,
            account_id=call.account_id,
        )
        for kind in kinds
    ]


async def told(database: AsyncEngine) -> dict[UUID, list[str]]:
    """The kinds of each call's events in the order of the stream."""
    await number_all(database)
    async with transaction(database) as connection:
        rows = await connection.execute(text("SELECT call_id, kind FROM events ORDER BY top, seq"))
        found: dict[UUID, list[str]] = {}
        for row in rows:
            found.setdefault(UUID(str(row.call_id)), []).append(row.kind)
    return found


@asynccontextmanager
async def engine_of(database: AsyncEngine, spool: Spool, folder: Path) -> AsyncIterator[LiveEvents]:
    """What of an engine writes events."""
    live, tasks = LiveEvents(database), Tasks("test engine")
    tasks.start("live", live.run())
    tasks.start("drain", Drain(spool, database, folder / "refused.jsonl").run())
    try:
        yield live
    finally:
        await tasks.close()


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    opened = Spool.open(tmp_path / "spool", "n1", SystemClock())
    yield opened
    await opened.close()


async def play(calls: Sequence[CallRecord], live: LiveEvents, spool: Spool, chance: Random) -> None:
    async def one(call: CallRecord) -> None:
        for line in lines_of(call):
            await asyncio.sleep(chance.random() / 20)
            live.offer(line)
        await asyncio.sleep(chance.random() / 20)
        spool.closed(call)

    await asyncio.gather(*map(one, calls))


async def test_each_is_there_once_in_order_whoever_writes_first(
    database: AsyncEngine, spool: Spool, tmp_path: Path
) -> None:
    calls = [call_of(await open_node(database, f"shop {index}")) for index in range(60)]
    async with engine_of(database, spool, tmp_path) as live:
        await play(calls, live, spool, Random(3))
        await eventually(lambda: spool.waiting == 0)
        for call in calls:  # told again, as by a second engine
            for line in lines_of(call):
                live.offer(line)

        async def settled() -> bool:
            return len(await told(database)) == len(calls)

        await eventually(settled)
    assert await told(database) == {call.call_id: WHOLE for call in calls}


async def test_what_an_engine_had_in_memory_when_it_died_comes_with_the_record(
    database: AsyncEngine, spool: Spool, tmp_path: Path
) -> None:
    shop = await open_node(database, "shop")
    some, others = [call_of(shop) for _ in range(5)], [call_of(shop) for _ in range(5)]
    async with engine_of(database, spool, tmp_path) as live:
        for call in some:
            live.offer(lines_of(call)[0])

        async def written() -> bool:
            return len(await told(database)) == len(some)

        await eventually(written)
        for call in (*some, *others):
            for line in lines_of(call):
                live.offer(line)
        # It dies here: nothing of these is written.
    for call in (*some, *others):
        spool.closed(call)
    async with engine_of(database, spool, tmp_path):
        await eventually(lambda: spool.waiting == 0)
    assert await told(database) == {call.call_id: WHOLE for call in (*some, *others)}


async def test_nothing_is_missing_after_the_database_was_away(tmp_path: Path, spool: Spool) -> None:
    async with OwnServer.running() as server:
        database = open_database(server.url, command_timeout=5.0)
        shop = await open_node(database, "shop")
        calls = [call_of(shop) for _ in range(30)]
        async with engine_of(database, spool, tmp_path) as live:
            await play(calls[:10], live, spool, Random(1))
            await server.stop_at_once()
            await play(calls[10:20], live, spool, Random(2))
            await server.start()
            await play(calls[20:], live, spool, Random(3))
            await eventually(lambda: spool.waiting == 0)
            assert live.left_to_records == 0
        assert await told(database) == {call.call_id: WHOLE for call in calls}
        await database.dispose()


async def test_what_is_told_after_the_end_is_not_written(database: AsyncEngine, spool: Spool, tmp_path: Path) -> None:
    """A telephone that the record does not know of, told late: nothing of a call comes after its end."""
    call = call_of(await open_node(database, "shop"))
    async with engine_of(database, spool, tmp_path) as live:
        spool.closed(call)
        await eventually(lambda: spool.waiting == 0)
        live.offer(msgspec.structs.replace(lines_of(call)[1], target=type(TARGET)("0311234567")))
        marker = call_of(await open_node(database, "other"))
        live.offer(lines_of(marker)[0])

        async def marked() -> bool:
            return marker.call_id in await told(database)

        await eventually(marked)
    assert (await told(database))[call.call_id] == WHOLE
