"""Fills an empty database with a made-up past."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import numpy as np
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.database import transaction
from engine.foundation.errors import Conflict
from engine.foundation.ids import id_from
from engine.rehearsal import store
from engine.rehearsal.rows import HEAD, TAIL, account_bytes, number_texts, rows, target_texts
from engine.rehearsal.shape import Past

NUMBERS_PER_ACCOUNT = 100
_AT_ONCE = 50_000
"""Calls that are made up and sent in one step: some 60 MB."""
_WITH_RULES = 10
"""One number in so many has rules."""

Told = Callable[[int], None]
"""How many calls are written so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What is made up."""

    numbers: int
    calls: int
    days: int
    seed: int


async def fill(database: AsyncEngine, size: Size, now: datetime, told: Told) -> None:
    """Accounts, numbers and calls of the days before `now`. What an interruption leaves are whole months.

    Raises Conflict when there is a call or a number already: what is made up never stands beside what happened.
    """
    past = Past(numbers=size.numbers, calls=size.calls, days=size.days, end=now, seed=size.seed)
    accounts = _accounts(size, now)
    async with transaction(database) as connection:
        if await store.holds_anything(connection):
            raise Conflict(
                "only an empty database is filled, and this one has calls or numbers; take another DARI_HOME"
            )
        await store.add_accounts(connection, [(one, f"상점 {place:06}") for place, one in enumerate(accounts, 1)])
        numbers = _numbers(size, accounts)
        await store.add_numbers(connection, numbers, now)
        await store.add_rules(connection, _rules([number for number, *_ in numbers]))
    owners = account_bytes([accounts[place % len(accounts)] for place in range(size.numbers)])
    written = 0

    async def month_of(month: date) -> AsyncIterator[bytes]:
        nonlocal written
        yield HEAD
        chance = np.random.default_rng([size.seed, month.year, month.month, 1])
        for groups in past.of_month(month, _AT_ONCE):
            yield await asyncio.to_thread(lambda: b"".join(rows(calls, owners, chance) for calls in groups))  # noqa: B023 - awaited here
            written += sum(len(calls.arrived) for calls in groups)
            told(written)
        yield TAIL

    for month, _ in past.months():
        async with transaction(database) as connection:
            await store.add_month(connection, month, month_of(month))


async def tidy(database: AsyncEngine) -> None:
    """After `fill`: the database then has nothing more to do for what was written, and knows how it looks."""
    await store.vacuum(database)


def _accounts(size: Size, now: datetime) -> list[UUID]:
    count = max(1, size.numbers // NUMBERS_PER_ACCOUNT)
    return [id_from(now, f"{size.seed} {place}".encode()) for place in range(count)]


def _numbers(size: Size, accounts: list[UUID]) -> list[tuple[str, UUID, str, str]]:
    places = np.arange(size.numbers, dtype=np.int64)
    numbers = [bytes(one).decode() for one in number_texts(places)]
    targets = [bytes(one).decode() for one in target_texts(places)]
    return [
        (number, accounts[place % len(accounts)], target, _TREATMENTS[place % len(_TREATMENTS)])
        for place, (number, target) in enumerate(zip(numbers, targets, strict=True))
    ]


_TREATMENTS = (
    "{}",
    '{"ringback": ["demo/ringback"]}',
    '{"ringback": ["demo/ringback"], "whisper": {"sound": "demo/whisper-short"}}',
    '{"recording": "always", "ring_seconds": 25}',
)


def _rules(numbers: list[str]) -> list[tuple[str, str, int, str, str]]:
    """Closed at night and on holidays."""
    chance = random.Random(len(numbers))  # noqa: S311 - no secret
    night = '{{"times": [{{"start": "{}:00:00", "end": "08:30:00"}}]}}'
    closed = '{"announcement": "ko/closed"}'
    rules = []
    for number in numbers[::_WITH_RULES]:
        rules.append((number, "night", 1, night.format(chance.randint(19, 23)), closed))
        rules.append((number, "holidays", 2, '{"days": ["public holiday"]}', closed))
    return rules
