"""When a talk is recorded, and what becomes of the call when it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cdr.model import Result, StepKind
from engine.foundation.errors import DariError, TryLater
from tests.call_desk import SHOP, Desk, play, the_call


@pytest.mark.parametrize(
    ("missing", "reason"),
    [("ko/recording-notice", "the caller"), ("ko/recording-notice-target", "the target")],
)
def test_without_a_notice_to_both_nothing_is_recorded(tmp_path: Path, missing: str, reason: str) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.missing_sounds.add(missing)
        desk.asterisk.phone(SHOP, hangs_up_after=20.0)
        record = await the_call(desk)
        assert record.result is Result.ANSWERED
        assert record.recording is None
        assert record.recording_reason == f"{reason} did not hear the whole recording notice"
        assert desk.asterisk.recordings == []

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    "error",
    [TryLater("the manager of Asterisk is away"), DariError("anything")],
    ids=lambda error: type(error).__name__,
)
def test_recording_that_cannot_start_leaves_its_reason_and_the_call_goes_on(tmp_path: Path, error: DariError) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.fail_next("record", error)
        desk.asterisk.phone(SHOP, hangs_up_after=20.0)
        record = await the_call(desk)
        assert (record.result, record.recording) == (Result.ANSWERED, None)
        assert str(error) in record.recording_reason
        assert StepKind.RECORDING not in {step.kind for step in record.steps}

    play(tmp_path, scenario)
