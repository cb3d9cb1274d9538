"""A recording notice is missing or broken: the talk is not recorded, the reason is kept, and the call goes on (T16)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.cdr.model import Result, StepKind
from engine.numbers.model import ServiceNumber
from engine.sandbox.carrier import Carrier
from engine.sandbox.phone import Answers
from tests.asterisk.calls.conftest import ACCOUNT
from tests.call_oracle import Oracle, Watched
from tests.damaged_sounds import BROKEN, damaged
from tests.engine_rig import Rig, number_set
from tests.real_asterisk import RunningAsterisk

CALLERS, TARGETS = "ko/recording-notice", "ko/recording-notice-target"


@pytest.fixture
def numbers() -> list[ServiceNumber]:
    return [number_set(ACCOUNT, record=True)]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
@pytest.mark.parametrize(("notice", "who"), [(CALLERS, "caller"), (TARGETS, "target")], ids=["caller", "target"])
async def test_without_its_whole_notice_a_talk_is_not_recorded_and_goes_on(
    rig: Rig,
    carrier: Carrier,
    call_asterisk: RunningAsterisk,
    notice: str,
    who: str,
    broken: Callable[[Path], None],
) -> None:
    shop = carrier.shop("0212345678", Answers(after_seconds=0.1))
    oracle = Oracle(rig, call_asterisk)
    async with oracle.watching(), damaged(rig.sounds / f"{notice}.wav", broken):
        caller = await carrier.call("050712345678")
        target = await shop.next_call()
        await caller.answered()
        await asyncio.sleep(0.3)
        await caller.hang_up()
    record = (await oracle.verdict([Watched(caller, (target,))]))[caller.call_id]

    assert record.result is Result.ANSWERED
    assert record.recording is None
    assert f"the {who} did not hear the whole recording notice" in record.recording_reason
    assert not [step for step in record.steps if step.kind is StepKind.RECORDING]


async def test_the_same_call_with_its_notices_is_recorded(
    rig: Rig, carrier: Carrier, call_asterisk: RunningAsterisk
) -> None:
    """What the tests above leave out is there to be left out."""
    shop = carrier.shop("0212345678", Answers(after_seconds=0.1))
    oracle = Oracle(rig, call_asterisk)
    async with oracle.watching():
        caller = await carrier.call("050712345678")
        target = await shop.next_call()
        await caller.answered()
        await rig.until_step(caller, StepKind.RECORDING)
        await asyncio.sleep(0.3)
        await caller.hang_up()
    record = (await oracle.verdict([Watched(caller, (target,))]))[caller.call_id]
    assert record.recording is not None
    assert record.recording_reason == ""
