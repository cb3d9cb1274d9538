"""Call records in a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.cdr import search, store
from engine.cdr.amend import make_months_ahead
from engine.cdr.model import Result, Side
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.ids import new_id
from engine.foundation.phone_number import PhoneNumber
from tests.call_records import MORNING, arrival, record
from tests.hand_clock import HandClock


async def test_a_record_comes_back_as_it_was(database: AsyncEngine) -> None:
    full = record(arrival(account_id=new_id(MORNING)))
    bare = msgspec.structs.replace(
        record(),
        sip_call_id=None,
        number=None,
        number_kind=None,
        caller=None,
        target=None,
        ringing_at=None,
        answered_at=None,
        result=Result.NOT_IN_SERVICE,
        ended_by=Side.DARI,
        recording=None,
        post_dial_delay=None,
        legs=(),
        steps=(),
    )
    async with transaction(database) as connection:
        await store.insert(connection, [full, bare])
        assert await store.get(connection, full.call_id) == full
        assert await store.get(connection, bare.call_id) == bare


async def test_only_new_records_are_told_and_old_ones_stay_as_they_are(database: AsyncEngine) -> None:
    first, second = record(), record()
    async with transaction(database) as connection:
        assert await store.insert(connection, [first]) == {first.call_id}
    changed = msgspec.structs.replace(first, result=Result.LOST)
    async with transaction(database) as connection:
        assert await store.insert(connection, [changed, second]) == {second.call_id}
        assert (await store.get(connection, first.call_id)).result is Result.ANSWERED


async def test_a_month_that_nobody_made_is_made(database: AsyncEngine) -> None:
    times = [datetime(2031, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC), datetime(2032, 1, 1, tzinfo=UTC)]
    records = [record(arrival(at)) for at in times]
    async with transaction(database) as connection:
        assert len(await store.insert(connection, records)) == 2
    async with transaction(database) as connection:
        assert [one.arrived_at for one in await search.recent(connection, limit=10)] == times[::-1]


async def test_recent_calls_come_newest_first_and_can_be_narrowed(database: AsyncEngine) -> None:
    records = [record(arrival(MORNING + timedelta(minutes=n))) for n in range(4)]
    other = PhoneNumber("05079999999")
    records[2] = msgspec.structs.replace(records[2], number=other)
    async with transaction(database) as connection:
        await store.insert(connection, records)
        assert await search.recent(connection, limit=2) == [records[3], records[2]]
        assert await search.recent(connection, number=other, limit=9) == [records[2]]
        since = MORNING + timedelta(minutes=2)
        assert await search.recent(connection, since=since, limit=9) == [records[3], records[2]]


async def test_a_call_is_found_by_its_id_or_the_end_of_it(database: AsyncEngine) -> None:
    one = record()
    async with transaction(database) as connection:
        await store.insert(connection, [one, record()])
        assert await search.find(connection, str(one.call_id)) == one
        assert await search.find(connection, str(one.call_id)[-8:].upper()) == one
        with pytest.raises(NotFound, match=str(missing := new_id(MORNING))):
            await search.find(connection, str(missing))
        with pytest.raises(NotFound):
            await search.find(connection, str(missing)[-8:])
        with pytest.raises(NotFound):  # not an id of ours: its instant would be after the year 9999
            await search.find(connection, "ffffffff-ffff-4fff-bfff-ffffffffffff")
        with pytest.raises(Invalid):
            await search.find(connection, "yesterday's")


async def test_many_calls_are_found_at_once_whatever_their_month(database: AsyncEngine) -> None:
    records = [record(arrival(datetime(2031, month, 1, tzinfo=UTC))) for month in (1, 2, 2, 12)]
    strange = UUID("ffffffff-ffff-4fff-bfff-ffffffffffff")
    async with transaction(database) as connection:
        await store.insert(connection, records)
        ids = [one.call_id for one in records]
        assert await search.of_ids(connection, [*ids[1:], new_id(MORNING), strange]) == {
            one.call_id: one for one in records[1:]
        }
        assert await search.of_ids(connection, []) == await search.of_ids(connection, [strange]) == {}


async def test_an_end_of_an_id_that_fits_two_calls_is_refused(database: AsyncEngine) -> None:
    one = record()
    twin = msgspec.structs.replace(one, call_id=type(one.call_id)(int=one.call_id.int ^ (1 << 70)))
    async with transaction(database) as connection:
        await store.insert(connection, [one, twin])
        with pytest.raises(Conflict, match="whole id"):
            await search.find(connection, str(one.call_id)[-8:])


async def test_where_a_recording_is_or_why_there_is_none_is_noted(database: AsyncEngine) -> None:
    one = record()
    async with transaction(database) as connection:
        await store.insert(connection, [one])
        await store.set_recording(connection, one.call_id, None, "nothing was recorded")
        noted = await store.get(connection, one.call_id)
        assert (noted.recording, noted.recording_reason) == (None, "nothing was recorded")
        with pytest.raises(NotFound):
            await store.set_recording(connection, new_id(MORNING), "a.wav")


async def test_months_are_made_ahead_once(database: AsyncEngine) -> None:
    """The instant is late on the last day of a month in Korea and in UTC alike."""
    clock = HandClock(datetime(2031, 12, 31, 23, 30, tzinfo=UTC))

    async def months() -> list[str]:
        async with transaction(database) as connection:
            found = await connection.execute(text("SELECT relname FROM pg_class WHERE relname ~ '^calls_203[12]_'"))
            return sorted(name for name in found.scalars() if "pkey" not in name and "idx" not in name)

    for _ in range(2):
        await make_months_ahead(database, clock)
        assert await months() == ["calls_2031_12", "calls_2032_01", "calls_2032_02"]
