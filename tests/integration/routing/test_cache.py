"""The numbers in memory follow the database, outlive it, and are never half read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.database import open_database, transaction
from engine.foundation.errors import TryLater
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.schema import upgrade
from engine.foundation.snapshot import write_snapshot
from engine.foundation.tasks import Tasks
from engine.numbers.inventory import NumberChange, add, change, remove
from engine.numbers.model import ServiceNumber
from engine.routing import cache as cache_module
from engine.routing.cache import NumberCache
from tests.databases import MIGRATIONS
from tests.opened_shop import TARGET, VIRTUAL, number_of, open_shop
from tests.own_postgres import own_postgres

NEW_TARGET = PhoneNumber("01012345678")


@pytest.fixture(autouse=True)
def _snapshot_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_SNAPSHOT_DELAY", 0.0)


@asynccontextmanager
async def kept_fresh(cache: NumberCache, database: AsyncEngine, url: str) -> AsyncIterator[None]:
    tasks = Tasks("test")
    tasks.start("numbers", cache.keep_fresh(database, url))
    try:
        yield
    finally:
        await tasks.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.005)


async def put_in(database: AsyncEngine, number: ServiceNumber) -> None:
    async with transaction(database) as connection:
        await add(connection, number)


def target(cache: NumberCache) -> PhoneNumber | None:
    found = cache.find(VIRTUAL)
    return found.target if found else None


async def test_nothing_is_known_before_anything_was_read(tmp_path: Path) -> None:
    cache = NumberCache(tmp_path / "numbers")
    assert not cache.known
    assert cache.find(VIRTUAL) is None


async def test_numbers_added_changed_and_removed_are_followed(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    shop = await open_shop(database)
    cache = NumberCache(tmp_path / "numbers")
    async with kept_fresh(cache, database, database_url):
        await until(lambda: cache.known)
        assert len(cache) == 0
        await put_in(database, number_of(shop))
        await until(lambda: target(cache) == TARGET)
        async with transaction(database) as connection:
            await change(connection, VIRTUAL, NumberChange(target=NEW_TARGET))
        await until(lambda: target(cache) == NEW_TARGET)
        async with transaction(database) as connection:
            await remove(connection, VIRTUAL)
        await until(lambda: len(cache) == 0)


async def test_many_changes_at_once_are_followed(database: AsyncEngine, database_url: str, tmp_path: Path) -> None:
    shop = await open_shop(database)
    cache = NumberCache(tmp_path / "numbers")
    many = text("""
        INSERT INTO numbers (number, kind, account_id, target)
        SELECT '0507' || lpad(i::text, 8, '0'), '050', :shop, '0212345678' FROM generate_series(1, 5000) i
    """)
    async with kept_fresh(cache, database, database_url):
        await until(lambda: cache.known)
        async with transaction(database) as connection:
            await connection.execute(many, {"shop": shop})
        await until(lambda: len(cache) == 5000)
        async with transaction(database) as connection:
            await connection.execute(text("DELETE FROM numbers WHERE number > '050700000050'"))
        await until(lambda: len(cache) == 50)


async def test_a_change_whose_notification_was_lost_is_seen_at_the_next_reread(
    database: AsyncEngine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "REREAD_AFTER", 0.1)
    shop = await open_shop(database)
    async with transaction(database) as connection:
        await connection.execute(text("ALTER TABLE numbers DISABLE TRIGGER USER"))
    cache = NumberCache(tmp_path / "numbers")
    async with kept_fresh(cache, database, database_url):
        await until(lambda: cache.known)
        await put_in(database, number_of(shop))
        await until(lambda: target(cache) == TARGET)
        async with transaction(database) as connection:
            await remove(connection, VIRTUAL)
        await until(lambda: len(cache) == 0)


async def test_what_is_known_is_on_disk_for_the_next_start(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    await put_in(database, number_of(await open_shop(database)))
    cache = NumberCache(tmp_path / "numbers")
    async with kept_fresh(cache, database, database_url):
        await until(lambda: target(cache) == TARGET)
    again = NumberCache(tmp_path / "numbers")
    assert again.known
    assert again.find(VIRTUAL) == cache.find(VIRTUAL)


async def test_a_change_right_before_the_end_is_on_disk_too(
    database: AsyncEngine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_SNAPSHOT_DELAY", 3600.0)
    await put_in(database, number_of(await open_shop(database)))
    cache = NumberCache(tmp_path / "numbers")
    async with kept_fresh(cache, database, database_url):
        await until(lambda: target(cache) == TARGET)
    assert target(NumberCache(tmp_path / "numbers")) == TARGET


async def test_a_broken_snapshot_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "numbers").write_bytes(b'{"format":1')
    cache = NumberCache(tmp_path / "numbers")
    assert not cache.known


async def test_a_database_that_is_away_leaves_what_is_known(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "numbers", ServiceNumber, [number_of(UUID(int=1))])
    cache = NumberCache(tmp_path / "numbers")
    away = "postgresql+asyncpg://nobody@127.0.15.1:1/x"
    engine = open_database(away, command_timeout=1.0)
    try:
        with pytest.raises(TryLater):
            await cache.load(engine)
        async with kept_fresh(cache, engine, away):
            await asyncio.sleep(0.1)
            assert target(cache) == TARGET
    finally:
        await engine.dispose()


async def test_it_goes_through_the_servers_death_and_sees_what_changed_meanwhile(tmp_path: Path) -> None:
    async with own_postgres(tmp_path) as server:
        process = await server.start()
        url = server.embedded.url
        await upgrade(url, MIGRATIONS)
        engine = open_database(url, command_timeout=5.0)
        cache = NumberCache(tmp_path / "numbers")
        try:
            await put_in(engine, number_of(await open_shop(engine)))
            async with kept_fresh(cache, engine, url):
                await until(lambda: target(cache) == TARGET)
                await server.kill(process)
                assert target(cache) == TARGET
                await server.start()
                async with transaction(engine) as connection:
                    await change(connection, VIRTUAL, NumberChange(target=NEW_TARGET))
                await until(lambda: target(cache) == NEW_TARGET)
        finally:
            await engine.dispose()
