"""Several targets, what comes when nobody takes the call, and what each party goes through on the way."""

from __future__ import annotations

import asyncio
from datetime import time
from pathlib import Path

import msgspec
import pytest

from engine.cdr.model import CallRecord, Result, Side, StepKind
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import (
    CallerShown,
    ConsentOffer,
    Failure,
    Fallback,
    Limits,
    RecordMode,
    Target,
    TargetOrder,
    Then,
    Treatment,
    Whisper,
)
from engine.routing.model import Condition, Rule, TimeSpan
from engine.trunks.model import NumberFormat, Trunk
from tests.call_desk import CARRIER, NUMBER, SHOP, Desk, play, the_call
from tests.fake_parties import FakeCaller

OTHER = "0312345678"
THIRD = "01098765432"


def targets(*numbers: str, seconds: int = 5) -> tuple[Target, ...]:
    return tuple(Target(number=PhoneNumber(number), ring_seconds=seconds) for number in numbers)


def heard(caller: FakeCaller) -> list[str]:
    """What a party heard, in short: sound names, music, talk."""
    return [
        "talk" if each.what.startswith("bridge:") else each.what.removeprefix("sound:/sounds/") for each in caller.heard
    ]


def kinds(record: CallRecord) -> list[StepKind]:
    return [step.kind for step in record.steps]


def test_targets_in_turn_each_for_its_own_time(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        first = desk.asterisk.phone(SHOP, answers_after=None)
        second = desk.asterisk.phone(OTHER, rings_after=None, sip_code=486)
        third = desk.asterisk.phone(THIRD, answers_after=1.0, hangs_up_after=5.0)
        record = await the_call(desk)
        assert record.result is Result.ANSWERED
        assert record.target == THIRD
        assert [len(phone.legs) for phone in (first, second, third)] == [1, 1, 1]
        assert [leg.number for leg in record.legs] == ["01012345678", SHOP, OTHER, THIRD]
        assert record.answered_at is not None
        assert (record.answered_at - record.arrived_at).total_seconds() == pytest.approx(5 + 0.1 + 1.0, abs=0.2)

    play(tmp_path, scenario, targets=targets(SHOP, OTHER, THIRD), whisper=None, record=False)


def test_all_at_once_the_first_to_answer_has_the_call_and_the_others_stop(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        slow = desk.asterisk.phone(SHOP, answers_after=4.0)
        quick = desk.asterisk.phone(OTHER, answers_after=2.0, hangs_up_after=5.0)
        caller = desk.call()
        await asyncio.sleep(3)
        assert slow.legs[0].gone
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, record.target, record.ended_by) == (Result.ANSWERED, OTHER, Side.TARGET)
        assert "sound:/sounds/test/whisper" in [each.what for each in quick.heard]
        assert slow.heard == []
        assert {leg.number: leg.cause for leg in record.legs}[PhoneNumber(SHOP)] == 26

    play(tmp_path, scenario, targets=targets(SHOP, OTHER), order=TargetOrder.ALL_AT_ONCE, record=False)


def test_two_that_answer_at_the_same_instant_are_never_both_connected(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        phones = [desk.asterisk.phone(number, answers_after=2.0) for number in (SHOP, OTHER, THIRD)]
        caller = desk.call()
        await asyncio.sleep(10)
        talking = [phone for phone in phones if any(each.what.startswith("bridge:") for each in phone.heard)]
        assert len(talking) == 1
        assert sum(phone.legs[0].gone for phone in phones) == 2
        caller.hang_up()
        assert (await desk.one_call(caller)) is not None

    play(tmp_path, scenario, targets=targets(SHOP, OTHER, THIRD), order=TargetOrder.ALL_AT_ONCE, record=False)


def test_press_1_to_accept_passes_over_a_voicemail(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        voicemail = desk.asterisk.phone(SHOP, answers_after=1.0)
        person = desk.asterisk.phone(OTHER, answers_after=1.0)
        caller = desk.call()
        while not person.legs or person.legs[0].state != "Up":
            await asyncio.sleep(0.1)
        assert voicemail.legs[0].gone
        assert [each.what for each in voicemail.heard].count("sound:/sounds/ko/press-1-to-accept") == 3
        desk.asterisk.press(person.legs[0], "1")
        await asyncio.sleep(1)
        caller.hang_up()
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, record.target) == (Result.ANSWERED, OTHER)
        assert heard(caller)[-1] == "talk"

    play(tmp_path, scenario, targets=targets(SHOP, OTHER, seconds=30), accept=True, record=False)


def test_nobody_accepts(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=1.0)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, record.ended_by, caller.final_code) == (Result.NOT_ACCEPTED, Side.DARI, 480)
        assert record.answered_at is None

    play(tmp_path, scenario, accept=True, record=False)


@pytest.mark.parametrize(
    ("sip_code", "expected", "final"),
    [(486, ["music:test/ringback", "own/busy-1", "own/busy-2"], 486), (603, ["music:test/ringback"], 403)],
)
def test_busy_ringback_is_for_the_busy_only(tmp_path: Path, sip_code: int, expected: list[str], final: int) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=1.0, sip_code=sip_code)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert heard(caller) == expected
        assert caller.final_code == final
        assert 200 not in [code for _, code in caller.answers]

    play(tmp_path, scenario, busy=("own/busy-1", "own/busy-2"), record=False)


def test_chain_goes_by_how_the_last_attempt_failed(tmp_path: Path) -> None:
    chain = (
        Fallback(then=Then.RING, on=(Failure.UNREACHABLE,), targets=targets(THIRD)),
        Fallback(then=Then.RING, on=(Failure.NO_ANSWER,), targets=targets(OTHER)),
        Fallback(then=Then.ANNOUNCE, on=(Failure.BUSY,), sounds=("ko/busy",)),
        Fallback(then=Then.ANNOUNCE, sounds=("ko/no-answer",)),
    )

    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=None)
        desk.asterisk.phone(OTHER, sip_code=486)
        third = desk.asterisk.phone(THIRD)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, caller.final_code) == (Result.BUSY, 486)
        assert heard(caller) == ["music:test/ringback", "ko/busy"]
        assert third.legs == []

    play(tmp_path, scenario, ring_seconds=5, fallbacks=chain, record=False)


def test_voicemail_is_answered_greeted_and_kept(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=None)
        caller = desk.call()
        while "ko/beep" not in heard(caller):
            await asyncio.sleep(0.2)
        await asyncio.sleep(10)
        desk.asterisk.press(caller.leg, "#")
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, record.talk_seconds, record.ended_by) == (Result.VOICEMAIL, 0, Side.CALLER)
        assert record.voicemail == f"2026/01/01/{record.call_id}.voicemail.wav"
        (step,) = [step for step in record.steps if step.kind is StepKind.VOICEMAIL]
        assert step.ended_at is not None
        assert 8 < (step.ended_at - step.started_at).total_seconds() < 11
        assert heard(caller) == ["music:test/ringback", "own/greeting", "ko/beep", "ko/voicemail-thanks"]

    chain = (Fallback(then=Then.VOICEMAIL, sounds=("own/greeting",)),)
    play(tmp_path, scenario, ring_seconds=5, fallbacks=chain, record=False)


def test_whoever_hangs_up_in_voicemail_has_still_left_it(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, sip_code=486)
        caller = desk.call()
        while "ko/beep" not in heard(caller):
            await asyncio.sleep(0.2)
        await asyncio.sleep(5)
        caller.hang_up()
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, bool(record.voicemail)) == (Result.VOICEMAIL, True)

    play(tmp_path, scenario, fallbacks=(Fallback(then=Then.VOICEMAIL, sounds=("own/greeting",)),), record=False)


def test_text_only_keeps_the_failure_and_the_text(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, sip_code=486)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, record.text_only, caller.final_code) == (Result.BUSY, "곧 연락드리겠습니다", 486)
        assert heard(caller)[-1] == "ko/text-only"

    chain = (Fallback(then=Then.TEXT, sounds=("ko/text-only",), text="곧 연락드리겠습니다"),)
    play(tmp_path, scenario, fallbacks=chain, record=False)


def test_over_the_limit_goes_to_the_chain_and_not_to_the_targets(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.numbers[NUMBER] = msgspec.structs.replace(desk.numbers[NUMBER], limits=Limits(at_once=1))
        shop = desk.asterisk.phone(SHOP, answers_after=1.0)
        first = desk.call()
        await asyncio.sleep(5)
        second = desk.call()
        while not second.final_code:
            await asyncio.sleep(0.1)
        first.hang_up()
        await desk.at_rest()
        records = {record.sip_call_id: record for record in await desk.records()}
        assert records[second.leg.sip_call_id].result is Result.OVER_LIMIT
        assert records[first.leg.sip_call_id].result is Result.ANSWERED
        assert len(shop.legs) == 1
        assert second.final_code == 486

    play(tmp_path, scenario, record=False)


def test_mandatory_notices_are_heard_out_while_the_target_waits_own_ones_are_not(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        shop = desk.asterisk.phone(SHOP, rings_after=0.0, answers_after=0.1, hangs_up_after=20.0)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert heard(caller) == ["ko/store-info-notice", "ko/recording-notice", "ko/fee-notice", "talk"]
        assert heard(shop)[:3] == ["test/whisper", "ko/recording-notice-target", "ko/connecting"]  # type: ignore[arg-type]
        assert heard(shop)[-1] == "talk"  # type: ignore[arg-type]
        assert all(each.whole for each in caller.heard[:3])
        assert record.recording is not None

    settings = {"store_notice": True, "fee_notice": True, "notice": "own/notice", "record": True}
    play(tmp_path, scenario, **settings)


def test_own_notice_stops_when_the_target_is_ready(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.0, answers_after=0.3, hangs_up_after=5.0)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert heard(caller) == ["own/notice", "talk"]
        assert not caller.heard[0].whole
        assert (StepKind.NOTICE, False) in [(step.kind, step.whole) for step in record.steps]

    play(tmp_path, scenario, notice="own/notice", whisper=None, record=False)


def test_ringback_changes_while_ringing_when_the_rules_say_so(tmp_path: Path) -> None:
    evening = Rule(
        name="evening",
        condition=Condition(times=(TimeSpan(start=time(9, 0, 5), end=time(10)),)),
        treatment=Treatment(ringback=("own/evening", "own/more")),
    )

    async def scenario(desk: Desk) -> None:
        desk.planner.rules[NUMBER] = (evening,)
        desk.asterisk.phone(SHOP, answers_after=15.0, hangs_up_after=5.0)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert heard(caller) == ["music:test/ringback", "music:own/evening+own/more", "talk"]
        assert caller.heard[1].began == pytest.approx(5.0, abs=0.3)  # 2026-01-01T00:00Z is 09:00 in Seoul
        assert kinds(record).count(StepKind.RINGBACK) == 2

    play(tmp_path, scenario, whisper=None, record=False)


def test_whisper_is_spoken_with_its_facts(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        shop = desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=5.0)
        await the_call(desk)
        assert heard(shop)[0].startswith("spoken/배달앱에서")  # type: ignore[arg-type]

    play(tmp_path, scenario, label="배달앱", whisper=Whisper(text="{label}에서 온 전화입니다"), record=False)


def test_keys_pause_and_resume_the_recording_and_the_file_keeps_its_time(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        shop = desk.asterisk.phone(SHOP, answers_after=1.0)
        caller = desk.call()
        while heard(caller)[-1:] != ["talk"]:
            await asyncio.sleep(0.1)
        for keys in ("*1", "*2", "*2", "*1"):
            desk.asterisk.press(shop.legs[0], keys)
            await asyncio.sleep(2)
        caller.hang_up()
        record = await desk.one_call(caller)
        assert record is not None
        (recording,) = desk.asterisk.recordings
        assert [silent for _, silent in recording.silences] == [True, False]
        (pause,) = [step for step in record.steps if step.kind is StepKind.PAUSE]
        assert pause.ended_at is not None
        assert (pause.ended_at - pause.started_at).total_seconds() == pytest.approx(4.0, abs=0.2)

    play(tmp_path, scenario, recording=RecordMode.ALWAYS)


def test_recording_on_key_starts_with_the_key_of_the_called_party_only(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        shop = desk.asterisk.phone(SHOP, answers_after=1.0)
        caller = desk.call()
        while heard(caller)[-1:] != ["talk"]:
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        desk.asterisk.press(caller.leg, "*1")
        await asyncio.sleep(1)
        assert desk.asterisk.recordings == []
        desk.asterisk.press(shop.legs[0], "*1")
        await asyncio.sleep(4)
        caller.hang_up()
        record = await desk.one_call(caller)
        assert record is not None
        assert record.recording is not None
        (step,) = [step for step in record.steps if step.kind is StepKind.RECORDING]
        assert step.ended_at is not None
        assert (step.ended_at - step.started_at).total_seconds() == pytest.approx(4.0, abs=0.2)

    play(tmp_path, scenario, recording=RecordMode.ON_KEY)


def test_recording_never_pressed_leaves_none(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=5.0)
        record = await the_call(desk)
        assert (record.recording, record.recording_reason) == (None, "")

    play(tmp_path, scenario, recording=RecordMode.ON_KEY)


OFFER = ConsentOffer(text="약도: 서울역 1번 출구", before=True)


def test_consent_after_the_talk_is_kept_with_its_key(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=5.0)
        caller = desk.call()
        while "ko/consent-offer" not in heard(caller):
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.4)
        desk.asterisk.press(caller.leg, "1")
        await desk.at_rest()
        (record,) = await desk.records()
        assert record.consent is not None
        assert (record.consent.key, record.consent.before_talk, record.consent.text) == ("1", False, OFFER.text)
        assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)
        assert record.talk_seconds == pytest.approx(5.0, abs=0.1)
        assert heard(caller)[-2:] == ["ko/consent-offer", "ko/consent-thanks"]

    play(tmp_path, scenario, consent=OFFER, record=False, whisper=None)


@pytest.mark.parametrize("early_dtmf", [True, False])
def test_consent_before_the_talk_only_where_keys_arrive(tmp_path: Path, early_dtmf: bool) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks = [msgspec.structs.replace(CARRIER, early_dtmf=early_dtmf)]
        desk.asterisk.phone(SHOP, answers_after=10.0)
        caller = desk.call()
        await asyncio.sleep(0.5)
        desk.asterisk.press(caller.leg, "1")
        await asyncio.sleep(12)
        caller.hang_up()
        await desk.at_rest()
        (record,) = await desk.records()
        assert (record.consent is not None) == early_dtmf
        assert ("ko/consent-offer" in heard(caller)) == early_dtmf

    play(tmp_path, scenario, consent=OFFER, record=False, whisper=None)


def test_another_key_is_no_consent(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=5.0)
        caller = desk.call()
        while "ko/consent-offer" not in heard(caller):
            await asyncio.sleep(0.1)
        desk.asterisk.press(caller.leg, "239")
        await desk.at_rest()
        (record,) = await desk.records()
        assert record.consent is None

    play(tmp_path, scenario, consent=OFFER, record=False, whisper=None)


SECOND = Trunk(name="second", match=("127.0.0.3",), contact="sip:127.0.0.3")


@pytest.mark.parametrize(
    ("sip_code", "legs"), [(503, 2), (500, 2), (502, 2), (504, 2), (408, 2), (486, 1), (404, 1), (480, 1), (603, 1)]
)
def test_next_trunk_only_where_the_carrier_failed(tmp_path: Path, sip_code: int, legs: int) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks = [CARRIER, SECOND]
        shop = desk.asterisk.phone(SHOP, sip_code=sip_code)
        record = await the_call(desk)
        assert [leg.trunk for leg in record.legs][1:] == ["carrier", "second"][:legs]
        assert len(shop.legs) == legs

    play(tmp_path, scenario, record=False)


def test_no_next_trunk_once_it_rang(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks = [CARRIER, SECOND]
        shop = desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=2.0, sip_code=503)
        await the_call(desk)
        assert len(shop.legs) == 1

    play(tmp_path, scenario, record=False)


def test_trunk_that_says_nothing_at_all_is_given_up_for_the_next(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks = [CARRIER, SECOND]
        shop = desk.asterisk.phone(SHOP, silent=True)
        caller = desk.call()
        await asyncio.sleep(4.5)
        assert [leg.gone for leg in shop.legs] == [True, False]
        caller.hang_up()
        record = await desk.one_call(caller)
        assert record is not None
        assert record.result is Result.CALLER_GAVE_UP

    play(tmp_path, scenario, record=False)


def test_no_trunk_with_room_is_congestion(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks = [msgspec.structs.replace(CARRIER, max_calls=1)]
        shop = desk.asterisk.phone(SHOP)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, caller.final_code, shop.legs) == (Result.CONGESTION, 503, [])
        assert desk.trunks.load.counts() == {}

    play(tmp_path, scenario, record=False)


def test_trunk_that_may_not_ring_so_long_ends_it_for_every_trunk(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks = [msgspec.structs.replace(CARRIER, longest_ringing=3), SECOND]
        shop = desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=None)
        record = await the_call(desk)
        assert record.result is Result.NO_ANSWER
        (leg,) = record.legs[1:]
        assert (leg.trunk, len(shop.legs)) == ("carrier", 1)
        assert leg.ended_at is not None
        assert (leg.ended_at - leg.started_at).total_seconds() == pytest.approx(3.0, abs=0.1)

    play(tmp_path, scenario, record=False)


def test_numbers_own_ring_time_stands_where_the_trunk_would_ring_longer(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks = [msgspec.structs.replace(CARRIER, longest_ringing=30)]
        desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=None)
        (leg,) = (await the_call(desk)).legs[1:]
        assert leg.ended_at is not None
        assert (leg.ended_at - leg.started_at).total_seconds() == pytest.approx(5.0, abs=0.1)

    play(tmp_path, scenario, ring_seconds=5, record=False)


def test_trunk_that_would_get_calls_too_fast_is_passed_over_until_it_may_have_one(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks = [msgspec.structs.replace(CARRIER, calls_per_second=0.5), SECOND]
        desk.asterisk.phone(SHOP, sip_code=486)
        callers = []
        for pause in (0.0, 0.2, 2.0):
            await asyncio.sleep(pause)
            callers.append(desk.call())
        await desk.at_rest()
        used = {record.sip_call_id: record.legs[1].trunk for record in await desk.records()}
        assert [used[caller.leg.sip_call_id] for caller in callers] == ["carrier", "second", "carrier"]

    play(tmp_path, scenario, record=False)


def test_every_trunk_too_fast_is_congestion(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks = [msgspec.structs.replace(CARRIER, calls_per_second=0.5)]
        shop = desk.asterisk.phone(SHOP, sip_code=486)
        desk.call()
        await asyncio.sleep(0.2)
        late = desk.call()
        await desk.at_rest()
        results = {record.sip_call_id: record.result for record in await desk.records()}
        assert (results[late.leg.sip_call_id], len(shop.legs)) == (Result.CONGESTION, 1)

    play(tmp_path, scenario, record=False)


def test_target_is_told_every_number_as_its_own_trunk_writes_them(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks = [CARRIER, msgspec.structs.replace(SECOND, number_format=NumberFormat.E164)]
        first = desk.asterisk.phone(SHOP, sip_code=503)
        second = desk.asterisk.phone("+82212345678", sip_code=486)
        await the_call(desk)
        seen = [(leg.caller, leg.variables["REDIRECTING(from-num,i)"]) for leg in (*first.legs, *second.legs)]
        assert seen == [("01012345678", NUMBER), ("+821012345678", "+8250712345678")]

    play(tmp_path, scenario, record=False)


@pytest.mark.parametrize("shown", list(CallerShown))
def test_number_that_the_target_sees(tmp_path: Path, shown: CallerShown) -> None:
    async def scenario(desk: Desk) -> None:
        shop = desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=2.0)
        await the_call(desk)
        assert shop.legs[0].caller == (NUMBER if shown is CallerShown.NUMBER else "01012345678")
        assert shop.legs[0].variables["REDIRECTING(from-num,i)"] == NUMBER

    play(tmp_path, scenario, shown=shown, record=False)


def test_target_that_leaves_in_the_whisper_makes_place_for_the_next(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=0.3)
        desk.asterisk.phone(OTHER, answers_after=2.0, hangs_up_after=5.0)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, record.target) == (Result.ANSWERED, OTHER)
        assert heard(caller)[-1] == "talk"

    play(tmp_path, scenario, targets=targets(SHOP, OTHER), record=False)
