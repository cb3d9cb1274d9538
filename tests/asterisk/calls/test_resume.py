"""An engine dies in each phase of a call on a real Asterisk, and the next life of it goes on: by ear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from engine.asterisk.commands import Ari
from engine.asterisk.connection import Connected, Connection
from engine.asterisk.events import CallBroadcast, StasisStart
from engine.calls.arrival import Order
from engine.cdr.model import CallRecord, Result, Side, StepKind
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import ServiceNumber
from engine.numbers.treatment import ConsentOffer, Fallback, RecordMode, Target, Then, Treatment, Whisper
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier, Shop
from engine.sandbox.ear import tones
from engine.sandbox.leg import Leg
from engine.sandbox.phone import Answers, NeverAnswers, TargetLeg
from tests.asterisk.calls.conftest import ACCOUNT
from tests.engine_rig import NODE, TONES, Rig, engine_on, left_over, number_set
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk

NUMBER, SHOP, OTHER = "050712345678", "0212345678", "0312345678"
CALLER_TONE, SHOP_TONE = 500, 1100
_GAP = 0.15
"""Seconds: what is shorter is no gap that anybody hears."""


def with_treatment(**treatment: object) -> list[ServiceNumber]:
    plain = Treatment(ringback=("test/ringback",), recording=RecordMode.NEVER)
    return [msgspec.structs.replace(number_set(ACCOUNT), treatment=msgspec.structs.replace(plain, **treatment))]


def times(leg: Leg, sound: str) -> int:
    """How often a party heard it, however long."""
    return len([one for one in tones(leg.recording, [TONES[sound]]) if one.what.endswith(" Hz")])


def hears(leg: Leg, frequency: int) -> bool:
    return any(one.seconds > _GAP for one in tones(leg.recording, [frequency]) if one.what.endswith(" Hz"))


def ringbacks(record: CallRecord) -> int:
    """How often a ringback was begun."""
    return sum(step.kind is StepKind.RINGBACK for step in record.steps)


async def both_ringing(carrier: Carrier, shop: Shop) -> tuple[CallerLeg, TargetLeg]:
    """A caller who hears the ringback while the shop's telephone rings."""
    caller = await carrier.call(NUMBER, tone=CALLER_TONE)
    target = await shop.next_call()
    await eventually(lambda: hears(caller, TONES["test/ringback"]))
    return caller, target


async def until_they_talk(caller: Leg, target: Leg) -> None:
    await eventually(lambda: hears(caller, SHOP_TONE) and hears(target, CALLER_TONE))


class Lives:
    """The lives of one engine on one Asterisk."""

    def __init__(self, asterisk: RunningAsterisk, carrier: Carrier, home: Path, numbers: list[ServiceNumber]) -> None:
        self.asterisk, self.carrier, self.home, self.numbers = asterisk, carrier, home, numbers

    @asynccontextmanager
    async def first(self) -> AsyncIterator[Rig]:
        """It dies on leaving: nothing is ended, nothing written."""
        async with engine_on(self.asterisk, self.home, self.numbers, self.carrier, grace=0) as rig:
            yield rig

    @asynccontextmanager
    async def next(self) -> AsyncIterator[Rig]:
        """It lives until its calls are over; then nothing of them may be left."""
        async with engine_on(self.asterisk, self.home, self.numbers, self.carrier) as rig:
            yield rig
        assert await left_over(self.asterisk) == ([], [])


async def test_ringback_goes_on_and_the_talk_comes_about(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    lives = Lives(call_asterisk, carrier, tmp_path, with_treatment(whisper=Whisper(sound="test/whisper")))
    shop = carrier.shop(SHOP, Answers(after_seconds=5.0))
    async with lives.first():
        caller, target = await both_ringing(carrier, shop)
    await asyncio.sleep(0.5)
    async with lives.next() as rig:
        await until_they_talk(caller, target)
        await target.hang_up()
        await caller.ended()
        record = await rig.record(caller.call_id)

    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)
    assert len(shop.calls) == 1
    assert ringbacks(record) == 1, "the ringback was begun again"
    assert times(target, "test/whisper") == 1
    assert record.ringback_seconds > 4.0, "the seconds before the death are left out"


async def test_target_that_answers_while_no_engine_is_there_is_rung_again(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    lives = Lives(call_asterisk, carrier, tmp_path, with_treatment())
    shop = carrier.shop(SHOP, Answers(after_seconds=1.5))
    async with lives.first():
        caller, first = await both_ringing(carrier, shop)
    await first.answered()
    await asyncio.sleep(1.0)
    async with lives.next() as rig:
        target = first if not first.is_over else await shop.next_call()
        await until_they_talk(caller, target)
        await caller.hang_up()
        record = await rig.record(caller.call_id)

    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.CALLER)


@pytest.mark.parametrize("caller_stays", [False, True])
async def test_talk_ends_when_the_shop_hangs_up_while_no_engine_is_there(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path, caller_stays: bool
) -> None:
    targets = tuple(Target(number=PhoneNumber(number)) for number in (SHOP, OTHER))  # the engine's to ring
    lives = Lives(call_asterisk, carrier, tmp_path, with_treatment(targets=targets))
    shop = carrier.shop(SHOP, Answers(after_seconds=0.2))
    async with lives.first() as rig:
        caller = await carrier.call(NUMBER, tone=CALLER_TONE)
        target = await shop.next_call()
        await until_they_talk(caller, target)
        await rig.until_step(caller, StepKind.CONNECT)
    await target.hang_up()
    await asyncio.sleep(3.0)  # nobody tells the caller
    if not caller_stays:
        await caller.hang_up()
    async with lives.next() as rig:
        record = await rig.record(caller.call_id)
        await caller.ended()

    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)
    assert record.talk_seconds == pytest.approx(target.talk_seconds, abs=1.0)
    assert record.talk_seconds < caller.talk_seconds - 1.5, "the time in which the caller was alone is counted"


async def test_mandatory_notice_that_was_cut_by_the_death_is_told_again_and_one_told_whole_is_not(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    lives = Lives(call_asterisk, carrier, tmp_path, with_treatment(store_notice=True, fee_notice=True))
    shop = carrier.shop(SHOP, Answers(after_seconds=0.2))
    async with lives.first() as rig:
        caller = await carrier.call(NUMBER, tone=CALLER_TONE)
        target = await shop.next_call()
        await rig.until_step(caller, StepKind.FEE_NOTICE)
        await asyncio.sleep(0.3)
    async with lives.next() as rig:
        await until_they_talk(caller, target)
        await caller.hang_up()
        record = await rig.record(caller.call_id)

    assert record.result is Result.ANSWERED
    assert times(caller, "ko/store-info-notice") == 1
    told = [step for step in record.steps if step.kind is StepKind.FEE_NOTICE]
    assert [step.whole for step in told][-1:] == [True]
    assert times(target, "ko/connecting") >= 1


async def test_whisper_and_notices_are_said_again_and_the_talk_is_recorded(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    numbers = with_treatment(whisper=Whisper(sound="test/whisper"), recording=RecordMode.ALWAYS)
    lives = Lives(call_asterisk, carrier, tmp_path, numbers)
    shop = carrier.shop(SHOP, Answers(after_seconds=1.5))
    async with lives.first() as rig:
        caller = await carrier.call(NUMBER, tone=CALLER_TONE)
        target = await shop.next_call()
        await rig.until_step(caller, StepKind.WHISPER)
        await asyncio.sleep(0.4)
    async with lives.next() as rig:
        await until_they_talk(caller, target)
        await asyncio.sleep(1.0)
        await caller.hang_up()
        record = await rig.record(caller.call_id)

    assert record.result is Result.ANSWERED
    assert times(caller, "ko/recording-notice") == 1
    assert not hears(caller, TONES["test/whisper"])
    assert [step.whole for step in record.steps if step.kind is StepKind.WHISPER][-1:] == [True]
    assert record.recording, record.recording_reason


async def test_target_is_asked_again_to_press_1(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    lives = Lives(call_asterisk, carrier, tmp_path, with_treatment(accept=True))
    shop = carrier.shop(SHOP, Answers(after_seconds=0.2))
    async with lives.first() as rig:
        caller = await carrier.call(NUMBER, tone=CALLER_TONE)
        target = await shop.next_call()
        await rig.until_step(caller, StepKind.ACCEPT)
        await asyncio.sleep(0.5)
    async with lives.next() as rig:
        await rig.until_step(caller, StepKind.ACCEPT)
        await asyncio.sleep(1.0)
        target.press("1")
        await until_they_talk(caller, target)
        await caller.hang_up()
        record = await rig.record(caller.call_id)

    assert record.result is Result.ANSWERED


async def test_next_stage_rings_when_the_engine_died_in_the_first(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    targets = tuple(Target(number=PhoneNumber(number), ring_seconds=3) for number in (SHOP, OTHER))
    lives = Lives(call_asterisk, carrier, tmp_path, with_treatment(targets=targets))
    first_shop = carrier.shop(SHOP, NeverAnswers())
    other = carrier.shop(OTHER, Answers(after_seconds=0.5))
    async with lives.first():
        caller, unanswered = await both_ringing(carrier, first_shop)
    async with lives.next() as rig:
        target = await other.next_call()
        await until_they_talk(caller, target)
        await caller.hang_up()
        record = await rig.record(caller.call_id)

    assert unanswered.cancelled
    assert (record.result, record.target) == (Result.ANSWERED, OTHER)
    assert len(first_shop.calls) == 1
    assert ringbacks(record) == 1


async def test_message_that_is_being_left_goes_on(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    fallbacks = (Fallback(then=Then.VOICEMAIL),)
    lives = Lives(call_asterisk, carrier, tmp_path, with_treatment(fallbacks=fallbacks, ring_seconds=1))
    carrier.shop(SHOP, NeverAnswers())
    async with lives.first() as rig:
        caller = await carrier.call(NUMBER, tone=CALLER_TONE)
        await rig.until_step(caller, StepKind.VOICEMAIL)
        await asyncio.sleep(0.5)
    await asyncio.sleep(0.5)
    async with lives.next() as rig:
        await eventually(lambda: rig.reception.live_calls == 1)
        await asyncio.sleep(1.0)
        caller.press("#")
        await caller.ended()
        record = await rig.record(caller.call_id)

    assert (record.result, bool(record.voicemail)) == (Result.VOICEMAIL, True)
    assert times(caller, "ko/beep") == 1
    assert times(caller, "ko/voicemail-thanks") == 1


async def test_consent_is_offered_again_after_the_talk(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    lives = Lives(call_asterisk, carrier, tmp_path, with_treatment(consent=ConsentOffer(text="약도")))
    shop = carrier.shop(SHOP, Answers(after_seconds=0.2, talk_seconds=1.0))
    async with lives.first() as rig:
        caller = await carrier.call(NUMBER, tone=CALLER_TONE)
        await shop.next_call()
        await rig.until_step(caller, StepKind.CONSENT)
        await asyncio.sleep(0.4)
    async with lives.next() as rig:
        await rig.until_step(caller, StepKind.CONSENT)
        await eventually(lambda: sum(one.seconds for one in tones(caller.recording, [1640]) if "Hz" in one.what) > 1.2)
        caller.press("1")
        await caller.ended()
        record = await rig.record(caller.call_id)

    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.TARGET)
    assert record.consent is not None
    assert record.talk_seconds > 0


async def test_placed_call_goes_on_while_the_second_party_rings(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    lives = Lives(call_asterisk, carrier, tmp_path, with_treatment())
    shop = carrier.shop(SHOP, Answers(after_seconds=0.2))
    customer = carrier.shop(OTHER, Answers(after_seconds=4.0, tone=CALLER_TONE))
    async with lives.first() as rig:
        order = Order(number=PhoneNumber(NUMBER), first=PhoneNumber(SHOP), second=PhoneNumber(OTHER))
        call_id = rig.reception.place(order)
        first = await shop.next_call()
        second = await customer.next_call()
    async with lives.next() as rig:
        await eventually(lambda: hears(first, CALLER_TONE) and hears(second, SHOP_TONE))
        await second.hang_up()
        await first.ended()
        await eventually(lambda: bool(rig.records))

    (record,) = rig.records
    assert (record.call_id, record.result, record.ended_by) == (call_id, Result.ANSWERED, Side.TARGET)
    assert len(shop.calls) == len(customer.calls) == 1


async def test_caller_who_was_claimed_and_whom_nobody_knows_is_taken_on(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    shop = carrier.shop(SHOP, Answers(after_seconds=0.5))
    app, user, password = f"dari-{NODE}", call_asterisk.ari_user, call_asterisk.ari_password
    async with Ari(call_asterisk.ari_url, app, user, password) as ari:
        events = Connection(call_asterisk.ari_url, app, user, password).events()
        async for event in events:
            if isinstance(event, Connected):
                caller = await carrier.call(NUMBER, tone=CALLER_TONE)
            if isinstance(event, CallBroadcast):
                await ari.claim(event.channel.id)
            if isinstance(event, StasisStart):  # before that the claim is void when the application goes away
                break
        await events.aclose()  # type: ignore[attr-defined]
    async with Lives(call_asterisk, carrier, tmp_path, with_treatment()).next() as rig:
        target = await shop.next_call()
        await until_they_talk(caller, target)
        await caller.hang_up()
        record = await rig.record(caller.call_id)

    assert record.result is Result.ANSWERED
    assert record.caller is not None


@pytest.mark.parametrize("whisper", [None, Whisper(sound="test/whisper")], ids=["direct", "whispered"])
@pytest.mark.parametrize("answers_after", [0.2, 3.0])
async def test_another_engine_takes_a_call_over(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path, answers_after: float, whisper: Whisper | None
) -> None:
    """A telephone that rings for a dead engine's application is rung anew; one that the dialplan rings rings on."""
    numbers = with_treatment(whisper=whisper)
    shop = carrier.shop(SHOP, Answers(after_seconds=answers_after))
    async with engine_on(call_asterisk, tmp_path, numbers, carrier, grace=0):
        caller = await carrier.call(NUMBER, tone=CALLER_TONE)
        target = await shop.next_call()
        if answers_after < 1.0:
            await until_they_talk(caller, target)
        else:
            await eventually(lambda: hears(caller, TONES["test/ringback"]))
    async with engine_on(call_asterisk, tmp_path, numbers, carrier, node="n2") as rig:
        await eventually(lambda: rig.reception.live_calls == 1)
        talking = target if answers_after < 1.0 or whisper is None else await shop.next_call()
        await until_they_talk(caller, talking)
        await asyncio.sleep(1.0)
        assert not caller.is_over
        await caller.hang_up()
        record = await rig.record(caller.call_id)
        await talking.ended()

    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.CALLER)
    assert await left_over(call_asterisk) == ([], [])
