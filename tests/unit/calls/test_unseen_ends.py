"""Who left while no events came, though the engine lived on: the call ended then, not when that is seen."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from engine.calls.notes import Notes, moment_of
from engine.calls.unseen_end import lost
from engine.cdr.call_row import parse
from engine.cdr.model import Leg, OpenCall, Progress, Result, Side, StepKind
from engine.events.call_log_writer import CallLog
from engine.foundation.clock import SystemClock
from engine.foundation.phone_number import PhoneNumber
from tests.call_desk import SHOP, desk_at, service_number
from tests.call_records import arrival
from tests.call_rows import append, written_row
from tests.unit.calls.test_left_open import all_over, row_of, write_rows
from tests.virtual_time import run_virtual

AWAY = 60.0
CLOSE = timedelta(seconds=0.1)


@pytest.mark.parametrize("side", [Side.CALLER, Side.TARGET])
def test_talk_ends_with_whoever_left_while_no_events_came(tmp_path: Path, side: Side) -> None:
    async def run() -> None:
        file = write_rows(tmp_path)
        async with desk_at(tmp_path, service_number(record=False), call_file=file) as desk:
            phone = desk.asterisk.phone(SHOP, answers_after=1.0)
            caller = desk.call()
            await asyncio.sleep(10)
            assert caller.final_code == 200
            desk.asterisk.connection.cut()
            await asyncio.sleep(2)
            left_at = desk.asterisk.clock.now()
            leg = caller.leg if side is Side.CALLER else phone.legs[0]
            append(tmp_path / "calls.csv", row_of(leg, 2.7, left_at))
            if side is Side.CALLER:
                caller.hang_up()
            else:
                desk.asterisk.hang_up_phone(phone)
            await asyncio.sleep(AWAY)
            desk.asterisk.connection.restore()
            record = await all_over(desk)
        assert (record.result, record.ended_by) == (Result.ANSWERED, side)
        talk = next(step for step in record.steps if step.kind is StepKind.CONNECT)
        assert talk.ended_at is not None
        assert abs(talk.ended_at - left_at) < CLOSE
        assert record.talk_seconds == pytest.approx(12.0 - 2.7, abs=1.0)
        if side is Side.CALLER:
            assert abs(record.ended_at - left_at) < CLOSE

    run_virtual(run())


def test_a_call_of_which_its_engine_told_nothing_but_that_it_came_is_known_by_its_channel(tmp_path: Path) -> None:
    came, clock = arrival(), SystemClock()
    open_call = OpenCall(arrival=came, last_alive=came.arrived_at + timedelta(seconds=3))
    log = CallLog(tmp_path, "calls", mask=False, max_bytes=10_000_000, files=2)
    record = lost(open_call, Notes(came, clock, log, moment_of(came.arrived_at, clock)), None, hung_up=False)
    log.close()
    [leg] = record.legs
    assert (leg.side, leg.channel, leg.sip_call_id) == (Side.CALLER, came.channel, came.sip_call_id)
    assert leg.ended_at is not None
    assert abs(leg.started_at - came.arrived_at) < CLOSE
    assert abs(leg.ended_at - open_call.last_alive) < CLOSE
    assert (record.result, record.talk_seconds) == (Result.LOST, 0.0)


@pytest.mark.parametrize(
    ("came_back", "offer", "result", "ended_by"),
    [
        (False, "DIRECT|CALLER", Result.ANSWERED, Side.CALLER),
        (False, "DIRECT|PJSIP/x-1", Result.ANSWERED, Side.TARGET),
        (True, "DIRECT|CALLER", Result.VOICEMAIL, Side.CALLER),
    ],
)
def test_whoever_answered_after_the_engine_had_gone_was_connected_by_the_dialplan(
    tmp_path: Path, came_back: bool, offer: str, result: Result, ended_by: Side
) -> None:
    came, clock = arrival(), SystemClock()
    seen = came.arrived_at + timedelta(seconds=3)
    target = Leg(
        side=Side.TARGET,
        channel="target",
        sip_call_id=None,
        trunk="carrier",
        number=PhoneNumber(SHOP),
        started_at=came.arrived_at,
        ended_at=seen if came_back else None,
    )
    open_call = OpenCall(arrival=came, last_alive=seen, progress=Progress(at=seen, life=1, legs=(target,)))
    row = parse(written_row(began=came.arrived_at, answered=6.0, lasted=20.0, offer=offer, alone=""))
    log = CallLog(tmp_path, "calls", mask=False, max_bytes=10_000_000, files=2)
    record = lost(open_call, Notes(came, clock, log, moment_of(came.arrived_at, clock)), row, hung_up=False)
    log.close()
    assert (record.result, record.ended_by) == (result, ended_by)
    assert record.talk_seconds == (0.0 if came_back else pytest.approx(14.0, abs=0.1))
    assert len(record.steps) == (0 if came_back else 1)


def test_caller_who_gave_up_while_no_events_came_did_so_then(tmp_path: Path) -> None:
    async def run() -> None:
        file = write_rows(tmp_path)
        async with desk_at(tmp_path, service_number(record=False), call_file=file) as desk:
            desk.asterisk.phone(SHOP, answers_after=None)
            caller = desk.call()
            await asyncio.sleep(3)
            desk.asterisk.connection.cut()
            await asyncio.sleep(2)
            left_at = desk.asterisk.clock.now()
            append(tmp_path / "calls.csv", row_of(caller.leg, 0.0, left_at))
            caller.hang_up()
            await asyncio.sleep(4)
            desk.asterisk.connection.restore()
            record = await all_over(desk)
        assert (record.result, record.ended_by) == (Result.CALLER_GAVE_UP, Side.CALLER)
        assert abs(record.ended_at - left_at) < CLOSE

    run_virtual(run())
