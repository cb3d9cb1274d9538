"""A recording is paused and goes on by the engine's own door, by ear: what is said meanwhile is not in the file."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.calls.control import control_door
from engine.calls.control_client import EngineStatus, LiveCall, live_calls, switch_recording
from engine.calls.live_door import live_call_routes
from engine.cdr.model import CallRecord, StepKind
from engine.foundation.errors import Conflict, NotFound
from engine.numbers.model import ServiceNumber
from engine.numbers.treatment import RecordMode
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import tones
from engine.sandbox.leg import Leg
from engine.sandbox.phone import Answers
from engine.sandbox.recording import RATE, Recording
from tests.asterisk.calls.conftest import ACCOUNT
from tests.engine_rig import Rig, number_set
from tests.eventually import eventually

BEFORE, MEANWHILE, AFTER = 500, 2050, 2900
"""What the caller says, in Hz."""
SHOP_TONE, SHOP_MEANWHILE, SHOP_AFTER = 1100, 2450, 3300
"""What the shop says."""
PART = 1.0
"""Seconds of each part that at least shall be in the file."""


@pytest.fixture
def numbers() -> list[ServiceNumber]:
    return [number_set(ACCOUNT, record=True)]


@pytest.fixture
async def door(rig: Rig) -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(prefix="dari-") as folder:  # a test's own folder is too deep for a socket
        socket = Path(folder) / "engine.sock"
        routes = live_call_routes(rig.reception)
        async with control_door(socket, rig.reception, lambda: EngineStatus(state="ready"), routes):
            yield socket


async def talk(rig: Rig, carrier: Carrier) -> tuple[CallerLeg, Leg]:
    shop = carrier.shop("0212345678", Answers(after_seconds=0.1, tone=SHOP_TONE))
    caller = await carrier.call("050712345678", tone=BEFORE)
    target = await shop.next_call()
    await caller.answered()
    await rig.until_step(caller, StepKind.CONNECT)
    return caller, target


async def say(caller: CallerLeg, target: Leg, tone: int, shop_tone: int) -> None:
    """Both go over to these tones, which each hears of the other for a while: a pause changes nothing for them."""
    caller.say(tone)
    target.say(shop_tone)
    await eventually(lambda: _heard(caller, shop_tone) >= PART and _heard(target, tone) >= PART)


async def test_what_is_said_in_a_pause_is_silence_in_the_file(rig: Rig, carrier: Carrier, door: Path) -> None:
    caller, target = await talk(rig, carrier)
    (live,) = await live_calls(door)
    call = str(live.call_id)
    assert live.recording == "recording"
    await say(caller, target, BEFORE, SHOP_TONE)

    assert (await switch_recording(door, call, pause=True)).recording == "paused"
    await say(caller, target, MEANWHILE, SHOP_MEANWHILE)
    caller.say(None)
    target.say(None)
    await eventually(lambda: _is_silent(caller) and _is_silent(target))

    assert (await switch_recording(door, call, pause=False)).recording == "recording"
    await say(caller, target, AFTER, SHOP_AFTER)
    await caller.hang_up()
    record = await rig.record(caller.call_id)

    left, right = _file(rig, live.call_id)
    for side, before, meanwhile, after in (
        (left, BEFORE, MEANWHILE, AFTER),
        (right, SHOP_TONE, SHOP_MEANWHILE, SHOP_AFTER),
    ):
        assert _seconds(side, before) >= PART * 0.8
        assert _seconds(side, meanwhile) == 0, "what was said in the pause is in the file"
        assert _seconds(side, after) >= PART * 0.8
    assert len(left.samples) / RATE == pytest.approx(record.talk_seconds, abs=1.0), "the file lost the pause's time"
    assert _pause(record) > PART
    assert _longest_silence(left) >= PART


async def test_refusals_reach_whoever_asked_as_they_are(rig: Rig, carrier: Carrier, door: Path) -> None:
    caller, _ = await talk(rig, carrier)
    (live,) = await live_calls(door)
    with pytest.raises(Conflict, match="already"):
        await switch_recording(door, str(live.call_id), pause=False)
    await switch_recording(door, str(live.call_id), pause=True)
    with pytest.raises(Conflict, match="nothing is being recorded"):
        await switch_recording(door, str(live.call_id), pause=True)
    await caller.hang_up()
    await rig.record(caller.call_id)
    await eventually(lambda: rig.reception.live_calls == 0)
    with pytest.raises(NotFound, match="not live"):
        await switch_recording(door, str(live.call_id), pause=True)


class TestOnKey:
    @pytest.fixture
    def numbers(self) -> list[ServiceNumber]:
        return [number_set(ACCOUNT, recording=RecordMode.ON_KEY)]

    async def test_the_door_begins_it_as_the_key_does(self, rig: Rig, carrier: Carrier, door: Path) -> None:
        caller, target = await talk(rig, carrier)
        (live,) = await live_calls(door)
        assert live.recording == "off"
        await say(caller, target, BEFORE, SHOP_TONE)
        caller.say(None)
        target.say(None)
        await eventually(lambda: _is_silent(caller) and _is_silent(target))
        begun: LiveCall = await switch_recording(door, str(live.call_id), pause=False)
        assert begun.recording == "recording"
        await say(caller, target, AFTER, SHOP_AFTER)
        await caller.hang_up()
        record = await rig.record(caller.call_id)
        assert record.recording is not None
        left, right = _file(rig, live.call_id)
        assert _seconds(left, AFTER) >= PART * 0.8
        assert _seconds(right, SHOP_AFTER) >= PART * 0.8
        assert _seconds(left, BEFORE) + _seconds(right, SHOP_TONE) == 0, "it was recorded before anybody asked"


def _heard(leg: Leg, frequency: int) -> float:
    return _seconds(leg.recording, frequency)


def _seconds(recording: Recording, frequency: int) -> float:
    if len(recording.samples) < RATE // 4:
        return 0.0
    every = [BEFORE, MEANWHILE, AFTER, SHOP_TONE, SHOP_MEANWHILE, SHOP_AFTER]
    return sum(one.seconds for one in tones(recording, every) if one.what == f"{frequency} Hz")


def _is_silent(leg: Leg) -> bool:
    """Whether the last half second of what it heard was silence."""
    last: NDArray[np.int16] = leg.recording.samples[-RATE // 2 :]
    return int(np.abs(last.astype(int)).max()) < 200


def _file(rig: Rig, call_id: UUID) -> tuple[Recording, Recording]:
    """What the file has of the caller and of the shop."""
    samples: NDArray[np.int16] = np.frombuffer((rig.monitor / f"{call_id}.raw").read_bytes(), dtype="<i2")
    return Recording(0.0, samples[0::2]), Recording(0.0, samples[1::2])


def _pause(record: CallRecord) -> float:
    (step,) = [step for step in record.steps if step.kind is StepKind.PAUSE]
    assert step.ended_at is not None
    return (step.ended_at - step.started_at).total_seconds()


def _longest_silence(recording: Recording) -> float:
    """Seconds without any sound at all, the longest stretch of them."""
    frames = np.abs(recording.samples[: len(recording.samples) // 80 * 80].astype(int)).reshape(-1, 80).max(axis=1)
    sounding = np.flatnonzero(frames > 200)
    return float(np.diff(sounding).max()) / 100
