"""Engines die and nobody starts them again: the watchdog alone sees to it that no caller is left on a line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from engine.cdr.model import Result, Side
from engine.foundation.tasks import Tasks
from engine.sandbox.leg import Leg
from engine.sandbox.phone import NeverAnswers
from tests.chaos.figures import Figures
from tests.chaos.processes import killed
from tests.chaos.proof import Proof, landed
from tests.chaos.watched_shop import WatchedShop, watched_shop
from tests.eventually import eventually
from tests.real_asterisk import loopback
from tests.running_shop import CALLER, SHOP, TARGET, goes_on_hearing

DARI, CARRIER = (loopback(65, host) for host in (1, 2))
_LOOKED_AFTER_WITHIN = 60.0


@pytest.fixture(scope="module")
async def shop() -> AsyncIterator[WatchedShop]:
    async with watched_shop(DARI, CARRIER) as running:
        yield running


async def ended_after(leg: Leg, since: float) -> float:
    """Seconds from then to the end of a leg, which comes."""
    await leg.ended(_LOOKED_AFTER_WITHIN)
    assert leg.ended_at is not None
    return leg.ended_at - since


async def test_nobody_is_left_on_a_line_when_there_is_no_engine_and_no_dari_up(
    shop: WatchedShop, figures: Figures
) -> None:
    """Who rings is rung for by the dialplan, who is left in a talk is hung up, who talks notices nothing."""
    talks, talks_with = await shop.shop.connected_call("01031000001")
    is_left, leaves = await shop.shop.connected_call("01031000002")
    rings, rung = await shop.ringing_call("01031000003")
    engine = shop.shop.home.parts()["engine"]
    landed(await shop.kill_dari_up(), await killed(engine))
    since = time.monotonic()
    await leaves.hang_up()
    figures.add("a leg that an engine left rang on for s", await ended_after(rung, since))
    figures.add("one left in a talk was alone for s", await ended_after(is_left, since))
    again = await shop.carrier.shop(TARGET, NeverAnswers()).next_call(_LOOKED_AFTER_WITHIN)
    figures.add("a caller without engine was alone for s", again.started_at - since)
    assert not rings.is_over
    assert "engine" not in shop.shop.home.parts(), "nobody started it"
    assert not talks.is_over
    assert not talks_with.is_over
    assert goes_on_hearing(talks, SHOP, since)
    assert goes_on_hearing(talks_with, CALLER, since)

    shop.shop.up = await shop.shop.home.up()
    await rings.hang_up()
    await shop.shop.talk(talks, talks_with)
    record = await shop.record(talks)
    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.CALLER)
    assert record.talk_seconds == pytest.approx(talks.talk_seconds, abs=1.0)
    await shop.record(is_left)
    assert (await shop.record(rings)).answered_at is None
    await shop.until_live(0)
    await shop.until_asterisk_is_empty()


async def kill_each_life(shop: WatchedShop, ended: set[int]) -> None:
    """No engine lives long enough to do anything; until cancelled."""
    while True:
        if engine := shop.shop.home.parts().get("engine"):
            landed(await killed(engine))
            ended.add(engine.pid)
        await asyncio.sleep(0.01)


async def test_nor_when_the_engine_dies_again_and_again(shop: WatchedShop, figures: Figures) -> None:
    rings, rung = await shop.ringing_call("01031001001")
    ended: set[int] = set()
    tasks = Tasks("killer")
    since = time.monotonic()
    tasks.start("engine", kill_each_life(shop, ended))
    try:
        await ended_after(rung, since)
        again = await shop.carrier.shop(TARGET, NeverAnswers()).next_call(_LOOKED_AFTER_WITHIN)
        await eventually(lambda: len(ended) > 1)
    finally:
        await tasks.close()
    figures.add("alone while engines die again and again s", again.started_at - since)
    landed(Proof("lives of the engine, one after the other", float(max(0, len(ended) - 1)), "ended"))
    assert not rings.is_over
    await shop.until_live(0)
    await rings.hang_up()
    assert (await shop.record(rings)).answered_at is None
    await shop.until_asterisk_is_empty()
