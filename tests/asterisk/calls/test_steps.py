"""Every step of a call by ear, on the real Asterisk: who heard what, and who did not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from engine.cdr.model import Result, Side, StepKind
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import (
    CallerShown,
    ConsentOffer,
    Fallback,
    RecordMode,
    Target,
    TargetOrder,
    Then,
    Treatment,
    Whisper,
)
from engine.prompts.telephone_sound import read_wav
from engine.routing.model import Condition, Rule, TimeSpan
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import tones
from engine.sandbox.leg import Leg
from engine.sandbox.phone import Answers, Busy, NeverAnswers, Rejects
from tests.engine_rig import TONES, Rig
from tests.eventually import eventually

NUMBER = PhoneNumber("050712345678")
SHOP, OTHER = "0212345678", "0312345678"
CALLER_TONE, SHOP_TONE, OTHER_TONE = 500, 1100, 1040
NAMES = {CALLER_TONE: "caller", SHOP_TONE: "shop", OTHER_TONE: "other", **{hz: name for name, hz in TONES.items()}}


def heard(leg: Leg) -> list[str]:
    """What the party on a leg heard, in order, in names; what is shorter than a syllable is left out."""
    found = [one for one in tones(leg.recording, list(NAMES)) if one.what.endswith(" Hz") and one.seconds > 0.15]
    names = [NAMES[int(one.what.removesuffix(" Hz"))] for one in found]
    return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


def set_number(rig: Rig, **treatment: object) -> None:
    """The number's treatment is this from now on."""
    plain = Treatment(ringback=("test/ringback",), recording=RecordMode.NEVER)
    changed = msgspec.structs.replace(plain, **treatment)
    rig.numbers[NUMBER] = msgspec.structs.replace(rig.numbers[NUMBER], treatment=changed)


def ringing(*numbers: str, seconds: int = 3) -> tuple[Target, ...]:
    return tuple(Target(number=PhoneNumber(number), ring_seconds=seconds) for number in numbers)


async def call(carrier: Carrier, tone: int | None = CALLER_TONE) -> CallerLeg:
    return await carrier.call(str(NUMBER), tone=tone)


async def until_hears(leg: Leg, name: str) -> None:
    """Waits until the party has heard that."""
    await eventually(lambda: name in heard(leg))


async def test_targets_in_turn_and_the_caller_hears_one_ringback_throughout(rig: Rig, carrier: Carrier) -> None:
    set_number(rig, targets=ringing(SHOP, OTHER))
    carrier.shop(SHOP, NeverAnswers())
    carrier.shop(OTHER, Answers(after_seconds=0.5, tone=OTHER_TONE))
    caller = await call(carrier)
    await caller.answered()
    await until_hears(caller, "other")
    await caller.hang_up()

    assert heard(caller) == ["test/ringback", "other"]
    record = await rig.record(caller.call_id)
    assert (record.result, record.target) == (Result.ANSWERED, OTHER)
    assert next(leg.sip_code for leg in record.legs[1:]) in (0, 480, 487)


async def test_all_at_once_one_talks_and_the_other_is_told_that_it_was_answered_elsewhere(
    rig: Rig, carrier: Carrier
) -> None:
    set_number(rig, targets=ringing(SHOP, OTHER, seconds=10), order=TargetOrder.ALL_AT_ONCE)
    slow = carrier.shop(SHOP, NeverAnswers())
    carrier.shop(OTHER, Answers(after_seconds=0.8, tone=OTHER_TONE))
    caller = await call(carrier)
    beaten = await slow.next_call()
    await caller.answered()
    await beaten.ended()
    await until_hears(caller, "other")
    await caller.hang_up()

    assert beaten.cancelled
    assert "cause=26" in "".join(str(reason) for reason in beaten.reasons).replace(" ", "")
    assert (await rig.record(caller.call_id)).target == OTHER


async def test_press_1_lets_a_person_through_and_no_voicemail(rig: Rig, carrier: Carrier) -> None:
    set_number(rig, targets=ringing(SHOP, OTHER, seconds=20), accept=True, whisper=Whisper(sound="test/whisper"))
    carrier.shop(SHOP, Rejects(486))
    person = carrier.shop(OTHER, Answers(tone=OTHER_TONE, dtmf="1", dtmf_after=2.5))
    caller = await call(carrier)
    target = await person.next_call()
    await caller.answered()
    await until_hears(caller, "other")
    await until_hears(target, "caller")
    await caller.hang_up()
    assert heard(caller) == ["test/ringback", "other"]
    assert heard(target)[:2] == ["test/whisper", "ko/press-1-to-accept"]
    assert heard(target)[-1] == "caller"


async def test_whoever_answers_without_pressing_1_never_talks(rig: Rig, carrier: Carrier) -> None:
    set_number(rig, accept=True)
    voicemail = carrier.shop(SHOP, Answers(tone=SHOP_TONE))
    caller = await call(carrier)
    target = await voicemail.next_call()
    await caller.ended()
    assert (await rig.record(caller.call_id)).result is Result.NOT_ACCEPTED
    assert caller.final_code == 480
    assert "caller" not in heard(target)
    assert "shop" not in heard(caller)


async def test_busy_ringback_is_heard_unanswered_then_the_busy_cause(rig: Rig, carrier: Carrier) -> None:
    set_number(rig, busy=("test/busy", "test/notice"))
    carrier.shop(SHOP, Busy())
    caller = await call(carrier)
    await caller.ended()
    assert heard(caller)[-2:] == ["test/busy", "test/notice"]
    assert (caller.final_code, caller.answered_at) == (486, None)


async def test_all_notices_are_heard_whole_while_the_target_hears_that_it_waits(rig: Rig, carrier: Carrier) -> None:
    set_number(
        rig,
        store_notice=True,
        fee_notice=True,
        notice="test/notice",
        recording=RecordMode.ALWAYS,
        whisper=Whisper(sound="test/whisper"),
    )
    shop = carrier.shop(SHOP, Answers(tone=SHOP_TONE))
    caller = await call(carrier)
    target = await shop.next_call()
    await caller.answered()
    await until_hears(caller, "shop")
    await until_hears(target, "caller")
    await caller.hang_up()
    assert heard(caller) == ["ko/store-info-notice", "ko/recording-notice", "ko/fee-notice", "shop"]
    assert heard(target) == ["test/whisper", "ko/recording-notice-target", "ko/connecting", "caller"]
    record = await rig.record(caller.call_id)
    assert {step.kind for step in record.steps if step.whole} >= {StepKind.STORE_NOTICE, StepKind.FEE_NOTICE}


async def test_own_notice_ends_when_the_target_is_ready(rig: Rig, carrier: Carrier) -> None:
    set_number(rig, notice="test/ringback")  # three seconds
    carrier.shop(SHOP, Answers(after_seconds=0.3, tone=SHOP_TONE))
    caller = await call(carrier)
    await caller.answered()
    await until_hears(caller, "shop")
    await caller.hang_up()
    record = await rig.record(caller.call_id)
    (notice,) = [step for step in record.steps if step.kind is StepKind.NOTICE]
    assert not notice.whole
    assert heard(caller) == ["test/ringback", "shop"]


async def test_ringback_of_several_files_in_their_order_again_and_again(rig: Rig, carrier: Carrier) -> None:
    set_number(rig, ringback=("test/second-ringback", "test/busy", "test/notice"))
    carrier.shop(SHOP, NeverAnswers())
    caller = await call(carrier)
    await eventually(lambda: heard(caller).count("test/second-ringback") >= 2)
    await caller.hang_up()
    assert heard(caller)[:4] == ["test/second-ringback", "test/busy", "test/notice", "test/second-ringback"]


async def test_ringback_changes_while_it_rings_when_a_rule_begins(rig: Rig, carrier: Carrier) -> None:
    set_number(rig, ring_seconds=60)
    begins = datetime.now(UTC) + timedelta(seconds=3)
    local = begins.astimezone(ZoneInfo("Asia/Seoul"))
    span = TimeSpan(start=local.time().replace(microsecond=0), end=(local + timedelta(hours=1)).time())
    rule = Rule(name="later", condition=Condition(times=(span,)), treatment=Treatment(ringback=("test/busy",)))
    rig.planner.rules[NUMBER] = (rule,)
    carrier.shop(SHOP, NeverAnswers())
    caller = await call(carrier)
    await until_hears(caller, "test/busy")
    await caller.hang_up()
    assert heard(caller) == ["test/ringback", "test/busy"]


async def test_voicemail_is_recorded_after_the_beep(rig: Rig, carrier: Carrier) -> None:
    set_number(rig, fallbacks=(Fallback(then=Then.VOICEMAIL, sounds=("ko/voicemail-greeting",)),))
    carrier.shop(SHOP, Busy())
    caller = await call(carrier)
    await caller.answered()
    await until_hears(caller, "ko/beep")
    await asyncio.sleep(2.0)
    caller.press("#")
    await until_hears(caller, "ko/voicemail-thanks")
    await caller.ended()
    record = await rig.record(caller.call_id)
    assert (record.result, record.ended_by, record.talk_seconds) == (Result.VOICEMAIL, Side.CALLER, 0)
    assert record.voicemail is not None
    samples = read_wav(rig.monitor.parent / "recording" / f"{record.call_id}.voicemail.wav").astype(float)
    assert len(samples) / 8000 > 1.0
    assert power(samples, CALLER_TONE) > 50 * power(samples, TONES["ko/voicemail-greeting"])


async def test_promise_of_a_text_is_heard_and_kept(rig: Rig, carrier: Carrier) -> None:
    set_number(rig, fallbacks=(Fallback(then=Then.TEXT, sounds=("ko/text-only",), text="곧 연락드립니다"),))
    carrier.shop(SHOP, Busy())
    caller = await call(carrier)
    await caller.ended()
    record = await rig.record(caller.call_id)
    assert (record.result, record.text_only, caller.final_code) == (Result.BUSY, "곧 연락드립니다", 486)
    assert heard(caller)[-1] == "ko/text-only"


async def test_consent_after_the_talk_is_a_key_press_of_the_caller_who_stayed(rig: Rig, carrier: Carrier) -> None:
    set_number(rig, consent=ConsentOffer(text="약도: 서울역 1번 출구"))
    carrier.shop(SHOP, Answers(tone=SHOP_TONE, talk_seconds=1.0))
    caller = await call(carrier)
    await caller.answered()
    await until_hears(caller, "ko/consent-offer")
    caller.press("1")
    await until_hears(caller, "ko/consent-thanks")
    await caller.ended()
    record = await rig.record(caller.call_id)
    assert record.consent is not None
    assert (record.consent.key, record.consent.before_talk) == ("1", False)
    assert len(record.consent.sound_version) == 64
    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)


async def test_every_caller_who_stays_hears_the_offer_and_the_call_ends(rig: Rig, carrier: Carrier) -> None:
    """A sound for a caller who is still on the way out of the bridge would never be heard, and never end."""
    set_number(rig, consent=ConsentOffer(text="약도"))
    carrier.shop(SHOP, Answers(tone=SHOP_TONE, talk_seconds=0.4))

    async def one() -> CallerLeg:
        caller = await call(carrier)
        await caller.ended()
        return caller

    for _ in range(6):
        for caller in await asyncio.gather(*(one() for _ in range(5))):
            assert "ko/consent-offer" in heard(caller)
            record = await rig.record(caller.call_id)
            assert [step.whole for step in record.steps if step.kind is StepKind.CONSENT] == [True]


async def test_consent_before_the_talk_on_a_trunk_with_early_keys(rig: Rig, carrier: Carrier) -> None:
    rig.trunks.trunks = [msgspec.structs.replace(rig.trunks.trunks[0], early_dtmf=True)]
    set_number(rig, consent=ConsentOffer(text="약도", before=True))
    carrier.shop(SHOP, NeverAnswers())
    caller = await call(carrier)
    await until_hears(caller, "ko/consent-offer")
    caller.party.speaking = True  # this carrier opens the way forward before the answer
    caller.press("1")
    await until_hears(caller, "ko/consent-thanks")
    await until_hears(caller, "test/ringback")
    await caller.hang_up()
    record = await rig.record(caller.call_id)
    assert record.consent is not None
    assert record.consent.before_talk
    assert record.answered_at is None


async def test_keys_start_pause_and_go_on_with_a_recording(rig: Rig, carrier: Carrier) -> None:
    set_number(rig, recording=RecordMode.ON_KEY)
    shop = carrier.shop(SHOP, Answers(after_seconds=0.2, tone=SHOP_TONE))
    caller = await call(carrier)
    target = await shop.next_call()
    await caller.answered()
    await until_hears(caller, "shop")
    live = rig.reception.calls()[0]
    for keys, state in (("*1", "recording"), ("*2", "paused"), ("*1", "recording")):
        assert live.recording is not None
        target.press(keys)
        await eventually(lambda state=state: live.recording.state == state)
        await asyncio.sleep(1.5)
    await caller.hang_up()
    record = await rig.record(caller.call_id)
    assert record.recording is not None
    caller_side = stereo(rig, str(record.call_id))[0]
    tenths = [caller_side[begin : begin + 800] for begin in range(0, len(caller_side), 800)]
    loud = [bool(np.abs(tenth).max() > 200) for tenth in tenths]
    assert any(loud[:5]), "nothing was recorded from the first key on"
    quiet = "".join("x" if each else "." for each in loud).strip(".")
    assert "." * 8 in quiet, "the pause is no silence in the file"
    assert len(caller_side) / 8000 > 3.5, "the pause is missing in the file's time"


async def test_target_sees_the_050_number_when_it_is_set_so(rig: Rig, carrier: Carrier) -> None:
    set_number(rig, shown=CallerShown.NUMBER)
    shop = carrier.shop(SHOP, Answers(tone=SHOP_TONE))
    caller = await call(carrier)
    target = await shop.next_call()
    await caller.answered()
    await caller.hang_up()
    assert target.shown_number == NUMBER


async def test_whisper_in_words_is_spoken_to_the_target_alone(rig: Rig, carrier: Carrier) -> None:
    set_number(rig, whisper=Whisper(text="test/spoken"))
    shop = carrier.shop(SHOP, Answers(tone=SHOP_TONE))
    caller = await call(carrier)
    target = await shop.next_call()
    await caller.answered()
    await until_hears(caller, "shop")
    await caller.hang_up()
    assert heard(target)[:1] == ["test/spoken"]
    assert "test/spoken" not in heard(caller)


async def test_closed_is_announced_and_nobody_rings(rig: Rig, carrier: Carrier) -> None:
    set_number(rig, announcement="ko/closed")
    carrier.shop(SHOP, Answers())
    caller = await call(carrier)
    await caller.ended()
    assert heard(caller) == ["ko/closed"]
    assert (caller.final_code, carrier.targets) == (480, [])


def stereo(rig: Rig, call_id: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    samples = np.frombuffer((rig.monitor / f"{call_id}.raw").read_bytes(), dtype="<i2")
    return samples[0::2].astype(float), samples[1::2].astype(float)


def power(samples: NDArray[np.float64], frequency: int) -> float:
    angle = 2 * np.pi * frequency * np.arange(len(samples)) / 8000
    return float(np.hypot(samples @ np.cos(angle), samples @ np.sin(angle)) / max(len(samples), 1)) ** 2
