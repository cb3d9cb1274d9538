"""Calls that Dari places: who rings when, what is recorded, and what cannot be placed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from engine.calls.arrival import Order
from engine.cdr.model import Direction, Result, Side, StepKind
from engine.foundation.errors import NotAllowed, NotFound, TryLater
from engine.foundation.phone_number import PhoneNumber
from tests.call_desk import CARRIER, NUMBER, SHOP, Desk, play

CUSTOMER = "01098765432"
CLICK = Order(number=PhoneNumber(NUMBER), first=PhoneNumber(SHOP), second=PhoneNumber(CUSTOMER))


def test_first_party_answers_before_the_second_is_rung_and_both_see_the_number(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        shop = desk.asterisk.phone(SHOP, answers_after=3.0)
        customer = desk.asterisk.phone(CUSTOMER, answers_after=2.0, hangs_up_after=10.0)
        call_id = desk.reception.place(CLICK)
        await asyncio.sleep(2.9)
        assert customer.legs == []
        await desk.at_rest()
        record = await desk.record()
        assert record.call_id == call_id
        assert (record.direction, record.result, record.ended_by) == (
            Direction.OUTGOING,
            Result.ANSWERED,
            Side.TARGET,
        )
        assert (record.number, record.caller, record.target) == (NUMBER, SHOP, CUSTOMER)
        assert [shop.legs[0].caller, customer.legs[0].caller] == [NUMBER, NUMBER]
        assert "REDIRECTING(from-num,i)" not in customer.legs[0].variables
        assert record.talk_seconds == pytest.approx(10 - 0.7, abs=0.1)  # after the notice to the second
        assert record.recording is not None, "the number records its talks"
        assert desk.trunks.load.counts() == {}
        assert desk.planner.live.total() == 0

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("sip_code", "result"), [(486, Result.BUSY), (603, Result.REJECTED), (404, Result.UNREACHABLE)]
)
def test_first_party_that_does_not_come_ends_it(tmp_path: Path, sip_code: int, result: Result) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, sip_code=sip_code)
        customer = desk.asterisk.phone(CUSTOMER)
        desk.reception.place(CLICK)
        await desk.at_rest()
        record = await desk.record()
        assert (record.result, record.ended_by, record.talk_seconds) == (result, Side.CALLER, 0)
        assert customer.legs == []

    play(tmp_path, scenario)


def test_ringback_of_the_first_party_ends_before_the_talk(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        shop = desk.asterisk.phone(SHOP, answers_after=1.0)
        desk.asterisk.phone(CUSTOMER, answers_after=2.0, hangs_up_after=5.0)
        desk.reception.place(CLICK)
        await desk.at_rest()
        music, talk = shop.heard
        assert (music.what, talk.what[:7]) == ("music:ko/ringback-tone", "bridge:")
        assert music.ended is not None
        assert music.ended <= talk.began, "it goes on over the second party's voice"

    play(tmp_path, scenario, record=False)


def test_first_party_that_never_answers(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=None)
        desk.reception.place(CLICK)
        await desk.at_rest()
        record = await desk.record()
        assert (record.result, record.ended_by) == (Result.NO_ANSWER, Side.DARI)

    play(tmp_path, scenario)


def test_second_party_that_is_busy(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.asterisk.phone(SHOP, answers_after=1.0)
        desk.asterisk.phone(CUSTOMER, sip_code=486)
        desk.reception.place(CLICK)
        await desk.at_rest()
        assert (await desk.record()).result is Result.BUSY

    play(tmp_path, scenario)


def test_first_party_is_tried_on_the_next_trunk_when_one_fails(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.trunks.trunks = [CARRIER, msgspec.structs.replace(CARRIER, name="second")]
        shop = desk.asterisk.phone(SHOP, sip_code=503)
        desk.reception.place(CLICK)
        await desk.at_rest()
        assert len(shop.legs) == 2
        assert (await desk.record()).result is Result.CONGESTION

    play(tmp_path, scenario)


def test_test_call_goes_through_the_number_as_its_callers_do(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        phone = desk.asterisk.phone(CUSTOMER, answers_after=1.0)
        shop = desk.asterisk.phone(SHOP, answers_after=3.0, hangs_up_after=5.0)
        desk.reception.place(Order(number=PhoneNumber(NUMBER), first=PhoneNumber(CUSTOMER)))
        await desk.at_rest()
        record = await desk.record()
        assert (record.result, record.caller, record.target) == (Result.ANSWERED, CUSTOMER, SHOP)
        assert phone.heard[0].what == "sound:/sounds/ko/recording-notice"
        assert shop.heard[0].what == "sound:/sounds/test/whisper"
        assert StepKind.RINGBACK in {step.kind for step in record.steps}

    play(tmp_path, scenario)


@pytest.mark.parametrize(
    ("order", "error"),
    [
        (msgspec.structs.replace(CLICK, number=PhoneNumber("050799999999")), NotFound),
        (msgspec.structs.replace(CLICK, first=PhoneNumber("112")), NotAllowed),
        (msgspec.structs.replace(CLICK, second=PhoneNumber("0011234567")), NotAllowed),
        (msgspec.structs.replace(CLICK, second=PhoneNumber("060123456")), NotAllowed),
    ],
)
def test_what_may_not_be_dialled_is_not_placed(tmp_path: Path, order: Order, error: type[Exception]) -> None:
    async def scenario(desk: Desk) -> None:
        with pytest.raises(error):
            desk.reception.place(order)
        assert await desk.records() == []
        assert desk.asterisk.left_over() == []

    play(tmp_path, scenario)


def test_nothing_is_placed_while_draining(tmp_path: Path) -> None:
    async def scenario(desk: Desk) -> None:
        desk.reception.draining = True
        with pytest.raises(TryLater):
            desk.reception.place(CLICK)

    play(tmp_path, scenario)


@pytest.mark.parametrize("instant", [0.2, 1.5, 2.2, 4.0, 6.0])
def test_first_party_that_leaves_at_any_time_leaves_nothing_behind(tmp_path: Path, instant: float) -> None:
    async def scenario(desk: Desk) -> None:
        shop = desk.asterisk.phone(SHOP, answers_after=1.0)
        customer = desk.asterisk.phone(CUSTOMER, answers_after=2.0)
        desk.reception.place(CLICK)
        await asyncio.sleep(instant)
        desk.asterisk.hang_up_phone(shop)
        await desk.at_rest()
        record = await desk.record()
        assert record.ended_by is Side.CALLER
        assert all(leg.gone for leg in customer.legs)

    play(tmp_path, scenario, record=False)
