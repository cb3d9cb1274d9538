"""Which calls are taken, and what becomes of them when the engine goes."""

from __future__ import annotations

import asyncio
import errno
import os
from pathlib import Path

import pytest

from engine.asterisk.events import ApplicationReplaced
from engine.cdr.model import Result, Side
from engine.foundation.errors import Conflict
from tests.call_desk import SHOP, desk_at
from tests.virtual_time import run_virtual


def test_claim_lost_to_another_engine_leaves_no_record(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.rival_claims = True
            assert await desk.one_call(desk.call()) is None

    run_virtual(run())


def test_claim_after_the_caller_left_leaves_no_record(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.hanging["claim"] = 0.1
            caller = desk.call()
            await asyncio.sleep(0.05)
            caller.hang_up()
            await asyncio.sleep(0.1)
            assert await desk.one_call(caller) is None

    run_virtual(run())


def test_draining_engine_claims_nothing_and_its_live_call_goes_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=20.0)
            first = desk.call()
            await asyncio.sleep(5)
            desk.reception.draining = True
            claims = desk.journal.count("claim")
            second = desk.call()
            await second.until_over()
            assert desk.journal.count("claim") == claims
            assert second.final_code == 503
            closed = await desk.one_call(first)
            assert closed is not None
            assert closed.result is Result.ANSWERED

    run_virtual(run())


def test_engine_whose_disk_takes_nothing_claims_nothing_until_it_is_well_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.phone(SHOP, sip_code=486)
            with monkeypatch.context() as broken:
                broken.setattr(os, "write", full)
                taken = desk.call()  # the one that shows it: served all the same
                await desk.at_rest()
                assert taken.final_code == 486
                assert not desk.reception.takes_calls
                refused = desk.call()
                await refused.until_over()
                assert refused.final_code == 503
            await asyncio.sleep(6)
            assert desk.reception.takes_calls
            assert [record.result for record in await desk.records()] == [Result.BUSY]

    run_virtual(run())


def test_engine_whose_disk_does_not_sync_learns_that_it_does_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_disk(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=10.0)
            with monkeypatch.context() as broken:
                broken.setattr(os, "fdatasync", broken_disk)
                closed = await desk.one_call(desk.call())
                assert closed is not None
                assert closed.result is Result.ANSWERED
                await asyncio.sleep(20)
                assert not desk.reception.takes_calls
            await asyncio.sleep(6)
            assert desk.reception.takes_calls

    run_virtual(run())


def test_engine_that_loses_its_application_to_another_ends_with_one_sentence_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.phone(SHOP)
            desk.call()
            await asyncio.sleep(1)
            ending = asyncio.get_running_loop().time()
            (running,) = [task for task in asyncio.all_tasks() if task.get_name() == "desk:reception"]
            desk.asterisk.connection.tell(ApplicationReplaced(application="dari-n1"))
            with pytest.raises(Conflict, match=r"application dari-n1 .* set DARI_NODE"):
                await running
            await desk.reception.close(grace=60)
            assert asyncio.get_running_loop().time() == ending, "it waited for events that never come"

    run_virtual(run())


def test_engine_that_is_stopped_follows_its_live_calls_to_their_end(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as desk:
            desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=20.0)
            caller = desk.call()
            await asyncio.sleep(8)
            (running,) = [task for task in asyncio.all_tasks() if task.get_name() == "desk:reception"]
            running.cancel()  # as SIGTERM does
            await desk.reception.close(grace=60)
            assert desk.asterisk.left_over() == []
            record = await desk.record()
            assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)
            assert record.sip_call_id == caller.leg.sip_call_id
            assert (record.ended_at - record.arrived_at).total_seconds() == pytest.approx(21, abs=0.1)

    run_virtual(run())


@pytest.mark.parametrize("hangs_up", ["caller", "target", "nobody"])
def test_talk_is_taken_over_by_the_next_life(tmp_path: Path, hangs_up: str) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as first:
            phone = first.asterisk.phone(SHOP, answers_after=1.0)
            caller = first.call()
            await asyncio.sleep(10)
            await first.reception.close(grace=0)
            assert len(first.asterisk.left_over()) == 3
            await first.spool.close()
            first.spool.close = _done  # type: ignore[method-assign]
            if hangs_up == "target":
                first.asterisk.hang_up_phone(phone)
            if hangs_up == "caller":
                caller.hang_up()
            async with desk_at(tmp_path, asterisk=first.asterisk) as second:
                await asyncio.sleep(5)
                if hangs_up == "nobody":
                    assert second.reception.live_calls == 1
                    first.asterisk.hang_up_phone(phone)
                    await asyncio.sleep(1)
                assert second.asterisk.left_over() == []
                record = await second.record()
            assert record.sip_call_id == caller.leg.sip_call_id
            if hangs_up == "nobody":
                assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)
                assert record.talk_seconds == pytest.approx(15.0 - 2.7, abs=0.2)
                assert record.legs[0].answered_at == record.answered_at
            else:
                left = Side.CALLER if hangs_up == "caller" else Side.TARGET
                assert (record.result, record.ended_by) == (Result.ANSWERED, left)
                assert record.talk_seconds == pytest.approx(10.0 - 2.7, abs=5.0), "longer than the last proof of life"

    run_virtual(run())


async def _done() -> None:
    """Closed already."""
