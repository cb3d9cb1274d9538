"""Asterisk is killed, or stands still, under live calls: each call is closed at the right time, and calls go again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from engine.cdr.model import CallRecord, Result, Side
from engine.sandbox.caller import CallerLeg
from tests.chaos.figures import Figures
from tests.chaos.processes import back, froze, killed, thawed
from tests.chaos.proof import landed
from tests.chaos.size import INSTANTS, SECONDS
from tests.chaos.watched_shop import WatchedShop, watched_shop
from tests.eventually import eventually
from tests.real_asterisk import loopback
from tests.running_shop import CALLER, NUMBER, SHOP, TARGET, goes_on_hearing, names_heard

DARI, CARRIER = (loopback(32, host) for host in (1, 2))
END_ERROR = timedelta(seconds=5)


@pytest.fixture(scope="module")
async def shop() -> AsyncIterator[WatchedShop]:
    async with watched_shop(DARI, CARRIER) as running:
        yield running


async def calls_in_every_phase(shop: WatchedShop, series: str) -> list[CallerLeg]:
    """One that talks, one that talks and is recorded, one that rings."""
    talks, _ = await shop.shop.connected_call(f"010{series}1")
    recorded, _ = await shop.shop.connected_call(f"010{series}2", NUMBER, TARGET)
    rings, _ = await shop.ringing_call(f"010{series}3")
    await shop.until_live(3)
    monitor = shop.settings.paths.asterisk_spool / "monitor"
    # Asterisk writes a second of sound at once: what was said since then dies with it.
    await eventually(lambda: any(file.stat().st_size for file in monitor.glob("*.raw")))
    return [talks, recorded, rings]


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


async def test_calls_end_with_the_asterisk_that_was_killed(shop: WatchedShop, figures: Figures) -> None:
    callers = await calls_in_every_phase(shop, "3110000")
    parts = shop.shop.home.parts()
    instant, since = datetime.now(UTC), time.monotonic()
    landed(await killed(parts["asterisk"]), await back(shop.shop.home, "asterisk", parts["asterisk"]))
    shop.forget_calls()
    await shop.until_live(0)
    figures.add("calls go again s", time.monotonic() - since)
    records = await closed_at(shop, callers, instant, figures)
    await until_kept(shop, records[1])
    await works_as_before(shop, "01031100004")
    assert shop.shop.home.parts()["engine"] == parts["engine"], "an engine does not die of Asterisk's death"


async def test_calls_end_with_engine_and_asterisk_that_were_killed_together(
    shop: WatchedShop, figures: Figures
) -> None:
    callers = await calls_in_every_phase(shop, "3110100")
    parts = shop.shop.home.parts()
    instant, since = datetime.now(UTC), time.monotonic()
    proofs = await asyncio.gather(killed(parts["engine"]), killed(parts["asterisk"]))
    landed(*proofs, await back(shop.shop.home, "asterisk", parts["asterisk"]))
    shop.forget_calls()
    await shop.until_live(0)
    figures.add("calls go again after both s", time.monotonic() - since)
    await closed_at(shop, callers, instant, figures)
    await works_as_before(shop, "01031101004")


async def test_an_engine_that_is_there_before_asterisk_and_an_asterisk_before_the_database(
    shop: WatchedShop, figures: Figures
) -> None:
    """All three are gone, and each is back as soon as it can be, whatever the others do."""
    parts = shop.shop.home.parts()
    since = time.monotonic()
    proofs = [await killed(parts[name]) for name in ("postgres", "asterisk", "engine")]
    landed(*proofs, *[await back(shop.shop.home, name, parts[name]) for name in ("engine", "asterisk", "postgres")])
    await works_as_before(shop, "01031102004")
    figures.add("all there again s", time.monotonic() - since)


async def test_calls_outlive_an_asterisk_that_stands_still(shop: WatchedShop, figures: Figures) -> None:
    """Engine and watchdog do nothing about it: it is no engine's fault."""
    parts = shop.shop.home.parts()
    caller, target = await shop.shop.connected_call("01031103001")
    rings, _ = await shop.ringing_call("01031103002")
    frozen = await froze(parts["asterisk"])
    # Longer than the watchdog waits for an engine, and than the event socket waits for Asterisk.
    await asyncio.sleep(max(SECONDS, shop.settings.watchdog_seconds * 2))
    landed(frozen.proof, thawed(frozen))
    since = time.monotonic()
    await shop.until_live(2)
    assert shop.shop.home.parts() == parts
    figures.add("calls known again after a stand-still s", time.monotonic() - since)
    await rings.hang_up()
    await shop.until_live(1)
    since = time.monotonic()
    await shop.shop.talk(caller, target)
    assert goes_on_hearing(caller, SHOP, since)
    assert goes_on_hearing(target, CALLER, since)
    record = await shop.record(caller)
    assert (record.result, record.ended_by) == (Result.ANSWERED, Side.CALLER)
    assert record.talk_seconds == pytest.approx(caller.talk_seconds, abs=1.0)
    assert (await shop.record(rings)).answered_at is None
    await works_as_before(shop, "01031103004")
    assert "cut off" not in shop.log_of("watchdog")


@pytest.mark.parametrize("instant_number", range(INSTANTS))
async def test_an_asterisk_is_killed_while_it_stands_still(
    shop: WatchedShop, figures: Figures, instant_number: int
) -> None:
    caller, _ = await shop.shop.connected_call(f"0103111{instant_number:04}")
    asterisk = shop.shop.home.parts()["asterisk"]
    frozen = await froze(asterisk)
    await asyncio.sleep(1.0)
    instant = datetime.now(UTC)
    landed(frozen.proof, await killed(asterisk), await back(shop.shop.home, "asterisk", asterisk))
    shop.forget_calls()
    await closed_at(shop, [caller], instant, figures)
    await shop.until_live(0)
