"""An engine goes and another life of it comes back: what happens to the calls that were under way."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.asterisk.commands import Ari
from engine.cdr.model import Result, Side, StepKind
from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import tones
from engine.sandbox.phone import Answers
from tests.asterisk.calls.conftest import ACCOUNT
from tests.engine_rig import NODE, engine_on, left_over, number_set
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk

CALLER, SHOP = 500, 1100


async def test_connected_call_goes_on_unheard_and_gets_its_record_from_the_next_life(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    numbers = [number_set(ACCOUNT)]
    shop = carrier.shop("0212345678", Answers(after_seconds=0.2))
    async with engine_on(call_asterisk, tmp_path, numbers, carrier, grace=0):
        caller = await carrier.call("050712345678", tone=CALLER)
        target = await shop.next_call()
        await caller.answered()
        await asyncio.sleep(0.5)
    await asyncio.sleep(0.5)  # nobody is there
    async with engine_on(call_asterisk, tmp_path, numbers, carrier) as rig:
        await eventually(lambda: rig.reception.live_calls == 1)
        assert not caller.is_over
        await target.hang_up()
        await caller.ended()
        record = await rig.record(caller.call_id)

    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)
    assert record.talk_seconds == pytest.approx(caller.talk_seconds, abs=1.0)
    assert record.target == "0212345678"
    voice = tones(caller.recording, [SHOP])
    assert [one.seconds for one in voice] == [pytest.approx(caller.talk_seconds, abs=1.0)], "a gap in the talk"
    assert await left_over(call_asterisk) == ([], [])


async def test_caller_who_was_answered_but_not_connected_yet_is_connected_by_the_next_life(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def answers_and_freezes(ari: Ari, _bridge: str, channel: str, _other: str) -> None:
        await ari.answer(channel)
        await asyncio.sleep(60)

    numbers = [number_set(ACCOUNT)]
    shop = carrier.shop("0212345678", Answers(after_seconds=0.2))
    with monkeypatch.context() as patch:
        patch.setattr(Ari, "answer_into", answers_and_freezes)
        async with engine_on(call_asterisk, tmp_path, numbers, carrier, grace=0):
            caller = await carrier.call("050712345678", tone=CALLER)
            target = await shop.next_call()
            await caller.answered()
            await asyncio.sleep(0.3)
            assert tones(caller.recording, [SHOP]) == [], "they were connected before the engine froze"
    async with engine_on(call_asterisk, tmp_path, numbers, carrier) as rig:
        await eventually(lambda: bool(tones(caller.recording, [SHOP]) and tones(target.recording, [CALLER])))
        await caller.hang_up()
        await target.ended()
        record = await rig.record(caller.call_id)

    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.CALLER)
    assert await left_over(call_asterisk) == ([], [])


async def test_call_that_ended_while_nobody_looked_is_closed_at_its_last_proof_of_life(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    numbers = [number_set(ACCOUNT)]
    shop = carrier.shop("0212345678", Answers())
    async with engine_on(call_asterisk, tmp_path, numbers, carrier, grace=0) as rig:
        caller = await carrier.call("050712345678", tone=CALLER)
        target = await shop.next_call()
        await rig.until_step(caller, StepKind.CONNECT)
    await caller.hang_up()
    async with engine_on(call_asterisk, tmp_path, numbers, carrier) as rig:
        record = await rig.record(caller.call_id)
        await target.ended()

    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.CALLER)
    assert record.answered_at is not None
    assert record.arrived_at <= record.answered_at <= record.ended_at
    assert await left_over(call_asterisk) == ([], [])


async def test_channel_and_bridge_that_belong_to_no_call_are_removed(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    dead_call = "01900000-0000-7000-8000-00000000dead"
    shop = carrier.shop("0212345678", Answers())
    async with Ari(call_asterisk.ari_url, f"dari-{NODE}", call_asterisk.ari_user, call_asterisk.ari_password) as ari:
        await ari.create_bridge(f"{dead_call}.b.{NODE}")
        async with engine_on(call_asterisk, tmp_path, [], carrier):
            await ari.originate(
                f"{dead_call}.t1.{NODE}", "PJSIP/0212345678@carrier", caller_id="01012345678", ring_seconds=5
            )
            target = await shop.next_call()
            await target.ended()
            # The leg goes when it is told of, the bridge when Asterisk is compared: not before this engine leaves.
            await eventually(lambda: _has_no_bridge(ari))
    assert await left_over(call_asterisk) == ([], [])


async def _has_no_bridge(ari: Ari) -> bool:
    return await ari.bridges() == []
