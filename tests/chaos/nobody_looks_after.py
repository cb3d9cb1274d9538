"""Engines die and nobody starts them again: the watchdog alone sees to it that no caller is left on a line."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from random import Random

import pytest

from engine.cdr.model import Result, Side
from engine.foundation.tasks import Tasks
from engine.sandbox.caller import CallerLeg
from engine.sandbox.leg import Leg
from engine.sandbox.phone import NeverAnswers, TargetLeg
from tests.chaos import oracle
from tests.chaos.field import Field
from tests.chaos.figures import Figures
from tests.chaos.oracle import Verdict
from tests.chaos.processes import STRIKING, Hand, killed
from tests.chaos.proof import Proof, landed
from tests.chaos.scene import PHASES, Scene
from tests.chaos.size import CALLS
from tests.chaos.watched_shop import WatchedShop
from tests.running_shop import CALLER, SHOP, TARGET, goes_on_hearing

_LOOKED_AFTER_WITHIN = 60.0
LIVE = [phase for phase in PHASES if phase.name in ("talk", "shop leaves", "caller leaves", "ringing")]
"""What calls are in that go on without any engine, or end."""
LIVE_CALLS = CALLS if CALLS >= 100 else 0
"""Besides the three that are looked at one by one; a few of them meet the same in test_engine_gone.py."""


async def ended_after(leg: Leg, since: float) -> float:
    """Seconds from then to the end of a leg, which comes."""
    await leg.ended(_LOOKED_AFTER_WITHIN)
    assert leg.ended_at is not None
    return leg.ended_at - since


async def gone_for_good(
    shop: WatchedShop, field: Field, figures: Figures, *, seed: int, calls: int, hand: Hand = STRIKING
) -> Verdict:
    """Who rings is rung for by the dialplan, who is left in a talk is hung up, who talks notices nothing."""
    looked_at = await Three.begun(shop) if hand.strikes else None
    async with Scene(field, seed, calls, LIVE) as scene:
        engine, since = shop.shop.home.parts()["engine"], time.monotonic()
        proofs = [await shop.kill_dari_up(hand), await killed(engine, hand)]
        landed(*proofs)
        assert looked_at is not None
        await looked_at.go_through_it(shop, figures, since)
        shop.shop.up = field.up = await shop.shop.home.up()
        await looked_at.are_written_down(shop)
        verdict = await oracle.at_rest(scene, proofs, figures, since)
    await shop.until_live(0)
    await shop.until_asterisk_is_empty()
    return verdict


@dataclass(frozen=True, slots=True)
class Three:
    """Calls that are looked at one by one: each is the caller and the shop's telephone."""

    talk: tuple[CallerLeg, TargetLeg]
    left: tuple[CallerLeg, TargetLeg]
    """The shop hangs up while there is no engine."""
    ringing: tuple[CallerLeg, TargetLeg]

    @classmethod
    async def begun(cls, shop: WatchedShop) -> Three:
        return cls(
            await shop.shop.connected_call("01031000001"),
            await shop.shop.connected_call("01031000002"),
            await shop.ringing_call("01031000003"),
        )

    async def go_through_it(self, shop: WatchedShop, figures: Figures, since: float) -> None:
        rings, rung = self.ringing
        await self.left[1].hang_up()
        figures.add("a leg that an engine left rang on for s", await ended_after(rung, since))
        figures.add("one left in a talk was alone for s", await ended_after(self.left[0], since))
        again = await shop.carrier.shop(TARGET, NeverAnswers()).next_call(_LOOKED_AFTER_WITHIN)
        figures.add("a caller without engine was alone for s", again.started_at - since)
        assert not rings.is_over
        assert "engine" not in shop.shop.home.parts(), "nobody started it"
        for leg, hears in zip(self.talk, (SHOP, CALLER), strict=True):
            assert not leg.is_over
            assert goes_on_hearing(leg, hears, since)

    async def are_written_down(self, shop: WatchedShop) -> None:
        rings, _ = self.ringing
        talks, talks_with = self.talk
        await rings.hang_up()
        await shop.shop.talk(talks, talks_with)
        record = await shop.record(talks)
        assert (record.result, record.ended_by) == (Result.ANSWERED, Side.CALLER)
        assert record.talk_seconds == pytest.approx(talks.talk_seconds, abs=1.0)
        await shop.record(self.left[0])
        assert (await shop.record(rings)).answered_at is None


async def dies_again_and_again(
    shop: WatchedShop, figures: Figures, *, seed: int, calls: int, hand: Hand = STRIKING
) -> None:
    ringing = [await shop.ringing_call("01031001001") for _ in range(calls)]
    await asyncio.sleep(calls * Random(seed).random())
    ended: set[int] = set()
    tasks = Tasks("killer")
    since = time.monotonic()
    tasks.start("engine", kill_each_life(shop, ended, hand))
    try:
        await hand.sees(lambda: len(ended) > 1)
        landed(Proof("lives of the engine, one after the other", float(max(0, len(ended) - 1)), "ended"))
        [(rings, rung)] = ringing
        await ended_after(rung, since)
        again = await shop.carrier.shop(TARGET, NeverAnswers()).next_call(_LOOKED_AFTER_WITHIN)
    finally:
        await tasks.close()
    figures.add("alone while engines die again and again s", again.started_at - since)
    assert not rings.is_over
    await shop.until_live(0)
    await rings.hang_up()
    assert (await shop.record(rings)).answered_at is None
    await shop.until_asterisk_is_empty()


async def kill_each_life(shop: WatchedShop, ended: set[int], hand: Hand) -> None:
    """No engine lives long enough to do anything; until cancelled."""
    while True:
        if (engine := shop.shop.home.parts().get("engine")) and (await killed(engine, hand)).measured:
            ended.add(engine.pid)
        await asyncio.sleep(0.01)
