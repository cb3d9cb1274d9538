"""Calls that Dari places, by ear and by wire: who is rung when, what each hears, and which number each sees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from engine.calls.arrival import Order
from engine.cdr.model import CallRecord, Direction, Result, Side, StepKind
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import ServiceNumber
from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import Heard, tones
from engine.sandbox.leg import Leg
from engine.sandbox.phone import Answers, Busy, Silent, TargetLeg
from tests.asterisk.calls.conftest import ACCOUNT
from tests.engine_rig import TONES, Rig, carrier_trunk, network, number_set, second_trunk
from tests.eventually import eventually

NUMBER, SHOP, CUSTOMER = PhoneNumber("050712345678"), PhoneNumber("0212345678"), PhoneNumber("01098765432")
FIRST_TONE, SECOND_TONE = 500, 1100
RINGBACK = "ko/ringback-tone"
NOTICE, NOTICE_TO_SECOND = "ko/recording-notice", "ko/recording-notice-target"
CLICK = Order(number=NUMBER, first=SHOP, second=CUSTOMER)


@pytest.fixture
async def second(carrier: Carrier) -> AsyncIterator[Carrier]:
    async with Carrier(f"{network()}.4", 5070, (f"{network()}.1", 5060)) as second:
        yield second


def heard(leg: Leg, frequency: int) -> list[Heard]:
    return [one for one in tones(leg.recording, [500, 1100, *TONES.values()]) if one.what == f"{frequency} Hz"]


def at(leg: Leg, seconds: float) -> float:
    """An instant of a leg's recording on the clock that all legs share."""
    return leg.started_at + seconds


async def until_they_talk(first: Leg, second: Leg) -> None:
    """Each has heard the other for a while. To listen to all of it again and again would keep them from speaking."""

    def hears(leg: Leg, frequency: int) -> bool:
        last = leg.recording.between(max(0.0, leg.recording.duration - 1.0), 1e9)
        return sum(one.seconds for one in tones(last, [frequency])) > 0.5

    await eventually(lambda: hears(first, SECOND_TONE) and hears(second, FIRST_TONE))


async def record_of(rig: Rig, call_id: UUID) -> CallRecord:
    await eventually(lambda: any(record.call_id == call_id for record in rig.records))
    (record,) = [record for record in rig.records if record.call_id == call_id]
    return record


async def click(rig: Rig, carrier: Carrier) -> tuple[UUID, TargetLeg, TargetLeg]:
    """A click-to-call whose parties talk: its id, the first party, the second."""
    shop = carrier.shop(SHOP, Answers(after_seconds=0.5, tone=FIRST_TONE))
    customer = carrier.shop(CUSTOMER, Answers(after_seconds=1.0, tone=SECOND_TONE))
    call_id = rig.reception.place(CLICK)
    first = await shop.next_call()
    then = await customer.next_call()
    await until_they_talk(first, then)
    return call_id, first, then


async def test_first_party_hears_ringback_then_the_second_and_both_see_the_number(rig: Rig, carrier: Carrier) -> None:
    call_id, first, then = await click(rig, carrier)
    await then.hang_up()
    await first.ended()

    assert first.answered_at is not None
    assert then.started_at > first.answered_at, "the second was rung before the first had answered"
    ringback = heard(first, TONES[RINGBACK])
    assert ringback
    assert then.answered_at is not None
    assert at(first, ringback[0].start) < then.answered_at, "no ringback while the second rang"
    assert at(first, heard(first, SECOND_TONE)[0].start) >= at(first, ringback[-1].end) - 0.1
    assert not heard(then, TONES[RINGBACK])
    for leg, other in ((first, CUSTOMER), (then, SHOP)):
        assert leg.shown_number == NUMBER
        assert other not in str(leg.invite.build()), "one party was told the other's own number"
        assert not leg.invite.get("Diversion")
    record = await record_of(rig, call_id)
    assert (record.direction, record.result, record.ended_by) == (Direction.OUTGOING, Result.ANSWERED, Side.TARGET)
    assert (record.number, record.caller, record.target, record.account_id) == (NUMBER, SHOP, CUSTOMER, ACCOUNT)
    assert [leg.sip_call_id for leg in record.legs] == [first.call_id, then.call_id]
    assert record.recording is None


async def test_first_party_that_hangs_up_ends_it_for_both(rig: Rig, carrier: Carrier) -> None:
    call_id, first, then = await click(rig, carrier)
    await first.hang_up()
    await then.ended()
    assert (await record_of(rig, call_id)).ended_by is Side.CALLER


async def test_second_party_that_is_busy_ends_it(rig: Rig, carrier: Carrier) -> None:
    shop = carrier.shop(SHOP, Answers(after_seconds=0.2, tone=FIRST_TONE))
    carrier.shop(CUSTOMER, Busy())
    call_id = rig.reception.place(CLICK)
    first = await shop.next_call()
    await first.ended()
    record = await record_of(rig, call_id)
    assert (record.result, record.talk_seconds) == (Result.BUSY, 0)
    assert not first.hung_up_here


async def test_first_party_that_is_busy_is_all_that_is_rung(rig: Rig, carrier: Carrier) -> None:
    carrier.shop(SHOP, Busy())
    customer = carrier.shop(CUSTOMER, Answers())
    call_id = rig.reception.place(CLICK)
    record = await record_of(rig, call_id)
    assert (record.result, record.answered_at) == (Result.BUSY, None)
    assert customer.calls == []


class TestRecorded:
    @pytest.fixture
    def numbers(self) -> list[ServiceNumber]:
        return [number_set(ACCOUNT, record=True)]

    async def test_both_hear_that_it_is_recorded_before_they_hear_each_other(self, rig: Rig, carrier: Carrier) -> None:
        call_id, first, then = await click(rig, carrier)
        await first.hang_up()
        await then.ended()
        for leg, notice, others, voice in (
            (first, NOTICE, NOTICE_TO_SECOND, SECOND_TONE),
            (then, NOTICE_TO_SECOND, NOTICE, FIRST_TONE),
        ):
            (said,) = heard(leg, TONES[notice])
            assert said.seconds == pytest.approx(1.0, abs=0.1)
            assert said.end <= heard(leg, voice)[0].start + 0.1
            assert not heard(leg, TONES[others])
        assert heard(first, TONES[RINGBACK])[-1].end <= heard(first, SECOND_TONE)[0].start + 0.1
        record = await record_of(rig, call_id)
        assert record.recording is not None
        assert (rig.monitor / f"{call_id}.raw").stat().st_size > 0


async def test_test_call_goes_through_the_number_as_its_callers_do(rig: Rig, carrier: Carrier) -> None:
    phone = carrier.shop(CUSTOMER, Answers(after_seconds=0.2, tone=FIRST_TONE))
    shop = carrier.shop(SHOP, Answers(after_seconds=1.0, tone=SECOND_TONE))
    call_id = rig.reception.place(Order(number=NUMBER, first=CUSTOMER))
    first = await phone.next_call()
    then = await shop.next_call()
    await until_they_talk(first, then)
    await first.hang_up()
    await then.ended()

    assert first.shown_number == NUMBER
    assert heard(first, TONES["test/ringback"])
    assert not heard(first, TONES["test/whisper"])
    (whisper,) = heard(then, TONES["test/whisper"])
    assert whisper.end <= heard(then, FIRST_TONE)[0].start + 0.1
    record = await record_of(rig, call_id)
    assert (record.result, record.caller, record.target) == (Result.ANSWERED, CUSTOMER, SHOP)
    assert {StepKind.RINGBACK, StepKind.WHISPER, StepKind.CONNECT} <= {step.kind for step in record.steps}


async def test_first_party_is_rung_over_the_next_trunk_when_one_says_nothing(
    rig: Rig, carrier: Carrier, second: Carrier
) -> None:
    rig.trunks.trunks = [second_trunk(), carrier_trunk()]
    unheard = second.shop(SHOP, Silent())
    second.shop(CUSTOMER, Answers(after_seconds=0.3, tone=SECOND_TONE))
    shop = carrier.shop(SHOP, Answers(after_seconds=0.2, tone=FIRST_TONE))
    call_id = rig.reception.place(CLICK)
    first = await shop.next_call()
    await eventually(lambda: bool(second.targets) and any(leg.answered_at for leg in second.targets))
    (then,) = [leg for leg in second.targets if leg.answered_at]
    await until_they_talk(first, then)
    await first.hang_up()
    await then.ended()

    assert unheard.calls, "the first trunk was never tried"
    record = await record_of(rig, call_id)
    assert record.result is Result.ANSWERED
    caller_legs = [leg for leg in record.legs if leg.side is Side.CALLER]
    assert sorted((leg.trunk, leg.answered_at is not None) for leg in caller_legs) == [
        ("carrier", True),
        ("second", False),
    ]
    assert rig.trunks.load.counts() == {}
