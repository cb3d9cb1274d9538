"""The sandbox's telephones against a real Asterisk that only dials through: what the witness says must be true."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import Heard, tones
from engine.sandbox.leg import Leg
from engine.sandbox.phone import Answers, Behaviour, Busy, NeverAnswers, Rejects, Rings
from engine.trunks.model import Trunk
from tests.real_asterisk import RunningAsterisk, loopback, start_asterisk

SERVER, CARRIER = (loopback(13, host) for host in (1, 2))
SHOP = "0212345678"
CALLER_TONE, SHOP_TONE, RINGBACK_TONE = 500, 1100, 700


@pytest_asyncio.fixture(scope="module")
async def asterisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    """One whose dialplan dials whatever was dialled back to the carrier."""
    trunk = Trunk(name="carrier", match=(CARRIER,), contact=f"sip:{CARRIER}:5070")
    running = await start_asterisk(tmp_path_factory.mktemp("a"), SERVER, [trunk])
    await running.ask("module load app_dial.so")
    await running.ask("dialplan add extension _0X.,1,Dial,PJSIP/${EXTEN}@carrier into dari-incoming")
    await running.ask("dialplan add extension _0X.,2,Hangup,${HANGUPCAUSE} into dari-incoming")
    yield running
    await running.stop()


@pytest_asyncio.fixture
async def carrier(asterisk: RunningAsterisk) -> AsyncIterator[Carrier]:
    async with Carrier(CARRIER, 5070, (SERVER, 5060)) as carrier:
        yield carrier
    assert carrier.stray == []
    assert "0 active channels" in await asterisk.ask("core show channels count")


def heard_by(leg: Leg) -> list[Heard]:
    return tones(leg.recording, [CALLER_TONE, SHOP_TONE, RINGBACK_TONE])


async def test_both_parties_hear_each_other_from_the_answer_to_the_end(carrier: Carrier) -> None:
    shop = carrier.shop(SHOP, Answers(after_seconds=0.3, talk_seconds=1.5, tone=SHOP_TONE))
    caller = await carrier.call(SHOP, tone=CALLER_TONE)
    await caller.ended()
    target = await shop.next_call()
    await target.ended()

    (from_shop,), (from_caller,) = heard_by(caller), heard_by(target)
    assert (from_shop.what, from_caller.what) == ("1100 Hz", "500 Hz")
    assert caller.answer_delay is not None
    assert abs(from_shop.start - caller.answer_delay) < 0.3
    assert abs(from_shop.seconds - caller.talk_seconds) < 0.3
    assert caller.recording.lost == target.recording.lost == 0
    assert caller.final_code == target.final_code == 200
    assert target.shown_number == "01012345678"


async def test_the_shops_network_is_heard_before_the_answer(carrier: Carrier) -> None:
    carrier.shop(SHOP, Answers(after_seconds=1.0, talk_seconds=0.5, tone=SHOP_TONE, early_tone=RINGBACK_TONE))
    caller = await carrier.call(SHOP, tone=CALLER_TONE)
    assert await caller.provisional(183) == 183
    await caller.ended()
    ringback, talk = heard_by(caller)
    assert (ringback.what, talk.what) == ("700 Hz", "1100 Hz")
    assert caller.answer_delay is not None
    assert ringback.end <= caller.answer_delay + 0.1


@pytest.mark.parametrize(
    ("behaviour", "code"), [(Busy(), 486), (Rejects(404), 404), (Rings(0.2, 480), 480)], ids=["busy", "404", "480"]
)
async def test_a_refusal_reaches_the_caller(carrier: Carrier, behaviour: Behaviour, code: int) -> None:
    shop = carrier.shop(SHOP, behaviour)
    caller = await carrier.call(SHOP)
    await caller.ended()
    assert (await shop.next_call()).final_code == caller.final_code == code
    assert caller.reason is not None
    assert caller.reason.protocol == "Q.850"
    assert caller.answered_at is None


async def test_a_caller_who_gives_up_stops_the_ringing(carrier: Carrier) -> None:
    shop = carrier.shop(SHOP, NeverAnswers())
    caller = await carrier.call(SHOP)
    await caller.provisional(180)
    await caller.cancel()
    target = await shop.next_call()
    await target.ended()
    assert target.cancelled
    assert (caller.final_code, target.final_code) == (487, 487)


async def test_keys_reach_the_other_side(carrier: Carrier) -> None:
    shop = carrier.shop(SHOP, Answers(dtmf="10#", dtmf_after=0.2))
    caller = await carrier.call(SHOP)
    target = await shop.next_call()
    await target.answered()
    await asyncio.sleep(1.4)
    await caller.hang_up()
    await target.ended()
    assert [key for _, key in caller.recording.digits] == ["1", "0", "#"]
