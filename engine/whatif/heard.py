"""What both sides of a call that nobody has placed would hear: one sound, and a list of what comes when.

Made of the very sounds that the call would play. The other side's behaviour is an assumption: whether and when it
answers is given; where people would talk there is a short marker tone and silence.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from math import inf

import numpy as np

from engine.calls.steps.accept import PROMPT as PRESS_1
from engine.calls.steps.voicemail import BEEP, THANKS
from engine.calls.steps.waiting import CONNECTING
from engine.cdr.model import Result
from engine.foundation.errors import Invalid, NotFound
from engine.foundation.phone_number import written
from engine.numbers.treatment import Failure
from engine.prompts.telephone_sound import RATE, Samples, pcm
from engine.routing.call_plan import Announce, CallPlan, Forward, NoticeKind, Ring, Say, SendText, Voicemail, next_stage
from engine.whatif.explanation import cause_of
from engine.whatif.timeline import Ear, Moment

ANSWER_AFTER = 6.0
"""Seconds after which the target answers, where nothing else is said."""
FAILS_AFTER = 2.0
"""Seconds after which a telephone that is busy, away or rejects the call says so. Real networks take 1 to 4."""
PRESSES_AFTER = 1.0
"""Seconds from the end of what it hears until whoever answered presses 1."""
MARKER_HERTZ = 440
"""Stands where people would talk."""
TALK_SECONDS = 2.0
"""How long that place is."""

GIVES_UP_AFTER = 9.0
"""Seconds from there in which nobody pressed 1: the question is asked three times."""
MOST_RINGBACKS = 20
"""Changes of ringback that are looked at."""
CONNECTING_EVERY = 2.0
"""Seconds of silence between two times that whoever answered hears that the connection is being made."""

_MARKER_SECONDS = 0.4
_MARKER_LEVEL = 0.1


class Outcome(Enum):
    """How the telephones that ring behave."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no answer"
    UNREACHABLE = "unreachable"
    REJECTED = "rejected"
    NOT_ACCEPTED = "not accepted"


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is assumed of the side that is called."""

    outcome: Outcome = Outcome.ANSWERED
    answer_after: float = ANSWER_AFTER
    """Seconds from the beginning of the call; a stage that rings shorter fails with no answer before."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Both channels, equally long, and what is in them."""

    caller: Samples
    target: Samples
    timeline: tuple[Moment, ...]

    @property
    def seconds(self) -> float:
        return len(self.caller) / RATE


ReadSound = Callable[[str], Samples]
"""The 8 kHz samples of a sound's name. Raises NotFound."""


def hear(
    plan: CallPlan,
    assumed: Assumed,
    read: ReadSound,
    *,
    spoken: Mapping[str, str] | None = None,
    ringbacks: Sequence[tuple[float, tuple[str, ...]]] = (),
    longest: float = inf,
) -> Heard:
    """`spoken`: the sound that each text has become; a text that is not in it is left out, as in a call.

    `ringbacks`: from how many seconds on which other ringback is heard, when rules change it while it rings.
    Raises Invalid when it lasts longer than `longest` seconds.
    """
    tape = _Tape(read, longest)
    match plan:
        case Announce():
            end = tape.play(0.0, Ear.CALLER, "announcement", plan.sound)
            tape.note(end, Ear.CALLER, f"refused: {plan.result.value}, cause {cause_of(plan.result)}")
        case Forward():
            _Listening(plan, assumed, tape, spoken or {}, ((0.0, plan.ringback), *ringbacks)).through()
    return tape.cut()


def answer_soon(plan: CallPlan) -> float:
    """ANSWER_AFTER, or sooner where a telephone rings shorter, so that whichever rings is answered."""
    stages = plan.stages if isinstance(plan, Forward) else ()
    shortest = [one.seconds for stage in stages if isinstance(stage, Ring) for one in stage.targets]
    return min([ANSWER_AFTER, *(seconds / 2 for seconds in shortest)])


def ringbacks(
    plan: CallPlan, at: datetime, plan_at: Callable[[datetime], CallPlan]
) -> tuple[tuple[float, tuple[str, ...]], ...]:
    """From how many seconds after `at` rules have the call hear which other ringback; as the live call asks for it."""
    changes: list[tuple[float, tuple[str, ...]]] = []
    while isinstance(plan, Forward) and plan.ringback_until is not None and len(changes) < MOST_RINGBACKS:
        until = plan.ringback_until
        plan = plan_at(until)
        if isinstance(plan, Forward):
            changes.append(((until - at).total_seconds(), plan.ringback))
    return tuple(changes)


def wav_of(heard: Heard, *, stereo: bool) -> bytes:
    """A WAV file of 8 kHz, 16 bit: the caller's ear; with `stereo` at the left, and the target's at the right."""
    if stereo:
        both = np.stack([heard.caller, heard.target], axis=1).reshape(-1)
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setparams((2 if stereo else 1, 2, RATE, 0, "NONE", ""))
        file.writeframes(pcm(both if stereo else heard.caller))
    return content.getvalue()


@dataclass(slots=True)
class _Tape:
    """Two channels that sounds are laid on, none beyond `longest` seconds."""

    read: ReadSound
    longest: float
    pieces: list[tuple[Ear, float, Samples]] = field(default_factory=list)
    timeline: list[Moment] = field(default_factory=list)

    def play(self, at: float, ear: Ear, what: str, sound: str, until: float | None = None) -> float:
        """Lays a sound there, cut at `until`; when it ends."""
        samples = self.samples(sound)
        if samples is None:
            self.timeline.append(Moment(at=at, seconds=0.0, ear=ear, what=what, sound=sound, missing=True))
            return at
        if until is not None:
            samples = samples[: max(0, round((until - at) * RATE))]
        return self.lay(at, ear, what, samples, sound)

    def lay(self, at: float, ear: Ear, what: str, samples: Samples, sound: str | None = None) -> float:
        seconds = len(samples) / RATE
        self.reach(at + seconds)
        self.pieces.append((ear, at, samples))
        self.timeline.append(Moment(at=at, seconds=seconds, ear=ear, what=what, sound=sound))
        return at + seconds

    def loop(self, at: float, until: float, sounds: tuple[str, ...]) -> None:
        """Ringback: these one after the other, again and again."""
        there = [samples for sound in sounds if (samples := self.samples(sound)) is not None]
        for sound in sounds:
            if self.samples(sound) is None:
                self.timeline.append(
                    Moment(at=at, seconds=0.0, ear=Ear.CALLER, what="ringback", sound=sound, missing=True)
                )
        self.reach(until)
        length = round((until - at) * RATE)
        if length > 0 and there:
            self.lay(at, Ear.CALLER, "ringback", np.resize(np.concatenate(there), length), " ".join(sounds))

    def note(self, at: float, ear: Ear, what: str, seconds: float = 0.0) -> float:
        """Something that happens and is not heard."""
        self.reach(at + seconds)
        self.timeline.append(Moment(at=at, seconds=seconds, ear=ear, what=what))
        return at + seconds

    def reach(self, instant: float) -> None:
        """Raises Invalid when the tape ends before."""
        if instant > self.longest:
            raise Invalid(
                f"what would be heard lasts longer than {self.longest:.0f} s; suppose that somebody answers sooner, "
                "or hear the sounds one by one"
            )

    def samples(self, sound: str) -> Samples | None:
        try:
            return self.read(sound)
        except NotFound:
            return None

    def cut(self) -> Heard:
        ends = [at + len(samples) / RATE for _, at, samples in self.pieces]
        ends += [moment.at + moment.seconds for moment in self.timeline]
        length = round(max(ends, default=0.0) * RATE)
        caller, target = np.zeros(length), np.zeros(length)
        for ear, at, samples in self.pieces:
            start = round(at * RATE)
            for channel, hears in ((caller, ear is not Ear.TARGET), (target, ear is not Ear.CALLER)):
                if hears:
                    part = samples[: length - start]
                    channel[start : start + len(part)] += part
        return Heard(caller, target, tuple(sorted(self.timeline, key=lambda moment: moment.at)))


_FAILURES: dict[Outcome, Failure] = {
    outcome: Failure(outcome.value) for outcome in Outcome if outcome is not Outcome.ANSWERED
}


@dataclass(slots=True)
class _Listening:
    """One call that is forwarded, from ringing to hung up."""

    plan: Forward
    assumed: Assumed
    tape: _Tape
    spoken: Mapping[str, str]
    ringbacks: tuple[tuple[float, tuple[str, ...]], ...]

    def through(self) -> None:
        at, failure = 0.0, self.plan.failed_before
        rang = False
        last: Say | Voicemail | SendText | None = None
        place = next_stage(self.plan.stages, None, failure)
        while place is not None:
            stage = self.plan.stages[place]
            if not isinstance(stage, Ring):
                last = stage
                break
            rang = True
            at, failure = self._ring(stage, at)
            if failure is None:
                return
            place = next_stage(self.plan.stages, place, failure)
        if rang:
            self._waited(at, cut=True)
        ended = failure or Failure.UNREACHABLE
        if last is None:
            self._refused(at, ended)
        else:
            self._last(last, at, ended)

    def _ring(self, stage: Ring, at: float) -> tuple[float, Failure | None]:
        """One stage that rings from `at`: when it is over, and how it failed; None: they talked."""
        longest = max(one.seconds for one in stage.targets)
        names = " and ".join(written(one.number) for one in stage.targets)
        failure = _FAILURES.get(self.assumed.outcome)
        if failure in (Failure.BUSY, Failure.UNREACHABLE, Failure.REJECTED):
            lasts = min(FAILS_AFTER, longest)
            return self.tape.note(at, Ear.TARGET, f"{names} called: {failure.value}", lasts), failure
        answers = self.assumed.answer_after if failure is None else at + min(self.assumed.answer_after, longest)
        if failure is Failure.NO_ANSWER or answers > at + longest:
            return self.tape.note(at, Ear.TARGET, f"{names} rings: no answer", longest), Failure.NO_ANSWER
        answering = next(one for one in stage.targets if at + one.seconds >= answers)
        begin = max(at, answers)
        self.tape.note(at, Ear.TARGET, f"{names} rings", begin - at)
        self.tape.note(begin, Ear.TARGET, f"{written(answering.number)} answers")
        told = self._told(begin)
        if failure is Failure.NOT_ACCEPTED and self.plan.accept:
            return self.tape.note(told, Ear.TARGET, "nobody presses 1", GIVES_UP_AFTER), Failure.NOT_ACCEPTED
        if self.plan.accept:
            told = self.tape.note(told, Ear.TARGET, "presses 1", PRESSES_AFTER)
        self._talk(told)
        return told, None

    def _told(self, at: float) -> float:
        """What the target alone hears: whisper, notice that it is recorded, the question to press 1."""
        whisper = self.plan.whisper
        if whisper and (sound := self.spoken.get(whisper.text or "") or whisper.sound):
            at = self.tape.play(at, Ear.TARGET, "whisper", sound)
        if notice := self.plan.recording_notice_to_target:
            at = self.tape.play(at, Ear.TARGET, "recording notice", notice)
        if self.plan.accept:
            at = self.tape.play(at, Ear.TARGET, "press 1 to take the call", PRESS_1)
        return at

    def _talk(self, ready: float) -> None:
        """The caller's notices to their end, then both are connected."""
        connected = self._waited(ready)
        while ready < connected and self.tape.samples(CONNECTING) is not None:
            ready = self.tape.play(ready, Ear.TARGET, "being connected", CONNECTING, until=connected)
            ready += CONNECTING_EVERY
        marker = np.zeros(round(TALK_SECONDS * RATE))
        beep = _tone(MARKER_HERTZ, _MARKER_SECONDS)
        marker[: len(beep)] = beep
        end = self.tape.lay(connected, Ear.BOTH, "answered and connected: the talk (marker tone)", marker)
        if self.plan.consent:
            end = self.tape.note(end, Ear.TARGET, "hangs up")
            end = self.tape.play(end, Ear.CALLER, "offer of a message for a key press", self.plan.consent.sound)
        self.tape.note(end, Ear.BOTH, "hung up")

    def _waited(self, until: float, *, cut: bool = False) -> float:
        """What the caller hears until the call goes on: notices, then ringback; when it can go on.

        `cut`: nobody took the call; then nothing is waited for.
        """
        at = 0.0
        for notice in self.plan.notices:
            whole = notice.mandatory and not cut
            if not whole and at >= until:
                continue
            kind = "the shop's announcement" if notice.kind is NoticeKind.OWN else f"{notice.kind.value} notice"
            at = self.tape.play(at, Ear.CALLER, kind, notice.sound, None if whole else until)
        ends = [begin for begin, _ in self.ringbacks[1:]] + [until]
        for (begin, sounds), end in zip(self.ringbacks, ends, strict=True):
            start, stop = max(at, begin), min(end, until)
            if stop > start:
                self.tape.loop(start, stop, sounds)
        return max(at, until)

    def _last(self, stage: Say | Voicemail | SendText, at: float, failure: Failure) -> None:
        match stage:
            case Say():
                for sound in stage.sounds:
                    at = self.tape.play(at, Ear.CALLER, f"announcement ({failure.value})", sound)
                self._refused(at, failure)
            case SendText():
                at = self.tape.play(at, Ear.CALLER, "that a message comes", stage.sound)
                self._refused(at, failure)
            case Voicemail():
                self.tape.note(at, Ear.CALLER, "answered by the voicemail")
                at = self.tape.play(at, Ear.CALLER, "greeting", stage.greeting)
                at = self.tape.play(at, Ear.CALLER, "beep", BEEP)
                at = self.tape.note(at, Ear.CALLER, "leaves a message", TALK_SECONDS)
                at = self.tape.play(at, Ear.CALLER, "thanks", THANKS)
                self.tape.note(at, Ear.CALLER, "hung up")

    def _refused(self, at: float, failure: Failure) -> None:
        result = Result(failure.value)
        self.tape.note(at, Ear.CALLER, f"refused: {result.value}, cause {cause_of(result)}")


def _tone(hertz: float, seconds: float) -> Samples:
    instants = np.arange(round(seconds * RATE)) / RATE
    return np.asarray(np.sin(2 * np.pi * hertz * instants) * _MARKER_LEVEL, dtype=np.float64)
