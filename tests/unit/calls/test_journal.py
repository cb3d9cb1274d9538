"""What a later life of an engine knows of a call again."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from engine.calls.journal import recall
from engine.calls.notes import Notes, moment_of
from engine.cdr.model import Leg, OpenCall, Progress, Side
from engine.events.call_log_writer import CallLog
from engine.foundation.clock import SystemClock
from tests.call_records import MORNING, arrival


def recalled(folder: Path, told_before: str | None, *legs: Leg) -> str | None:
    """The SIP Call-ID of a call that came with `told_before`, and whose journal has these legs."""
    came, clock = msgspec.structs.replace(arrival(), sip_call_id=told_before), SystemClock()
    log = CallLog(folder, "calls", mask=False, max_bytes=10_000_000, files=2)
    notes = Notes(came, clock, log, moment_of(MORNING, clock))
    progress = Progress(at=MORNING + timedelta(seconds=1), life=1, legs=legs)
    recall(notes, OpenCall(arrival=came, last_alive=MORNING, progress=progress))
    log.close()
    return notes.arrival.sip_call_id


def leg(side: Side, sip_call_id: str | None) -> Leg:
    return Leg(
        side=side, channel=f"1.{side.value}", sip_call_id=sip_call_id, trunk="carrier", number=None, started_at=MORNING
    )


@pytest.mark.parametrize(
    ("told_before", "legs", "known"),
    [
        (None, (leg(Side.CALLER, "caller@1"), leg(Side.TARGET, "target@1")), "caller@1"),
        (None, (leg(Side.TARGET, "target@1"), leg(Side.CALLER, "caller@1")), "caller@1"),
        (None, (leg(Side.TARGET, "target@1"),), None),
        (None, (leg(Side.CALLER, None),), None),
        (None, (), None),
        ("came@1", (leg(Side.CALLER, "caller@1"),), "came@1"),
    ],
)
def test_the_sip_call_id_that_came_after_the_arrival_is_the_callers(
    tmp_path: Path, told_before: str | None, legs: tuple[Leg, ...], known: str | None
) -> None:
    assert recalled(tmp_path, told_before, *legs) == known
