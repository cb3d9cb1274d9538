"""PostgreSQL frozen, stopped at once, a backend of it killed, under calls at a rate: calls never notice.

On the whole system with a database of the test's own. The judges are the telephones; the records are counted in the
database once it is back.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from statistics import median
from typing import NamedTuple

import aiohttp
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.database import open_database, transaction
from engine.foundation.errors import Conflict, DariError, GaveUp
from engine.foundation.tasks import Tasks
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.phone import Answers
from tests.chaos.database import frozen, kill_backend, stop_at_once
from tests.chaos.processes import SPARING, STRIKING, Hand, vacuous
from tests.chaos.proof import FaultMissed, Proof, landed
from tests.chaos.size import INSTANTS, SECONDS, seeds
from tests.eventually import PATIENCE, eventually
from tests.own_server import OwnServer
from tests.real_asterisk import loopback
from tests.running_shop import PLAIN, PLAIN_TARGET, RunningShop
from tests.whole_system import whole_system

DARI, CARRIER = (loopback(67, host) for host in (11, 12))
RATE = float(os.environ.get("DARI_TEST_FAULT_RATE", "4"))
"""Calls a second."""
ASKING, ASKING_TARGETS = "050733334444", ("0315550000", "0315550001")
"""A number whose every call asks for the caller's past: whom it talked to last is rung first."""
OTHER_TARGET = "0319999999"
HOLD = 0.3
"""Seconds for which a call is held."""
USUAL = 8
"""Calls that are measured before a fault."""


@dataclass
class Traffic:
    """Calls at a rate, every other one to ASKING, and what became of them."""

    shop: RunningShop
    placed: list[CallerLeg] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    """By SIP Call-ID: why, and how many seconds after the first call it was placed."""

    async def keep_calling(self) -> None:
        """Until cancelled; what has begun then still comes to its end."""
        calls, begin = Tasks("callers"), time.monotonic()
        try:
            for number in count():
                await asyncio.sleep(begin + number / RATE - time.monotonic())
                calls.start("call", self._call(PLAIN if number % 2 else ASKING))
        finally:
            await eventually(lambda: len(calls) == 0)

    async def _call(self, number: str) -> None:
        caller = await self.shop.carrier.call(number, f"0104{len(self.shop.carrier.callers):07}", tone=None)
        self.placed.append(caller)
        try:
            await caller.answered(PATIENCE)
            caller.party.speaking = False
            await asyncio.sleep(HOLD)
            await caller.hang_up()
        except Conflict:
            self._refuse(str(caller.final_code), caller)
        except GaveUp:
            self._refuse("no answer", caller)
            caller.abandon()

    def _refuse(self, why: str, caller: CallerLeg) -> None:
        self.refused[caller.call_id] = f"{why} at {caller.started_at - self.placed[0].started_at:.1f} s"

    def since(self, instant: float) -> list[CallerLeg]:
        """Calls placed since then that were answered."""
        return [caller for caller in self.placed if caller.started_at >= instant and caller.answered_at is not None]


class Away(NamedTuple):
    """Server, system, an own way into the database, and the calls of the whole test."""

    server: OwnServer
    shop: RunningShop
    database: AsyncEngine
    callers: list[CallerLeg]


@pytest.fixture(scope="module")
async def away() -> AsyncIterator[Away]:
    async with (
        OwnServer.running() as server,
        whole_system(DARI, DARI_DATABASE_URL=server.url, DARI_STOP_SECONDS="3") as home,
        Carrier(CARRIER, 5070, (DARI, 5060)) as carrier,
    ):
        shop = RunningShop(home, await home.up(), carrier)
        targets = [part for target in ASKING_TARGETS for part in ("--targets", target)]
        last = ("--order", "last-talked-first", "--account", "asking")
        await asyncio.gather(
            shop.dari("trunk", "add", "carrier", "--match", CARRIER, "--contact", f"sip:{CARRIER}:5070"),
            shop.dari("number", "add", PLAIN, "--target", PLAIN_TARGET, "--account", "plain"),
            shop.dari("number", "add", ASKING, "--target", ASKING_TARGETS[0], *targets, *last),
        )
        for target in (PLAIN_TARGET, OTHER_TARGET, *ASKING_TARGETS):
            carrier.shop(target, Answers(after_seconds=0.1, tone=None))
        await eventually(carrier.is_known)
        for number in (PLAIN, ASKING):
            await eventually(partial(_is_taken, shop, number))
        database = open_database(server.url, command_timeout=10.0)
        yield Away(server, shop, database, [])
        await database.dispose()


async def _is_taken(shop: RunningShop, number: str) -> bool:
    """Whether a call to `number` is answered now; one that is not counts for nothing."""
    caller = await shop.carrier.call(number, f"0103{len(shop.carrier.callers):07}", tone=None)
    try:
        await caller.answered(PATIENCE)
        await caller.hang_up()
    except DariError:
        caller.abandon()
        return False
    return True


@asynccontextmanager
async def traffic_at(away: Away, seed: int) -> AsyncIterator[Traffic]:
    """Calls at RATE while the block runs, some of them before it begins, at a random instant. None may be refused."""
    traffic, tasks = Traffic(away.shop), Tasks("test")
    calling = tasks.start("traffic", traffic.keep_calling())
    try:
        await eventually(lambda: len(traffic.since(0.0)) >= USUAL)
        await asyncio.sleep(random.Random(seed).uniform(0.0, HOLD + 1.0 / RATE))
        yield traffic
    finally:
        calling.cancel()
        await tasks.close()
        away.callers.extend(traffic.placed)
    assert not traffic.refused, await _who_refused(away, traffic.refused)
    assert len(traffic.since(0.0)) == len(traffic.placed)
    for leg in (*traffic.placed, *away.shop.carrier.targets):
        leg.party.arrivals.clear()  # what was heard is much, and nobody asks any more


async def _who_refused(away: Away, refused: dict[str, str]) -> str:
    """Of each call who ended it and as what, by its record. One without a record Asterisk itself turned away."""
    query = text("SELECT sip_call_id, result, node FROM calls WHERE sip_call_id = ANY(:refused)")
    async with transaction(away.database) as connection:
        rows = await connection.execute(query, {"refused": list(refused)})
        known = {call_id: f"{result} by {node}" for call_id, result, node in rows}
    return "; ".join(f"{why}: {known.get(call_id, 'no record')}" for call_id, why in refused.items())


async def test_calls_go_on_while_the_database_is_frozen(away: Away) -> None:
    await vacuous(lambda hand: _frozen_under_calls(away, 1, hand))
    for seed in seeds(INSTANTS):
        await _frozen_under_calls(away, seed)


async def _frozen_under_calls(away: Away, seed: int, hand: Hand = STRIKING) -> None:
    async with _calls_for(away, seed, hand) as traffic:
        async with frozen(away.server, hand) as fault:
            began = time.monotonic()
            landed(fault.stands)
            # Those that ask for the caller's past too: who waited for a frozen database would not be answered here.
            await _answered(traffic, began, int(SECONDS * RATE))
            ended = time.monotonic()
        thawed = time.monotonic()
        landed(fault.proof)
        await _drained(away, traffic, thawed)
    _print_delays(fault.proof, traffic, began, ended)


@asynccontextmanager
async def _calls_for(away: Away, seed: int, hand: Hand) -> AsyncIterator[Traffic]:
    """As `traffic_at`; a fault that does not come is tried without any calls."""
    if not hand.strikes:
        yield Traffic(away.shop)
        return
    async with traffic_at(away, seed) as traffic:
        yield traffic


async def test_a_frozen_database_is_told_and_an_engine_ends_and_starts_without_it(away: Away) -> None:
    await vacuous(partial(_freeze_is_told, away))
    await _freeze_is_told(away)


async def _freeze_is_told(away: Away, hand: Hand = STRIKING) -> None:
    shop = away.shop
    async with frozen(away.server, hand) as fault:
        landed(fault.stands)
        await asyncio.gather(_commands_say_so(shop), _an_engine_ends_and_starts(shop))
        if INSTANTS > 1:
            await _the_whole_system_starts_anew(shop)
    landed(fault.proof)


async def _commands_say_so(shop: RunningShop) -> None:
    """Each ends, with the one sentence that is needed."""
    commands = [("calls",), ("number", "set", PLAIN, "--record")]
    for code, said, errors in await asyncio.gather(*(shop.home.run(*command) for command in commands)):
        assert (code, said, len(errors.splitlines())) == (1, "", 1), (said, errors)
        assert "database" in errors


async def _an_engine_ends_and_starts(shop: RunningShop) -> None:
    engine = shop.home.parts()["engine"]

    async def is_told() -> bool:
        return await _readiness(shop) == (200, False)

    await eventually(is_told)
    engine.send(signal.SIGTERM)
    await eventually(lambda: not engine.lives)
    await eventually(lambda: shop.home.parts().get("engine") not in (None, engine))
    began = time.monotonic()
    await eventually(lambda: _takes_calls(shop))
    print(f"an engine takes calls {time.monotonic() - began:.1f} s after its start with a frozen database")
    assert await _is_taken(shop, PLAIN)
    assert await _is_taken(shop, ASKING)


async def _the_whole_system_starts_anew(shop: RunningShop) -> None:
    """All parts end in order and start again, though nobody answers them from the database."""
    assert await shop.up.stop() == 0
    assert "cut off" not in shop.up.said, shop.up.said
    began = time.monotonic()
    shop.up = await shop.home.up()
    print(f"the whole system is up with a frozen database after {time.monotonic() - began:.1f} s")
    assert await _is_taken(shop, PLAIN)
    assert await _is_taken(shop, ASKING)


async def test_calls_go_on_while_the_database_is_stopped_at_once_or_loses_a_backend(away: Away) -> None:
    await vacuous(lambda hand: _stopped_under_calls(away, 1, hand))
    for seed in seeds(INSTANTS):
        await _stopped_under_calls(away, seed)
    # Everybody who listens for changes has lost the connection: the change comes through all the same.
    await away.shop.dari("number", "set", PLAIN, "--target", OTHER_TARGET)
    shop = away.shop.carrier.shop(OTHER_TARGET, Answers(tone=None))

    async def rings_the_new_one() -> bool:
        return await _is_taken(away.shop, PLAIN) and bool(shop.calls)

    await eventually(rings_the_new_one)


async def _stopped_under_calls(away: Away, seed: int, hand: Hand = STRIKING) -> None:
    async with _calls_for(away, seed, hand) as traffic:
        began = time.monotonic()
        proof = await stop_at_once(away.server, hand)
        landed(proof)
        await _answered(traffic, began, int(SECONDS * RATE))
        ended = time.monotonic()
        await away.server.start()
        await _drained(away, traffic, ended)
        landed(await kill_backend(away.server))
        await _drained(away, traffic, time.monotonic())
    _print_delays(proof, traffic, began, ended)


async def test_a_backend_that_lives_proves_nothing(away: Away) -> None:
    with pytest.raises(FaultMissed):
        landed(await kill_backend(away.server, SPARING))


async def test_all_calls_are_written_down_once(away: Away) -> None:
    placed = Counter(caller.call_id for caller in away.callers)

    async def jobs_are_done() -> bool:
        async with transaction(away.database) as connection:
            return not await connection.scalar(text("SELECT count(*) FROM pgqueuer"))

    await eventually(jobs_are_done)
    async with transaction(away.database) as connection:
        rows = await connection.execute(text("SELECT sip_call_id, call_id FROM calls"))
        records = [(sip, call) for sip, call in rows if sip in placed]
        events = await connection.execute(text("SELECT call_id FROM events WHERE kind = 'call.ended'"))
        told = Counter(events.scalars())
    assert Counter(sip for sip, _ in records) == placed
    assert all(told[call] == 1 for _, call in records)
    print(f"calls {len(placed)}, refused 0, lost 0, doubled 0")


async def _answered(traffic: Traffic, since: float, wanted: int) -> None:
    """Waits until so many calls placed since then were answered."""
    async with asyncio.timeout(wanted / RATE + PATIENCE):
        while len(traffic.since(since)) < wanted:
            await asyncio.sleep(0.05)


async def _drained(away: Away, traffic: Traffic, since: float) -> None:
    """Waits until every call that is over by now has its record, and says how long after `since` that was."""
    over = [caller.call_id for caller in traffic.placed if caller.is_over]
    there = text("SELECT count(*) FROM calls WHERE sip_call_id = ANY(:over)")

    async def all_there() -> bool:
        try:
            async with transaction(away.database) as connection:
                return bool(await connection.scalar(there, {"over": over}) == len(over))
        except DariError:
            return False

    await eventually(all_there)
    print(f"drained {time.monotonic() - since:.1f} s after its return")


async def _readiness(shop: RunningShop) -> tuple[int, bool]:
    """What /ready answers: the status, and whether it is content with the database. (0, False) without an answer."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://{shop.home.ip}:8050/ready") as answer:
            told = await answer.json()
            return answer.status, not any("database" in reason for reason in told["reasons"])
    except aiohttp.ClientError:
        return 0, False


async def _takes_calls(shop: RunningShop) -> bool:
    return (await _readiness(shop))[0] == 200


def _print_delays(fault: Proof, traffic: Traffic, began: float, ended: float) -> None:
    def delays(callers: list[CallerLeg]) -> list[float]:
        return sorted(caller.post_dial_delay for caller in callers if caller.post_dial_delay is not None)

    before = delays([caller for caller in traffic.placed if caller.started_at < began])
    during = delays([caller for caller in traffic.placed if began <= caller.started_at < ended])
    print(
        f"{fault}, {len(during)} calls: post-dial delay median {median(during):.3f} s, longest {during[-1]:.3f} s;"
        f" before {median(before):.3f} s, {before[-1]:.3f} s; ratio of medians {median(during) / median(before):.2f}"
    )
