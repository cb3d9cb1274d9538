"""Parts of the whole system are killed or frozen under live calls: the calls go on, and nothing is lost or doubled."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.sandbox.caller import CallerLeg
from engine.sandbox.phone import TargetLeg
from tests.eventually import eventually
from tests.real_asterisk import loopback
from tests.running_shop import CALLER, PLAIN_TARGET, SHOP, RunningShop, goes_on_hearing, running_shop

DARI, CARRIER = (loopback(22, host) for host in (11, 12))


@pytest.fixture(scope="module")
async def shop() -> AsyncIterator[RunningShop]:
    async with running_shop(DARI, CARRIER, DARI_WATCHDOG_SECONDS="3") as running:
        yield running


async def test_calls_records_and_messages_outlive_the_death_of_the_database(shop: RunningShop) -> None:
    before = await shop.connected_call("01030000001")
    database = shop.home.parts()["postgres"]
    shop.up.process.send_signal(signal.SIGSTOP)  # else the database would be back before anybody missed it
    killed_at = time.monotonic()
    database.send(signal.SIGKILL)
    during = await shop.connected_call("01030000002")
    await shop.talk(*during)
    await shop.talk(*before, seconds=0.1)
    code, _, errors = await shop.home.run("calls")
    assert (code, len(errors.splitlines())) == (1, 1), errors
    shop.up.process.send_signal(signal.SIGCONT)
    await shop.home.until_parts(other_than={"postgres": database})
    await eventually(shop.database_answers)

    for caller, target in (before, during):
        assert goes_on_hearing(caller, SHOP, max(killed_at, caller.answered_at or 0.0))
        assert goes_on_hearing(target, CALLER, max(killed_at, caller.answered_at or 0.0))
        await written_down_and_thanked_once(shop, caller, target)


async def test_a_call_outlives_the_death_of_the_engine(shop: RunningShop) -> None:
    caller, target = await shop.connected_call("01030000003")
    engine = shop.home.parts()["engine"]
    killed_at = time.monotonic()
    engine.send(signal.SIGKILL)
    assert (await shop.home.until_parts(other_than={"engine": engine}))["engine"] != engine
    await eventually(lambda: shop.has_live_calls(1))
    await shop.talk(caller, target)

    assert goes_on_hearing(caller, SHOP, killed_at)
    assert goes_on_hearing(target, CALLER, killed_at)
    await written_down_and_thanked_once(shop, caller, target)


async def test_a_call_outlives_the_death_of_dari_up_and_the_next_one_takes_everything_over(shop: RunningShop) -> None:
    caller, target = await shop.connected_call("01030000004")
    parts = shop.home.parts()
    killed_at = time.monotonic()
    shop.up.process.kill()
    await shop.up.process.wait()
    shop.up = await shop.home.up()
    assert shop.home.parts() == parts
    assert await shop.has_live_calls(1)
    await shop.talk(caller, target)

    assert goes_on_hearing(caller, SHOP, killed_at)
    assert goes_on_hearing(target, CALLER, killed_at)
    await written_down_and_thanked_once(shop, caller, target)


async def test_a_message_that_is_due_while_the_gateway_dies_is_delivered_once(shop: RunningShop) -> None:
    caller, target = await shop.connected_call("01030000005")
    gateway = shop.home.parts()["gateway"]
    gateway.send(signal.SIGSTOP)  # it takes connections and answers none
    await shop.talk(caller, target)

    async def is_on_its_way() -> bool:
        messages = await shop.objects("messages")
        return any(message["recipient"] == "01030000005" and message["status"] == "sending" for message in messages)

    await eventually(is_on_its_way)
    assert shop.sent("01030000005") == []
    gateway.send(signal.SIGKILL)
    await eventually(lambda: not gateway.lives)
    await written_down_and_thanked_once(shop, caller, target)


async def test_a_frozen_engine_is_cut_off_and_calls_meanwhile_go_without_it(shop: RunningShop) -> None:
    live, target = await shop.connected_call("01030000006")
    await eventually(shop.goes_without_an_engine)
    engine = shop.home.parts()["engine"]
    frozen_at = time.monotonic()
    engine.send(signal.SIGSTOP)
    alone, alone_target = await shop.connected_call("01030000007")

    await eventually(lambda: not engine.lives)
    await shop.home.until_parts(other_than={"engine": engine})
    await eventually(lambda: shop.has_live_calls(1))
    through, shops_leg = await shop.connected_call("01030000008")
    await shop.talk(through, shops_leg)
    await shop.talk(alone, alone_target, seconds=0.1)
    await shop.talk(live, target, seconds=0.1)
    assert goes_on_hearing(live, SHOP, frozen_at)
    assert goes_on_hearing(alone, SHOP, alone.answered_at or 0.0)
    assert (await written_down_and_thanked_once(shop, alone))["node"] == "alone"
    await written_down_and_thanked_once(shop, through, shops_leg)
    await written_down_and_thanked_once(shop, live, target)


async def test_a_call_that_dies_with_asterisk_is_closed_by_nobodys_hand_and_calls_go_again(shop: RunningShop) -> None:
    caller, target = await shop.connected_call("01030000009")
    asterisk = shop.home.parts()["asterisk"]
    asterisk.send(signal.SIGKILL)
    await shop.home.until_parts(other_than={"asterisk": asterisk})
    record = await shop.record(caller)
    caller.abandon()
    target.abandon()

    assert (record["result"], record["ended_by"]) == ("answered", "dari")
    # When they ended is known to some seconds only: it may seem that they talked too briefly to be thanked.
    assert (await shop.message(record))["status"] in ("delivered", "held")
    await eventually(lambda: shop.has_live_calls(0))
    through, shops_leg = await shop.connected_call("01030000010")
    await shop.talk(through, shops_leg)
    await written_down_and_thanked_once(shop, through, shops_leg)


async def test_nothing_was_written_down_or_sent_twice(shop: RunningShop) -> None:
    calls = [call["sip_call_id"] for call in await shop.objects("calls")]
    answered = [caller.call_id for caller in shop.carrier.callers if caller.answered_at]
    assert sorted(call for call in calls if call in answered) == sorted(answered)
    assert len(calls) == len(set(calls))
    messages = await shop.objects("messages")
    assert len({message["call_id"] for message in messages}) == len(messages) == len(answered)
    sent = {message["recipient"]: len(shop.sent(message["recipient"])) for message in messages}
    assert sent == {message["recipient"]: int(message["status"] == "delivered") for message in messages}


async def written_down_and_thanked_once(
    shop: RunningShop, caller: CallerLeg, target: TargetLeg | None = None
) -> dict[str, Any]:
    """The record, which says what the telephones know; the caller got one message.

    Without an engine nobody writes down the target's leg.
    """
    record: dict[str, Any] = await shop.record(caller)
    assert (record["result"], record["ended_by"], record["target"]) == ("answered", "caller", PLAIN_TARGET)
    assert record["talk_seconds"] == pytest.approx(caller.talk_seconds, abs=1.0)
    assert {leg["sip_call_id"] for leg in record["legs"]} == {leg.call_id for leg in (caller, target) if leg}
    message = await shop.message(record)
    assert message["status"] == "delivered"
    assert [order["id"] for order in shop.sent(record["caller"])] == [message["id"]]
    return record
