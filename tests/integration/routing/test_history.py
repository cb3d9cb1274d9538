"""A caller's earlier calls, from the real database, and never waited for."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.cdr import store as cdr_store
from engine.cdr.model import CallRecord, Direction, Result
from engine.foundation.database import open_database, transaction
from engine.foundation.phone_number import PhoneNumber
from engine.routing.history import CallHistory, seed_loads
from engine.routing.load import LoadBook
from engine.routing.model import Load, PastCall
from tests.answered_call import ACCOUNT, CALLER, NOW, NUMBER, answered_call

LONG = 30.0
OTHER = PhoneNumber("01099998888")
SHOP = PhoneNumber("0298765432")


def call(ago: timedelta, result: Result = Result.ANSWERED, caller: PhoneNumber | None = CALLER) -> CallRecord:
    """One that arrived so long before NOW."""
    made = answered_call(NOW - ago + timedelta(seconds=50), caller=caller)
    return msgspec.structs.replace(made, result=result)


async def keep(database: AsyncEngine, *calls: CallRecord) -> None:
    async with transaction(database) as connection:
        await cdr_store.insert(connection, calls)


async def asked(database: AsyncEngine, patience: float = LONG) -> tuple[PastCall, ...] | None:
    history = CallHistory(database, patience)
    try:
        return await history.of(NUMBER, CALLER, NOW)
    finally:
        await history.close()


async def test_a_callers_calls_to_the_number_come_newest_first(database: AsyncEngine) -> None:
    yesterday, last_month = call(timedelta(days=1), Result.BUSY), call(timedelta(days=30))
    elsewhere = msgspec.structs.replace(call(timedelta(days=2)), number=PhoneNumber("050712345679"))
    too_long_ago = call(timedelta(days=91))
    await keep(database, last_month, elsewhere, yesterday, too_long_ago, call(timedelta(days=3), caller=OTHER))
    assert await asked(database) == (
        PastCall(yesterday.arrived_at, Result.BUSY, SHOP, 42.0),
        PastCall(last_month.arrived_at, Result.ANSWERED, SHOP, 42.0),
    )


async def test_a_stranger_has_an_empty_history_that_is_known(database: AsyncEngine) -> None:
    assert await asked(database) == ()


async def test_fifty_calls_are_enough(database: AsyncEngine) -> None:
    await keep(database, *(call(timedelta(hours=hours)) for hours in range(1, 61)))
    found = await asked(database)
    assert found is not None
    assert len(found) == 50
    assert found[0].at == NOW - timedelta(hours=1)


async def test_a_database_that_hangs_is_not_waited_for_and_not_asked_by_every_call(
    database: AsyncEngine, database_url: str
) -> None:
    await keep(database, call(timedelta(days=1)))
    other = open_database(database_url, command_timeout=60.0, application_name="hanging")
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = CAST('calls' AS regclass)")
    history, patient = CallHistory(other, 0.05), CallHistory(other, LONG)
    try:
        async with asyncio.timeout(LONG), transaction(database) as connection:
            await connection.execute(text("LOCK TABLE calls IN ACCESS EXCLUSIVE MODE"))
            while not await connection.scalar(waiting):
                assert await history.of(NUMBER, CALLER, NOW) is None
            for _ in range(20):
                assert await history.of(NUMBER, CALLER, NOW) is None
            assert await connection.scalar(waiting) <= 4
        found = await patient.of(NUMBER, CALLER, NOW)
        assert found is not None
        assert len(found) == 1
    finally:
        await history.close()
        await patient.close()
        await other.dispose()


async def test_a_database_that_is_away_is_no_error() -> None:
    away = open_database("postgresql+asyncpg://nobody@127.0.15.1:1/x", command_timeout=1.0)
    try:
        assert await asked(away) is None
    finally:
        await away.dispose()


async def test_the_load_of_before_the_start_is_that_of_calls_that_were_let_in(database: AsyncEngine) -> None:
    unlimited = PhoneNumber("050712345679")
    outgoing = msgspec.structs.replace(call(timedelta(minutes=1)), direction=Direction.OUTGOING)
    elsewhere = msgspec.structs.replace(call(timedelta(minutes=2)), number=unlimited)
    nobodys = msgspec.structs.replace(call(timedelta(minutes=3)), account_id=UUID(int=9), number=unlimited)
    await keep(database, call(timedelta(minutes=59)), call(timedelta(hours=23)), call(timedelta(hours=25)))
    await keep(database, outgoing, elsewhere, nobodys, call(timedelta(minutes=4), Result.OVER_LIMIT))
    book = LoadBook()
    await seed_loads(book, database, ([NUMBER], [ACCOUNT]), NOW, tick=1000.0)
    assert book.load(NUMBER, 1000.0) == Load(0, 1, 2)
    assert book.load(ACCOUNT, 1000.0) == Load(0, 2, 3)
    assert book.load(unlimited, 1000.0) == Load()


async def test_where_nothing_has_limits_nothing_is_asked() -> None:
    away = open_database("postgresql+asyncpg://nobody@127.0.15.1:1/x", command_timeout=1.0)
    try:
        await seed_loads(LoadBook(), away, ([], []), NOW, tick=0.0)
    finally:
        await away.dispose()
