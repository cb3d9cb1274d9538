"""A caller's telephone calls a shop's telephone over loopback, on a good network and on a bad one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import groupby

import numpy as np
import pytest

from engine.foundation.errors import Conflict, GaveUp, Invalid
from engine.sandbox.carrier import Carrier
from engine.sandbox.datagram import DatagramSocket
from engine.sandbox.ear import tones
from engine.sandbox.leg import Direction, Leg
from engine.sandbox.line import Habits
from engine.sandbox.phone import Answers, Behaviour, Busy, NeverAnswers, Rejects, Rings, Silent
from engine.sandbox.rtp import tone
from engine.sandbox.sdp import Codec
from engine.sandbox.sip import Request, Response
from tests.eventually import eventually
from tests.loopback import ANY_PORT
from tests.lossy_relay import LossyRelay

HOST = ANY_PORT.rpartition(":")[0]
SHOP = "0212345678"
QUICK = Habits(t1=0.01, t2=0.04)  # gives up after 0.64 s
TONES = [500, 700, 1100]


@asynccontextmanager
async def network(lose: dict[str, int] | None = None) -> AsyncIterator[tuple[Carrier, Carrier, LossyRelay]]:
    """The callers' carrier, the shops' carrier, and what lies between them; both are impatient where it may lose."""
    habits = Habits() if lose is None else QUICK
    with LossyRelay(HOST, lose or {}) as relay:
        async with Carrier(HOST, 0, ("", 0), habits) as shops, Carrier(HOST, 0, relay.address, habits) as callers:
            relay.lead_to(shops.address)
            yield callers, shops, relay
            for leg in (*callers.callers, *shops.targets):
                await leg.hang_up()
        assert callers.stray == shops.stray == []


def names(leg: Leg, direction: Direction) -> list[str]:
    """The leg's messages, in order."""
    messages = [message for _, way, message in leg.sip_log if way is direction]
    return [
        message.method if isinstance(message, Request) else f"{message.code} {message.cseq[1]}" for message in messages
    ]


def heard(leg: Leg) -> list[str]:
    """Tones in order, each once however often the machine stood still in it."""
    return [what for what, _ in groupby(one.what for one in tones(leg.recording, TONES))]


async def test_both_hear_each_other_once_answered() -> None:
    async with network() as (callers, shops, _):
        shop = shops.shop(SHOP, Answers(after_seconds=0.1, talk_seconds=0.4, tone=1100))
        caller = await callers.call(SHOP, tone=500)
        await caller.ended()
        target = shop.calls[0]
        await target.ended()
        assert (heard(caller), heard(target)) == (["1100 Hz"], ["500 Hz"])
        assert caller.recording.lost == target.recording.lost == 0
        assert names(caller, Direction.SENT) == ["INVITE", "ACK", "200 BYE"]
        assert names(caller, Direction.RECEIVED) == ["100 INVITE", "180 INVITE", "200 INVITE", "BYE"]
        assert caller.post_dial_delay is not None
        assert caller.answer_delay is not None
        assert caller.first_audio_delay is not None
        assert caller.post_dial_delay < caller.answer_delay < caller.first_audio_delay
        assert (caller.hung_up_here, target.hung_up_here) == (False, True)


async def test_early_media_is_heard_before_the_answer_and_the_caller_is_mute_until_then() -> None:
    async with network() as (callers, shops, _):
        shop = shops.shop(SHOP, Answers(after_seconds=0.2, tone=1100, early_tone=700))
        caller = await callers.call(SHOP, tone=500)
        assert await caller.provisional(183) == 183
        await caller.answered()
        target = shop.calls[0]
        assert heard(caller) == ["700 Hz"]
        assert target.recording.packets == 0
        await asyncio.sleep(0.2)
        await caller.hang_up()
        assert heard(caller) == ["700 Hz", "1100 Hz"]
        assert heard(target) == ["500 Hz"]
        assert caller.hung_up_here


async def test_samples_are_heard_as_they_are_and_then_silence() -> None:
    song = np.concatenate([tone(700, 0.1), tone(1100, 0.1)])
    async with network() as (callers, shops, _):
        shops.shop(SHOP, Answers(talk_seconds=0.4, tone=song))
        caller = await callers.call(SHOP, tone=None)
        await caller.ended()
        first, second = tones(caller.recording, TONES, shortest=0.05)
        assert (first.what, second.what) == ("700 Hz", "1100 Hz")
        assert second.seconds < 0.2
        assert not np.abs(caller.recording.samples[-400:]).max() > 8


async def test_mu_law_is_spoken_where_that_is_what_both_have() -> None:
    async with (
        Carrier(HOST, 0, ("", 0), Habits(codecs=(Codec.PCMU,))) as shops,
        Carrier(HOST, 0, shops.address) as callers,
    ):
        shops.shop(SHOP, Answers(talk_seconds=0.3))
        caller = await callers.call(SHOP)
        await caller.ended()
        assert heard(caller) == ["1100 Hz"]
        assert {arrival.packet.payload_type for arrival in caller.party.arrivals} == {Codec.PCMU.value}


@pytest.mark.parametrize(
    ("behaviour", "code"), [(Busy(), 486), (Rejects(503), 503), (Rings(0.05, 480), 480)], ids=["busy", "503", "rings"]
)
async def test_a_refusal_is_told_and_acknowledged(behaviour: Behaviour, code: int) -> None:
    async with network() as (callers, shops, relay):
        shop = shops.shop(SHOP, behaviour)
        caller = await callers.call(SHOP)
        await caller.ended()
        assert (caller.final_code, shop.calls[0].final_code) == (code, code)
        assert caller.answered_at is None
        with pytest.raises(Conflict, match=str(code)):
            await caller.answered()
        await asyncio.sleep(0.03)
        assert relay.passed["ACK"] >= 1


async def test_a_number_without_a_shop_is_404_and_stray() -> None:
    async with Carrier(HOST, 0, ("", 0), QUICK) as shops, Carrier(HOST, 0, shops.address, QUICK) as callers:
        caller = await callers.call("0299999999")
        await caller.ended()
        assert caller.final_code == 404
        assert [stray.why for stray in shops.stray] == ["no shop has this number"]


async def test_a_caller_who_gives_up_ends_the_ringing() -> None:
    async with network() as (callers, shops, _):
        shop = shops.shop(SHOP, NeverAnswers())
        caller = await callers.call(SHOP)
        assert await caller.provisional() == 180
        await caller.cancel()
        target = await shop.next_call()
        await target.ended()
        assert (caller.final_code, target.final_code, target.cancelled) == (487, 487, True)
        assert names(caller, Direction.SENT) == ["INVITE", "CANCEL", "ACK"]


async def test_a_cancel_that_crosses_the_answer_hangs_up() -> None:
    async with network({"CANCEL": 99, "200 INVITE": 1}) as (callers, shops, _):
        shop = shops.shop(SHOP, Answers())
        caller = await callers.call(SHOP)
        await caller.provisional()
        await (await shop.next_call()).answered()
        await caller.cancel()
        assert caller.final_code == 200
        await eventually(lambda: names(caller, Direction.SENT)[-1] == "BYE")
        await shop.calls[0].ended()
        assert not shop.calls[0].cancelled


async def test_nobody_at_all_is_given_up() -> None:
    async with network({}) as (callers, shops, _):
        shop = shops.shop(SHOP, Silent())
        caller = await callers.call(SHOP)
        await caller.ended()
        assert caller.final_code is None
        assert names(caller, Direction.SENT) == ["INVITE"] * 7
        assert names(shop.calls[0], Direction.SENT) == []
        assert len(shop.calls) == 1


async def test_waiting_has_an_end() -> None:
    async with network() as (callers, shops, _):
        shop = shops.shop(SHOP, NeverAnswers())
        caller = await callers.call(SHOP)
        await shop.next_call()
        for waiting in (caller.answered(0.02), caller.ended(0.02), caller.provisional(183, 0.02)):
            with pytest.raises(GaveUp):
                await waiting
        with pytest.raises(GaveUp):
            await shop.next_call(0.02)


@pytest.mark.parametrize(
    "lose",
    [
        {"INVITE": 2},
        {"100 INVITE": 9, "180 INVITE": 1},
        {"200 INVITE": 2},
        {"ACK": 2},
        {"BYE": 2},
        {"200 BYE": 2},
        {"INVITE": 1, "200 INVITE": 1, "ACK": 1, "BYE": 1, "200 BYE": 1},
    ],
    ids=str,
)
async def test_lost_messages_are_said_again_and_a_call_stays_one_call(lose: dict[str, int]) -> None:
    async with network(lose) as (callers, shops, relay):
        shop = shops.shop(SHOP, Answers(talk_seconds=0.2))
        caller = await callers.call(SHOP)
        await caller.ended()
        await shop.calls[0].ended()
        assert caller.final_code == 200
        assert len(shop.calls) == 1
        assert relay.lost["INVITE"] == lose.get("INVITE", 0)
        assert {kind: relay.lost[kind] for kind in lose if kind != "100 INVITE"} == {
            kind: count for kind, count in lose.items() if kind != "100 INVITE"
        }


@pytest.mark.parametrize("lose", [{"CANCEL": 2}, {"200 CANCEL": 2}, {"487 INVITE": 2}, {"ACK": 2}], ids=str)
async def test_a_cancel_gets_through_a_bad_network(lose: dict[str, int]) -> None:
    async with network(lose) as (callers, shops, relay):
        shop = shops.shop(SHOP, NeverAnswers())
        caller = await callers.call(SHOP)
        await caller.provisional()
        await caller.cancel()
        await shop.calls[0].ended()
        await asyncio.sleep(0.15)
        assert (caller.final_code, shop.calls[0].final_code) == (487, 487)
        assert relay.lost == lose


async def test_an_answer_that_nobody_acknowledges_is_hung_up() -> None:
    async with network({"ACK": 99}) as (callers, shops, _):
        shop = shops.shop(SHOP, Answers())
        caller = await callers.call(SHOP)
        await caller.ended()
        assert not caller.hung_up_here
        assert shop.calls[0].hung_up_here


async def test_keys_are_heard_once_each_and_in_order() -> None:
    async with network() as (callers, shops, _):
        shops.shop(SHOP, Answers(talk_seconds=0.75, dtmf="1*1", dtmf_after=0.05))
        caller = await callers.call(SHOP)
        await caller.ended()
        assert [key for _, key in caller.recording.digits] == ["1", "*", "1"]
        with pytest.raises(Invalid, match="'X'"):
            caller.press("x")


async def test_what_the_caller_shows_reaches_the_shop() -> None:
    async with network() as (callers, shops, _):
        shop = shops.shop(SHOP, Busy())
        await callers.call(SHOP, "01099998888", headers={"X-Trace": "7"})
        await callers.call(SHOP, "01099998888", privacy=True)
        await callers.call(SHOP, "")
        await callers.call(SHOP, user_part="a&b@c")
        shown = [await shop.next_call() for _ in range(4)]
        assert [leg.shown_number for leg in shown] == ["01099998888", "anonymous", "anonymous", "a&b@c"]
        asserted = [leg.invite.get("P-Asserted-Identity") for leg in shown]
        number = f"<sip:01099998888@{HOST}>"
        assert asserted == [number, number, "", f"<sip:a&b@c@{HOST}>"]
        assert [leg.invite.get("Privacy") for leg in shown] == ["", "id", "", ""]
        assert shown[0].invite.get("X-Trace") == "7"


async def test_many_calls_at_once_are_kept_apart() -> None:
    async with network() as (callers, shops, _):
        for index in range(30):
            shops.shop(f"02{index:08}", Answers(talk_seconds=0.3, tone=TONES[index % 3]))
        legs = [await callers.call(f"02{index:08}", tone=None) for index in range(30)]
        await asyncio.gather(*(leg.ended() for leg in legs))
        assert [heard(leg) for leg in legs] == [[f"{TONES[index % 3]} Hz"] for index in range(30)]


async def test_a_closing_carrier_leaves_no_call_behind() -> None:
    async with Carrier(HOST, 0, ("", 0), QUICK) as shops:
        talking, ringing = shops.shop("021", Answers()), shops.shop("022", NeverAnswers())
        async with Carrier(HOST, 0, shops.address, QUICK) as callers:
            await (await callers.call("021")).answered()
            await (await callers.call("022")).provisional()
        for shop in (talking, ringing):
            await shop.calls[0].ended(1.0)
        assert ringing.calls[0].cancelled
        assert not talking.calls[0].hung_up_here


async def test_rubbish_and_strangers_are_kept_as_stray_and_requests_are_answered() -> None:
    answers: list[bytes] = []
    async with Carrier(HOST, 0, ("", 0), QUICK) as carrier:
        stranger = DatagramSocket((HOST, 0), lambda data, _source, _instant: answers.append(data))
        head = f"Via: SIP/2.0/UDP {HOST};branch=z9hG4bK{{0}};rport\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>{{1}}\r\n"
        for method, to_tag in (("OPTIONS", ""), ("BYE", ";tag=2"), ("ACK", ";tag=2")):
            lines = f"{method} sip:c@d SIP/2.0\r\n{head.format(method, to_tag)}Call-ID: x\r\nCSeq: 1 {method}\r\n\r\n"
            stranger.send(lines.encode(), carrier.address)
        for data in (b"\r\n\r\n", b"rubbish", b"SIP/2.0 200 OK\r\n\r\n"):
            stranger.send(data, carrier.address)
        await eventually(lambda: len(answers) == 2 and len(carrier.stray) == 4)
        stranger.close()
        assert [answer.split(b"\r\n")[0][8:11] for answer in answers] == [b"200", b"481"]


async def test_an_invite_that_is_said_again_before_it_was_answered_is_one_call() -> None:
    async with network() as (callers, shops, _):
        shop = shops.shop(SHOP, NeverAnswers())
        caller = await callers.call(SHOP)
        caller._send(caller._invite, caller._peer)  # both are there before the shop's telephone gets to work
        await caller.provisional(180)
        await caller.cancel()
        assert caller.final_code == 487
        assert len(shop.calls) == 1


async def test_requests_within_a_call_are_answered_as_they_should() -> None:
    async with network() as (callers, shops, _):
        shop = shops.shop(SHOP, Answers())
        caller = await callers.call(SHOP)
        await caller.answered()
        target = shop.calls[0]
        for method in ("OPTIONS", "INFO"):
            target._send(target._request(method), target._hop)
        again = target._request("INVITE").with_header("Contact", "<sip:x@192.0.2.1>")
        target._send(again, target._hop)

        def answers() -> dict[str, int]:
            received = [message for _, _, message in target.sip_log if isinstance(message, Response)]
            return {message.cseq[1]: message.code for message in received if message.cseq[1] != "BYE"}

        await eventually(lambda: answers().keys() >= {"OPTIONS", "INFO", "INVITE"} and answers()["INVITE"] >= 200)
        codes = answers()
        assert codes["OPTIONS"] == 200
        assert codes["INFO"] == 405
        assert codes["INVITE"] == 200
        await eventually(lambda: caller.recording.packets > 0)
        target._send(target._request("ACK"), target._hop)


async def test_a_taken_address_is_named() -> None:
    async with Carrier(HOST, 0, ("", 0)) as carrier:
        with pytest.raises(Invalid, match=str(carrier.address[1])):
            async with Carrier(*carrier.address, ("", 0)):
                pass
