"""What becomes of the calls that a dead engine left, when no engine saw how they went on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from engine.asterisk.commands import OutcomeUnknown
from engine.calls.own_ids import voicemail_of
from engine.cdr.call_file import CallFile
from engine.cdr.model import CallRecord, OpenCall, Result, Side, StepKind
from engine.numbers.treatment import Fallback, Then
from tests.call_desk import SHOP, Desk, desk_at, service_number
from tests.call_rows import written_row
from tests.fake_parties import Leg
from tests.virtual_time import run_virtual

VOICEMAIL = (Fallback(then=Then.VOICEMAIL),)


async def _closed_already() -> None:
    """The dead one's spool."""


async def die(desk: Desk) -> UUID:
    """As by kill -9; the id of its only call."""
    (call,) = desk.reception.calls()
    await desk.reception.close(grace=0)
    await desk.spool.close()
    desk.spool.close = _closed_already  # type: ignore[method-assign]
    return call.id


async def all_over(desk: Desk) -> CallRecord:
    """Waits until no call lives and Asterisk has nothing of ours; the only record."""
    async with asyncio.timeout(200):
        while desk.reception.live_calls or desk.asterisk.left_over():
            await asyncio.sleep(0.05)
    return await desk.record()


async def until_released(desk: Desk) -> None:
    """Waits until the spool has no open call."""
    async with asyncio.timeout(60):
        while desk.spool._pending.open:
            await asyncio.sleep(0.05)


def write_rows(folder: Path, *rows: bytes) -> CallFile:
    path = folder / "calls.csv"
    path.write_bytes(b"".join(rows))
    return CallFile(path)


def row_of(leg: Leg, answered: float, now: datetime, alone: str = "") -> bytes:
    """What Asterisk writes down of a leg that ends now."""
    began = datetime.fromisoformat(leg.created)
    lasted = (now - began).total_seconds()
    return written_row(
        channel=leg.id,
        sip_call_id=leg.sip_call_id,
        began=began,
        answered=answered,
        lasted=lasted,
        offer="SUCCESS",
        alone=alone,
    )


def test_leg_that_rang_is_in_the_record_though_nobody_saw_it_end(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path, service_number(record=False)) as first:
            phone = first.asterisk.phone(SHOP, rings_after=1.0, answers_after=None)
            caller = first.call()
            await asyncio.sleep(3)
            await die(first)
            first.asterisk.hang_up_phone(phone)
            caller.hang_up()
            async with desk_at(tmp_path, asterisk=first.asterisk) as second:
                record = await all_over(second)
                (_, target) = record.legs
                assert target.ringing_at is not None
                assert (target.ringing_at - record.arrived_at).total_seconds() == pytest.approx(1.0, abs=0.1)
                assert record.ringing_at == target.ringing_at

    run_virtual(run())


def test_target_that_answered_and_did_not_press_1_yet_is_in_the_record(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path, service_number(record=False, accept=True)) as first:
            phone = first.asterisk.phone(SHOP, answers_after=2.0)
            caller = first.call()
            await asyncio.sleep(4)
            await die(first)
            first.asterisk.hang_up_phone(phone)
            caller.hang_up()
            async with desk_at(tmp_path, asterisk=first.asterisk) as second:
                (_, target) = (await all_over(second)).legs
                assert target.answered_at is not None

    run_virtual(run())


@pytest.mark.parametrize("caller_stays", [False, True])
def test_talk_ends_with_the_target_that_hung_up_while_no_engine_was_there(tmp_path: Path, caller_stays: bool) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as first:
            phone = first.asterisk.phone(SHOP, answers_after=1.0)
            caller = first.call()
            await asyncio.sleep(10)
            await die(first)
            await asyncio.sleep(2)
            target, clock = phone.legs[0], first.asterisk.clock
            left_at = clock.now()
            rows = [row_of(target, 1.0, left_at)]
            first.asterisk.hang_up_phone(phone)
            await asyncio.sleep(30)
            if not caller_stays:
                rows.append(row_of(caller.leg, 2.7, clock.now()))
                caller.hang_up()
            file = write_rows(tmp_path, *rows)
            async with desk_at(tmp_path, asterisk=first.asterisk, call_file=file) as second:
                record = await all_over(second)
        assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)
        assert record.talk_seconds == pytest.approx(12.0 - 2.7, abs=0.3)
        assert record.ended_at - record.arrived_at > timedelta(seconds=40)
        talk = next(step for step in record.steps if step.kind is StepKind.CONNECT)
        assert talk.ended_at is not None
        assert abs(talk.ended_at - left_at) < timedelta(seconds=0.1)
        assert record.legs[-1].channel == target.id
        assert record.legs[-1].ended_at == pytest.approx(left_at, abs=timedelta(seconds=0.1))

    run_virtual(run())


def test_talk_that_was_over_before_the_engine_died_is_not_counted_on(tmp_path: Path) -> None:
    """The caller stayed on, for what is offered after it."""

    async def run() -> None:
        async with desk_at(tmp_path, service_number(record=False)) as first:
            first.asterisk.phone(SHOP, answers_after=1.0)
            caller = first.call()
            await asyncio.sleep(10)
            (call,) = first.reception.calls()
            call.notes.end_steps()
            await asyncio.sleep(1)
            call.keep()
            await die(first)
            await asyncio.sleep(20)
            file = write_rows(tmp_path, row_of(caller.leg, 2.7, first.asterisk.clock.now()))
            caller.hang_up()
            async with desk_at(tmp_path, asterisk=first.asterisk, call_file=file) as second:
                record = await all_over(second)
        assert record.talk_seconds == pytest.approx(10.0 - 2.0, abs=0.3)

    run_virtual(run())


def test_ringing_call_that_is_taken_over_twice_goes_on_and_connects(tmp_path: Path) -> None:
    async def run() -> None:
        number = service_number(record=False, whisper=None)
        async with desk_at(tmp_path, number) as first:
            phone = first.asterisk.phone(SHOP, answers_after=6.0, hangs_up_after=5.0)
            caller = first.call()
            await asyncio.sleep(3)
            await die(first)
            async with desk_at(tmp_path, number, asterisk=first.asterisk, node="n2") as second:
                await asyncio.sleep(3)
                await die(second)
                async with desk_at(tmp_path, number, asterisk=first.asterisk, node="n3") as third:
                    record = await all_over(third)
        assert caller.final_code == 200
        assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)
        assert [leg.id.rpartition(".")[2] for leg in phone.legs] == ["n1", "n2", "n3"]

    run_virtual(run())


@pytest.mark.parametrize("was_done", [True, False])
def test_connection_that_asterisk_never_confirms_comes_about(tmp_path: Path, was_done: bool) -> None:
    async def run() -> None:
        async with desk_at(tmp_path, service_number(record=False)) as desk:
            phone = desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=12.0)
            add = desk.asterisk.add_to_bridge
            unanswered = OutcomeUnknown("no answer within 5 s")

            async def says_nothing(bridge: str, *channels: str) -> None:
                desk.asterisk.add_to_bridge = add  # type: ignore[method-assign]
                if was_done:
                    await add(bridge, *channels)
                desk.asterisk.fail_next("bridges", unanswered)
                raise unanswered

            desk.asterisk.add_to_bridge = says_nothing  # type: ignore[method-assign]
            caller = desk.call()
            record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)
        assert sum(heard.what.startswith("bridge:") for heard in phone.heard) == 1
        assert record.talk_seconds > 5.0

    run_virtual(run())


def test_caller_whom_a_third_engine_has_is_not_taken_on_anew(tmp_path: Path) -> None:
    async def run() -> None:
        asked: list[int] = []
        theirs: list[OpenCall] = []

        async def elsewhere() -> Sequence[OpenCall]:
            asked.append(1)
            return theirs

        async with desk_at(tmp_path / "third", service_number(record=False)) as third:
            third.asterisk.phone(SHOP, answers_after=None)
            caller = third.call()
            await asyncio.sleep(2)
            theirs += third.spool._pending.open.values()
            await die(third)
            async with desk_at(tmp_path / "own", asterisk=third.asterisk, elsewhere=elsewhere) as own:
                await own.reception.take_over([], "dari-n4")
                await asyncio.sleep(5)
                assert own.reception.live_calls == 0
                assert asked
                theirs.clear()
                await own.reception.take_over([], "dari-n4")
                await asyncio.sleep(1)
                assert own.reception.live_calls == 1, "one whom nobody has is taken on"
                caller.hang_up()
                await all_over(own)

    run_virtual(run())


def test_nobody_is_asked_for_their_calls_while_nothing_is_strange(tmp_path: Path) -> None:
    async def run() -> None:
        asked: list[int] = []

        async def elsewhere() -> Sequence[OpenCall]:
            asked.append(1)
            return ()

        async with desk_at(tmp_path, elsewhere=elsewhere) as desk:
            desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=100.0)
            await desk.one_call(desk.call())
            assert asked == []

    run_virtual(run())


@pytest.mark.parametrize("told_by", ["dialplan", "row"])
def test_call_that_the_dialplan_runs_alone_is_given_away(tmp_path: Path, told_by: str) -> None:
    async def run() -> None:
        async with desk_at(tmp_path, service_number(record=False)) as first:
            phone = first.asterisk.phone(SHOP, answers_after=None)
            caller = first.call()
            await asyncio.sleep(3)
            await die(first)
            first.asterisk.hang_up_phone(phone)
            first.asterisk.release(caller.leg)
            file = None
            if told_by == "row":
                file = write_rows(tmp_path, row_of(caller.leg, 2.0, first.asterisk.clock.now(), alone="yes"))
                caller.hang_up()
            async with desk_at(tmp_path, asterisk=first.asterisk, call_file=file) as second:
                await until_released(second)
                await asyncio.sleep(40)
                assert caller.leg.gone is (told_by == "row"), "whom the dialplan looks after stays there"
                assert await second.records() == []
                await second.spool.close()
                second.spool.close = _closed_already  # type: ignore[method-assign]
            async with desk_at(tmp_path, asterisk=first.asterisk, call_file=file) as third:
                assert third.spool.left_open == []

    run_virtual(run())


def test_recorder_of_a_message_whose_caller_was_released_is_ended(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path, service_number(record=False, fallbacks=VOICEMAIL)) as first:
            first.asterisk.phone(SHOP, sip_code=486)
            caller = first.call()
            async with asyncio.timeout(60):
                while caller.leg.own_recording is None:
                    await asyncio.sleep(0.05)
            call_id = await die(first)
            first.asterisk.release(caller.leg)
            assert await first.asterisk.is_recording(voicemail_of(call_id))
            async with desk_at(tmp_path, asterisk=first.asterisk) as second:
                await until_released(second)
                await asyncio.sleep(1)
                assert not await second.asterisk.is_recording(voicemail_of(call_id))

    run_virtual(run())
