"""Plain calls are rung and connected by the dialplan itself: by ear, by wire, and in their records."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import msgspec
import pytest

from engine.asterisk.call_door import Asked, call_door, door_key
from engine.asterisk.commands import Ari
from engine.cdr.model import Result, Side, StepKind
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import ServiceNumber
from engine.numbers.treatment import Fallback, Then
from engine.sandbox.carrier import Carrier
from engine.sandbox.leg import Leg
from engine.sandbox.phone import Answers, NeverAnswers, Rings, Silent
from tests.asterisk.calls.test_resume import (
    CALLER_TONE,
    NUMBER,
    SHOP,
    Lives,
    both_ringing,
    hears,
    until_they_talk,
    with_treatment,
)
from tests.engine_rig import NODE, TONES, Rig, network, second_trunk
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk

RINGBACK = TONES["test/ringback"]


@pytest.fixture
def numbers() -> list[ServiceNumber]:
    return with_treatment(ring_seconds=3)


async def is_rung_by_the_dialplan(asterisk: RunningAsterisk, leg: Leg) -> bool:
    """Whether the caller's channel is in the dialplan's Dial, and not with an engine."""
    async with Ari(asterisk.ari_url, f"dari-{NODE}", asterisk.ari_user, asterisk.ari_password) as ari:
        return any(
            channel.protocol_id == leg.call_id and channel.dialplan.app_name == "Dial"
            for channel in await ari.channels()
        )


async def hung_up_by(ends_it: str, caller: Leg, target: Leg) -> None:
    """One of the two hangs up, and both have ended."""
    await (caller if ends_it == "caller" else target).hang_up()
    await caller.ended()
    await target.ended()


@pytest.mark.parametrize("ends_it", ["caller", "shop"])
async def test_a_plain_call_is_connected_by_the_dialplan_and_written_down_whole(
    rig: Rig, carrier: Carrier, call_asterisk: RunningAsterisk, ends_it: str
) -> None:
    shop = carrier.shop(SHOP, Answers(after_seconds=1.0))
    caller = await carrier.call(NUMBER, from_number="01098765432", tone=CALLER_TONE)
    target = await shop.next_call()
    await eventually(lambda: hears(caller, RINGBACK))
    assert await is_rung_by_the_dialplan(call_asterisk, caller)
    assert caller.answered_at is None
    await until_they_talk(caller, target)
    await hung_up_by(ends_it, caller, target)

    assert target.shown_number == "01098765432"
    assert NUMBER in target.invite.get("Diversion")
    assert caller.answered_at is not None
    assert target.answered_at is not None
    assert caller.answered_at > target.answered_at
    record = await rig.record(caller.call_id)
    assert record.result is Result.ANSWERED
    assert record.ended_by is (Side.CALLER if ends_it == "caller" else Side.TARGET)
    assert (record.number, record.caller, record.target) == (NUMBER, "01098765432", SHOP)
    assert record.arrived_at < record.ringing_at < record.answered_at < record.ended_at
    assert record.talk_seconds == pytest.approx(caller.talk_seconds, abs=1.0)
    assert [leg.sip_call_id for leg in record.legs] == [caller.call_id, target.call_id]
    assert {step.kind for step in record.steps} == {StepKind.RINGBACK, StepKind.CONNECT}
    line = await call_asterisk.line_of_channel(record.legs[0].channel)
    assert (line.engine, line.alone) == ("DIRECT", "")
    assert float(line.answer) == pytest.approx(record.answered_at.timestamp(), abs=0.5)


async def test_a_caller_who_gives_up_ends_the_ringing(rig: Rig, carrier: Carrier) -> None:
    shop = carrier.shop(SHOP, NeverAnswers())
    caller = await carrier.call(NUMBER)
    target = await shop.next_call()
    await eventually(lambda: hears(caller, RINGBACK))
    await caller.hang_up()
    await target.ended()

    record = await rig.record(caller.call_id)
    assert (record.result, record.ended_by) == (Result.CALLER_GAVE_UP, Side.CALLER)
    assert record.answered_at is None


@pytest.mark.parametrize("ends_it", ["caller", "shop"])
async def test_a_talk_that_ends_without_an_engine_is_written_down_as_it_ended(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path, ends_it: str
) -> None:
    lives = Lives(call_asterisk, carrier, tmp_path, with_treatment())
    shop = carrier.shop(SHOP, Answers(after_seconds=0.2))
    async with lives.first() as rig:
        caller = await carrier.call(NUMBER, tone=CALLER_TONE)
        target = await shop.next_call()
        await until_they_talk(caller, target)
        await rig.until_step(caller, StepKind.CONNECT)
    await hung_up_by(ends_it, caller, target)
    async with lives.next() as rig:
        record = await rig.record(caller.call_id)

    assert record.result is Result.ANSWERED
    assert record.ended_by is (Side.CALLER if ends_it == "caller" else Side.TARGET)
    assert record.talk_seconds == pytest.approx(caller.talk_seconds, abs=1.0)
    assert record.target == SHOP


@pytest.mark.parametrize("ends_it", ["caller", "shop"])
async def test_a_talk_that_begins_and_ends_without_an_engine_is_one(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path, ends_it: str
) -> None:
    lives = Lives(call_asterisk, carrier, tmp_path, with_treatment())
    shop = carrier.shop(SHOP, Answers(after_seconds=1.5))
    async with lives.first():
        caller, target = await both_ringing(carrier, shop)
    await until_they_talk(caller, target)
    await hung_up_by(ends_it, caller, target)
    async with lives.next() as rig:
        record = await rig.record(caller.call_id)

    assert (record.result, record.target) == (Result.ANSWERED, SHOP)
    assert record.ended_by is (Side.CALLER if ends_it == "caller" else Side.TARGET)
    assert record.talk_seconds == pytest.approx(caller.talk_seconds, abs=1.0)
    assert [step.kind for step in record.steps] == [StepKind.RINGBACK, StepKind.CONNECT]
    assert all(step.ended_at is not None and step.started_at <= step.ended_at for step in record.steps)
    assert all(leg.ended_at is not None and leg.started_at <= leg.ended_at for leg in record.legs)


async def test_whom_the_dialplan_rings_in_vain_counts_on_the_trunk_no_longer(
    rig: Rig, carrier: Carrier, call_asterisk: RunningAsterisk
) -> None:
    number = rig.numbers[PhoneNumber(NUMBER)]
    message = msgspec.structs.replace(number.treatment, fallbacks=(Fallback(then=Then.VOICEMAIL),))
    rig.numbers[number.number] = msgspec.structs.replace(number, treatment=message)
    carrier.shop(SHOP, Rings(0.5, 486))
    caller = await carrier.call(NUMBER)
    await caller.answered()
    groups = await call_asterisk.ask("group show channels")
    assert "dari_trunk" in groups
    assert "dari_dialled" not in groups
    await caller.hang_up()
    assert (await rig.record(caller.call_id)).result is Result.VOICEMAIL


async def test_lines_that_a_caller_makes_are_no_part_of_the_question(rig: Rig, carrier: Carrier) -> None:
    """Its number ends up in the question, line feeds and all, before the number that it called."""
    other = PhoneNumber("050787654321")
    rig.numbers[other] = msgspec.structs.replace(
        rig.numbers[PhoneNumber(NUMBER)], number=other, target=PhoneNumber("0312345678")
    )
    stranger = carrier.shop("0312345678", NeverAnswers())
    shop = carrier.shop(SHOP, Answers(after_seconds=0.3))
    caller = await carrier.call(NUMBER, from_number=f"010%0Aagi_extension%3A%20{other}")
    await shop.next_call()
    await caller.answered()
    await caller.hang_up()
    record = await rig.record(caller.call_id)
    assert (record.result, record.number, record.caller) == (Result.ANSWERED, NUMBER, None)
    assert stranger.calls == []


async def test_a_telephone_rings_on_and_is_connected_while_no_engine_is_there(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    lives = Lives(call_asterisk, carrier, tmp_path, with_treatment())
    shop = carrier.shop(SHOP, Answers(after_seconds=2.0))
    async with lives.first():
        caller, target = await both_ringing(carrier, shop)
    await until_they_talk(caller, target)
    async with lives.next() as rig:
        await eventually(lambda: [call.state.value for call in rig.reception.calls()] == ["connected"])
        await target.hang_up()
        await caller.ended()
        record = await rig.record(caller.call_id)

    assert (record.result, record.ended_by, record.target) == (Result.ANSWERED, Side.TARGET, SHOP)
    assert record.talk_seconds == pytest.approx(caller.talk_seconds, abs=1.0)
    assert len(shop.calls) == 1


async def test_nobody_takes_the_call_while_no_engine_is_there_and_the_dialplan_goes_on_alone(
    call_asterisk: RunningAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    """It knows no route here, and says so: the call's record is Asterisk's own row."""
    lives = Lives(call_asterisk, carrier, tmp_path, with_treatment(ring_seconds=3))
    carrier.shop(SHOP, NeverAnswers())
    async with lives.first():
        caller = await carrier.call(NUMBER)
        await eventually(lambda: hears(caller, RINGBACK))
    await caller.ended()
    line = await call_asterisk.record_of(caller.call_id)
    async with lives.next() as rig:
        await eventually(lambda: not rig.reception.live_calls)
        assert not rig.records

    assert caller.final_code == 503
    assert (line.engine, line.alone) == ("DIRECT", "yes")


async def test_the_next_trunk_is_tried_when_the_first_fails_or_says_nothing(
    rig: Rig, carrier: Carrier, call_asterisk: RunningAsterisk
) -> None:
    rig.trunks.trunks.insert(0, msgspec.structs.replace(second_trunk(), priority=0))
    async with Carrier(f"{network()}.4", 5070, (f"{network()}.1", 5060)) as other:
        other.shop(SHOP, Silent())
        shop = carrier.shop(SHOP, Answers(after_seconds=0.3))
        caller = await carrier.call(NUMBER, tone=CALLER_TONE)
        target = await shop.next_call()
        await until_they_talk(caller, target)
        await caller.hang_up()
        record = await rig.record(caller.call_id)

    assert [leg.trunk for leg in record.legs] == ["carrier", "second", "carrier"]
    assert record.result is Result.ANSWERED
    assert len(other.shop(SHOP, Silent()).calls) <= 1


async def test_a_question_tells_when_the_call_came(carrier: Carrier, call_asterisk: RunningAsterisk) -> None:
    host, _, port = call_asterisk.settings.call_door.rpartition(":")
    came = list[float | None]()

    async def note(asked: Asked) -> None:
        came.append(asked.question.came)

    async with call_door(host, int(port), door_key(call_asterisk.ari_password), note):
        before = time.time()
        caller = await carrier.call(NUMBER, tone=None)
        await eventually(lambda: bool(came))
        assert came[0] is not None
        assert before - 0.001 <= came[0] <= time.time()
        await caller.cancel()


async def test_the_door_answers_nobody_without_the_key(rig: Rig, call_asterisk: RunningAsterisk) -> None:
    host, _, port = call_asterisk.settings.call_door.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"agi_network_script: guessed\nagi_uniqueid: 1.1\nagi_extension: 050712345678\n\n")
    assert await reader.read() == b""
    writer.close()
    assert rig.reception.live_calls == 0


async def test_a_channel_that_is_not_there_begins_no_call(rig: Rig, call_asterisk: RunningAsterisk) -> None:
    host, _, port = call_asterisk.settings.call_door.rpartition(":")
    key = door_key(call_asterisk.ari_password)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"agi_network_script: {key}\nagi_uniqueid: 1.1\nagi_extension: {NUMBER}\n".encode())
    writer.write(b"agi_channel: PJSIP/carrier-00000001\nagi_callerid: 01012345678\n\n")
    assert await reader.read() == b""
    writer.close()
    assert rig.reception.live_calls == 0
    assert not rig.records
