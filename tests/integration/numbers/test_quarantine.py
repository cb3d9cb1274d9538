"""Quarantine that listens: stray calls come out of the call records, each once, and hold a number back."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR
from engine.cdr.drain import Drain
from engine.cdr.model import CallRecord, Result
from engine.cdr.spool import Spool
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.foundation.errors import NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import life, quarantine
from engine.numbers.keeping import look_after_numbers
from engine.numbers.quarantine_terms import QuarantineTerms
from engine.numbers.states import State
from tests.call_records import arrival, record
from tests.eventually import eventually
from tests.number_world import FIRST, NOW, World, events, fill, make_world, stock_of, wanted

NUMBER = FIRST
TERMS = QuarantineTerms(days=92, longest_days=120, quiet_days=14, quiet_calls=3)
END = NOW + timedelta(days=92)


@pytest.fixture
async def world(database: AsyncEngine) -> World:
    """NUMBER was the shop's and is in quarantine since NOW; the next one is the shop's, the third is free."""
    world = await make_world(database)
    numbers = await fill(database, 3, terms=TERMS)
    async with transaction(database) as connection:
        for number in numbers[:2]:
            await life.issue(connection, world.owner, wanted(number, world.shop), NOW)
        await life.release(connection, world.owner, NUMBER, NOW)
    return world


async def called(database: AsyncEngine, *instants: datetime, number: PhoneNumber = NUMBER) -> None:
    async with transaction(database) as connection:
        await quarantine.count_strays(connection, [(number, at) for at in instants])


async def strays(database: AsyncEngine, world: World, now: datetime = END) -> dict[date, int]:
    async with transaction(database) as connection:
        return dict(await quarantine.strays(connection, world.owner, NUMBER, now))


async def test_calls_are_counted_by_korean_day(database: AsyncEngine, world: World) -> None:
    evening = datetime.fromisoformat("2026-11-23T14:59:00+00:00")
    await called(database, evening, evening, evening + timedelta(minutes=1))
    await called(database, evening)
    assert await strays(database, world) == {date(2026, 11, 23): 3, date(2026, 11, 24): 1}


async def test_only_calls_to_numbers_in_quarantine_count(database: AsyncEngine, world: World) -> None:
    await called(database, NOW - timedelta(seconds=1))
    for place in (1, 2, 7):
        await called(database, NOW + timedelta(days=1), number=PhoneNumber(f"{int(NUMBER) + place:012}"))
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM stray_calls")) == 0
        await quarantine.count_strays(connection, [])


async def test_a_quiet_number_is_free_after_three_months(database: AsyncEngine, world: World) -> None:
    await called(database, *(NOW + timedelta(days=day) for day in range(60)))
    await look_after_numbers(database, END - timedelta(seconds=1))
    assert (await stock_of(database, NUMBER)).state is State.QUARANTINED
    kept = await look_after_numbers(database, END)
    assert (kept.freed, kept.held_longer) == (1, 0)
    assert (await stock_of(database, NUMBER)).state is State.AVAILABLE
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM stray_calls")) == 0
        await life.issue(connection, world.other_owner, wanted(NUMBER, world.other_shop), END)


async def test_a_number_that_is_still_called_is_held_until_it_is_not(database: AsyncEngine, world: World) -> None:
    await called(database, *(END - timedelta(days=day) for day in range(4)))
    kept = await look_after_numbers(database, END)
    assert (kept.freed, kept.held_longer) == (0, 1)
    assert (await stock_of(database, NUMBER)).quarantined_until == END + timedelta(days=14)
    assert (await events(database))[-1][1]["change"] == "held longer"
    assert (await look_after_numbers(database, END + timedelta(days=14))).freed == 1


async def test_however_often_it_is_called_it_is_free_at_the_longest(database: AsyncEngine, world: World) -> None:
    await called(database, *(NOW + timedelta(days=day, hours=hour) for day in range(130) for hour in range(2)))
    longest = NOW + timedelta(days=120)
    now, rounds = END, 0
    while (await stock_of(database, NUMBER)).state is State.QUARANTINED:
        await look_after_numbers(database, now)
        rounds += 1
        until = (await stock_of(database, NUMBER)).quarantined_until
        assert until is None or now < until <= longest
        now = until or now
    assert (now, rounds) == (longest, 3)


async def test_the_last_holder_takes_it_back_and_the_count_begins_anew(database: AsyncEngine, world: World) -> None:
    await called(database, END - timedelta(days=1))
    async with transaction(database) as connection:
        await life.issue(connection, world.owner, wanted(NUMBER, world.shop), END)
        await life.release(connection, world.owner, NUMBER, END)
    await called(database, END - timedelta(days=1))
    assert await strays(database, world) == {}, "all were before the second release"


async def test_others_do_not_see_who_calls(database: AsyncEngine, world: World) -> None:
    async with transaction(database) as connection:
        with pytest.raises(NotFound):
            await quarantine.strays(connection, world.other_owner, NUMBER, END)
        assert await quarantine.strays(connection, LOCAL_OPERATOR, NUMBER, END) == {}


async def test_more_than_one_part_is_looked_after_in_one_round(database: AsyncEngine, world: World) -> None:
    async with transaction(database) as connection:
        await connection.execute(
            text("""
                INSERT INTO number_stock (number, kind, state, range_id, last_holder, released_at, quarantined_until,
                    changed_at)
                SELECT '0507' || (20000000 + place), '050', 'quarantined', (SELECT id FROM number_ranges LIMIT 1),
                    :shop, :now, :end, :now FROM generate_series(1, 1100) AS place
            """),
            {"shop": world.shop, "now": NOW, "end": END},
        )
    assert (await look_after_numbers(database, END)).freed == 1101


async def test_the_drain_counts_each_stray_call_once(database: AsyncEngine, world: World, tmp_path: Path) -> None:
    at = NOW + timedelta(days=1)
    calls = [stray(at), stray(at), stray(NOW - timedelta(days=1)), stray(at, account_id=world.shop)]
    calls += [stray(at, result=Result.CALLER_GAVE_UP), stray(at, number=None)]
    for life_of_engine in ("first", "second"):  # the same calls again, as after a crash between commit and `drained`
        spool = Spool.open(tmp_path / life_of_engine, "n1", SystemClock())
        for one in calls:
            spool.closed(one)
        drain = asyncio.ensure_future(Drain(spool, database, tmp_path / "refused").run())
        await eventually(lambda spool=spool: spool.waiting == 0)
        drain.cancel()
        await asyncio.gather(drain, return_exceptions=True)
        await spool.close()
    assert await strays(database, world) == {at.date(): 2}


def stray(at: datetime, **changes: Any) -> CallRecord:
    values: dict[str, Any] = {"number": NUMBER, "account_id": None, "result": Result.NOT_IN_SERVICE} | changes
    return msgspec.structs.replace(record(arrival(at)), **values)
