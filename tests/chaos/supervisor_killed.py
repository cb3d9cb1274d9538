"""`dari up` is killed under live calls, and told to stop: calls go on, parts are taken over, nothing is cut short."""

from __future__ import annotations

import asyncio
import signal
import time
from random import Random

import pytest

from engine.cdr.model import Result, Side
from engine.foundation.process import Process
from engine.sandbox.caller import CallerLeg
from engine.sandbox.phone import TargetLeg
from tests.chaos import oracle
from tests.chaos.field import Field
from tests.chaos.figures import Figures
from tests.chaos.oracle import Verdict
from tests.chaos.processes import STRIKING, Hand, killed
from tests.chaos.proof import Proof, landed
from tests.chaos.scene import PLAIN, Scene
from tests.chaos.watched_shop import WatchedShop
from tests.eventually import eventually
from tests.running_shop import CALLER, NUMBER, SHOP, goes_on_hearing

STOP_SECONDS = 30.0
"""Long: what is waited for ends by itself before."""


async def check_nothing_was_noticed(shop: WatchedShop, caller: CallerLeg, target: TargetLeg, since: float) -> None:
    """Both heard each other the whole time, and the record says so."""
    await shop.shop.talk(caller, target)
    assert goes_on_hearing(caller, SHOP, since)
    assert goes_on_hearing(target, CALLER, since)
    record = await shop.record(caller)
    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.CALLER)
    assert record.talk_seconds == pytest.approx(caller.talk_seconds, abs=1.0)


async def killed_under_calls(
    shop: WatchedShop, field: Field, figures: Figures, *, seed: int, calls: int, hand: Hand = STRIKING
) -> Verdict:
    """Twice: what was taken over is taken over again."""
    proofs = []
    async with Scene(field, seed, calls) as scene:
        parts, fault_at = shop.shop.home.parts(), time.monotonic()
        for _ in range(2):
            proofs.append(await shop.kill_dari_up(hand))
            landed(*proofs)
            came = scene.expect([PLAIN], 4.0, 0.5)
            await eventually(lambda came=came: all(call.talk() for call in came))
            shop.shop.up = field.up = await shop.shop.home.up()
            assert shop.shop.home.parts() == parts
            assert shop.shop.up.said.count("runs already, taken over") == len(parts)
        return await oracle.at_rest(scene, proofs, figures, fault_at)


async def died_in_between(shop: WatchedShop, figures: Figures, *, seed: int, calls: int, hand: Hand = STRIKING) -> None:
    """Another part, the engine or with every other seed the database, dies a moment later."""
    part = "engine" if seed % 2 else "postgres"
    talks = [await shop.shop.connected_call("01033110101") for _ in range(calls)]
    parts, since = shop.shop.home.parts(), time.monotonic()
    proof = await shop.kill_dari_up(hand)
    await asyncio.sleep(calls * Random(seed).random())
    landed(proof, await killed(parts[part], hand))
    shop.shop.up = await shop.shop.home.up()
    after = shop.shop.home.parts()
    assert {name for name, process in after.items() if parts[name] != process} == {part}
    figures.add(f"up again with {part} s", time.monotonic() - since)
    await shop.until_live(calls)
    for caller, target in talks:
        await check_nothing_was_noticed(shop, caller, target, since)


async def ends_after_its_calls(shop: WatchedShop) -> None:
    """All parts go on while there are calls; no new ones are taken; nothing is cut off."""
    caller, target = await shop.shop.connected_call("01033110201")
    second, seconds_target = await shop.shop.connected_call("01033110202")
    parts, since = shop.shop.home.parts(), time.monotonic()
    await told_to_stop(shop)
    assert "engine: live calls 2, waiting up to" in shop.shop.up.said
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


async def told_to_stop(shop: WatchedShop, hand: Hand = STRIKING) -> None:
    """Returns once it says that it waits."""
    supervisor = Process.of(shop.shop.up.process.pid)
    assert supervisor is not None
    hand.send(supervisor, signal.SIGTERM)
    waits = await hand.sees(lambda: "waiting up to" in shop.shop.up.said)
    landed(Proof("dari up was told to stop, and waits", float(waits), "time"))
