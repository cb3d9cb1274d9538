"""What would be heard, by ear: each sound is a tone of its own."""

from __future__ import annotations

import io
import wave
from datetime import datetime, timedelta

import numpy as np
import pytest

from engine.foundation.errors import Invalid, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import (
    ConsentOffer,
    Failure,
    Fallback,
    RecordMode,
    Target,
    Then,
    Treatment,
    Whisper,
)
from engine.prompts.telephone_sound import RATE, Samples
from engine.routing.call_plan import CallPlan
from engine.routing.model import Condition, Rule, TimeSpan
from engine.whatif.heard import (
    ANSWER_AFTER,
    FAILS_AFTER,
    MARKER_HERTZ,
    Assumed,
    Heard,
    Outcome,
    answer_soon,
    hear,
    ringbacks,
    wav_of,
)
from engine.whatif.timeline import Ear
from tests.hand_made_line import MORNING, SECOND, TARGET, line_of, plan_of

TONES = {
    "ko/store-info-notice": (600, 3.0),
    "ko/recording-notice": (800, 2.0),
    "ko/recording-notice-target": (900, 1.0),
    "ko/press-1-to-accept": (1000, 1.0),
    "ko/connecting": (1200, 0.5),
    "ko/not-in-service": (700, 2.0),
    "ko/beep": (1300, 0.5),
    "ko/voicemail-thanks": (1350, 0.5),
    "ko/consent-offer": (1400, 1.5),
    "ko/ringback-tone": (1500, 1.0),
    "own/first": (1600, 1.0),
    "own/second": (1700, 1.0),
    "own/notice": (1800, 4.0),
    "own/whisper": (2100, 1.0),
    "own/spoken": (2200, 1.0),
    "own/busy": (2300, 2.0),
}
RINGBACK, WHISPER = 1500, 2100
BOTH_NOTICES = Treatment(store_notice=True, recording=RecordMode.ALWAYS)


def sound(name: str) -> Samples:
    if name not in TONES:
        raise NotFound(f"sound {name}: it is not there")
    hertz, seconds = TONES[name]
    return np.asarray(np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE) * 0.1, dtype=np.float64)


def tone_at(channel: Samples, second: float) -> int:
    """The tone in the fifth of a second from there; 0: silence."""
    part = channel[round(second * RATE) : round((second + 0.2) * RATE)]
    if not len(part) or np.abs(part).max() < 0.01:
        return 0
    return round(float(np.argmax(np.abs(np.fft.rfft(part * np.hanning(len(part))))) * RATE / len(part)))


def tones(channel: Samples) -> set[int]:
    """All that is heard, looked at five times a second."""
    return {tone_at(channel, fifth / 5) for fifth in range(int(len(channel) / RATE * 5) - 1)}


def listened(treatment: Treatment, assumed: Assumed | None = None, **spoken: str) -> Heard:
    return hear(plan_of(line_of(treatment)), assumed or Assumed(), sound, spoken=spoken)


def test_notices_then_ringback_looped_until_the_target_answers() -> None:
    heard = listened(BOTH_NOTICES, Assumed(answer_after=8.0))
    assert [tone_at(heard.caller, second) for second in (1.0, 4.0, 5.5, 7.5)] == [600, 800, RINGBACK, RINGBACK]
    assert tone_at(heard.caller, 9.05) == MARKER_HERTZ, "the target had its notice, 1 s, then they talk"
    assert tone_at(heard.target, 8.5) == 900
    assert tone_at(heard.target, 9.05) == MARKER_HERTZ


def test_the_whisper_is_on_the_targets_channel_only() -> None:
    heard = listened(Treatment(whisper=Whisper(sound="own/whisper")), Assumed(answer_after=3.0))
    assert tone_at(heard.target, 3.5) == WHISPER
    assert tone_at(heard.caller, 3.5) == RINGBACK, "the caller goes on hearing ringback"
    assert WHISPER not in tones(heard.caller)
    assert tone_at(heard.target, 2.0) == 0


def test_a_spoken_whisper_comes_before_the_sound_set() -> None:
    treatment = Treatment(whisper=Whisper(text="배달앱 전화", sound="own/whisper"))
    assert tone_at(listened(treatment, Assumed(answer_after=1.0), **{"배달앱 전화": "own/spoken"}).target, 1.5) == 2200
    assert tone_at(listened(treatment, Assumed(answer_after=1.0)).target, 1.5) == WHISPER


def test_a_mandatory_notice_is_heard_to_its_end_while_the_target_is_being_connected() -> None:
    heard = listened(BOTH_NOTICES, Assumed(answer_after=1.0))
    assert [tone_at(heard.caller, second) for second in (1.5, 4.5)] == [600, 800]
    assert tone_at(heard.target, 2.1) == 1200, "the target waits"
    assert tone_at(heard.caller, 5.05) == MARKER_HERTZ
    assert RINGBACK not in tones(heard.caller)


def test_the_shops_own_announcement_ends_when_the_target_is_ready() -> None:
    heard = listened(Treatment(notice="own/notice"), Assumed(answer_after=1.5))
    assert tone_at(heard.caller, 1.2) == 1800
    assert tone_at(heard.caller, 1.55) == MARKER_HERTZ


def test_several_ringbacks_in_their_order_again_and_again() -> None:
    heard = listened(Treatment(ringback=("own/first", "own/second")), Assumed(answer_after=4.0))
    assert [tone_at(heard.caller, second) for second in (0.4, 1.4, 2.4, 3.4)] == [1600, 1700, 1600, 1700]


def test_rules_change_the_ringback_while_it_rings() -> None:
    lunch = Rule(
        name="점심",
        condition=Condition(times=(TimeSpan(start=MORNING.time(), end=(MORNING + timedelta(hours=1)).time()),)),
        treatment=Treatment(ringback=("own/first",)),
    )
    line = line_of(rules=[lunch])
    at = MORNING + timedelta(hours=1) - timedelta(seconds=3)

    def plan_at(instant: datetime) -> CallPlan:
        return plan_of(line, at=instant)

    changes = ringbacks(plan_at(at), at, plan_at)
    assert changes == ((3.0, ("ko/ringback-tone",)),)
    heard = hear(plan_at(at), Assumed(answer_after=6.0), sound, ringbacks=changes)
    assert [tone_at(heard.caller, second) for second in (1.5, 4.5)] == [1600, RINGBACK]


def test_a_later_answer_comes_from_the_next_telephone() -> None:
    treatment = Treatment(targets=(Target(number=TARGET, ring_seconds=4), Target(number=SECOND, ring_seconds=10)))
    heard = listened(treatment, Assumed(answer_after=7.0))
    assert [moment.what for moment in heard.timeline if moment.ear is Ear.TARGET][:3] == [
        "02-9876-5432 rings: no answer",
        "031-123-4567 rings",
        "031-123-4567 answers",
    ]
    assert tone_at(heard.caller, 7.05) == MARKER_HERTZ


@pytest.mark.parametrize("outcome", [Outcome.BUSY, Outcome.REJECTED, Outcome.UNREACHABLE])
def test_a_failure_at_once_and_what_is_said_then(outcome: Outcome) -> None:
    chain = (Fallback(then=Then.ANNOUNCE, on=(Failure(outcome.value),), sounds=("own/busy",)),)
    heard = listened(Treatment(fallbacks=chain), Assumed(outcome))
    assert tone_at(heard.caller, FAILS_AFTER - 0.5) == RINGBACK
    assert tone_at(heard.caller, FAILS_AFTER + 0.5) == 2300
    assert heard.timeline[-1].what.startswith(f"refused: {outcome.value}")
    assert MARKER_HERTZ not in tones(heard.caller)


def test_no_answer_rings_the_whole_time_and_then_the_voicemail_takes_it() -> None:
    chain = (Fallback(then=Then.VOICEMAIL, on=(Failure.NO_ANSWER,), sounds=("own/busy",)),)
    heard = listened(Treatment(ring_seconds=5, fallbacks=chain), Assumed(Outcome.NO_ANSWER))
    assert tone_at(heard.caller, 4.5) == RINGBACK
    assert tone_at(heard.caller, 5.5) == 2300
    assert tone_at(heard.caller, 7.1) == 1300, "the beep"
    assert not heard.target.any()


def test_nobody_presses_1() -> None:
    heard = listened(Treatment(accept=True), Assumed(Outcome.NOT_ACCEPTED, answer_after=2.0))
    assert tone_at(heard.target, 2.5) == 1000
    assert heard.timeline[-1].what.startswith("refused: not accepted")
    assert MARKER_HERTZ not in tones(heard.caller)


def test_a_number_that_nobody_has() -> None:
    heard = hear(plan_of(None), Assumed(), sound)
    assert tone_at(heard.caller, 1.0) == 700
    assert heard.seconds == pytest.approx(2.0)
    assert heard.timeline[-1].what == "refused: not in service, cause 1"


def test_the_offer_after_the_talk() -> None:
    heard = listened(Treatment(consent=ConsentOffer(text="약도")), Assumed(answer_after=1.0))
    assert tone_at(heard.caller, 3.5) == 1400
    assert tone_at(heard.target, 3.5) == 0


def test_a_missing_sound_is_named_and_the_call_goes_on() -> None:
    heard = listened(Treatment(whisper=Whisper(sound="own/gone"), notice="own/lost"), Assumed(answer_after=2.0))
    missing = {moment.sound for moment in heard.timeline if moment.missing}
    assert missing == {"own/gone", "own/lost"}
    assert tone_at(heard.caller, 2.05) == MARKER_HERTZ


def test_the_file_is_8_khz_and_in_stereo_the_target_is_right() -> None:
    heard = listened(Treatment(whisper=Whisper(sound="own/whisper")), Assumed(answer_after=3.0))
    with wave.open(io.BytesIO(wav_of(heard, stereo=False))) as mono:
        assert (mono.getnchannels(), mono.getsampwidth(), mono.getframerate()) == (1, 2, RATE)
        assert mono.getnframes() == len(heard.caller)
    with wave.open(io.BytesIO(wav_of(heard, stereo=True))) as file:
        assert file.getnchannels() == 2
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2) / 32768
    assert tone_at(both[:, 0], 3.5) == RINGBACK
    assert tone_at(both[:, 1], 3.5) == WHISPER


def test_the_timeline_is_in_order_and_holds_nothing_of_the_future() -> None:
    heard = listened(BOTH_NOTICES, Assumed(answer_after=9.0))
    begins = [moment.at for moment in heard.timeline]
    assert begins == sorted(begins)
    assert max(moment.at + moment.seconds for moment in heard.timeline) == pytest.approx(heard.seconds, abs=0.01)


def test_the_chain_is_gone_through() -> None:
    together = Fallback(then=Then.RING, on=(Failure.BUSY,), targets=(Target(number=PhoneNumber("01022223333")),))
    heard = listened(Treatment(fallbacks=(together,)), Assumed(Outcome.BUSY))
    assert [moment.what for moment in heard.timeline if moment.ear is Ear.TARGET] == [
        "02-9876-5432 called: busy",
        "010-2222-3333 called: busy",
    ]


def test_by_default_somebody_answers_however_short_a_telephone_rings() -> None:
    assert answer_soon(plan_of(line_of())) == ANSWER_AFTER
    assert answer_soon(plan_of(None)) == ANSWER_AFTER
    short = Treatment(targets=(Target(number=TARGET, ring_seconds=3), Target(number=SECOND)))
    soon = answer_soon(plan_of(line_of(short)))
    assert soon < 3
    heard = listened(short, Assumed(answer_after=soon))
    assert any("answers" in moment.what and "02-9876-5432" in moment.what for moment in heard.timeline)
    assert not any("no answer" in moment.what for moment in heard.timeline)


@pytest.mark.parametrize("outcome", Outcome)
def test_what_would_last_too_long_is_not_made(outcome: Outcome) -> None:
    made = plan_of(line_of(BOTH_NOTICES))
    whole = hear(made, Assumed(outcome, answer_soon(made)), sound)
    assert hear(made, Assumed(outcome, answer_soon(made)), sound, longest=whole.seconds + 0.01).seconds == whole.seconds
    with pytest.raises(Invalid, match="lasts longer"):
        hear(made, Assumed(outcome, answer_soon(made)), sound, longest=whole.seconds - 0.1)
