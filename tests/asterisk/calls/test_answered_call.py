"""An answered call, by ear and by wire: who heard what, when, and who did not."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.cdr.model import Result, Side, StepKind
from engine.numbers.model import ServiceNumber
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import Heard, tones
from engine.sandbox.phone import Answers
from engine.sandbox.recording import Recording
from tests.asterisk.calls.conftest import ACCOUNT
from tests.engine_rig import TONES, Rig, number_set

CALLER, SHOP = 500, 1100
ALL = [CALLER, SHOP, *TONES.values()]


def heard(recording: Recording, frequency: int) -> list[Heard]:
    return [one for one in tones(recording, ALL) if one.what == f"{frequency} Hz"]


async def test_caller_hears_the_numbers_ringback_until_connected_and_is_answered_only_then(
    rig: Rig, carrier: Carrier
) -> None:
    shop = carrier.shop("0212345678", Answers(after_seconds=1.5))
    caller = await carrier.call("050712345678", tone=CALLER)
    target = await shop.next_call()
    await caller.answered()
    await _talk(caller, 1.0)

    assert target.answered_at is not None
    assert caller.answered_at is not None
    assert caller.answered_at > target.answered_at, "200 OK to the caller before the shop answered"
    answered = caller.answered_at - caller.started_at
    ringback = heard(caller.recording, TONES["test/ringback"])
    assert ringback
    rang_until = caller.started_at + ringback[-1].end
    assert caller.started_at + ringback[0].start < target.answered_at
    assert ringback[-1].end <= answered + 0.1
    whisper = heard(target.recording, TONES["test/whisper"])
    assert rang_until >= target.started_at + whisper[-1].end - 0.1, "silence between ringback and talk"
    shop_heard = heard(caller.recording, SHOP)
    assert shop_heard
    assert shop_heard[0].start >= answered - 0.05


async def test_whisper_is_heard_whole_by_the_target_and_by_nobody_else(rig: Rig, carrier: Carrier) -> None:
    shop = carrier.shop("0212345678", Answers(after_seconds=0.5))
    caller = await carrier.call("050712345678", tone=CALLER)
    target = await shop.next_call()
    await caller.answered()
    await _talk(caller, 1.0)

    whisper = heard(target.recording, TONES["test/whisper"])
    assert len(whisper) == 1
    assert whisper[0].seconds == pytest.approx(1.0, abs=0.1)
    assert heard(caller.recording, TONES["test/whisper"]) == []
    assert heard(target.recording, TONES["test/ringback"]) == []
    during_whisper = [one for one in heard(caller.recording, TONES["test/ringback"]) if one.end > 1.0]
    assert during_whisper, "the caller heard nothing while the target was whispered to"


async def test_both_hear_each_other_after_the_connection_and_not_before(rig: Rig, carrier: Carrier) -> None:
    shop = carrier.shop("0212345678", Answers(after_seconds=0.5))
    caller = await carrier.call("050712345678", tone=CALLER)
    target = await shop.next_call()
    await caller.answered()
    await _talk(caller, 1.5)

    assert caller.answered_at is not None
    connected_at_target = caller.answered_at - target.started_at
    at_target = heard(target.recording, CALLER)
    assert at_target
    assert at_target[0].start >= connected_at_target - 0.05
    assert at_target[-1].seconds == pytest.approx(caller.talk_seconds, abs=1.0)
    assert heard(caller.recording, SHOP)[-1].seconds == pytest.approx(caller.talk_seconds, abs=1.0)


@pytest.mark.parametrize("ends_it", ["caller", "shop"])
async def test_whoever_hangs_up_ends_both_legs_and_is_written_down(rig: Rig, carrier: Carrier, ends_it: str) -> None:
    shop = carrier.shop("0212345678", Answers(after_seconds=0.3))
    caller = await carrier.call("050712345678", tone=CALLER)
    target = await shop.next_call()
    await caller.answered()
    await _talk(caller, 0.8, hang_up=False)
    await (caller if ends_it == "caller" else target).hang_up()
    await caller.ended()
    await target.ended()

    record = await rig.record(caller.call_id)
    assert record.result is Result.ANSWERED
    assert record.ended_by is (Side.CALLER if ends_it == "caller" else Side.TARGET)
    assert record.talk_seconds == pytest.approx(caller.talk_seconds, abs=1.0)
    assert record.number == "050712345678"
    assert record.caller == "01012345678"
    assert record.target == "0212345678"
    assert record.account_id == ACCOUNT
    assert record.arrived_at < record.ringing_at < record.answered_at < record.ended_at  # type: ignore[operator]
    assert [leg.sip_call_id for leg in record.legs] == [caller.call_id, target.call_id]
    assert {step.kind for step in record.steps} == {StepKind.RINGBACK, StepKind.WHISPER, StepKind.CONNECT}
    assert record.post_dial_delay is not None


async def test_the_target_sees_the_true_caller_and_the_050_number_as_diversion(rig: Rig, carrier: Carrier) -> None:
    shop = carrier.shop("0212345678", Answers(after_seconds=0.1))
    caller = await carrier.call("050712345678", from_number="01098765432", tone=CALLER)
    target = await shop.next_call()
    await caller.answered()
    await caller.hang_up()

    assert target.shown_number == "01098765432"
    assert "050712345678" in target.invite.get("Diversion")


class TestRecording:
    @pytest.fixture
    def numbers(self) -> list[ServiceNumber]:
        return [number_set(ACCOUNT, record=True)]

    async def test_both_hear_the_notice_whole_before_the_talk_and_the_talk_alone_is_recorded(
        self, rig: Rig, carrier: Carrier
    ) -> None:
        shop = carrier.shop("0212345678", Answers(after_seconds=0.2))
        caller = await carrier.call("050712345678", tone=CALLER)
        target = await shop.next_call()
        await caller.answered()
        await _talk(caller, 2.0)
        record = await rig.record(caller.call_id)

        assert caller.answered_at is not None
        to_caller = heard(caller.recording, TONES["ko/recording-notice"])
        to_target = heard(target.recording, TONES["ko/recording-notice-target"])
        assert [one.seconds for one in to_caller] == [pytest.approx(1.0, abs=0.1)]
        assert [one.seconds for one in to_target] == [pytest.approx(1.0, abs=0.1)]
        assert to_caller[0].end < caller.answered_at - caller.started_at
        assert heard(caller.recording, TONES["ko/recording-notice-target"]) == []
        assert record.recording is not None
        left, right = _stereo(rig, str(record.call_id))
        assert len(left) / 8000 == pytest.approx(record.talk_seconds, abs=1.0)
        assert _power(left, CALLER) > 50 * _power(left, SHOP)
        assert _power(right, SHOP) > 50 * _power(right, CALLER)
        for notice in ("ko/recording-notice", "ko/recording-notice-target", "test/whisper", "test/ringback"):
            assert _power(left, TONES[notice]) + _power(right, TONES[notice]) < _power(left, CALLER) / 50

    async def test_no_recording_when_the_notice_is_missing_and_the_call_goes_on(
        self, rig: Rig, carrier: Carrier
    ) -> None:
        notice = rig.sounds / "ko/recording-notice.wav"
        aside = notice.rename(notice.with_suffix(".aside"))
        try:
            carrier.shop("0212345678", Answers(after_seconds=0.2))
            caller = await carrier.call("050712345678", tone=CALLER)
            await caller.answered()
            await _talk(caller, 0.5)
        finally:
            aside.rename(notice)
        record = await rig.record(caller.call_id)
        assert record.result is Result.ANSWERED
        assert record.recording is None
        assert "caller did not hear" in record.recording_reason
        assert not list(rig.monitor.glob(f"{record.call_id}*"))


async def _talk(caller: CallerLeg, seconds: float, *, hang_up: bool = True) -> None:
    await asyncio.sleep(seconds)
    if hang_up:
        await caller.hang_up()


def _stereo(rig: Rig, call_id: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    samples = np.frombuffer((rig.monitor / f"{call_id}.raw").read_bytes(), dtype="<i2")
    return samples[0::2].astype(float), samples[1::2].astype(float)


def _power(samples: NDArray[np.float64], frequency: int) -> float:
    angle = 2 * np.pi * frequency * np.arange(len(samples)) / 8000
    return float(np.hypot(samples @ np.cos(angle), samples @ np.sin(angle)) / max(len(samples), 1)) ** 2
