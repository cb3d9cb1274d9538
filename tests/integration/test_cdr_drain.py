"""From the spool into a real database: nothing is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from engine.cdr.drain import CALL_ENDED, Drain
from engine.cdr.spool import Spool
from engine.foundation.clock import SystemClock
from engine.foundation.database import open_database, transaction
from engine.foundation.ids import new_id
from engine.jobs.queue import MANY, ids_of
from tests.call_records import MORNING, arrival, record
from tests.eventually import eventually
from tests.own_server import OwnServer, Wire


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    opened = Spool.open(tmp_path / "spool", "n1", SystemClock())
    yield opened
    await opened.close()


@asynccontextmanager
async def _draining(spool: Spool, database: AsyncEngine, folder: Path) -> AsyncIterator[Drain]:
    """A drain that runs; it must not have ended by itself."""
    drain = Drain(spool, database, folder / "refused.jsonl")
    running = asyncio.ensure_future(drain.run())
    try:
        yield drain
        assert not running.done(), running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _written(database: AsyncEngine) -> tuple[list[UUID], list[UUID], list[UUID]]:
    """The call ids of the records, of the events, and in the jobs, sorted."""
    async with transaction(database) as connection:
        records = (await connection.execute(text("SELECT call_id FROM calls ORDER BY 1"))).scalars().all()
        events = (
            (await connection.execute(text("SELECT call_id FROM events WHERE kind = 'call.ended' ORDER BY 1")))
            .scalars()
            .all()
        )
        jobs = await connection.execute(
            text("SELECT payload FROM pgqueuer WHERE entrypoint = :name"), {"name": CALL_ENDED}
        )
        return list(records), list(events), sorted(call for payload in jobs.scalars() for call in ids_of(payload))


def _once(ids: list[UUID]) -> tuple[list[UUID], list[UUID], list[UUID]]:
    return sorted(ids), sorted(ids), sorted(ids)


async def test_each_call_brings_one_record_one_event_and_its_part_of_a_job(
    spool: Spool, database: AsyncEngine, tmp_path: Path
) -> None:
    account = new_id(MORNING)
    records = [record(arrival(account_id=account)) for _ in range(450)]
    async with _draining(spool, database, tmp_path):
        for one in records:
            spool.closed(one)
        await eventually(lambda: spool.waiting == 0)
    assert await _written(database) == _once([one.call_id for one in records])
    async with transaction(database) as connection:
        jobs = await connection.scalar(
            text("SELECT count(*) FROM pgqueuer WHERE entrypoint = :name"), {"name": CALL_ENDED}
        )
        assert 450 / MANY <= jobs < 450 / 2
        row = (
            (
                await connection.execute(
                    text("SELECT * FROM events WHERE call_id = :id AND kind = 'call.ended'"), {"id": records[0].call_id}
                )
            )
            .mappings()
            .one()
        )
    assert (row["kind"], row["account_id"], row["at"]) == ("call.ended", account, records[0].ended_at)
    assert row["body"]["result"] == "answered"
    assert row["body"]["talk_seconds"] == 42.5
    assert "legs" not in row["body"]


async def test_draining_again_after_a_crash_changes_nothing(database: AsyncEngine, tmp_path: Path) -> None:
    records = [record() for _ in range(5)]
    first = Spool.open(tmp_path / "first", "n1", SystemClock())
    second = Spool.open(tmp_path / "second", "n1", SystemClock())
    for spool in (first, second):  # the same calls, as after a crash between commit and `drained`
        for one in records:
            spool.closed(one)
    second.closed(fresh := record())
    for spool in (first, second):
        async with _draining(spool, database, tmp_path):
            await eventually(lambda spool=spool: spool.waiting == 0)
        await spool.close()
    assert await _written(database) == _once([one.call_id for one in [*records, fresh]])


async def test_a_commit_in_doubt_is_tried_again_and_nothing_is_doubled(
    spool: Spool, database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    records = [record() for _ in range(20)]
    async with Wire.to(database_url) as wire:
        through_wire = open_database(wire.url, command_timeout=5.0)
        wire.commits_to_cut = 3
        async with _draining(spool, through_wire, tmp_path):
            for one in records:
                spool.closed(one)
            await eventually(lambda: spool.waiting == 0)
        await through_wire.dispose()
        assert wire.commits_cut == 3
    assert await _written(database) == _once([one.call_id for one in records])


@pytest.mark.parametrize("poison", [{"caller_sent": "\0"}, {"cause": 2**40}])
async def test_a_record_that_the_database_refuses_is_set_aside_and_holds_no_other(
    poison: dict[str, object], spool: Spool, database: AsyncEngine, tmp_path: Path
) -> None:
    good = [record() for _ in range(3)]
    bad = msgspec.structs.replace(record(), **poison)
    for one in (good[0], bad, *good[1:]):
        spool.closed(one)
    with capture_logs() as logs:
        async with _draining(spool, database, tmp_path):
            await eventually(lambda: spool.waiting == 0)
    assert await _written(database) == _once([one.call_id for one in good])
    (line,) = (tmp_path / "refused.jsonl").read_bytes().splitlines()
    assert msgspec.json.decode(line)["record"]["call_id"] == str(bad.call_id)
    assert msgspec.json.decode(line)["reason"]
    (told,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert told["call"] == str(bad.call_id)


async def test_records_wait_while_the_database_is_away_and_go_in_when_it_is_back(spool: Spool, tmp_path: Path) -> None:
    async with OwnServer.running() as server:
        database = open_database(server.url, command_timeout=5.0)
        before, during = [record() for _ in range(3)], [record() for _ in range(3)]
        with capture_logs() as logs:
            async with _draining(spool, database, tmp_path) as drain:
                for one in before:
                    spool.closed(one)
                await eventually(lambda: spool.waiting == 0)
                await server.stop_at_once()
                for one in during:
                    spool.closed(one)
                    await spool.synced()
                await eventually(lambda: drain.reason != "")
                assert spool.waiting == 3
                await server.start()
                await eventually(lambda: spool.waiting == 0)
                await eventually(lambda: drain.reason == "")
        assert await _written(database) == _once([one.call_id for one in before + during])
        await database.dispose()
        assert [entry["log_level"] for entry in logs] == ["warning", "info"]
