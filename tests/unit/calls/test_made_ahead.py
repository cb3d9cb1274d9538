"""Who answers waits for nothing that could be done before, and Asterisk is asked for nothing that it does anyway."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.asterisk.commands import OutcomeUnknown, WrongState
from engine.cdr.model import Result, Side
from engine.foundation.errors import DariError, TryLater
from tests.call_desk import SHOP, Desk, play, the_call

PLAIN: dict[str, object] = {"record": False, "whisper": None}


def after(journal: list[str], verb: str) -> list[str]:
    return journal[journal.index(verb) + 1 :]


def test_the_target_is_rung_before_the_caller_hears_anything(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=2.0, hangs_up_after=1.0)
        desk.call()
        await asyncio.sleep(0.2)
        assert desk.journal == ["claim", "arrived", "originate", "start_music"]
        await desk.at_rest()

    play(tmp_path, scenario, **PLAIN)


def test_the_bridge_is_there_when_the_target_answers(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=2.0, hangs_up_after=1.0)
        desk.call()
        await asyncio.sleep(1.5)
        before = list(desk.journal)
        assert before[-1] == "create_bridge"
        await asyncio.sleep(1.0)
        assert desk.journal[len(before) :] == ["synced", "answer", "add_to_bridge"]
        await desk.at_rest()

    play(tmp_path, scenario, **PLAIN)


def test_a_bridge_of_a_call_that_nobody_answers_goes_with_it(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=2.0, sip_code=486)
        record = await the_call(desk)
        assert record.result is Result.BUSY

    play(tmp_path, scenario, **PLAIN)


@pytest.mark.parametrize("failure", [TryLater("away"), OutcomeUnknown("no answer"), WrongState("it is there")])
def test_a_bridge_that_could_not_be_made_ahead_is_made_when_it_is_needed(tmp_path: Path, failure: DariError) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=2.0, hangs_up_after=1.0)
        desk.asterisk.fail_next("create_bridge", failure)
        record = await the_call(desk)
        assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)

    play(tmp_path, scenario, **PLAIN)


@pytest.mark.parametrize("left_after", [0.51, 1.0, 2.2])
def test_a_bridge_that_is_being_made_when_the_caller_leaves_goes_too(tmp_path: Path, left_after: float) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=2.0, hangs_up_after=9.0)
        desk.asterisk.hanging["create_bridge"] = 3.0
        caller = desk.call()
        await asyncio.sleep(left_after)
        caller.hang_up()
        await desk.at_rest()
        assert desk.journal.count("create_bridge") == 1

    play(tmp_path, scenario, **PLAIN)


def test_who_has_hung_up_is_not_hung_up(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=2.0)
        caller = desk.call()
        await asyncio.sleep(4.0)
        caller.hang_up()
        await desk.at_rest()
        assert after(desk.journal, "add_to_bridge").count("hang_up") == 1

    play(tmp_path, scenario, **PLAIN)


def test_a_question_that_fails_is_told_to_whoever_asks_it(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=5.0, hangs_up_after=1.0)
        caller = desk.call()
        await asyncio.sleep(0.2)
        (call,) = desk.reception.calls()
        broken = False

        def happened() -> bool:
            if broken:
                raise ZeroDivisionError
            return False

        asking = asyncio.ensure_future(call.until(happened))
        await asyncio.sleep(0.1)
        broken = True
        with pytest.raises(ZeroDivisionError):
            await asking
        assert caller.leg.sip_call_id == (await desk.one_call(caller)).sip_call_id  # type: ignore[union-attr]

    play(tmp_path, scenario, **PLAIN)
