"""Calls that the dialplan rings and connects by itself, as the engine told it at the door: whole, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from engine.asterisk.call_door import Asked
from engine.asterisk.call_question import Question
from engine.asterisk.events import Event
from engine.calls.arrival import asked_about
from engine.calls.direct import DIAL
from engine.cdr.model import Result, Side, StepKind
from engine.foundation.errors import TryLater
from engine.foundation.ids import new_id
from engine.foundation.tasks import Tasks
from tests.call_desk import NODE, NUMBER, SHOP, Desk, desk_at, play, service_number
from tests.fake_parties import FakeCaller, Leg
from tests.virtual_time import run_virtual

PLAIN: dict[str, object] = {"record": False, "whisper": None}


class Waits(Asked):
    """A call whose dialplan has asked, and waits."""

    def __init__(self, caller: FakeCaller) -> None:
        leg = caller.leg
        self.question = Question(leg.id, leg.name, leg.exten, leg.caller, withheld=False)
        self.told: list[Mapping[str, str]] = []
        self.still_waits = True

    @property
    def waits(self) -> bool:
        return self.still_waits

    def tell(self, values: Mapping[str, str], longest_call: int) -> None:
        self.told.append(values)


def plainly(folder: Path, scenario: Callable[[Desk], Awaitable[None]]) -> None:
    play(folder, scenario, **PLAIN)


async def is_rung(desk: Desk) -> tuple[FakeCaller, Leg]:
    """A caller and the telephone that the dialplan rings for it, as it was told."""
    caller = desk.asterisk.asks(NUMBER)
    asked = Waits(caller)
    await desk.reception.asked(asked)
    assert asked.told[0][DIAL] == f"PJSIP/{SHOP}@carrier"
    assert desk.reception.live_calls == 1
    peer = desk.asterisk.dials(caller)
    desk.asterisk.tells_of_dial(caller, peer, "RINGING")
    await asyncio.sleep(1.0)
    return caller, peer


async def nothing_is_left(desk: Desk) -> None:
    """Neither a call nor what it counted as."""
    await asyncio.sleep(0.5)
    assert desk.reception.live_calls == 0
    assert desk.trunks.load.counts() == {}
    assert not +desk.planner.live


@pytest.mark.parametrize("ends_it", [Side.CALLER, Side.TARGET])
def test_a_talk_counts_and_is_written_down(tmp_path: Path, ends_it: Side) -> None:
    async def scenario(desk: Desk) -> None:
        caller, peer = await is_rung(desk)
        desk.asterisk.connects(caller, peer)
        await asyncio.sleep(10.0)
        assert desk.trunks.load.counts() == {"carrier": 2}
        assert desk.planner.live == {NUMBER: 1}
        desk.asterisk.parts(caller, peer, caller_hangs_up=ends_it is Side.CALLER)
        await nothing_is_left(desk)
        record = await desk.record()
        assert (record.result, record.ended_by, record.target) == (Result.ANSWERED, ends_it, SHOP)
        assert record.talk_seconds == pytest.approx(10.0, abs=0.1)
        assert [leg.channel for leg in record.legs] == [caller.leg.id, peer.id]
        assert record.sip_call_id == caller.leg.sip_call_id

    plainly(tmp_path, scenario)


@pytest.mark.parametrize("ends_it", [Side.CALLER, Side.TARGET])
def test_a_talk_that_is_told_only_with_its_end_is_a_talk(tmp_path: Path, ends_it: Side) -> None:
    async def scenario(desk: Desk) -> None:
        caller, peer = await is_rung(desk)
        desk.asterisk.connects(caller, peer)
        desk.asterisk.parts(caller, peer, caller_hangs_up=ends_it is Side.CALLER)
        await nothing_is_left(desk)
        record = await desk.record()
        assert (record.result, record.ended_by) == (Result.ANSWERED, ends_it)
        assert record.answered_at is not None

    plainly(tmp_path, scenario)


def test_a_caller_who_gives_up_just_as_the_telephone_answers_was_not_answered(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        caller, peer = await is_rung(desk)
        desk.asterisk.tells_of_dial(caller, peer, "ANSWER")
        desk.asterisk.parts(caller, peer, caller_hangs_up=True)
        await nothing_is_left(desk)
        record = await desk.record()
        assert (record.result, record.answered_at) == (Result.CALLER_GAVE_UP, None)

    plainly(tmp_path, scenario)


def test_what_happens_before_the_dialplan_is_told_reaches_the_call(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        caller = desk.asterisk.asks(NUMBER)
        desk.asterisk.hear_takes = 0.9
        tasks = Tasks("door")
        answer = tasks.start("answer", desk.reception.asked(Waits(caller)))
        await asyncio.sleep(0.5)
        caller.hang_up()
        await answer
        await nothing_is_left(desk)
        assert (await desk.record()).result is Result.CALLER_GAVE_UP

    plainly(tmp_path, scenario)


def test_a_channel_of_which_nothing_is_heard_is_not_dialled_for(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.fail_next("hear", TryLater("Asterisk is away"))
        asked = Waits(desk.asterisk.asks(NUMBER))
        await desk.reception.asked(asked)
        assert asked.told == []
        assert "arrived" not in desk.journal
        await nothing_is_left(desk)

    plainly(tmp_path, scenario)


@pytest.mark.parametrize("waits", [True, False])
def test_a_call_counts_from_its_plan_on_and_not_when_its_dialplan_has_gone_on(tmp_path: Path, waits: bool) -> None:
    async def scenario(desk: Desk) -> None:
        tasks = Tasks("door")
        asked = Waits(desk.asterisk.asks(NUMBER))
        desk.asterisk.hear_takes = 0.9
        answer = tasks.start("answer", desk.reception.asked(asked))
        await asyncio.sleep(0.5)
        assert desk.planner.live == {NUMBER: 1}
        assert desk.trunks.load.counts() == {"carrier": 2}
        asked.still_waits = waits
        await answer
        await asyncio.sleep(0.5)
        assert bool(asked.told) is waits
        assert +desk.planner.live == ({NUMBER: 1} if waits else {})
        assert desk.trunks.load.counts() == ({"carrier": 2} if waits else {})

    plainly(tmp_path, scenario)


def test_a_call_asked_about_before_the_engine_drains_is_not_begun_after(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        tasks = Tasks("door")
        asked = Waits(desk.asterisk.asks(NUMBER))
        desk.asterisk.hear_takes = 0.9
        answer = tasks.start("answer", desk.reception.asked(asked))
        await asyncio.sleep(0.5)
        desk.reception.draining = True
        await answer
        assert asked.told == []
        await nothing_is_left(desk)

    plainly(tmp_path, scenario)


def test_an_offer_told_twice_is_claimed_once(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        caller, peer = await is_rung(desk)
        tell = desk.asterisk.connection.tell

        def twice(event: Event) -> None:
            tell(event)
            tell(event)

        desk.asterisk.connection.tell = twice  # type: ignore[method-assign]
        desk.asterisk.comes_back(caller, peer, status="BUSY", cause=17, code=486)
        await nothing_is_left(desk)
        assert ((await desk.record()).result, caller.final_code) == (Result.BUSY, 486)

    plainly(tmp_path, scenario)


def test_the_callers_own_place_on_the_trunk_counts_before_one_is_dialled_on(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks[0] = msgspec.structs.replace(desk.trunks.trunks[0], max_calls=1)
        asked = Waits(desk.asterisk.asks(NUMBER))
        await desk.reception.asked(asked)
        assert asked.told == []
        await nothing_is_left(desk)

    plainly(tmp_path, scenario)


def test_a_call_that_is_offered_before_the_answer_hears_of_its_caller(tmp_path: Path) -> None:
    """Asterisk waits for the answer only so long."""

    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=None)
        caller = desk.asterisk.asks(NUMBER)
        tasks = Tasks("door")
        asked = Waits(caller)
        desk.asterisk.hear_takes = 0.9
        answer = tasks.start("answer", desk.reception.asked(asked))
        await asyncio.sleep(0.5)
        asked.still_waits = False
        desk.asterisk.offers(caller, "allowed_not_screened")
        await asyncio.sleep(1.0)
        assert desk.reception.live_calls == 1
        caller.hang_up()
        await asyncio.sleep(1.0)
        assert desk.reception.live_calls == 0
        await answer
        assert (await desk.record()).result is Result.CALLER_GAVE_UP

    plainly(tmp_path, scenario)


def test_a_call_of_ours_that_comes_back_is_claimed_also_while_draining(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        caller, peer = await is_rung(desk)
        desk.reception.draining = True
        desk.asterisk.comes_back(caller, peer, status="BUSY", cause=17, code=486)
        await nothing_is_left(desk)
        record = await desk.record()
        assert (record.result, record.ended_by, caller.final_code) == (Result.BUSY, Side.TARGET, 486)

    plainly(tmp_path, scenario)


def test_a_trunk_that_rang_nobody_in_its_time_is_followed_by_no_other(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        carrier = msgspec.structs.replace(desk.trunks.trunks[0], longest_ringing=5, provisional_seconds=60.0)
        desk.trunks.trunks[:] = [carrier, msgspec.structs.replace(carrier, name="second")]
        caller = desk.asterisk.asks(NUMBER)
        asked = Waits(caller)
        await desk.reception.asked(asked)
        assert asked.told[0]["DARI_RINGS"] == "5"
        peer = desk.asterisk.dials(caller)
        await asyncio.sleep(5.0)
        desk.asterisk.comes_back(caller, peer, status="NOANSWER", cause=19, code=100)
        await nothing_is_left(desk)
        assert ((await desk.record()).result, caller.final_code) == (Result.UNREACHABLE, 502)
        assert "originate" not in desk.journal

    plainly(tmp_path, scenario)


@pytest.mark.parametrize("draining", [True, False])
def test_a_strangers_call_that_comes_back_is_never_claimed(tmp_path: Path, draining: bool) -> None:
    async def scenario(desk: Desk) -> None:
        desk.reception.draining = draining
        stranger = desk.asterisk.asks(NUMBER)
        peer = desk.asterisk.dials(stranger)
        desk.asterisk.comes_back(stranger, peer, status="BUSY", cause=17, code=486)
        await stranger.until_over()
        assert "claim" not in desk.journal
        assert await desk.records() == []

    plainly(tmp_path, scenario)


def test_a_call_that_could_not_be_claimed_back_is_left_to_the_dialplan(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        caller, peer = await is_rung(desk)
        desk.asterisk.rival_claims = True
        leg = caller.leg
        desk.asterisk.comes_back(caller, peer, status="BUSY", cause=17, code=486)
        await asyncio.sleep(0.4)
        leg.is_offered, leg.context, leg.application = False, "dari-alone-ring", "Dial"
        await asyncio.sleep(60.0)
        assert not leg.gone, "the engine hung up on a caller whom it had lost"
        await nothing_is_left(desk)
        assert await desk.records() == []

    plainly(tmp_path, scenario)


def test_a_talk_of_which_nobody_told_is_found_before_it_is_given_up(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        caller, peer = await is_rung(desk)
        desk.asterisk.connection.connected = False  # what is told now is lost, and nobody knows
        desk.asterisk.connects(caller, peer)
        desk.asterisk.connection.connected = True
        await asyncio.sleep(25.0)
        assert not caller.leg.gone
        assert [call.state.value for call in desk.reception.calls()] == ["connected"]
        desk.asterisk.parts(caller, peer, caller_hangs_up=True)
        await nothing_is_left(desk)
        assert (await desk.record()).talk_seconds == pytest.approx(25.0, abs=1.0)

    async def run() -> None:
        async with desk_at(tmp_path, service_number(**PLAIN, ring_seconds=5)) as desk:
            await scenario(desk)

    run_virtual(run())


def test_two_who_part_while_no_events_come_are_not_lost(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        caller, peer = await is_rung(desk)
        desk.asterisk.connects(caller, peer)
        await asyncio.sleep(5.0)
        desk.asterisk.connection.cut()
        await asyncio.sleep(1.0)
        desk.asterisk.parts(caller, peer, caller_hangs_up=True)
        desk.asterisk.connection.restore()
        await asyncio.sleep(5.0)
        await nothing_is_left(desk)
        record = await desk.record()
        assert (record.result, record.ended_by) == (Result.ANSWERED, Side.CALLER)

    plainly(tmp_path, scenario)


def test_a_call_that_is_offered_again_while_no_events_come_is_claimed(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        caller, peer = await is_rung(desk)
        desk.asterisk.connection.cut()
        await asyncio.sleep(1.0)
        desk.asterisk.comes_back(caller, peer, status="BUSY", cause=17, code=486)
        desk.asterisk.connection.restore()
        await nothing_is_left(desk)
        assert ((await desk.record()).result, caller.final_code) == (Result.BUSY, 486)

    plainly(tmp_path, scenario)


@pytest.mark.parametrize("rings", [True, False])
def test_the_next_life_follows_on(tmp_path: Path, rings: bool) -> None:
    async def run() -> None:
        async with desk_at(tmp_path, service_number(**PLAIN)) as first:
            caller, peer = await is_rung(first)
            if not rings:
                first.asterisk.connects(caller, peer)
                await asyncio.sleep(1.0)
            await first.reception.close(grace=0)
            await first.spool.close()
            first.spool.close = _closed_already  # type: ignore[method-assign]
            async with desk_at(tmp_path, service_number(**PLAIN), asterisk=first.asterisk) as second:
                await asyncio.sleep(5.0)
                if rings:
                    first.asterisk.connects(caller, peer)
                    await asyncio.sleep(1.0)
                assert [call.state.value for call in second.reception.calls()] == ["connected"]
                assert second.trunks.load.counts() == {"carrier": 2}
                first.asterisk.parts(caller, peer, caller_hangs_up=False)
                await nothing_is_left(second)
                record = await second.record()
        assert (record.result, record.ended_by, record.target) == (Result.ANSWERED, Side.TARGET, SHOP)
        assert record.sip_call_id == caller.leg.sip_call_id
        assert [step.kind for step in record.steps] == [StepKind.RINGBACK, StepKind.CONNECT]

    run_virtual(run())


def test_a_call_whose_engine_died_before_it_noted_the_telephone_is_left_to_the_dialplan(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path, service_number(**PLAIN)) as first:
            caller = first.asterisk.asks(NUMBER)
            call_id = new_id(first.asterisk.clock.now())
            number = first.numbers[NUMBER]
            first.spool.arrived(asked_about(call_id, NODE, Waits(caller).question, number))
            first.asterisk.dials(caller)
            await first.spool.close()
            first.spool.close = _closed_already  # type: ignore[method-assign]
            async with desk_at(tmp_path, service_number(**PLAIN), asterisk=first.asterisk) as second:
                await asyncio.sleep(60.0)
                assert second.reception.live_calls == 0
                assert await second.records() == []
                assert "originate" not in second.journal
                assert not caller.leg.gone

    run_virtual(run())


async def _closed_already() -> None:
    """Nothing is left to do."""
