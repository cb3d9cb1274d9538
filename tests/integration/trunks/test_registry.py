"""Trunks on the real database, and in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.tasks import Tasks
from engine.trunks.cache import TrunkCache
from engine.trunks.model import Login, NumberFormat, Trunk
from engine.trunks.registry import TrunkChange, add, change, listing, remove

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CARRIER = Trunk(name="carrier", match=("203.0.113.0/28", "198.51.100.7"), contact="sip:203.0.113.1:5060")


async def added(database: AsyncEngine, trunk: Trunk) -> Trunk:
    async with transaction(database) as connection:
        return await add(connection, LOCAL_OPERATOR, trunk, NOW)


async def changed(database: AsyncEngine, name: str, wanted: TrunkChange) -> Trunk:
    async with transaction(database) as connection:
        return await change(connection, LOCAL_OPERATOR, name, wanted, NOW)


async def known(database: AsyncEngine) -> list[Trunk]:
    async with transaction(database) as connection:
        return await listing(connection)


async def test_a_trunk_comes_back_with_its_networks_in_one_spelling(database: AsyncEngine) -> None:
    kept = await added(database, CARRIER)
    assert kept.match == ("198.51.100.7", "203.0.113.0/28")
    assert await known(database) == [kept]
    again = await changed(database, "carrier", TrunkChange(match=("198.51.100.7/32", "198.51.100.7")))
    assert again.match == ("198.51.100.7",)
    assert await known(database) == [again]


FULL = Trunk(
    name="full",
    match=("192.0.2.77",),
    contact="sip:192.0.2.77",
    number_format=NumberFormat.E164,
    trusted=False,
    caller_format=NumberFormat.INTERNATIONAL,
    prefix="9#",
    login=Login(user="dari01", password="it's :a ;secret", realm="carrier.test"),
    register=True,
    registered_as="0701234567",
    outgoing=False,
    priority=7,
    max_calls=30,
    calls_per_second=0.5,
    longest_ringing=25,
    provisional_seconds=2.5,
    early_dtmf=True,
    options_seconds=60,
)


async def test_everything_about_a_trunk_comes_back(database: AsyncEngine, tmp_path: Path) -> None:
    await added(database, FULL)
    assert await known(database) == [FULL]
    cache = TrunkCache(tmp_path / "trunks")
    assert await cache.load(database)
    assert cache.find("full") == FULL
    plain = TrunkChange(
        login=None, register=False, registered_as="", max_calls=None, calls_per_second=None, longest_ringing=None,
        caller_format=None,
    )  # fmt: skip
    assert await changed(database, "full", plain) == (await known(database))[0]
    (after,) = await known(database)
    assert (after.login, after.max_calls, after.calls_per_second, after.longest_ringing) == (None, None, None, None)
    assert (after.priority, after.prefix, after.early_dtmf, after.caller_format) == (7, "9#", True, None)


@pytest.mark.parametrize(
    ("wrong", "sql"),
    [
        (TrunkChange(priority=1001), "priority = 1001"),
        (TrunkChange(options_seconds=1), "options_seconds = 1"),
        (TrunkChange(max_calls=0), "max_calls = 0"),
        (TrunkChange(provisional_seconds=31), "provisional_seconds = 31"),
        (TrunkChange(prefix="x"), "prefix = 'x'"),
        (TrunkChange(login=None, registered_as=""), "login_user = NULL, login_password = NULL"),
    ],
)
async def test_what_the_register_refuses_the_database_refuses_too(
    database: AsyncEngine, wrong: TrunkChange, sql: str
) -> None:
    await added(database, FULL)
    with pytest.raises(Invalid):
        await changed(database, "full", wrong)
    async with database.connect() as connection:
        with pytest.raises(IntegrityError):
            await connection.execute(text(f"UPDATE trunks SET {sql}"))  # noqa: S608
    assert await known(database) == [FULL]


async def test_a_change_touches_only_what_it_names(database: AsyncEngine) -> None:
    kept = await added(database, CARRIER)
    after = await changed(database, "carrier", TrunkChange(number_format=NumberFormat.E164, trusted=False))
    assert (after.number_format, after.trusted) == (NumberFormat.E164, False)
    assert (after.match, after.contact) == (kept.match, kept.contact)


@pytest.mark.parametrize("match", ["203.0.113.0/28", "203.0.113.5", "203.0.0.0/16", "198.51.100.7"])
async def test_no_two_trunks_share_an_address(database: AsyncEngine, match: str) -> None:
    kept = await added(database, CARRIER)
    with pytest.raises(Conflict, match="belong to trunk carrier already"):
        await added(database, Trunk(name="second", match=("192.0.2.1", match), contact="sip:192.0.2.1"))
    assert await known(database) == [kept]
    second = await added(database, Trunk(name="second", match=("192.0.2.1",), contact="sip:192.0.2.1"))
    with pytest.raises(Conflict):
        await changed(database, "second", TrunkChange(match=(match,)))
    assert await known(database) == [kept, second]


async def test_of_two_that_claim_the_same_address_at_once_one_gets_it(database: AsyncEngine) -> None:
    results = await asyncio.gather(
        *(added(database, Trunk(name=f"t{i}", match=("192.0.2.1",), contact="sip:192.0.2.1")) for i in range(3)),
        return_exceptions=True,
    )
    assert sorted(type(result) is Conflict for result in results) == [False, True, True]


async def test_the_address_of_a_removed_trunk_is_free(database: AsyncEngine) -> None:
    await added(database, CARRIER)
    async with transaction(database) as connection:
        await remove(connection, LOCAL_OPERATOR, "carrier", NOW)
    await added(database, Trunk(name="heir", match=CARRIER.match, contact=CARRIER.contact))


async def test_a_name_is_given_once_and_an_unknown_one_is_told(database: AsyncEngine) -> None:
    await added(database, CARRIER)
    with pytest.raises(Conflict, match="exists already"):
        await added(database, Trunk(name="carrier", match=("192.0.2.9",), contact="sip:192.0.2.9"))
    async with transaction(database) as connection:
        for deed in (
            remove(connection, LOCAL_OPERATOR, "nobody", NOW),
            change(connection, LOCAL_OPERATOR, "nobody", TrunkChange(), NOW),
        ):
            with pytest.raises(NotFound, match="nobody does not exist"):
                await deed


@pytest.mark.parametrize(
    "trunk",
    [
        Trunk(name="a b", match=("192.0.2.1",), contact="sip:192.0.2.1"),
        Trunk(name="", match=("192.0.2.1",), contact="sip:192.0.2.1"),
        Trunk(name="a", match=(), contact="sip:192.0.2.1"),
        Trunk(name="a", match=("host.example",), contact="sip:192.0.2.1"),
        Trunk(name="a", match=("192.0.2.1/24",), contact="sip:192.0.2.1"),
        Trunk(name="a", match=("2001:db8::1",), contact="sip:192.0.2.1"),
        Trunk(name="a", match=("0.0.0.0/0",), contact="sip:192.0.2.1"),
        Trunk(name="a", match=("192.0.2.0/24", "192.0.2.1"), contact="sip:192.0.2.1"),
        Trunk(name="a", match=("192.0.2.1",), contact="192.0.2.1"),
        Trunk(name="a", match=("192.0.2.1",), contact="sip:user@192.0.2.1"),
        Trunk(name="a", match=("192.0.2.1",), contact="sip:192.0.2.1\n[evil]"),
    ],
)
async def test_a_trunk_that_cannot_be_one_is_refused(database: AsyncEngine, trunk: Trunk) -> None:
    with pytest.raises(Invalid):
        await added(database, trunk)
    assert await known(database) == []


@asynccontextmanager
async def kept_fresh(cache: TrunkCache, database: AsyncEngine, url: str, heard: asyncio.Event) -> AsyncIterator[None]:
    async def changed() -> None:
        heard.set()

    tasks = Tasks("test")
    tasks.start("trunks", cache.keep_fresh(database, url, changed))
    try:
        async with asyncio.timeout(20):
            yield
    finally:
        await tasks.close()


async def test_every_change_is_in_memory_told_and_on_disk(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    heard = asyncio.Event()
    cache = TrunkCache(tmp_path / "trunks")
    assert not cache.known
    async with kept_fresh(cache, database, database_url, heard):
        await heard.wait()
        assert cache.known
        assert cache.all() == []
        heard.clear()
        kept = await added(database, CARRIER)
        await heard.wait()
        assert cache.find("carrier") == kept
        assert TrunkCache(tmp_path / "trunks").all() == [kept]
        heard.clear()
        async with transaction(database) as connection:
            await remove(connection, LOCAL_OPERATOR, "carrier", NOW)
        await heard.wait()
        assert cache.find("carrier") is None
