"""The engine is killed while a telephone rings, and that answers before there is another engine: it is rung once."""

from __future__ import annotations

import asyncio
import time
from random import Random

from engine.cdr.model import Result, Side
from engine.foundation.process import Process
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Shop
from engine.sandbox.ear import read, sounds, tones
from engine.sandbox.phone import Answers, TargetLeg
from engine.settings import PRODUCT_FILES
from tests.chaos.figures import Figures
from tests.chaos.processes import STRIKING, Hand, away, back
from tests.chaos.proof import Proof, landed
from tests.chaos.watched_shop import WatchedShop
from tests.eventually import eventually
from tests.running_shop import CALLER, NUMBER, SHOP, TARGET, names_heard

_RINGS = 4.0
"""Seconds from the INVITE to the answer."""
_GONE_BEFORE = (0.8, 2.0)
"""For so many of these there is no engine any more."""
_ANSWERED_WITHIN = 30.0


async def answers_to_nobody(
    shop: WatchedShop, figures: Figures, *, seed: int, calls: int, hand: Hand = STRIKING
) -> None:
    """The telephone is told to wait, then the whisper, and is connected: one INVITE, one record."""
    home = shop.shop.home
    await shop.until_live(0)
    ringing = [await rings_for_a_while(shop) for _ in range(calls)]
    for _, _, target in ringing:
        await asyncio.sleep(target.started_at + _RINGS - Random(seed).uniform(*_GONE_BEFORE) - time.monotonic())
    supervisor = Process.of(shop.shop.up.process.pid)
    assert supervisor is not None, "`dari up` is not there"
    async with away(home, supervisor, "engine", hand) as absent:
        landed(*absent.proofs)
        [(phone, caller, target)] = ringing
        await target.answered(_ANSWERED_WITHIN)
        assert target.answered_at is not None
        landed(Proof("the telephone answered after the engine had gone", target.answered_at - absent.since, "s"))
    await back(home, "engine", absent.former)
    await eventually(lambda: bool(tones(caller.recording, [SHOP]) and tones(target.recording, [CALLER])))
    figures.add("a telephone that answered to nobody waited s", time.monotonic() - target.answered_at)
    await shop.shop.talk(caller, target)
    assert was_told_to_wait(target)
    assert names_heard(target)[-3:] == ["whisper", "recording-notice-target", "caller"]
    assert names_heard(caller)[-1] == "shop"
    assert phone.calls[-1] is target, "it was rung again"
    record = await shop.record(caller)
    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.CALLER)
    assert [leg.number for leg in record.legs if leg.side is Side.TARGET] == [TARGET]
    await shop.until_asterisk_is_empty()


async def rings_for_a_while(shop: WatchedShop) -> tuple[Shop, CallerLeg, TargetLeg]:
    """A call to a telephone that rings, and will answer."""
    phone = shop.carrier.shop(TARGET, Answers(after_seconds=_RINGS, tone=SHOP))
    caller = await shop.carrier.call(NUMBER, from_number="01031004001", tone=CALLER)
    target = await phone.next_call(_ANSWERED_WITHIN)
    await caller.provisional(183, _ANSWERED_WITHIN)
    return phone, caller, target


def was_told_to_wait(target: TargetLeg) -> bool:
    spoken = {"connecting": read(PRODUCT_FILES / "prompts" / "sounds" / "ko" / "connecting.wav")}
    return bool(sounds(target.recording, spoken))
