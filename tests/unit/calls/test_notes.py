"""What a call writes down of itself."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from engine.calls.notes import Moment, Notes
from engine.cdr.model import Arrival, Result, Side, StepKind
from engine.events.call_log_writer import CallLog
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind
from tests.call_desk import ACCOUNT
from tests.hand_clock import HandClock


class TwoClocks(HandClock):
    """Its wall clock can be set without the monotonic one noticing."""

    ticks = 0.0

    def monotonic(self) -> float:
        return self.ticks

    def passes(self, seconds: float) -> None:
        self.ticks += seconds
        self.advance(timedelta(seconds=seconds))


@pytest.fixture
def clock() -> TwoClocks:
    return TwoClocks()


@pytest.fixture
def notes(clock: TwoClocks, tmp_path: Path) -> Notes:
    arrival = Arrival(
        call_id=UUID("01900000-0000-7000-8000-00000000ca11"),
        node="n1",
        sip_call_id="abc@carrier",
        channel="1767225600.1",
        number=PhoneNumber("050712345678"),
        number_sent="050712345678",
        number_kind=NumberKind.VIRTUAL,
        account_id=ACCOUNT,
        caller=None,
        caller_sent="withheld",
        trunk="carrier",
        arrived_at=clock.now(),
    )
    log = CallLog(tmp_path, "calls", mask=False, max_bytes=100_000, files=1)
    return Notes(arrival, clock, log, Moment(clock.now(), clock.monotonic()))


def test_first_conclusion_stands(notes: Notes) -> None:
    notes.conclude(Result.BUSY, Side.TARGET)
    notes.conclude(Result.CALLER_GAVE_UP, Side.CALLER)
    record = notes.record(())
    assert (record.result, record.ended_by, record.cause) == (Result.BUSY, Side.TARGET, 17)


def test_call_without_conclusion_has_failed(notes: Notes) -> None:
    assert notes.record(()).result is Result.FAILED


def test_durations_do_not_follow_a_wall_clock_that_is_set(notes: Notes, clock: TwoClocks) -> None:
    ringback = notes.begin(StepKind.RINGBACK, (Side.CALLER,), "ring")
    clock.passes(3)
    clock.advance(timedelta(hours=1))
    ringback.end(notes.moment(), whole=True)
    talk = notes.begin(StepKind.CONNECT, (Side.CALLER, Side.TARGET))
    clock.advance(timedelta(hours=-2))
    clock.passes(7.5)
    talk.end(notes.moment(), whole=True)
    record = notes.record(())
    assert (record.ringback_seconds, record.talk_seconds) == (3, 7.5)


def test_step_ends_once(notes: Notes, clock: TwoClocks) -> None:
    step = notes.begin(StepKind.WHISPER, (Side.TARGET,), "psst")
    ended = notes.moment()
    step.end(ended, whole=True)
    clock.passes(5)
    step.end(notes.moment(), whole=False)
    (kept,) = notes.record(()).steps
    assert (kept.ended_at, kept.whole, kept.sound) == (ended.at, True, "psst")


def test_step_that_goes_on_at_the_end_was_cut_short(notes: Notes, clock: TwoClocks) -> None:
    notes.begin(StepKind.ANNOUNCEMENT, (Side.CALLER,), "closed")
    clock.passes(2)
    record = notes.record(())
    assert [step.whole for step in record.steps] == [False]
    assert record.steps[0].ended_at == record.ended_at


def test_same_kinds_add_up(notes: Notes, clock: TwoClocks) -> None:
    for _ in range(3):
        step = notes.begin(StepKind.RINGBACK, (Side.CALLER,), "ring")
        clock.passes(2)
        step.end(notes.moment(), whole=True)
        clock.passes(10)
    assert notes.seconds(StepKind.RINGBACK) == 6
    assert notes.seconds(StepKind.CONNECT) == 0


def test_post_dial_delay_ends_with_the_first_sound_to_the_caller(notes: Notes, clock: TwoClocks) -> None:
    clock.passes(0.25)
    notes.begin(StepKind.WHISPER, (Side.TARGET,), "psst")
    clock.passes(0.25)
    notes.begin(StepKind.RINGBACK, (Side.CALLER,), "ring")
    clock.passes(9)
    notes.begin(StepKind.ANNOUNCEMENT, (Side.CALLER,), "busy")
    assert notes.record(()).post_dial_delay == 0.5


def test_without_a_talk_there_is_no_recording(notes: Notes) -> None:
    notes.recording = "2026/01/01/x.wav"
    assert notes.record(()).recording is None
