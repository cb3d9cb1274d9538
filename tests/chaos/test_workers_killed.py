"""Workers killed at every point of their work, and a provider on its worst day: each message is accepted once.

The judges are the gateway's own journal and the provider's log; the database is only asked whether anything is left.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.tasks import Tasks
from tests.chaos.proof import Proof, landed
from tests.chaos.provider import Provider, bad_days, each_message_once, provider
from tests.chaos.size import JOB_SEEDS, SEED, seeds
from tests.chaos.workers import DEADLY, QUICK, Life, Nursery, Point, ended_call, settled, work
from tests.shop import open_shop

LONGEST_WORK = 0.15
"""Seconds of work after which a worker is killed that dies at any instant."""
_PASSINGS = {Point.BEFORE_COMMIT: 3, Point.AFTER_COMMIT: 3}
"""How often a call and its message surely pass a point: the decision, the claim, the outcome."""


async def test_workers_killed_anywhere_lose_and_double_nothing(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    shop, nursery = await open_shop(database), Nursery()
    calls, deaths = [], Counter[Point]()
    async with provider(database, tmp_path, bad_days(random.Random(SEED), share=0.0)) as gateway:
        for number, seed in enumerate(seeds(JOB_SEEDS)):
            chance = random.Random(seed)
            point = DEADLY[number % len(DEADLY)]
            life = Life(
                database_url, gateway.url, gateway.receipts, QUICK, point, chance.randint(1, _PASSINGS.get(point, 1))
            )
            calls.append(await ended_call(database, shop, number))
            deaths[point] += await nursery.live_and_die(life, chance.uniform(0.0, LONGEST_WORK))
        print("workers killed:", {point.value: many for point, many in deaths.items()})
        landed(*(Proof(f"a worker killed {point.value}", deaths[point], "deaths") for point in DEADLY))
        await _worked_off(database, database_url, gateway, len(calls))
        await each_message_once(database, gateway, calls)
        print(f"submissions {gateway.submitted()}, look-ups {gateway.look_ups()}, messages {len(calls)}")


async def test_a_provider_on_its_worst_day_getseach_message_once(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    shop = await open_shop(database)
    [seed] = seeds(1)
    async with provider(database, tmp_path, bad_days(random.Random(seed), share=0.6), receipt_copies=3) as gateway:
        calls = [await ended_call(database, shop, number) for number in range(JOB_SEEDS)]
        await _worked_off(database, database_url, gateway, len(calls))
        landed(gateway.proof)
        print(f"{gateway.proof}: { ({day.value: many for day, many in gateway.happened.items()}) }")
        await each_message_once(database, gateway, calls)


async def _worked_off(database: AsyncEngine, url: str, gateway: Provider, calls: int) -> None:
    """A worker that nobody kills does what is left."""
    tasks = Tasks("test")
    tasks.start("worker", work(Life(url, gateway.url, gateway.receipts, QUICK)))
    try:
        await settled(database, calls)
    finally:
        await tasks.close()
