"""How the database's absence is told, and how notifications are heard across a restart of the server."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from engine.foundation import database as database_module
from engine.foundation.database import connect, listen, open_database, transaction
from engine.foundation.errors import Invalid, TryLater
from tests.eventually import PATIENCE
from tests.own_postgres import own_postgres

SECRET = "01099998888"


async def notify(url: str, channel: str, payload: str) -> None:
    connection = await connect(url, command_timeout=5.0)
    try:
        await connection.execute("SELECT pg_notify($1, $2)", channel, payload)
    finally:
        await connection.close()


@pytest.mark.parametrize("address", ["127.0.15.1:1", "?host=/nonexistent/folder"])
async def test_a_server_that_is_away_is_told_as_try_later(address: str) -> None:
    url = f"postgresql+asyncpg://nobody@{address}/x" if ":" in address else f"postgresql+asyncpg:///x{address}"
    engine = open_database(url, command_timeout=1.0)
    try:
        with pytest.raises(TryLater):
            async with transaction(engine):
                pass
        with pytest.raises(TryLater):
            await connect(url, command_timeout=1.0)
    finally:
        await engine.dispose()


async def test_a_statement_longer_than_its_limit_is_given_up_as_try_later(database_url: str) -> None:
    engine = open_database(database_url, command_timeout=0.1)
    try:
        with pytest.raises(TryLater):
            async with transaction(engine) as connection:
                await connection.execute(text("SELECT pg_sleep(30)"))
        async with transaction(engine) as connection:
            assert await connection.scalar(text("SELECT 1")) == 1
    finally:
        await engine.dispose()


async def test_a_connection_that_the_server_ended_is_told_as_try_later_and_replaced(database: AsyncEngine) -> None:
    with pytest.raises(TryLater):
        async with transaction(database) as connection:
            await connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT 1")) == 1


async def test_connections_that_died_in_the_pool_are_not_noticed_by_the_next_user(
    database: AsyncEngine, database_url: str
) -> None:
    dead = await pid_of(database)
    await end_backend(database_url, dead)
    assert await pid_of(database) != dead


async def test_a_connection_that_rested_is_asked_whether_it_lives(
    database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pings: list[DBAPIConnection] = []
    ask = database.sync_engine.dialect.do_ping

    def ping(one: DBAPIConnection) -> bool:
        pings.append(one)
        return ask(one)

    monkeypatch.setattr(database.sync_engine.dialect, "do_ping", ping)
    alive = await pid_of(database)
    assert (await pid_of(database), len(pings)) == (alive, 0)
    monkeypatch.setattr(database_module, "_SURELY_ALIVE", 0.0)
    assert (await pid_of(database), len(pings)) == (alive, 1)


async def test_a_connection_that_says_nothing_when_it_is_asked_is_replaced(
    database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = await pid_of(database)

    def ping(_: object) -> bool:
        monkeypatch.undo()
        raise database.sync_engine.dialect.loaded_dbapi.OperationalError("no answer")

    monkeypatch.setattr(database_module, "_SURELY_ALIVE", 0.0)
    monkeypatch.setattr(database.sync_engine.dialect, "do_ping", ping)
    assert await pid_of(database) != dead


async def test_connections_stay_and_the_one_used_last_is_the_next_to_be_used(database: AsyncEngine) -> None:
    async def all_at_once() -> set[int]:
        async with AsyncExitStack() as stack:
            opened = [await stack.enter_async_context(transaction(database)) for _ in range(10)]
            return {await one.scalar(text("SELECT pg_backend_pid()")) or 0 for one in opened}

    connections = await all_at_once()
    assert await all_at_once() == connections
    assert len({await pid_of(database) for _ in range(5)}) == 1


async def pid_of(database: AsyncEngine) -> int:
    async with transaction(database) as connection:
        pid = await connection.scalar(text("SELECT pg_backend_pid()"))
    assert isinstance(pid, int)
    return pid


async def end_backend(url: str, pid: int) -> None:
    """Ends a connection at the server's side, and returns when it is gone."""
    killer = await connect(url, command_timeout=PATIENCE)
    try:
        assert await killer.fetchval("SELECT pg_terminate_backend($1, 20000)", pid)
    finally:
        await killer.close()


async def test_a_full_pool_is_told_as_try_later(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.foundation.database.CONNECT_TIMEOUT", 0.5)
    engine = open_database(database_url, command_timeout=5.0, pool_size=1)
    try:
        async with transaction(engine):
            with pytest.raises(TryLater, match="no connection came free"):
                async with transaction(engine):
                    pass
    finally:
        await engine.dispose()


async def test_an_error_inside_undoes_the_transaction_and_passes_as_it_is(database: AsyncEngine) -> None:
    class OwnError(Exception):
        pass

    insert = text("INSERT INTO accounts (id, name) VALUES (gen_random_uuid(), 'shop')")
    with pytest.raises(OwnError):  # noqa: PT012
        async with transaction(database) as connection:
            await connection.execute(insert)
            raise OwnError
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM accounts WHERE name = 'shop'")) == 0


async def test_a_broken_rule_of_the_tables_is_no_reason_to_try_later_and_shows_no_values(database: AsyncEngine) -> None:
    insert = text("INSERT INTO accounts (id, name) VALUES (gen_random_uuid(), :name)")
    with pytest.raises(IntegrityError) as told:  # noqa: PT012
        async with transaction(database) as connection:
            await connection.execute(insert, {"name": SECRET})
            await connection.execute(insert, {"name": SECRET})
    assert SECRET not in str(told.value)


async def test_a_statement_that_is_wrong_passes_as_it_is(database: AsyncEngine) -> None:
    with pytest.raises(DBAPIError):
        async with transaction(database) as connection:
            await connection.execute(text("SELEKT"))


async def test_missing_tables_name_the_command_that_makes_them(database: AsyncEngine) -> None:
    with pytest.raises(Invalid, match="dari migrate"):
        async with transaction(database) as connection:
            await connection.execute(text("SELECT * FROM not_there"))


async def test_an_unknown_database_is_told_as_a_wrong_setting(database_url: str) -> None:
    with pytest.raises(Invalid, match="DARI_DATABASE_URL"):
        await connect(database_url.replace("/dari_test_", "/missing_"), command_timeout=5.0)


async def test_instants_come_back_aware_and_in_utc(database: AsyncEngine) -> None:
    async with transaction(database) as connection:
        instant = await connection.scalar(text("SELECT timestamptz '2026-11-21 09:00+09'"))
    assert instant is not None
    assert instant.isoformat() == "2026-11-21T00:00:00+00:00"


async def test_listening_says_so_and_then_yields_what_is_notified(database_url: str) -> None:
    async with asyncio.timeout(PATIENCE), aclosing(listen(database_url, ["a", "b"])) as heard:
        assert await anext(heard) == ""
        await notify(database_url, "a", "one")
        await notify(database_url, "c", "not ours")
        await notify(database_url, "b", "two")
        assert [await anext(heard), await anext(heard)] == ["one", "two"]


async def test_a_reread_is_asked_for_from_time_to_time_however_much_is_heard(database_url: str) -> None:
    async with asyncio.timeout(PATIENCE), aclosing(listen(database_url, ["a"], reread_after=0.1)) as heard:
        for _ in range(2):
            assert await anext(heard) == ""
        await notify(database_url, "a", "one")
        seen = [await anext(heard)]
        while seen[-1] != "one":
            seen.append(await anext(heard))
        assert set(seen) <= {"", "one"}
        assert await anext(heard) == ""


async def test_a_listener_survives_the_server_and_is_told_to_read_again(tmp_path: Path) -> None:
    async with own_postgres(tmp_path) as server, asyncio.timeout(60):
        process = await server.start()
        url = server.embedded.url
        async with aclosing(listen(url, ["a"])) as heard:
            assert await anext(heard) == ""
            await server.kill(process)
            process = await server.start()
            assert await anext(heard) == ""
            await notify(url, "a", "after the kill")
            assert await anext(heard) == "after the kill"
            await server.stop()
            waiting = asyncio.ensure_future(anext(heard))
            await asyncio.sleep(0.15)
            assert not waiting.done()
            await server.start()
            assert await waiting == ""


async def test_that_a_listener_hears_nothing_is_told_once_and_that_it_hears_again_too(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = 0

    async def away_for_long(url: str, command_timeout: float, *, application_name: str) -> object:
        nonlocal tried
        tried += 1
        if tried < 10:
            raise TryLater("the database is away")
        return await connect(url, command_timeout, application_name=application_name)

    monkeypatch.setattr(database_module, "connect", away_for_long)
    monkeypatch.setattr(database_module, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(database_module, "_LONGEST_WAIT", 0.01)
    with capture_logs() as logs:
        async with asyncio.timeout(PATIENCE), aclosing(listen(database_url, ["a"])) as heard:
            assert await anext(heard) == ""
    assert [entry["event"] for entry in logs] == ["not listening to the database", "listening to the database again"]


async def test_a_listener_that_is_closed_leaves_no_connection(database: AsyncEngine, database_url: str) -> None:
    async with aclosing(listen(database_url, ["a"])) as heard:
        await anext(heard)
    listening = text("""
        SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dari listen' AND datname = current_database()
    """)
    async with asyncio.timeout(PATIENCE):
        left = 1
        while left:
            async with transaction(database) as connection:
                left = await connection.scalar(listening) or 0
