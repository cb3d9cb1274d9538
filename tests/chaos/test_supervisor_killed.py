"""`dari up` is killed under live calls, and told to stop: calls go on, parts are taken over, nothing is cut short."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest

from engine.cdr.model import Result, Side
from engine.sandbox.caller import CallerLeg
from engine.sandbox.phone import TargetLeg
from tests.chaos.figures import Figures
from tests.chaos.processes import killed
from tests.chaos.proof import Proof, landed
from tests.chaos.watched_shop import WatchedShop, watched_shop
from tests.eventually import eventually
from tests.real_asterisk import loopback
from tests.running_shop import CALLER, NUMBER, SHOP, goes_on_hearing

DARI, CARRIER = (loopback(33, host) for host in (1, 2))
STOP_SECONDS = 30.0
"""Long: what is waited for ends by itself before."""


@pytest.fixture(scope="module")
async def shop() -> AsyncIterator[WatchedShop]:
    async with watched_shop(DARI, CARRIER, DARI_STOP_SECONDS=str(STOP_SECONDS)) as running:
        yield running


async def check_nothing_was_noticed(shop: WatchedShop, caller: CallerLeg, target: TargetLeg, since: float) -> None:
    """Both heard each other the whole time, and the record says so."""
    await shop.shop.talk(caller, target)
    assert goes_on_hearing(caller, SHOP, since)
    assert goes_on_hearing(target, CALLER, since)
    record = await shop.record(caller)
    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.CALLER)
    assert record.talk_seconds == pytest.approx(caller.talk_seconds, abs=1.0)


async def test_live_calls_notice_nothing_and_calls_come_through_while_there_is_none(
    shop: WatchedShop, figures: Figures
) -> None:
    """Twice: what was taken over is taken over again."""
    caller, target = await shop.shop.connected_call("01033110001")
    rings, _ = await shop.ringing_call("01033110002")
    parts, since = shop.shop.home.parts(), time.monotonic()
    for round_number in range(2):
        landed(await shop.kill_dari_up())
        between = await shop.shop.connected_call(f"0103311001{round_number}")
        await shop.shop.talk(*between, seconds=0.5)
        shop.shop.up = await shop.shop.home.up()
        assert shop.shop.home.parts() == parts
        assert shop.shop.up.said.count("runs already, taken over") == len(parts)
    assert not rings.is_over
    await shop.until_live(2)
    await rings.hang_up()
    await check_nothing_was_noticed(shop, caller, target, since)


@pytest.mark.parametrize("part", ["engine", "postgres"])
async def test_a_part_that_died_in_between_is_started_again_and_the_others_are_not(
    shop: WatchedShop, figures: Figures, part: str
) -> None:
    caller, target = await shop.shop.connected_call("01033110101")
    parts, since = shop.shop.home.parts(), time.monotonic()
    landed(await shop.kill_dari_up(), await killed(parts[part]))
    shop.shop.up = await shop.shop.home.up()
    after = shop.shop.home.parts()
    assert {name for name, process in after.items() if parts[name] != process} == {part}
    figures.add(f"up again with {part} s", time.monotonic() - since)
    await shop.until_live(1)
    await check_nothing_was_noticed(shop, caller, target, since)


async def test_a_dari_up_that_is_told_to_stop_waits_for_its_calls_and_says_so(
    shop: WatchedShop, figures: Figures
) -> None:
    caller, target = await shop.shop.connected_call("01033110201")
    second, seconds_target = await shop.shop.connected_call("01033110202")
    parts, since = shop.shop.home.parts(), time.monotonic()
    landed(Proof("dari up lives and is told to stop", float(shop.shop.up.process.returncode is None), "time"))
    shop.shop.up.process.send_signal(signal.SIGTERM)
    await eventually(lambda: "engine: live calls 2, waiting up to" in shop.shop.up.said)
    refused = await shop.carrier.call(NUMBER, from_number="01033110203", tone=CALLER)
    assert parts["engine"].lives
    await second.hang_up()
    await seconds_target.ended()
    await eventually(lambda: "engine: live calls 1, waiting up to" in shop.shop.up.said)
    assert all(process.lives for process in parts.values())
    await asyncio.sleep(0.5)
    assert goes_on_hearing(caller, SHOP, since)
    assert goes_on_hearing(target, CALLER, since)
    await refused.hang_up()
    await caller.hang_up()
    assert await shop.shop.up.process.wait() == 0
    assert shop.shop.home.left() == []
    assert "engine: stopped" in shop.shop.up.said, "it was not cut off"

    shop.shop.up = await shop.shop.home.up()
    for one in (caller, second):
        record = await shop.record(one)
        assert (record.result, record.ended_by) == (Result.ANSWERED, Side.CALLER)
    await shop.until_live(0)
