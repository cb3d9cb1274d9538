"""A COMMIT whose answer never comes, again and again: what it wrote is there once, whatever the server made of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.cdr.drain import CALL_ENDED, KEEP_RECORDING, Drain
from engine.cdr.model import CallRecord
from engine.cdr.spool import Spool
from engine.foundation.clock import SystemClock
from engine.foundation.database import open_database, transaction
from engine.foundation.tasks import Tasks
from tests.call_records import record
from tests.chaos.database import Doubt, DoubtfulWire
from tests.chaos.proof import FaultMissed, Proof, landed
from tests.chaos.provider import bad_days, each_message_once, provider
from tests.chaos.size import INSTANTS, seeds
from tests.chaos.workers import QUICK, Life, ended_calls, settled, work
from tests.eventually import eventually
from tests.shop import open_shop

DOUBTS = min(10 * INSTANTS, 200)
"""How many commits are left in doubt: 200 in the full size."""
ROUNDS = DOUBTS * 20
"""After so many tries the doubts that are missing do not come any more."""


def _doubting(chance: random.Random) -> Callable[[], Doubt | None]:
    """Each doubt once in six commits, in no order."""
    deck: list[Doubt | None] = []

    def draw() -> Doubt | None:
        if not deck:
            deck.extend([*Doubt, None, None, None])
            chance.shuffle(deck)
        return deck.pop()

    return draw


async def _written(database: AsyncEngine) -> tuple[list[UUID], list[UUID], Counter[tuple[str, str]]]:
    """The call ids of the records and of the events, sorted, and how often which job is to be done."""
    async with transaction(database) as connection:
        records = (await connection.execute(text("SELECT call_id FROM calls ORDER BY 1"))).scalars().all()
        events = (
            (await connection.execute(text("SELECT call_id FROM events WHERE kind = 'call.ended' ORDER BY 1")))
            .scalars()
            .all()
        )
        jobs = await connection.execute(text("SELECT entrypoint, convert_from(payload, 'UTF8') FROM pgqueuer"))
        each = Counter((job, call) for job, calls in jobs for call in calls.splitlines())
        return list(records), list(events), each


async def _drained(wire: DoubtfulWire, folder: Path, chance: random.Random) -> list[CallRecord]:
    """Calls that end one after another until enough commits were in doubt; all of them drained over the wire."""
    made: list[CallRecord] = []
    spool = Spool.open(folder / "spool", "n1", SystemClock())
    through = open_database(wire.url, command_timeout=10.0)
    tasks = Tasks("test")
    tasks.start("drain", Drain(spool, through, folder / "refused.jsonl").run())
    try:
        while wire.happened.total() < DOUBTS and len(made) < ROUNDS:
            for _ in range(chance.randint(1, 3)):
                made.append(record())
                spool.closed(made[-1])
            await eventually(lambda: spool.waiting == 0)
    finally:
        await tasks.close()
        await through.dispose()
        await spool.close()
    assert not (folder / "refused.jsonl").exists()
    return made


async def test_records_events_and_jobs_are_there_once(database: AsyncEngine, database_url: str, tmp_path: Path) -> None:
    chance = random.Random(*seeds(1))
    async with DoubtfulWire.to(database_url, _doubting(chance)) as wire:
        made = await _drained(wire, tmp_path, chance)
        landed(wire.proof, *(Proof(doubt.value, wire.happened[doubt], "commits") for doubt in Doubt))
        print(f"{wire.proof} ({dict(wire.happened)}), {len(made)} records")
    ids = sorted(call.call_id for call in made)
    records, events, jobs = await _written(database)
    assert records == ids
    assert events == ids
    assert jobs == Counter((job, str(call)) for job in (CALL_ENDED, KEEP_RECORDING) for call in ids)


async def test_decisions_and_messages_are_made_once(database: AsyncEngine, database_url: str, tmp_path: Path) -> None:
    chance = random.Random(*seeds(1))
    shop = await open_shop(database)
    numbers = range(max(DOUBTS // 3, 5))
    made = [call for number in numbers[::2] for call in await ended_calls(database, shop, numbers[number : number + 2])]
    async with (
        DoubtfulWire.to(database_url, _doubting(chance)) as wire,
        provider(database, tmp_path, bad_days(chance, share=0.0)) as gateway,
    ):
        tasks = Tasks("test")
        tasks.start("worker", work(Life(wire.url, gateway.url, gateway.receipts, QUICK)))
        try:
            await settled(database, len(made))
        finally:
            await tasks.close()
        landed(wire.proof)
        print(f"{wire.proof} ({dict(wire.happened)}), {len(made)} messages")
        await each_message_once(database, gateway, made)


async def test_without_a_doubt_the_proof_fails(database_url: str, tmp_path: Path) -> None:
    async with DoubtfulWire.to(database_url, lambda: None) as wire:
        through = open_database(wire.url, command_timeout=10.0)
        async with transaction(through) as connection:
            await connection.execute(text("SELECT 1"))
        await through.dispose()
        with pytest.raises(FaultMissed):
            landed(wire.proof)
