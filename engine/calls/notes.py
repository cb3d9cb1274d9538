"""What one call has gone through so far: the material of its record, and its lines in the call log."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from engine.calls.causes import CAUSE_TOWARDS_CALLER
from engine.cdr.model import Arrival, CallRecord, Consent, Direction, Leg, Result, Side, Step, StepKind, closed
from engine.events.call_log import CallEvent, CallEventKind
from engine.events.call_log_writer import CallLog
from engine.foundation.clock import Clock
from engine.foundation.phone_number import PhoneNumber
from engine.routing.call_plan import CallPlan

_FAILS_BEFORE = 0.25
"""Seconds by which commands to an Asterisk that died may fail before the end of its events is heard of."""


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks: `at` for the record, `tick` for durations."""

    at: datetime
    tick: float


def moment_of(instant: datetime, clock: Clock) -> Moment:
    """An instant that Asterisk or an earlier process told, on this process's monotonic clock; never in the future."""
    age = max((clock.now() - instant).total_seconds(), 0.0)
    return Moment(clock.now() - timedelta(seconds=age), clock.monotonic() - age)


@dataclass(slots=True)
class OpenStep:
    """A step that goes on; `end` closes it once."""

    kind: StepKind
    to: tuple[Side, ...]
    sound: str | None
    began: Moment
    ended: Moment | None = None
    whole: bool = False

    def end(self, moment: Moment, *, whole: bool) -> None:
        if self.ended is None:
            self.ended, self.whole = moment, whole

    def so_far(self) -> Step:
        """For the record, once it has ended."""
        return Step(
            kind=self.kind,
            to=self.to,
            sound=self.sound,
            started_at=self.began.at,
            ended_at=self.ended.at if self.ended else None,
            whole=self.whole,
        )


@dataclass(slots=True)
class Notes:
    """Written by the steps as they happen, read once, at the end, as a CallRecord."""

    arrival: Arrival
    clock: Clock
    log: CallLog
    arrived: Moment
    target: PhoneNumber | None = None
    ringing: Moment | None = None
    answered: Moment | None = None
    first_sound: Moment | None = None
    result: Result | None = None
    ended_by: Side = Side.DARI
    recording: str | None = None
    recording_reason: str = ""
    rules: tuple[str, ...] = ()
    callback: str | None = None
    text_only: str | None = None
    consent: Consent | None = None
    voicemail: str | None = None
    new_plan: CallPlan | None = None
    """What the call goes through, until that is in the journal."""
    stage: int | None = None
    """The place in the plan of the stage that goes on; None: the first has not begun."""
    legs_before: int = 0
    """How many legs to targets there were when that stage began."""
    failure: Result | None = None
    """How the stage before it ended."""
    steps: list[OpenStep] = field(default_factory=list)
    stopped: Moment | None = None
    """When it ended, where that is heard of only later: nothing of the call is after it."""
    concluded: Moment | None = None
    """When the result was known."""

    def moment(self) -> Moment:
        return self.stopped or Moment(self.clock.now(), self.clock.monotonic())

    def know_call_id(self, sip_call_id: str | None) -> None:
        """The caller's, of a call that came in without it."""
        if self.arrival.sip_call_id is None and self.arrival.direction is Direction.INCOMING:
            self.arrival = msgspec.structs.replace(self.arrival, sip_call_id=sip_call_id)

    def begin(self, kind: StepKind, to: tuple[Side, ...], sound: str | None = None) -> OpenStep:
        """A step starts now; the first one that the caller hears ends the post-dial delay."""
        step = OpenStep(kind, to, sound, self.moment())
        self.steps.append(step)
        if Side.CALLER in to and self.first_sound is None and sound is not None:
            self.first_sound = step.began
        return step

    def conclude(self, result: Result, ended_by: Side) -> None:
        """How the call ended. The first conclusion stands: what comes later is only tidying up."""
        if self.result is None:
            self.result, self.ended_by, self.concluded = result, ended_by, self.moment()

    def stop(self, at: Moment) -> None:
        """The call was over then, with its caller or with Asterisk: what seemed to happen since then did not."""
        self.stopped = at
        if self.concluded is not None and self.concluded.tick > at.tick - _FAILS_BEFORE:
            self.result = self.concluded = None
        self.steps = [step for step in self.steps if step.began.tick <= at.tick]
        for step in self.steps:
            if step.ended is not None and step.ended.tick > at.tick:
                step.ended, step.whole = at, False

    def tell(self, kind: CallEventKind, detail: str = "", target: PhoneNumber | None = None) -> None:
        """One line in the call log; `target` where several ring."""
        self.log.write(
            CallEvent(
                at=self.clock.now(),
                call_id=self.arrival.call_id,
                kind=kind,
                number=self.arrival.number,
                caller=self.arrival.caller,
                target=target or self.target,
                detail=detail,
                account_id=self.arrival.account_id,
            )
        )

    def tell_end(self, record: CallRecord) -> None:
        """The call's last line in the call log."""
        talk = f", talked {record.talk_seconds:.1f} s" if record.talk_seconds else ""
        self.tell(CallEventKind.ENDED, f"{record.result.value}{talk}, ended by {record.ended_by.value}")

    def seconds(self, *kinds: StepKind) -> float:
        """How long steps of these kinds have lasted together."""
        now = self.moment().tick
        return sum(
            (step.ended.tick if step.ended else now) - step.began.tick for step in self.steps if step.kind in kinds
        )

    def was_heard(self, kind: StepKind, by: Side, sound: str | None = None) -> bool:
        """Whether a party has heard such a step whole; of `sound`, when one is named."""
        return any(
            step.whole and step.kind is kind and by in step.to and sound in (None, step.sound) for step in self.steps
        )

    def goes_on(self, kind: StepKind, sound: str | None = None) -> bool:
        """Whether such a step goes on; of `sound`, when one is named."""
        return any(step.ended is None and step.kind is kind and sound in (None, step.sound) for step in self.steps)

    def end(self, kind: StepKind) -> None:
        """Steps of that kind that still go on end now."""
        for step in self.steps:
            if step.kind is kind:
                step.end(self.moment(), whole=True)

    def end_steps(self, moment: Moment | None = None) -> None:
        """What still goes on has been heard to its end, now or at that moment."""
        now = moment or self.moment()
        for step in self.steps:
            step.end(now, whole=True)

    def end_talk(self, moment: Moment) -> None:
        """The two, if they talked, did so until that moment."""
        if any(step.kind is StepKind.CONNECT and step.ended is None for step in self.steps):
            self.end_steps(moment)

    def record(self, legs: tuple[Leg, ...]) -> CallRecord:
        """The closed record. Call it once, when everything of the call has ended."""
        now = self.moment()
        for step in self.steps:
            step.end(now, whole=False)
        result = self.result or Result.FAILED
        talk = self.seconds(StepKind.CONNECT)
        return msgspec.structs.replace(
            closed(self.arrival, ended_at=now.at, result=result, ended_by=self.ended_by),
            target=self.target,
            ringing_at=self.ringing.at if self.ringing else None,
            answered_at=self.answered.at if self.answered else None,
            ringback_seconds=round(self.seconds(StepKind.RINGBACK), 3),
            talk_seconds=round(talk, 3),
            cause=CAUSE_TOWARDS_CALLER[result],
            recording=self.recording if self.seconds(StepKind.RECORDING) else None,
            recording_reason=self.recording_reason,
            rules=self.rules,
            callback=self.callback,
            text_only=self.text_only,
            consent=self.consent,
            voicemail=self.voicemail,
            post_dial_delay=round(self.first_sound.tick - self.arrived.tick, 4) if self.first_sound else None,
            legs=legs,
            steps=tuple(step.so_far() for step in self.steps),
        )
