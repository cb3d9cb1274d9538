"""Calls of an account whose functions are switched off: what happens, and what is written down of it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from engine.accounts.model import Module
from engine.calls.arrival import Order
from engine.cdr.model import Result, Side, StepKind
from engine.foundation.errors import Conflict, NotAllowed
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import ConsentOffer, Fallback, RecordMode, Then
from engine.routing.model import AccountRouting
from engine.routing.switched import NOT_RECORDED
from tests.call_desk import ACCOUNT, NUMBER, SHOP, Desk, play, the_call

CUSTOMER = "01098765432"
CLICK = Order(number=PhoneNumber(NUMBER), first=PhoneNumber(SHOP), second=PhoneNumber(CUSTOMER))


def switch_off(desk: Desk, *off: Module) -> None:
    desk.planner.accounts[ACCOUNT] = AccountRouting(account_id=ACCOUNT, off=frozenset(off))


def test_without_calls_nobody_is_rung_and_the_record_says_why(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        switch_off(desk, Module.CALLS)
        shop = desk.asterisk.phone(SHOP, hangs_up_after=5.0)
        record = await the_call(desk)
        assert (record.result, record.ended_by, record.cause) == (Result.SWITCHED_OFF, Side.DARI, 1)
        assert (record.account_id, record.recording_reason) == (ACCOUNT, "")
        assert [step.sound for step in record.steps] == ["ko/not-in-service"]
        assert shop.legs == []
        switch_off(desk)
        assert (await the_call(desk)).result is Result.ANSWERED, "the next call goes through again"

    play(tmp_path, scenario)


@pytest.mark.parametrize("second", [PhoneNumber(CUSTOMER), None])
def test_without_calls_none_is_placed(tmp_path: Path, second: PhoneNumber | None) -> None:
    async def scenario(desk: Desk) -> None:
        switch_off(desk, Module.CALLS)
        with pytest.raises(NotAllowed, match="switched off"):
            desk.reception.place(Order(number=PhoneNumber(NUMBER), first=PhoneNumber(SHOP), second=second))
        assert await desk.records() == []

    play(tmp_path, scenario)


@pytest.mark.parametrize("mode", [RecordMode.ALWAYS, RecordMode.ON_KEY])
def test_without_recording_the_talk_goes_on_unannounced_and_the_record_says_why(
    tmp_path: Path, mode: RecordMode
) -> None:
    async def scenario(desk: Desk) -> None:
        switch_off(desk, Module.RECORDING)
        desk.asterisk.phone(SHOP, hangs_up_after=20.0)
        record = await the_call(desk)
        assert (record.result, record.recording, record.recording_reason) == (Result.ANSWERED, None, NOT_RECORDED)
        assert StepKind.RECORDING_NOTICE not in {step.kind for step in record.steps}
        assert desk.asterisk.recordings == []
        switch_off(desk)
        again = await the_call(desk)
        assert (again.recording is not None, again.recording_reason) == (mode is RecordMode.ALWAYS, "")

    play(tmp_path, scenario, recording=mode)


def test_a_number_that_does_not_record_says_nothing_of_recording(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        switch_off(desk, Module.RECORDING)
        desk.asterisk.phone(SHOP, hangs_up_after=5.0)
        assert (await the_call(desk)).recording_reason == ""

    play(tmp_path, scenario, record=False)


def test_nobody_starts_a_recording_that_is_switched_off(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        switch_off(desk, Module.RECORDING)
        desk.asterisk.phone(SHOP, hangs_up_after=20.0)
        caller = desk.call()
        await asyncio.sleep(10.0)
        (call,) = desk.reception.calls()
        assert call.recording is not None
        assert call.recording.state == "none"
        with pytest.raises(Conflict, match="switched off for the account"):
            await call.recording.resume()
        assert await desk.one_call(caller) is not None

    play(tmp_path, scenario, recording=RecordMode.ON_KEY)


def test_a_call_that_we_place_is_not_recorded_either(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        switch_off(desk, Module.RECORDING)
        desk.asterisk.phone(SHOP, answers_after=1.0)
        desk.asterisk.phone(CUSTOMER, answers_after=1.0, hangs_up_after=5.0)
        desk.reception.place(CLICK)
        await desk.at_rest()
        record = await desk.record()
        assert (record.result, record.recording, record.recording_reason) == (Result.ANSWERED, None, NOT_RECORDED)

    play(tmp_path, scenario)


def test_without_messages_the_caller_is_neither_offered_nor_promised_one(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        switch_off(desk, Module.CALLBACK)
        desk.asterisk.phone(SHOP, sip_code=486)
        record = await the_call(desk)
        assert (record.result, record.text_only) == (Result.BUSY, None)
        assert StepKind.ANNOUNCEMENT not in {step.kind for step in record.steps}

    text = (Fallback(then=Then.TEXT, text="다시 걸겠습니다"),)
    play(tmp_path, scenario, fallbacks=text, consent=ConsentOffer(text="약도"), ringback=(), record=False)


def test_without_mobile_targets_a_mobile_is_not_rung(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        switch_off(desk, Module.MOBILE_TARGETS)
        mobile = desk.asterisk.phone(CUSTOMER, hangs_up_after=5.0)
        assert (await the_call(desk)).result is Result.NOT_FORWARDABLE
        assert mobile.legs == []

    play(tmp_path, scenario, target=PhoneNumber(CUSTOMER))
