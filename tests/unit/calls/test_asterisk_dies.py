"""Asterisk is killed under live calls: each of them ended when it was last heard, however late it is back."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from engine.cdr.left_behind import read_back
from engine.cdr.model import CallRecord, Result, Side
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import Target
from tests.call_desk import SHOP, Desk, play

OTHER = PhoneNumber("0312345678")
SECOND = timedelta(seconds=1)


async def records_after_the_death(desk: Desk, away: float) -> list[CallRecord]:
    """Asterisk dies now and is back after so many seconds."""
    desk.asterisk.die()
    await asyncio.sleep(away)
    desk.asterisk.connection.restore()
    await desk.at_rest()
    return await desk.records()


@pytest.mark.parametrize("away", [1.0, 300.0])
def test_a_talk_ended_when_asterisk_did_and_not_when_it_came_back(tmp_path: Path, away: float) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.2, answers_after=0.5)
        caller = desk.call()
        await asyncio.sleep(12.0)
        assert caller.final_code == 200
        died_at = desk.asterisk.clock.now()
        [record] = await records_after_the_death(desk, away)
        assert (record.result, record.ended_by) == (Result.ANSWERED, Side.DARI)
        assert abs(record.ended_at - died_at) < SECOND
        assert record.answered_at is not None
        assert record.talk_seconds == pytest.approx((died_at - record.answered_at).total_seconds(), abs=0.1)
        assert all(leg.ended_at == record.ended_at for leg in record.legs)
        assert all(step.ended_at is not None and step.ended_at <= record.ended_at for step in record.steps)

    play(tmp_path, scenario, record=False)


def test_a_call_that_rang_ended_when_asterisk_did(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=None)
        desk.call()
        await asyncio.sleep(5.0)
        died_at = desk.asterisk.clock.now()
        [record] = await records_after_the_death(desk, 2.0)
        assert (record.result, record.ended_by) == (Result.LOST, Side.DARI)
        assert abs(record.ended_at - died_at) < SECOND

    play(tmp_path, scenario)


@pytest.mark.parametrize("away", [0.5, 3.0, 60.0])
def test_what_a_script_makes_of_a_dead_asterisk_is_no_end_of_the_call(tmp_path: Path, away: float) -> None:
    """The shop was being asked to press 1; then no command finds its leg any more, nor any other telephone's."""

    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.2, answers_after=0.5)
        desk.asterisk.phone(OTHER, rings_after=0.2, answers_after=0.5)
        desk.call()
        await asyncio.sleep(4.0)
        died_at = desk.asterisk.clock.now()
        [record] = await records_after_the_death(desk, away)
        assert (record.result, record.ended_by, record.answered_at) == (Result.LOST, Side.DARI, None)
        assert abs(record.ended_at - died_at) < SECOND
        assert {leg.number for leg in record.legs[1:]} == {SHOP}
        assert all(leg.ended_at == record.ended_at for leg in record.legs)
        assert all(step.started_at <= record.ended_at == step.ended_at for step in record.steps if not step.whole)

    rung = (Target(number=PhoneNumber(SHOP)), Target(number=OTHER))
    play(tmp_path, scenario, targets=rung, accept=True, record=False)


def test_what_was_known_before_asterisk_died_stays(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.call()
        await asyncio.sleep(1.0)
        [record] = await records_after_the_death(desk, 3.0)
        assert record.result is Result.CLOSED

    play(tmp_path, scenario, announcement="ko/closed")


def test_a_socket_that_was_cut_ends_no_call(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.2, answers_after=0.5)
        caller = desk.call()
        await asyncio.sleep(12.0)
        desk.asterisk.connection.cut()
        await asyncio.sleep(20.0)
        desk.asterisk.connection.restore()
        await asyncio.sleep(10.0)
        assert desk.reception.live_calls == 1
        caller.hang_up()
        await desk.at_rest()
        [record] = await desk.records()
        assert record.talk_seconds == pytest.approx(40.0, abs=3.0)

    play(tmp_path, scenario, record=False)


def test_calls_of_the_new_asterisk_are_none_of_the_dead_ones(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.2, answers_after=0.5, hangs_up_after=30.0)
        before = desk.call()
        await asyncio.sleep(12.0)
        desk.asterisk.die()
        await asyncio.sleep(1.0)
        desk.asterisk.connection.restore()
        after = desk.call(caller="01099998888")
        await desk.at_rest()
        ended = {record.sip_call_id: record for record in await desk.records()}
        assert ended[before.leg.sip_call_id].talk_seconds < 12.0
        assert ended[after.leg.sip_call_id].talk_seconds == pytest.approx(30.0, abs=2.0)

    play(tmp_path, scenario, record=False)


def test_no_proof_of_life_comes_from_calls_that_nobody_can_see(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.2, answers_after=0.5)
        desk.call()
        await asyncio.sleep(12.0)
        cut_at = desk.asterisk.clock.now()
        desk.asterisk.connection.cut()
        await asyncio.sleep(60.0)
        [open_call] = read_back(tmp_path / "spool").open.values()
        assert abs(open_call.last_alive - cut_at) < SECOND

    play(tmp_path, scenario, record=False)
