"""The migrations on the real database: up, down, up, two at once."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.database import connect, transaction
from engine.foundation.errors import Invalid
from engine.foundation.schema import current, downgrade, newest, upgrade
from tests.databases import MIGRATIONS

OBJECTS = """
SELECT n.nspname || '.' || c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public'
UNION ALL SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public'
UNION ALL SELECT typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = 'public'
ORDER BY name
"""


async def objects(url: str) -> list[str]:
    connection = await connect(url, command_timeout=5.0)
    try:
        return [row["name"] for row in await connection.fetch(OBJECTS) if "alembic_version" not in row["name"]]
    finally:
        await connection.close()


async def test_up_down_and_up_again_gives_the_same_and_leaves_nothing_below(empty_url: str) -> None:
    assert await current(empty_url) is None
    await upgrade(empty_url, MIGRATIONS)
    first = await objects(empty_url)
    assert "public.calls" in first
    assert "public.pgqueuer" in first
    assert await current(empty_url) == newest(MIGRATIONS)
    await downgrade(empty_url, MIGRATIONS, "base")
    assert await objects(empty_url) == []
    assert await current(empty_url) is None
    await upgrade(empty_url, MIGRATIONS)
    assert await objects(empty_url) == first


async def test_several_upgrades_at_once_all_succeed(empty_url: str) -> None:
    await asyncio.gather(*(upgrade(empty_url, MIGRATIONS) for _ in range(3)))
    assert await current(empty_url) == newest(MIGRATIONS)


async def test_a_second_process_waits_for_the_one_that_migrates(empty_url: str) -> None:
    """An upgrade starts while another holds the lock, and ends only after that one let go."""
    holder = await connect(empty_url, command_timeout=5.0)
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    try:
        held = holder.transaction()
        await held.start()
        await holder.execute("SELECT pg_advisory_xact_lock($1)", 0x64617269)
        async with asyncio.TaskGroup() as group:
            upgrading = group.create_task(upgrade(empty_url, MIGRATIONS))
            while not await holder.fetchval(waiting):
                await asyncio.sleep(0.01)
            assert not upgrading.done()
            await held.rollback()
    finally:
        await holder.close()
    assert await current(empty_url) == newest(MIGRATIONS)


async def test_an_unknown_revision_is_refused_and_changes_nothing(empty_url: str) -> None:
    with pytest.raises(Invalid, match="cannot be migrated"):
        await upgrade(empty_url, MIGRATIONS, "9999")
    assert await objects(empty_url) == []


async def test_call_months_from_last_month_to_three_ahead_are_there(database: AsyncEngine) -> None:
    now = datetime.now(UTC)
    async with transaction(database) as connection:
        for month in (now.replace(day=1) - timedelta(days=1), now, now.replace(day=1) + timedelta(days=95)):
            name = f"calls_{month:%Y_%m}"
            assert await connection.scalar(text("SELECT to_regclass(:name)::text"), {"name": name}) == name


async def test_missing_months_are_made_once_even_by_two_at_the_same_time(database: AsyncEngine) -> None:
    async def ensure() -> int:
        async with transaction(database) as connection:
            months = {"first": date(2031, 12, 15), "last": date(2032, 1, 1)}
            return int(await connection.scalar(text("SELECT ensure_call_months(:first, :last)"), months) or 0)

    assert sum(await asyncio.gather(ensure(), ensure())) == 2
    assert await ensure() == 0


async def test_a_record_at_the_last_instant_of_a_month_goes_into_that_month(database: AsyncEngine) -> None:
    insert = text("""
        INSERT INTO calls (arrived_at, call_id, node, number_sent, caller_sent, trunk, ended_at, ringback_seconds,
                           talk_seconds, result, cause, ended_by, recording_reason, legs, steps)
        VALUES (:at, gen_random_uuid(), 'n1', '', '', 't', :at, 0, 0, 'busy', 17, 'target', '', '[]', '[]')
        RETURNING tableoid::regclass::text
    """)
    async with transaction(database) as connection:
        months = {"first": date(2031, 12, 1), "last": date(2032, 1, 31)}
        await connection.execute(text("SELECT ensure_call_months(:first, :last)"), months)
        last = datetime(2031, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)
        assert await connection.scalar(insert, {"at": last}) == "calls_2031_12"
        assert await connection.scalar(insert, {"at": last + timedelta(microseconds=1)}) == "calls_2032_01"
