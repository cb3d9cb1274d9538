"""`dari up` while the database is away: calls come and go all the same, and the tables follow when it is back."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator

import pytest

from engine.foundation.phone_number import PhoneNumber
from engine.foundation.schema import newest
from engine.routing.known import read_known
from engine.settings import PRODUCT_FILES, read_settings
from tests.chaos.processes import back, froze, killed, thawed
from tests.chaos.proof import Proof, landed
from tests.eventually import eventually
from tests.own_postgres import OwnPostgres, own_postgres
from tests.real_asterisk import loopback
from tests.running_shop import PLAIN, RunningShop, running_shop
from tests.whole_system import whole_system

DARI, CARRIER = (loopback(34, host) for host in (1, 2))
THEIRS = loopback(34, 3)
AWAY = "database: away; calls go by what was last read from it, their records wait"
NEWEST = newest(PRODUCT_FILES / "migrations")


@pytest.fixture(scope="module")
async def shop() -> AsyncIterator[RunningShop]:
    async with running_shop(DARI, CARRIER) as running:
        kept = read_settings(home=running.home.folder).engine(1).numbers_kept
        await eventually(lambda: (known := read_known(kept)) is not None and known.line(PhoneNumber(PLAIN)) is not None)
        yield running


async def is_migrated(shop: RunningShop) -> bool:
    return bool((await shop.home.status())["database"]["step"] == NEWEST)


async def test_the_rest_starts_without_an_embedded_database_that_is_silent(shop: RunningShop) -> None:
    """Its tables are an older version's, and everything else died with the `dari up` before."""
    home, former = shop.home, shop.home.parts()
    shop.up.process.kill()
    await shop.up.process.wait()
    landed(*[await killed(former[name]) for name in ("engine", "asterisk", "jobs")])
    await shop.dari("migrate", "--down", "--yes")
    assert not await is_migrated(shop)
    frozen = await froze(former["postgres"])
    try:
        shop.up = await home.up()
        assert "postgres: not there after 10 s; the others start without it" in shop.up.said
        assert AWAY in shop.up.said
        assert home.parts()["postgres"] == former["postgres"]
        assert not (await home.status())["database"]["answers"]
        await eventually(shop.carrier.is_known)
        caller, target = await shop.connected_call("01034000001")
        await shop.talk(caller, target)
    finally:
        proof = thawed(frozen)
    landed(frozen.proof, proof, *[await back(home, name, former[name]) for name in ("engine", "asterisk", "jobs")])
    await eventually(lambda: "database: up to date" in shop.up.said)
    assert await is_migrated(shop)
    record = await shop.record(caller)
    assert record["result"] == "answered"
    assert (await shop.message(record))["status"] == "delivered"


async def test_an_embedded_database_that_cannot_start_holds_nothing_up(shop: RunningShop) -> None:
    """It dies again and again until what keeps it from starting is mended; nobody has to start anything then."""
    home = shop.home
    assert await shop.up.stop() == 0
    control = home.folder / "postgres" / "cluster" / "global" / "pg_control"
    control.rename(control.with_name("away"))
    shop.up = await home.up()
    assert "postgres ends again and again" in shop.up.said
    assert AWAY in shop.up.said
    landed(Proof("PostgreSQL runs", 1.0 if not (await home.status())["database"]["answers"] else 0.0, "times not"))
    await eventually(shop.carrier.is_known)
    caller, target = await shop.connected_call("01034000002")
    await shop.talk(caller, target)
    control.with_name("away").rename(control)
    await eventually(lambda: "database: up to date" in shop.up.said)
    assert (await shop.record(caller))["result"] == "answered"


async def gone(server: OwnPostgres) -> Proof:
    """The server, stopped."""
    process = server.embedded.running()
    await server.stop()
    return Proof("an operator's PostgreSQL that ended", float(process is not None and not process.lives), "times")


async def test_an_operators_database_that_is_away_stops_only_the_first_start_ever() -> None:
    async with whole_system(THEIRS) as folder, own_postgres(folder.folder / "theirs") as server:
        folder.environment["DARI_DATABASE_URL"] = server.embedded.url
        folder.names -= {"postgres"}
        code, output, errors = await folder.run("up")
        assert (code, output) == (1, "")
        assert errors.splitlines() == [
            "dari: the database does not answer, and no engine has ever read the numbers from it; "
            "start it, or check DARI_DATABASE_URL"
        ]
        assert folder.left() == []

        await server.start()
        up = await folder.up()
        assert await up.stop() == 0
        assert (await folder.run("migrate", "--down", "--yes"))[0] == 0
        landed(await gone(server))
        up = await folder.up()
        assert AWAY in up.said
        assert set(folder.parts()) == folder.names
        status = await folder.status()
        assert (status["engine"]["connected"], status["database"]["answers"]) == (True, False)

        await server.start()
        await eventually(lambda: "database: up to date" in up.said)
        assert (await folder.status())["database"]["step"] == NEWEST
        assert await up.stop(signal.SIGTERM) == 0
        assert folder.left() == []
