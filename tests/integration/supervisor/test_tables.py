"""The tables at a start of the system, with a database that is there, away, silent, or comes later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.foundation.errors import TryLater
from engine.foundation.schema import current, newest
from engine.foundation.tasks import Tasks
from engine.settings import PRODUCT_FILES, Settings, read_settings
from engine.supervisor import tables as tables_module
from engine.supervisor.tables import Tables
from tests.chaos.processes import froze, thawed
from tests.chaos.proof import landed
from tests.eventually import eventually
from tests.own_postgres import OwnPostgres, own_postgres

UP_TO_DATE = ["database: up to date"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[OwnPostgres]:
    """Not started yet."""
    async with own_postgres(tmp_path / "server") as made:
        yield made


@pytest.fixture
def home(tmp_path: Path, server: OwnPostgres) -> Settings:
    """Two engines that never read anything."""
    return read_settings(home=tmp_path / "home", database_url=server.embedded.url, engines=2)


def read_once(home: Settings) -> None:
    """As if all engines had read numbers and trunks in a former life."""
    for engine in home.all_engines:
        engine.spool.mkdir(parents=True, exist_ok=True)
        engine.numbers_kept.touch()
        engine.trunks_kept.touch()


async def test_without_a_database_the_first_start_ever_is_refused_in_one_sentence(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables_module, "ANSWERS_WITHIN", 0.1)
    said: list[str] = []
    tables = Tables(home)
    assert not tables.can_wait
    with pytest.raises(TryLater, match="no engine has ever read the numbers from it; start it, or check DARI_DATABASE"):
        await tables.up_to_date(said.append)
    assert said == []


async def test_an_engine_that_never_read_the_numbers_cannot_start_without_a_database(home: Settings) -> None:
    read_once(home)
    assert Tables(home).can_wait
    home.engine(2).trunks_kept.unlink()
    assert not Tables(home).can_wait


async def test_a_database_that_is_away_is_told_and_migrated_once_it_comes(home: Settings, server: OwnPostgres) -> None:
    read_once(home)
    said: list[str] = []
    tables, tasks = Tables(home), Tasks("test")
    assert not await tables.up_to_date(said.append)
    assert said == ["database: away; calls go by what was last read from it, their records wait"]
    later: list[str] = []
    trying = tasks.start("tables", tables.keep_trying(later.append))
    try:
        await asyncio.sleep(0)
        assert later == []
        await server.start()
        await eventually(trying.done)
    finally:
        await tasks.close()
    assert later == UP_TO_DATE
    assert await current(home.database_url) == newest(PRODUCT_FILES / "migrations")


async def test_a_database_that_is_silent_is_away_and_holds_nobody_up(home: Settings, server: OwnPostgres) -> None:
    frozen = await froze(await server.start())  # the kernel still takes connections for it
    read_once(home)
    said: list[str] = []
    tables, tasks = Tables(home), Tasks("test")
    try:
        assert not await tables.up_to_date(said.append)
        trying = tasks.start("tables", tables.keep_trying(said.append))
    finally:
        proof = thawed(frozen)
    try:
        landed(frozen.proof, proof)
        await eventually(trying.done)
    finally:
        await tasks.close()
    assert said[1:] == UP_TO_DATE
    assert await current(home.database_url) == newest(PRODUCT_FILES / "migrations")


async def test_a_database_that_is_there_is_migrated_at_once_and_nothing_is_owed(
    home: Settings, server: OwnPostgres
) -> None:
    await server.start()
    said: list[str] = []
    tables, tasks = Tables(home), Tasks("test")
    trying = tasks.start("tables", tables.keep_trying(said.append))
    try:
        assert await tables.up_to_date(said.append)
        assert not trying.done()
    finally:
        await tasks.close()
    assert said == UP_TO_DATE
    assert await current(home.database_url) == newest(PRODUCT_FILES / "migrations")
