"""Whole calls on FakeAsterisk in virtual time: what each party hears and gets, and what is written down."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.cdr.model import CallRecord, Result, Side, StepKind
from engine.foundation.errors import TryLater
from tests.call_desk import NUMBER, RING_SECONDS, SHOP, TALK_LIMIT, Desk, desk_at, play, service_number, the_call
from tests.virtual_time import run_virtual


def kinds(record: CallRecord) -> list[tuple[StepKind, bool]]:
    return [(step.kind, step.whole) for step in record.steps]


def test_answered_call_from_notice_to_hanging_up(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        shop = desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=5.0, hangs_up_after=30.0)
        caller = desk.call()
        record = await desk.one_call(caller)

        assert record is not None
        assert (record.result, record.ended_by, record.cause) == (Result.ANSWERED, Side.TARGET, 16)
        assert [heard.what.partition(".")[0] for heard in caller.heard] == [
            "sound:/sounds/ko/recording-notice",
            "music:test/ringback",
            f"bridge:{record.call_id}",
        ]
        assert [heard.what.partition(".")[0] for heard in shop.heard] == [
            "sound:/sounds/test/whisper",
            "sound:/sounds/ko/recording-notice-target",
            f"bridge:{record.call_id}",
        ]
        assert [code for _, code in caller.answers] == [183, 200]
        talk = caller.heard[-1]
        assert talk.ended is not None
        assert record.talk_seconds == pytest.approx(talk.ended - talk.began, abs=0.01)
        assert record.ringback_seconds == pytest.approx(5.0 - 1.5 + 1.7, abs=0.05)
        assert kinds(record) == [
            (StepKind.RECORDING_NOTICE, True),
            (StepKind.RINGBACK, True),
            (StepKind.WHISPER, True),
            (StepKind.RECORDING_NOTICE, True),
            (StepKind.CONNECT, True),
            (StepKind.RECORDING, True),
        ]
        (recording,) = desk.asterisk.recordings
        assert 0 < recording.began - talk.began < 0.01, "it begins with the talk, and not while the ringback is heard"
        assert (recording.options, record.recording) == ("bD", f"2026/01/01/{record.call_id}.wav")
        caller_leg, target_leg = record.legs
        assert caller_leg.answered_at == record.answered_at
        assert (target_leg.number, target_leg.trunk, target_leg.cause) == (SHOP, "carrier", 0)
        assert caller_leg.cause == 16

    play(tmp_path, scenario)


def test_caller_who_hangs_up_ends_the_talk(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=1.0)
        caller = desk.call()
        await asyncio.sleep(10)
        caller.hang_up()
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, record.ended_by) == (Result.ANSWERED, Side.CALLER)

    play(tmp_path, scenario, record=False)


def test_without_whisper_and_recording_the_two_are_connected_at_once(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        shop = desk.asterisk.phone(SHOP, answers_after=2.0, hangs_up_after=5.0)
        record = await the_call(desk)
        assert kinds(record) == [(StepKind.RINGBACK, True), (StepKind.CONNECT, True)]
        assert [heard.what.partition(":")[0] for heard in shop.heard] == ["bridge"]
        assert desk.asterisk.recordings == []

    play(tmp_path, scenario, record=False, whisper=None)


@pytest.mark.parametrize(
    ("rings_after", "sip_code", "result", "answer"),
    [
        (None, 486, Result.BUSY, 486),
        (None, 600, Result.BUSY, 486),
        (None, 603, Result.REJECTED, 403),
        (None, 403, Result.REJECTED, 403),
        (None, 404, Result.UNREACHABLE, 502),
        (None, 480, Result.UNREACHABLE, 502),
        (None, 408, Result.UNREACHABLE, 502),
        (None, 500, Result.CONGESTION, 503),
        (None, 503, Result.CONGESTION, 503),
        (0.5, 480, Result.NO_ANSWER, 480),
        (0.5, 408, Result.NO_ANSWER, 480),
        (0.5, 486, Result.BUSY, 486),
        (0.5, 603, Result.REJECTED, 403),
    ],
)
def test_each_refusal_has_its_own_answer_and_result(
    tmp_path: Path, rings_after: float | None, sip_code: int, result: Result, answer: int
) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=rings_after, sip_code=sip_code)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, record.ended_by, caller.final_code) == (result, Side.TARGET, answer)
        assert (record.answered_at, record.talk_seconds, record.recording) == (None, 0, None)
        assert bool(record.ringing_at) == bool(rings_after)
        assert record.legs[1].sip_code == sip_code

    play(tmp_path, scenario)


def test_target_that_nobody_answers_rings_as_long_as_it_is_set(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.5, answers_after=None)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, record.ended_by, caller.final_code) == (Result.NO_ANSWER, Side.DARI, 480)
        assert (record.ended_at - record.arrived_at).total_seconds() == pytest.approx(7, abs=0.1)

    play(tmp_path, scenario, ring_seconds=7)


def test_target_that_never_rings_is_unreachable(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, silent=True)
        record = await the_call(desk)
        assert (record.result, record.ended_by, record.ringing_at) == (Result.UNREACHABLE, Side.DARI, None)
        assert (record.ended_at - record.arrived_at).total_seconds() == pytest.approx(RING_SECONDS, abs=0.1)

    play(tmp_path, scenario)


def test_number_not_in_service_is_announced_and_refused(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        caller = desk.call("050799999999")
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, record.account_id, caller.final_code) == (Result.NOT_IN_SERVICE, None, 404)
        assert kinds(record) == [(StepKind.ANNOUNCEMENT, True)]
        assert [heard.what for heard in caller.heard] == ["sound:/sounds/ko/not-in-service"]

    play(tmp_path, scenario)


def test_call_on_a_trunk_that_is_not_known_goes_out_on_another(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=1.0, hangs_up_after=5.0)
        caller = desk.asterisk.incoming(NUMBER, trunk="other")
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, [leg.trunk for leg in record.legs]) == (Result.ANSWERED, ["other", "carrier"])

    play(tmp_path, scenario)


def test_target_that_answers_at_once_is_connected(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, rings_after=0.0, answers_after=0.0, hangs_up_after=10.0)
        record = await the_call(desk)
        assert record.result is Result.ANSWERED

    play(tmp_path, scenario, record=False, whisper=None)


def test_target_that_answers_during_the_notice_is_told_first_and_the_caller_hears_it_out(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk._switch._sounds = {"ko/recording-notice": 6.0}
        shop = desk.asterisk.phone(SHOP, rings_after=0.1, answers_after=0.5, hangs_up_after=20.0)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        notice, talk = caller.heard
        assert notice.whole
        assert notice.ended is not None
        assert talk.began == pytest.approx(notice.ended, abs=0.05)
        assert shop.heard[0].began < notice.ended, "the whisper waited for the caller's notice"
        assert record.ringback_seconds == 0, "music for nobody"
        assert record.recording is not None

    play(tmp_path, scenario)


@pytest.mark.parametrize("after", [0.0, 0.3, 1.2, 1.69])
def test_target_that_hangs_up_before_the_connection_has_rejected(tmp_path: Path, after: float) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=2.0, hangs_up_after=after)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, record.ended_by, caller.final_code) == (Result.REJECTED, Side.TARGET, 403)
        assert desk.asterisk.recordings == []

    play(tmp_path, scenario)


def test_target_that_hangs_up_while_the_caller_still_hears_the_notice_costs_the_caller_nothing(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk._switch._sounds = {"ko/recording-notice": 30.0}
        desk.asterisk.phone(SHOP, answers_after=2.0, hangs_up_after=8.0)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, caller.final_code) == (Result.REJECTED, 403)
        assert (record.ended_at - record.arrived_at).total_seconds() == pytest.approx(10, abs=0.1)
        assert desk.asterisk.recordings == []

    play(tmp_path, scenario)


def test_talk_ends_at_the_limit(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=2.0)
        caller = desk.call()
        await asyncio.sleep(TALK_LIMIT)
        assert desk.reception.live_calls == 1
        record = await desk.one_call(caller)
        assert record is not None
        assert (record.result, record.ended_by) == (Result.ANSWERED, Side.DARI)
        assert record.talk_seconds == pytest.approx(TALK_LIMIT, abs=0.1)

    play(tmp_path, scenario)


def test_music_that_is_slow_to_start_never_plays_into_the_talk(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.hanging["start_music"] = 3.0
        desk.asterisk.phone(SHOP, rings_after=0.0, answers_after=0.1, hangs_up_after=20.0)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert [heard.what.partition(":")[0] for heard in caller.heard] == ["music", "bridge"]

    play(tmp_path, scenario, record=False, whisper=None)


def test_without_ringback_the_caller_s_own_telephone_rings(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.fail_next("start_music", TryLater("no"))
        desk.asterisk.phone(SHOP, answers_after=5.0, hangs_up_after=5.0)
        caller = desk.call()
        record = await desk.one_call(caller)
        assert record is not None
        assert [code for _, code in caller.answers] == [180, 200]
        assert record.result is Result.ANSWERED

    play(tmp_path, scenario, record=False)


def test_disk_that_hangs_holds_up_no_answer(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.spool.sync_seconds = 1000.0
        shop = desk.asterisk.phone(SHOP, answers_after=2.0, hangs_up_after=20.0)
        caller = desk.call()
        await asyncio.sleep(10)
        told, talk = shop.heard[-2:]
        assert told.ended is not None
        assert talk.began - told.ended == pytest.approx(0.2, abs=0.05)
        assert caller.final_code == 200
        desk.spool.sync_seconds = 0.0
        await desk.at_rest()

    play(tmp_path, scenario)


def test_two_calls_at_once_do_not_mix(tmp_path: Path) -> None:
    async def run() -> None:
        other = service_number(number="050755555555", target="0312345678", ringback="test/other", whisper=None)
        async with desk_at(tmp_path, service_number(), other) as desk:
            shops = [
                desk.asterisk.phone(SHOP, answers_after=3.0, hangs_up_after=20.0),
                desk.asterisk.phone("0312345678", answers_after=2.5, hangs_up_after=40.0),
            ]
            callers = [desk.call(), desk.call("050755555555", "01099999999")]
            await desk.at_rest()
            records = {record.number: record for record in await desk.records()}
            for caller, shop, number in zip(callers, shops, (NUMBER, "050755555555"), strict=True):
                record = records[number]  # type: ignore[index]
                assert record.result is Result.ANSWERED
                assert record.sip_call_id == caller.leg.sip_call_id
                assert caller.heard[-1].what == shop.heard[-1].what == f"bridge:{record.call_id}.b.n1"
            assert "music:test/other" not in {heard.what for heard in callers[0].heard}
            assert "music:test/ringback" not in {heard.what for heard in callers[1].heard}
            assert shops[1].heard[0].what == "sound:/sounds/ko/recording-notice-target"

    run_virtual(run())
