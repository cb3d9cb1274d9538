"""Workers killed at every point of their work, and a provider on its worst day: each message is accepted once.

The judges are the gateway's own journal and the provider's log; the database is only asked whether anything is left.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.cdr.model import CallRecord
from engine.foundation.tasks import Tasks
from engine.numbers.model import ServiceNumber
from tests.chaos.processes import STRIKING, Hand, vacuous
from tests.chaos.proof import FaultMissed, Proof, landed
from tests.chaos.provider import Provider, bad_days, each_message_once, provider
from tests.chaos.size import JOB_SEEDS, SEED, seeds
from tests.chaos.workers import (
    AT_ONCE,
    DEADLY,
    QUICK,
    Life,
    Nursery,
    Point,
    ended_call,
    ended_calls,
    queued_together,
    settled,
    work,
)
from tests.shop import open_shop

LONGEST_WORK = 0.15
"""Seconds of work after which a worker is killed that dies at any instant."""
_MANY = 12
"""Messages of one job: some are sent when others were answered."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A job of many things that workers are killed at."""

    bring: Callable[[AsyncEngine, ServiceNumber, Sequence[int]], Awaitable[list[CallRecord]]]
    """Calls of the callers with these numbers, and the one job."""
    things: int
    passings: Mapping[Point, int]
    """How often it surely passes a point; once where none is named."""


ENDED = _Kind(ended_calls, 3, {Point.BEFORE_COMMIT: 3, Point.AFTER_COMMIT: 3})
"""Calls that ended together: the decision, the claim, the outcome."""
QUEUED = _Kind(
    queued_together,
    _MANY,
    {
        Point.BEFORE_COMMIT: 2,
        Point.AFTER_COMMIT: 2,
        Point.BEFORE_SEND: _MANY // AT_ONCE,
        Point.WHILE_SENDING: _MANY // AT_ONCE,
        Point.AFTER_ACCEPT: _MANY // AT_ONCE,
    },
)
"""Messages to be sent at once: the claim, the outcomes; each message."""


async def test_workers_killed_anywhere_lose_and_double_nothing(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    await _killed(database, database_url, tmp_path, seeds(JOB_SEEDS), ENDED)


async def test_workers_that_nobody_kills_prove_nothing(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    await vacuous(lambda hand: _killed(database, database_url, tmp_path, [1] * len(DEADLY), ENDED, hand))


async def _killed(
    database: AsyncEngine, url: str, folder: Path, from_seeds: Sequence[int], kind: _Kind, hand: Hand = STRIKING
) -> None:
    """A worker for each seed, with a job of its own; each point in turn."""
    shop, nursery = await open_shop(database), Nursery()
    calls, deaths = [], Counter[Point]()
    async with provider(database, folder, bad_days(random.Random(SEED), share=0.0)) as gateway:
        for number, seed in enumerate(from_seeds):
            chance = random.Random(seed)
            point = DEADLY[number % len(DEADLY)]
            passing = chance.randint(1, kind.passings.get(point, 1))
            life = Life(url, gateway.url, gateway.receipts, QUICK, point, passing)
            calls += await kind.bring(database, shop, range(number * kind.things, (number + 1) * kind.things))
            deaths[point] += await nursery.live_and_die(life, chance.uniform(0.0, LONGEST_WORK), hand)
        print("workers killed:", {point.value: many for point, many in deaths.items()})
        landed(*(Proof(f"a worker killed {point.value}", deaths[point], "deaths") for point in DEADLY))
        await _worked_off(database, url, gateway, len(calls))
        await each_message_once(database, gateway, calls)
        print(f"submissions {gateway.submitted()}, look-ups {gateway.look_ups()}, messages {len(calls)}")


async def test_workers_killed_while_they_send_many_at_a_time_lose_and_double_nothing(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    await _killed(database, database_url, tmp_path, seeds(len(DEADLY)), QUEUED)


async def test_workers_that_send_many_at_a_time_and_live_prove_nothing(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    await vacuous(lambda hand: _killed(database, database_url, tmp_path, [1] * len(DEADLY), QUEUED, hand))


async def test_a_provider_on_its_worst_day_gets_each_message_once(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    [seed] = seeds(1)
    await _worst_day(database, database_url, tmp_path, seed=seed, calls=JOB_SEEDS, share=0.6)


async def test_a_provider_on_a_good_day_proves_nothing(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    with pytest.raises(FaultMissed):
        await _worst_day(database, database_url, tmp_path, seed=1, calls=2, share=0.0)


async def _worst_day(database: AsyncEngine, url: str, folder: Path, *, seed: int, calls: int, share: float) -> None:
    shop = await open_shop(database)
    async with provider(database, folder, bad_days(random.Random(seed), share=share), receipt_copies=3) as gateway:
        made = [await ended_call(database, shop, number) for number in range(calls // 2)]
        made += await ended_calls(database, shop, range(calls // 2, calls))
        await _worked_off(database, url, gateway, len(made))
        landed(gateway.proof)
        print(f"{gateway.proof}: { ({day.value: many for day, many in gateway.happened.items()}) }")
        await each_message_once(database, gateway, made)


async def _worked_off(database: AsyncEngine, url: str, gateway: Provider, calls: int) -> None:
    """A worker that nobody kills does what is left."""
    tasks = Tasks("test")
    tasks.start("worker", work(Life(url, gateway.url, gateway.receipts, QUICK)))
    try:
        await settled(database, calls)
    finally:
        await tasks.close()
