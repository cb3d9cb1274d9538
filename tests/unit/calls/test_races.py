"""Two things at once: what would go wrong only in that instant goes right."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from engine.asterisk.commands import WrongState
from engine.calls.arrival import Order
from engine.cdr.model import CallRecord, Result, Side, StepKind
from engine.foundation.errors import Conflict, TryLater
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import ConsentOffer, Fallback, Limits, RecordMode, Target, TargetOrder, Then, Treatment
from engine.routing.model import Condition, Rule
from tests.call_desk import CARRIER, NUMBER, SHOP, Desk, desk_at, play, service_number, the_call
from tests.fake_parties import FakeCaller
from tests.virtual_time import run_virtual

OTHER = "0312345678"
CUSTOMER = "01098765432"
CLICK = Order(number=PhoneNumber(NUMBER), first=PhoneNumber(SHOP), second=PhoneNumber(CUSTOMER))
TEST_CALL = Order(number=PhoneNumber(NUMBER), first=PhoneNumber(CUSTOMER))
SECOND = msgspec.structs.replace(CARRIER, name="second")
VOICEMAIL = (Fallback(then=Then.VOICEMAIL, sounds=("own/greeting",)),)


@pytest.fixture(autouse=True)
def no_call_fails() -> Iterator[list[Any]]:
    """An ordinary race is no failure of ours."""
    with capture_logs() as logs:
        yield logs
    assert [line for line in logs if line["event"] in ("call failed", "task failed")] == []


def both(seconds: int = 20) -> tuple[Target, ...]:
    return tuple(Target(number=PhoneNumber(number), ring_seconds=seconds) for number in (SHOP, OTHER))


def heard(party: FakeCaller | Any) -> list[str]:
    return [
        "talk" if each.what.startswith("bridge:") else each.what.removeprefix("sound:/sounds/") for each in party.heard
    ]


async def until_heard(party: FakeCaller, what: str) -> None:
    async with asyncio.timeout(60):
        while what not in heard(party):
            await asyncio.sleep(0.05)


async def record_of(desk: Desk, caller: FakeCaller) -> CallRecord:
    record = await desk.one_call(caller)
    assert record is not None
    return record


def test_notice_that_is_cut_by_the_refusal_does_not_hold_up_what_comes_instead(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, sip_code=486)
        caller = desk.call()
        await until_heard(caller, "ko/beep")
        caller.hang_up()
        record = await record_of(desk, caller)
        assert record.result is Result.VOICEMAIL
        assert heard(caller) == ["test/long-notice", "own/greeting", "ko/beep"]
        assert caller.heard[0].ended == pytest.approx(0.2, abs=0.1)
        (notice,) = [step for step in record.steps if step.kind is StepKind.NOTICE]
        assert not notice.whole

    play(tmp_path, scenario, fallbacks=VOICEMAIL, record=False, notice="test/long-notice")


def test_notice_that_is_still_on_its_way_to_asterisk_is_cut_too(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.hanging["play"] = 0.2
        desk.asterisk.phone(SHOP, sip_code=486)
        caller = desk.call()
        await until_heard(caller, "own/busy")
        assert (await record_of(desk, caller)).result is Result.BUSY
        assert heard(caller) in (["own/busy"], ["test/long-notice", "own/busy"])
        assert caller.heard[-1].began < 2

    play(tmp_path, scenario, busy=("own/busy",), record=False, notice="test/long-notice")


def test_target_that_leaves_when_it_was_told_of_the_recording_is_not_recorded(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.spool.sync_seconds = 0.15
        desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=1.8)
        desk.asterisk.phone(OTHER, answers_after=1.0, hangs_up_after=10.0)
        record = await the_call(desk)
        assert (record.result, record.target) == (Result.ANSWERED, OTHER)
        assert record.recording is not None
        (recording,) = desk.asterisk.recordings
        assert record.talk_seconds == pytest.approx((recording.ended or 0.0) - recording.began, abs=0.01)

    play(tmp_path, scenario, targets=both(), recording=RecordMode.ALWAYS)


def test_target_that_is_gone_takes_no_place_on_its_trunk(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks = [msgspec.structs.replace(CARRIER, max_calls=2)]
        desk.asterisk.phone(SHOP, sip_code=486)
        desk.asterisk.phone(OTHER, answers_after=1.0, hangs_up_after=5.0)
        record = await the_call(desk)
        assert (record.result, record.target) == (Result.ANSWERED, OTHER)
        assert desk.trunks.load.counts() == {}

    play(tmp_path, scenario, targets=both(), record=False)


def test_next_trunk_that_is_full_by_now_gets_no_call(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks = [CARRIER, msgspec.structs.replace(SECOND, max_calls=1)]
        shop = desk.asterisk.phone(SHOP, silent=True)
        caller = desk.call()
        await asyncio.sleep(1)
        with desk.trunks.taken("second"):
            await asyncio.sleep(10)
            assert len(shop.legs) == 1
        caller.hang_up()
        await record_of(desk, caller)

    play(tmp_path, scenario, record=False)


def test_test_call_does_not_stand_in_its_own_way_at_the_limit(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.numbers[NUMBER] = msgspec.structs.replace(desk.numbers[NUMBER], limits=Limits(at_once=1))
        desk.asterisk.phone(CUSTOMER, answers_after=1.0)
        desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=8.0)
        desk.reception.place(TEST_CALL)
        await asyncio.sleep(6)
        assert desk.planner.live.total() == 1
        await desk.at_rest()
        assert (await desk.record()).result is Result.ANSWERED
        assert desk.planner.live.total() == 0

    play(tmp_path, scenario, record=False)


def test_first_party_of_a_placed_call_answered_when_it_picked_up(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=1.0)
        desk.asterisk.phone(CUSTOMER, answers_after=5.0, hangs_up_after=5.0)
        desk.reception.place(CLICK)
        await desk.at_rest()
        record = await desk.record()
        answered = record.legs[0].answered_at
        assert answered is not None
        assert record.answered_at is not None
        assert (answered - record.arrived_at).total_seconds() == pytest.approx(1.0, abs=0.1)
        assert (record.answered_at - record.arrived_at).total_seconds() == pytest.approx(6.0, abs=0.1)

    play(tmp_path, scenario, record=False)


def test_first_party_is_tried_on_the_next_trunk_when_one_says_nothing_at_all(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks = [CARRIER, SECOND]
        shop = desk.asterisk.phone(SHOP, silent=True)
        desk.reception.place(CLICK)
        await asyncio.sleep(4.5)
        assert [leg.gone for leg in shop.legs] == [True, False]
        assert desk.trunks.load.counts() == {"second": 1}
        await desk.at_rest()
        record = await desk.record()
        assert [(leg.trunk, leg.side) for leg in record.legs] == [("second", Side.CALLER), ("carrier", Side.CALLER)]
        assert desk.trunks.load.counts() == {}

    play(tmp_path, scenario, record=False)


def test_command_that_comes_when_the_caller_goes_changes_no_result(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        for error in (WrongState("going"), TryLater("away")):
            desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=2.0, sip_code=486)
            caller = desk.call()
            await asyncio.sleep(1.5)
            desk.asterisk.fail_next("stop_music", error)
            assert (await record_of(desk, caller)).result is Result.BUSY
            assert caller.final_code == 486

    play(tmp_path, scenario, busy=("own/busy",), record=False)


def test_key_that_the_manager_did_not_take_can_be_pressed_again(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        shop = desk.asterisk.phone(SHOP, answers_after=1.0)
        caller = desk.call()
        await until_heard(caller, "talk")
        desk.asterisk.fail_next("silence_recording", TryLater("the manager is away"))
        for _ in range(2):
            desk.asterisk.press(shop.legs[0], "*2")
            await asyncio.sleep(1)
        caller.hang_up()
        record = await record_of(desk, caller)
        assert [silent for _, silent in desk.asterisk.recordings[0].silences] == [True]
        assert [step.kind for step in record.steps].count(StepKind.PAUSE) == 1

    play(tmp_path, scenario, recording=RecordMode.ALWAYS)


def test_recording_that_two_start_at_once_is_started_once(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.hanging["record"] = 0.5
        shop = desk.asterisk.phone(SHOP, answers_after=1.0)
        caller = desk.call()
        await until_heard(caller, "talk")
        (call,) = desk.reception.calls()
        assert call.recording is not None
        desk.asterisk.press(shop.legs[0], "*1")
        await asyncio.sleep(0.1)
        with pytest.raises(Conflict, match="being recorded already"):
            await call.recording.resume()
        assert len(desk.asterisk.recordings) == 1
        caller.hang_up()
        await record_of(desk, caller)

    play(tmp_path, scenario, recording=RecordMode.ON_KEY)


def test_recording_changes_no_more_when_the_talk_is_over(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=5.0)
        caller = desk.call()
        await until_heard(caller, "talk")
        (call,) = desk.reception.calls()
        switch = call.recording
        assert switch is not None
        await until_heard(caller, "ko/consent-offer")
        assert call.recording is None
        for deed in (switch.resume, switch.pause):
            with pytest.raises(Conflict):
                await deed()
        await desk.at_rest()
        (record,) = await desk.records()
        assert (record.recording, desk.asterisk.recordings) == (None, [])

    play(tmp_path, scenario, recording=RecordMode.ON_KEY, consent=ConsentOffer(text="약도"))


def test_recording_of_a_caller_who_has_just_left_is_a_conflict(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=1.0)
        caller = desk.call()
        await until_heard(caller, "talk")
        (call,) = desk.reception.calls()
        assert call.recording is not None
        caller.hang_up()
        with pytest.raises(Conflict, match=str(call.id)):
            await call.recording.pause()
        await record_of(desk, caller)

    play(tmp_path, scenario, recording=RecordMode.ALWAYS)


def test_bridge_that_does_not_go_costs_the_consent_offer_only(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=5.0)
        caller = desk.call()
        await until_heard(caller, "talk")
        desk.asterisk.fail_next("destroy_bridge", TryLater("away"))
        record = await record_of(desk, caller)
        assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)

    play(tmp_path, scenario, consent=ConsentOffer(text="약도"), record=False)


def test_voicemail_whose_end_nobody_told_is_kept(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, sip_code=486)
        caller = desk.call()
        await until_heard(caller, "ko/beep")
        await asyncio.sleep(4)
        desk.asterisk.connection.cut()
        desk.asterisk.press(caller.leg, "#")
        await asyncio.sleep(1)
        desk.asterisk.connection.restore()
        await desk.at_rest(within=200)
        record = await desk.record()
        assert (record.result, bool(record.voicemail)) == (Result.VOICEMAIL, True)

    play(tmp_path, scenario, fallbacks=VOICEMAIL, record=False)


@pytest.mark.parametrize(("ends", "by"), [("hang-up", Side.CALLER), ("#", Side.CALLER), ("limit", Side.DARI)])
def test_who_ended_a_voicemail(tmp_path: Path, ends: str, by: Side) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, sip_code=486)
        caller = desk.call()
        await until_heard(caller, "ko/beep")
        await asyncio.sleep(4)
        if ends == "hang-up":
            caller.hang_up()
        elif ends == "#":
            desk.asterisk.press(caller.leg, "#")
        await desk.at_rest(within=200)
        record = await desk.record()
        assert (record.result, record.ended_by) == (Result.VOICEMAIL, by)

    play(tmp_path, scenario, fallbacks=VOICEMAIL, record=False)


def test_target_that_could_not_be_told_to_stop_ringing_is_not_left_alone_when_it_answers(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        slow = desk.asterisk.phone(SHOP, answers_after=3.0)
        desk.asterisk.phone(OTHER, answers_after=1.0)
        caller = desk.call()
        await asyncio.sleep(0.9)
        desk.asterisk.fail_next("hang_up", TryLater("away"))
        await asyncio.sleep(2.0)
        assert not slow.legs[0].gone, "it was told"
        await asyncio.sleep(1.0)
        assert slow.legs[0].gone
        assert desk.reception.live_calls == 1
        caller.hang_up()
        assert (await record_of(desk, caller)).target == OTHER

    play(tmp_path, scenario, targets=both(), order=TargetOrder.ALL_AT_ONCE, record=False)


def test_target_that_was_dropped_and_is_dropped_again_when_it_has_gone_did_not_hang_up(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=None, rings_after=0.1)
        caller = desk.call()
        await asyncio.sleep(1.0)
        [call] = desk.reception.calls()
        [target] = call.targets
        await call.drop(target)
        await asyncio.sleep(0.1)
        assert target.gone
        await call.drop(target)
        assert not target.hung_up
        caller.hang_up()
        await desk.at_rest()

    play(tmp_path, scenario, record=False)


@pytest.mark.parametrize("slow", ["music_class", "speech"])
def test_music_and_voice_that_take_their_time_hold_nobody_up(tmp_path: Path, slow: str) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.hanging[slow] = 60.0
        desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=10.0)
        record = await the_call(desk)
        assert record.result is Result.ANSWERED
        assert record.answered_at is not None
        assert (record.answered_at - record.arrived_at).total_seconds() < 3

    play(tmp_path, scenario, record=False)


def test_music_that_is_ready_too_late_does_not_sound_in_the_talk(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.hanging["music_class"] = 3.0
        desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=10.0)
        caller = desk.call()
        await record_of(desk, caller)
        assert heard(caller) == ["talk"]

    play(tmp_path, scenario, record=False, whisper=None)


def test_caller_who_left_in_a_gap_after_a_target_did_ended_the_call(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=0.3)
        desk.asterisk.phone(OTHER, answers_after=15.0)
        caller = desk.call()
        await asyncio.sleep(5)
        desk.asterisk.connection.cut()
        caller.hang_up()
        await asyncio.sleep(1)
        desk.asterisk.connection.restore()
        record = await record_of(desk, caller)
        assert (record.result, record.ended_by) == (Result.CALLER_GAVE_UP, Side.CALLER)

    play(tmp_path, scenario, targets=both(), record=False)


# The engine dies in the middle, and another life of it takes over.


async def _closed_already() -> None:
    """The dead one's spool."""


async def die(desk: Desk) -> None:
    await desk.reception.close(grace=0)
    await desk.spool.close()
    desk.spool.close = _closed_already  # type: ignore[method-assign]


async def all_over(desk: Desk) -> None:
    """Waits until no call lives and Asterisk has nothing of ours."""
    async with asyncio.timeout(60):
        while desk.reception.live_calls or desk.asterisk.left_over():
            await asyncio.sleep(0.05)


def test_placed_talk_over_the_second_trunk_is_taken_over(tmp_path: Path) -> None:
    async def run() -> None:
        async with desk_at(tmp_path, service_number(record=False)) as first:
            first.trunks.trunks = [msgspec.structs.replace(CARRIER, name="nowhere"), CARRIER]
            first.asterisk.phone(SHOP, answers_after=1.0)
            customer = first.asterisk.phone(CUSTOMER, answers_after=1.0)
            first.reception.place(CLICK)
            await asyncio.sleep(6)
            await die(first)
            async with desk_at(tmp_path, asterisk=first.asterisk) as second:
                await asyncio.sleep(4)
                assert second.reception.live_calls == 1
                assert not customer.legs[0].gone
                assert second.trunks.load.counts() == {"carrier": 2}
                first.asterisk.hang_up_phone(customer)
                await all_over(second)
                record = await second.record()
                assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)
                assert second.trunks.load.counts() == {}

    run_virtual(run())


@pytest.mark.parametrize("instant", [0.2, 1.2, 2.0, 3.0, 4.5, 6.0, 8.0, 11.0, 14.0])
@pytest.mark.parametrize(
    "number",
    [
        {"targets": both(), "order": TargetOrder.ALL_AT_ONCE},
        {"targets": both(), "order": TargetOrder.ALL_AT_ONCE, "accept": True},
        {"targets": both(2), "recording": RecordMode.ALWAYS},
        {"consent": ConsentOffer(text="약도"), "record": False},
    ],
)
def test_engine_that_dies_at_any_time_leaves_nobody_alone(
    tmp_path: Path, number: dict[str, object], instant: float
) -> None:
    async def run() -> None:
        in_service = service_number(**number)
        async with desk_at(tmp_path, in_service) as first:
            first.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=9.0)
            first.asterisk.phone(OTHER, answers_after=1.5, hangs_up_after=9.0)
            caller = first.call()
            await asyncio.sleep(instant)
            await die(first)
            async with desk_at(tmp_path, in_service, asterisk=first.asterisk) as second:
                await all_over(second)
                record = await second.record()
                assert record.sip_call_id == caller.leg.sip_call_id
                assert record.result is (Result.REJECTED if "accept" in number else Result.ANSWERED)
                assert second.trunks.load.counts() == {}
                assert second.planner.live.total() == 0

    run_virtual(run())


@pytest.mark.parametrize("instant", [0.1, 0.7, 1.0, 1.5, 3.0, 3.5, 6.0])
def test_engine_that_dies_in_a_placed_call_leaves_nobody_alone(tmp_path: Path, instant: float) -> None:
    async def run() -> None:
        async with desk_at(tmp_path) as first:
            first.asterisk.phone(SHOP, answers_after=1.0)
            customer = first.asterisk.phone(CUSTOMER, answers_after=1.5)
            first.reception.place(CLICK)
            await asyncio.sleep(instant)
            await die(first)
            async with desk_at(tmp_path, asterisk=first.asterisk) as second:
                await asyncio.sleep(10)
                first.asterisk.hang_up_phone(customer)
                await all_over(second)
                record = await second.record()
                assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)
                assert second.trunks.load.counts() == {}
                assert second.planner.live.total() == 0

    run_virtual(run())


def test_call_that_is_taken_over_keeps_the_message_that_its_rule_set(tmp_path: Path) -> None:
    always = Rule(name="always", condition=Condition(), treatment=Treatment(callback="night"))

    async def run() -> None:
        async with desk_at(tmp_path, rules=(always,)) as first:
            first.asterisk.phone(SHOP, answers_after=1.0)
            caller = first.call()
            await asyncio.sleep(6)
            await die(first)
            async with desk_at(tmp_path, asterisk=first.asterisk, rules=(always,)) as second:
                await asyncio.sleep(4)
                caller.hang_up()
                await all_over(second)
                record = await second.record()
                assert (record.result, record.callback, record.rules) == (Result.ANSWERED, "night", ("always",))

    run_virtual(run())


def test_voicemail_in_which_the_engine_died_is_kept(tmp_path: Path) -> None:
    async def run() -> None:
        in_service = service_number(fallbacks=VOICEMAIL, record=False)
        async with desk_at(tmp_path, in_service) as first:
            first.asterisk.phone(SHOP, sip_code=486)
            caller = first.call()
            await until_heard(caller, "ko/beep")
            await asyncio.sleep(4)
            await die(first)
            left = tmp_path / "recording" / f"{first.reception.calls()[0].id}.voicemail.wav"
            left.parent.mkdir()
            left.touch()
            async with desk_at(tmp_path, in_service, asterisk=first.asterisk) as second:
                await asyncio.sleep(4)
                second.asterisk.press(caller.leg, "#")
                await all_over(second)
                record = await second.record()
                assert (record.result, record.ended_by, bool(record.voicemail)) == (Result.VOICEMAIL, Side.CALLER, True)
                assert caller.heard[-1].what.endswith("voicemail-thanks")
                assert sum(heard.what.endswith("ko/beep") for heard in caller.heard) == 1

    run_virtual(run())
