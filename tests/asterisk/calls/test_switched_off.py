"""Calls on a real Asterisk to an account whose functions are switched off, and the next ones after a switch."""

from __future__ import annotations

import pytest

from engine.accounts.model import Module
from engine.cdr.model import Result, Side, StepKind
from engine.numbers.model import ServiceNumber
from engine.routing.model import AccountRouting
from engine.routing.switched import NOT_RECORDED
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import tones
from engine.sandbox.phone import Answers
from tests.asterisk.calls.conftest import ACCOUNT
from tests.engine_rig import TONES, Rig, number_set
from tests.eventually import eventually

TARGET, NUMBER = "0212345678", "050712345678"
CALLER, SHOP = 500, 1100


@pytest.fixture
def numbers() -> list[ServiceNumber]:
    return [number_set(ACCOUNT, record=True)]


def switch(rig: Rig, *off: Module) -> None:
    """From the next call on."""
    rig.planner.accounts[ACCOUNT] = AccountRouting(account_id=ACCOUNT, off=frozenset(off))


def hears(leg: CallerLeg, sound: str) -> bool:
    return bool(tones(leg.recording, [TONES[sound]], shortest=0.3))


async def _talk(rig: Rig, carrier: Carrier) -> CallerLeg:
    """A call of which both hear each other, to its end."""
    shop = carrier.shop(TARGET, Answers(after_seconds=0.2, tone=SHOP))
    caller = await carrier.call(NUMBER, tone=CALLER)
    target = await shop.next_call()
    await caller.answered()
    await rig.until_step(caller, StepKind.CONNECT)
    await eventually(lambda: bool(tones(target.recording, [CALLER]) and tones(caller.recording, [SHOP])))
    await caller.hang_up()
    await target.ended()
    return caller


async def test_without_calls_the_caller_hears_that_the_number_is_not_in_service_and_pays_nothing(
    rig: Rig, carrier: Carrier
) -> None:
    switch(rig, Module.CALLS)
    shop = carrier.shop(TARGET, Answers(tone=SHOP))
    caller = await carrier.call(NUMBER, tone=CALLER)
    await caller.ended()
    assert (caller.final_code, caller.answered_at) == (404, None)
    assert hears(caller, "ko/not-in-service")
    assert not hears(caller, "test/ringback")
    assert shop.calls == []
    record = await rig.record(caller.call_id)
    assert (record.result, record.ended_by, record.account_id) == (Result.SWITCHED_OFF, Side.DARI, ACCOUNT)
    switch(rig)
    answered = await _talk(rig, carrier)
    assert (await rig.record(answered.call_id)).result is Result.ANSWERED


async def test_without_recording_nobody_hears_a_notice_and_no_file_is_made(rig: Rig, carrier: Carrier) -> None:
    switch(rig, Module.RECORDING)
    caller = await _talk(rig, carrier)
    record = await rig.record(caller.call_id)
    assert (record.result, record.recording, record.recording_reason) == (Result.ANSWERED, None, NOT_RECORDED)
    assert not hears(caller, "ko/recording-notice")
    assert not list(rig.monitor.glob(f"{record.call_id}*"))
    switch(rig)
    again = await _talk(rig, carrier)
    recorded = await rig.record(again.call_id)
    assert recorded.recording is not None
    assert hears(again, "ko/recording-notice")
    assert list(rig.monitor.glob(f"{recorded.call_id}*"))


async def test_without_mobile_targets_no_mobile_is_rung(rig: Rig, carrier: Carrier) -> None:
    mobile = carrier.shop("01011112222", Answers(tone=SHOP))
    rig.numbers.update({number.number: number for number in [number_set(ACCOUNT, target="01011112222")]})
    switch(rig, Module.MOBILE_TARGETS)
    caller = await carrier.call(NUMBER, tone=CALLER)
    await caller.ended()
    assert (await rig.record(caller.call_id)).result is Result.NOT_FORWARDABLE
    assert mobile.calls == []
