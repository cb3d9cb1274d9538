"""A made-up past in a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.cdr.model import CallRecord, Result, Side
from engine.cdr.search import recent
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict
from engine.foundation.ids import instant_of
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.inventory import find
from engine.rehearsal.fill import Size, fill, tidy
from engine.rehearsal.rows import number_texts
from engine.routing.cache import RoutingCache

SIZE = Size(numbers=300, calls=3000, days=150, seed=7)


@pytest.fixture
async def now() -> datetime:
    """Months that are there and months that must be made lie before it."""
    return datetime.now(UTC)


async def _records(database: AsyncEngine) -> list[CallRecord]:
    async with transaction(database) as connection:
        return list(await recent(connection, limit=10_000))


async def test_calls_are_read_as_if_they_had_happened(database: AsyncEngine, now: datetime) -> None:
    told: list[int] = []
    await fill(database, SIZE, now, told.append)
    records = await _records(database)
    assert len(records) == SIZE.calls == told[-1]
    assert told == sorted(told)
    for record in records:
        assert instant_of(record.call_id) == record.arrived_at
        assert now - timedelta(days=SIZE.days, hours=1) <= record.arrived_at <= record.ended_at
        assert record.legs[0].side is Side.CALLER
        assert record.legs[0].number == record.caller
        assert (record.answered_at is not None) is (record.talk_seconds > 0)
        if record.result is Result.ANSWERED:
            assert [leg.side for leg in record.legs] == [Side.CALLER, Side.TARGET]
            assert record.legs[1].answered_at == record.answered_at == record.steps[1].started_at
            assert record.answered_at is not None
            assert (record.ended_at - record.answered_at).total_seconds() == pytest.approx(record.talk_seconds)
    assert len({record.call_id for record in records}) == len(records)


async def test_each_call_is_one_to_a_number_in_service_and_belongs_to_its_owner(
    database: AsyncEngine, now: datetime
) -> None:
    await fill(database, SIZE, now, lambda _: None)
    called = [record for record in await _records(database) if record.result is not Result.NOT_IN_SERVICE]
    async with transaction(database) as connection:
        for record in called[:50]:
            assert record.number is not None
            number = await find(connection, record.number)
            assert number is not None
            assert number.account_id == record.account_id
            assert record.target in (None, number.target)
        counted = await connection.execute(text("SELECT count(*) FROM number_stock WHERE state = 'in service'"))
        assert counted.scalar_one() == SIZE.numbers


async def test_routing_goes_by_the_numbers_and_their_rules(
    database: AsyncEngine, now: datetime, tmp_path: Path
) -> None:
    await fill(database, SIZE, now, lambda _: None)
    cache = RoutingCache(tmp_path / "routing.snapshot")
    await cache.load(database)
    assert len(cache) == SIZE.numbers
    lines = [cache.find(PhoneNumber(bytes(one).decode())) for one in number_texts(np.arange(SIZE.numbers))]
    assert [line is not None and len(line.rules) for line in lines].count(2) == SIZE.numbers // 10


async def test_every_months_table_has_the_indexes_of_the_whole(database: AsyncEngine, now: datetime) -> None:
    await fill(database, SIZE, now, lambda _: None)
    async with transaction(database) as connection:
        rows = await connection.execute(
            text("SELECT tablename, count(*) FROM pg_indexes WHERE tablename ~ '^calls_[0-9]{4}_' GROUP BY 1")
        )
        indexes = {row[0]: row[1] for row in rows}
    assert len(indexes) >= 6
    assert len(set(indexes.values())) == 1


async def test_when_it_is_tidy_nothing_of_it_is_left_to_autovacuum(database: AsyncEngine, now: datetime) -> None:
    await fill(database, SIZE, now, lambda _: None)
    untouched = """
        SELECT relname FROM pg_class WHERE relkind = 'r' AND (relallfrozen < relpages OR reltuples < 0)
        AND (relname ~ '^calls_[0-9]' OR relname IN ('accounts', 'number_stock', 'numbers', 'number_rules'))
    """

    async def found() -> set[str]:
        async with transaction(database) as connection:
            return set(await connection.scalars(text(untouched)))

    assert f"calls_{now:%Y_%m}" in await found()
    await tidy(database)
    assert await found() == set()


async def test_what_holds_calls_or_numbers_is_left_alone(database: AsyncEngine, now: datetime) -> None:
    await fill(database, SIZE, now, lambda _: None)
    with pytest.raises(Conflict, match="only an empty database is filled"):
        await fill(database, SIZE, now, lambda _: None)
    assert len(await _records(database)) == SIZE.calls
