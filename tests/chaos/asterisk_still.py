"""Asterisk stands still, or dies while it does or with others: calls outlive it or are closed, and calls go again."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from random import Random

from engine.cdr.model import CallRecord, Result, Side
from engine.sandbox.caller import CallerLeg
from tests.chaos import oracle
from tests.chaos.field import Field
from tests.chaos.figures import Figures
from tests.chaos.oracle import Verdict
from tests.chaos.processes import STRIKING, Hand, back, froze, killed, thawed
from tests.chaos.proof import landed
from tests.chaos.scene import PHASES, Scene
from tests.chaos.size import SECONDS
from tests.chaos.watched_shop import WatchedShop
from tests.eventually import eventually
from tests.running_shop import NUMBER, TARGET, names_heard

END_ERROR = timedelta(seconds=5)
UNHURT = [phase for phase in PHASES if phase.name in ("talk", "closed", "waiting for its message")]
"""What a stand-still does not end: SIP gives up what is not answered in 32 seconds."""
LATE_SOUND = 1.0
"""Seconds in which the sound gets going again."""
TALKS_ON = 2.0
"""Seconds of talk after a stand-still that must be heard."""


async def closed_at(
    shop: WatchedShop, callers: list[CallerLeg], instant: datetime, figures: Figures
) -> list[CallRecord]:
    """The records: each call has one, and it ends when Asterisk did."""
    records = [await shop.record(caller) for caller in callers]
    for caller, record in zip(callers, records, strict=True):
        error = abs(record.ended_at - instant)
        figures.add("error of a call's end s", error.total_seconds())
        assert error <= END_ERROR
        assert record.ended_by is Side.DARI
        assert (record.answered_at is not None) == (caller.answered_at is not None)
        assert record.result in (Result.ANSWERED, Result.LOST)
        if record.answered_at is not None:
            assert abs(timedelta(seconds=record.talk_seconds) - (instant - record.answered_at)) <= END_ERROR
    return records


async def works_as_before(shop: WatchedShop, from_number: str) -> None:
    """A call goes through with all that belongs to it, and nothing of former ones is left."""
    await shop.until_live(0)
    caller, target = await shop.shop.connected_call(from_number, NUMBER, TARGET)
    await shop.shop.talk(caller, target)
    assert names_heard(caller)[-2:] == ["ringback", "shop"]
    assert names_heard(target) == ["whisper", "recording-notice-target", "caller"]
    record = await shop.record(caller)
    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.CALLER)
    await until_kept(shop, record)
    await shop.until_asterisk_is_empty()


async def until_kept(shop: WatchedShop, record: CallRecord) -> None:
    """Until what was recorded of a call is kept."""
    assert record.recording
    kept = shop.settings.paths.recordings / f"{record.recording}.enc"
    await eventually(kept.exists)


async def three_are_gone(shop: WatchedShop, figures: Figures, *, seed: int, hand: Hand = STRIKING) -> None:
    """In any order, and each is back as soon as it can be, whatever the others do."""
    parts, gone = shop.shop.home.parts(), ["postgres", "asterisk", "engine"]
    Random(seed).shuffle(gone)
    since = time.monotonic()
    proofs = [await killed(parts[name], hand) for name in gone]
    landed(*proofs)
    landed(*[await back(shop.shop.home, name, parts[name]) for name in ("engine", "asterisk", "postgres")])
    await works_as_before(shop, "01031102004")
    figures.add("all there again s", time.monotonic() - since)


async def stands_still(
    shop: WatchedShop, field: Field, figures: Figures, *, seed: int, calls: int, hand: Hand = STRIKING
) -> Verdict:
    """Engine and watchdog do nothing about it: it is no engine's fault."""
    ringing = [await shop.ringing_call("01031103002")] if hand.strikes else []
    async with Scene(field, seed, calls, UNHURT) as scene:
        parts = shop.shop.home.parts()
        frozen = await froze(parts["asterisk"], hand)
        landed(frozen.proof)
        # Longer than the watchdog waits for an engine, and than the event socket waits for Asterisk.
        await asyncio.sleep(max(SECONDS, shop.settings.watchdog_seconds * 2))
        proofs = [frozen.proof, thawed(frozen)]
        field.excuse((frozen.since, time.monotonic() + LATE_SOUND))
        since = time.monotonic()
        await eventually(lambda: _are_known(field, scene))
        assert shop.shop.home.parts() == parts
        figures.add("calls known again after a stand-still s", time.monotonic() - since)
        for rings, _ in ringing:
            await rings.hang_up()
            assert (await shop.record(rings)).answered_at is None
        await asyncio.sleep(TALKS_ON)
        verdict = await oracle.at_rest(scene, proofs, figures, frozen.since)
    assert "cut off" not in shop.log_of("watchdog")
    return verdict


async def _are_known(field: Field, scene: Scene) -> bool:
    """The engine knows the calls that go on."""
    talking = {call.caller for call in scene.placed if call.talk() and not call.is_over}
    return talking <= {str(call.caller) for call in await field.live()}


async def killed_while_it_stands(
    shop: WatchedShop, figures: Figures, *, seed: int, calls: int, hand: Hand = STRIKING
) -> None:
    """A moment later, at a random instant."""
    callers = [(await shop.shop.connected_call("01031110001"))[0] for _ in range(calls)]
    parts = shop.shop.home.parts()
    frozen = await froze(parts["asterisk"], hand)
    landed(frozen.proof)
    await asyncio.sleep(Random(seed).uniform(0.5, 1.5))
    instant = datetime.now(UTC)
    landed(await killed(parts["asterisk"], hand), await back(shop.shop.home, "asterisk", parts["asterisk"]))
    shop.forget_calls()
    await closed_at(shop, callers, instant, figures)
    await shop.until_live(0)
    assert shop.shop.home.parts()["engine"] == parts["engine"], "an engine does not die of Asterisk's death"
