"""What routing goes by, in memory: it follows the database, outlives it, and is never half read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts import tree
from engine.accounts.model import LOCAL_OPERATOR, OPERATOR_ID, AccountKind, Module
from engine.accounts.modules import switch
from engine.foundation.database import open_database, transaction
from engine.foundation.errors import TryLater
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.schema import upgrade
from engine.foundation.tasks import Tasks
from engine.numbers.inventory import NumberChange, add, change, remove
from engine.numbers.model import ServiceNumber
from engine.numbers.sound_names import NOT_THERE
from engine.numbers.treatment import Limits, Treatment
from engine.prompts import library
from engine.prompts.library import Shelf
from engine.routing import account_settings, book, caller_groups, current_lines, days_off, holiday_calendar
from engine.routing import cache as cache_module
from engine.routing.cache import RoutingCache
from engine.routing.check import Against
from engine.routing.known import Known, write_known
from engine.routing.model import AccountRouting, ClosedDay, Condition, Line, Rule
from tests.databases import MIGRATIONS
from tests.opened_shop import TARGET, VIRTUAL, number_of, open_shop
from tests.own_postgres import own_postgres
from tests.tones import tone, write_audio

NEW_TARGET = PhoneNumber("01012345678")


@pytest.fixture(autouse=True)
def _snapshot_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "_SNAPSHOT_DELAY", 0.0)


@asynccontextmanager
async def kept_fresh(cache: RoutingCache, database: AsyncEngine, url: str) -> AsyncIterator[None]:
    tasks = Tasks("test")
    tasks.start("cache", cache.keep_fresh(database, url))
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


def target(cache: RoutingCache) -> PhoneNumber | None:
    found = cache.find(VIRTUAL)
    return found.number.target if found else None


def line(cache: RoutingCache) -> Line:
    found = cache.find(VIRTUAL)
    assert found is not None
    return found


async def test_nothing_is_known_before_anything_was_read(tmp_path: Path) -> None:
    cache = RoutingCache(tmp_path / "routing")
    assert not cache.known
    assert cache.find(VIRTUAL) is None


async def test_numbers_added_changed_and_removed_are_followed(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    shop = await open_shop(database)
    cache = RoutingCache(tmp_path / "routing")
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


async def switched(database: AsyncEngine, account: UUID, on: bool, *modules: Module) -> None:
    async with transaction(database) as connection:
        for module in modules:
            await switch(connection, LOCAL_OPERATOR, account, module, on, datetime.now(UTC))


async def test_a_function_switched_above_an_account_is_heard_for_all_below_it(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    shop, beside = await open_shop(database), await open_shop(database, "beside")
    async with transaction(database) as connection:
        agency = await tree.open_account(connection, LOCAL_OPERATOR, OPERATOR_ID, AccountKind.AGENCY, "agency", now)
        other = await tree.open_account(connection, LOCAL_OPERATOR, OPERATOR_ID, AccountKind.AGENCY, "other", now)
        branch = await tree.open_account(connection, LOCAL_OPERATOR, agency.id, AccountKind.BRANCH, "branch", now)
        await tree.move(connection, LOCAL_OPERATOR, shop, branch.id, now)
    await put_in(database, number_of(shop))
    cache, told = RoutingCache(tmp_path / "routing"), set[str]()

    def off(account: UUID) -> frozenset[Module] | None:
        return next((one.off for one in cache.accounts() if one.account_id == account), None)

    cache.tell_of_changes(told.add)
    async with kept_fresh(cache, database, database_url):
        await until(lambda: target(cache) == TARGET)
        told.clear()
        await switched(database, agency.id, False, Module.CALLS, Module.RECORDING)
        await until(lambda: line(cache).account.off == {Module.CALLS, Module.RECORDING})
        await until(lambda: {str(agency.id), str(branch.id), str(shop)} <= told)
        assert off(beside) == frozenset()
        assert str(beside) not in told, "nobody else's routes are made anew"
        await switched(database, shop, False, Module.CALLBACK)
        await until(lambda: Module.CALLBACK in line(cache).account.off)
        async with transaction(database) as connection:
            made = await current_lines.find(connection, VIRTUAL)
        assert made.account.off == line(cache).account.off, "what explain reads is what calls go by"
        async with transaction(database) as connection:
            await tree.move(connection, LOCAL_OPERATOR, branch.id, other.id, now)
        await until(lambda: line(cache).account.off == {Module.CALLBACK})
        await switched(database, shop, True, Module.CALLBACK)
        await until(lambda: line(cache).account.off == frozenset())
        await switched(database, other.id, False, Module.MOBILE_TARGETS)
        await until(lambda: line(cache).account.off == {Module.MOBILE_TARGETS})
    kept = RoutingCache(tmp_path / "routing")
    assert line(kept).account.off == {Module.MOBILE_TARGETS}, "so it is without a database too"


async def test_a_switch_above_many_accounts_means_read_all_again(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    shop = await open_shop(database)
    async with transaction(database) as connection:
        agency = await tree.open_account(connection, LOCAL_OPERATOR, OPERATOR_ID, AccountKind.AGENCY, "agency", now)
        for place in range(101):
            await tree.open_account(connection, LOCAL_OPERATOR, agency.id, AccountKind.SHOP, f"shop {place}", now)
        await tree.move(connection, LOCAL_OPERATOR, shop, agency.id, now)
    await put_in(database, number_of(shop))
    cache, told = RoutingCache(tmp_path / "routing"), list[str]()
    async with kept_fresh(cache, database, database_url):
        await until(lambda: target(cache) == TARGET)
        cache.tell_of_changes(told.append)
        await switched(database, agency.id, False, Module.CALLS)
        await until(lambda: line(cache).account.off == {Module.CALLS})
        await until(lambda: bool(told))
    assert set(told) == {""}


NIGHT = Rule(name="night", condition=Condition(weekdays=(1,)), treatment=Treatment(announcement="own/night"))
REST = Rule(name="rest", condition=Condition(), treatment=Treatment(accept=True), enabled=False)
SUNDAYS = ClosedDay(weekday=7, weeks=(2, 4))
CHRISTMAS = date(2026, 12, 25)
AGAINST = Against(now=datetime(2026, 11, 21, tzinfo=UTC))
CALLER = PhoneNumber("01099998888")


async def open_with_everything(database: AsyncEngine) -> UUID:
    """A number with two rules and days off, of an account with a calendar and a group; the account."""
    shop = await open_shop(database)
    async with transaction(database) as connection:
        await add(connection, number_of(shop, treatment=Treatment(ringback=("own/tune",))))
        for rule in (NIGHT, REST):
            await book.add_rule(connection, LOCAL_OPERATOR, VIRTUAL, rule, AGAINST)
        await days_off.close(connection, LOCAL_OPERATOR, VIRTUAL, [SUNDAYS], AGAINST.now)
        await days_off.close(connection, LOCAL_OPERATOR, shop, [ClosedDay(day=CHRISTMAS)], AGAINST.now)
        await caller_groups.add(connection, LOCAL_OPERATOR, shop, "vip", [CALLER], AGAINST.now)
        await account_settings.change(
            connection, LOCAL_OPERATOR, shop, AGAINST.now, zone="Asia/Tokyo", limits=Limits(at_once=3)
        )
        await holiday_calendar.add(connection, LOCAL_OPERATOR, CHRISTMAS, "성탄절", AGAINST.now)
    return shop


def is_whole(found: Line | None, shop: UUID) -> bool:
    return found is not None and (found.rules, found.closed_days, found.account, found.holidays.days) == (
        (NIGHT, REST),
        (SUNDAYS,),
        AccountRouting(
            account_id=shop,
            zone="Asia/Tokyo",
            limits=Limits(at_once=3),
            closed_days=(ClosedDay(day=CHRISTMAS),),
            groups={"vip": frozenset({CALLER})},
        ),
        {CHRISTMAS: "성탄절"},
    )


async def test_a_number_is_found_with_all_that_decides_about_its_calls(database: AsyncEngine, tmp_path: Path) -> None:
    shop = await open_with_everything(database)
    cache = RoutingCache(tmp_path / "routing")
    await cache.load(database)
    assert is_whole(cache.find(VIRTUAL), shop)
    assert cache.limited() == ([], [shop])
    cache.write_snapshot()
    again = RoutingCache(tmp_path / "routing")
    assert again.known
    assert is_whole(again.find(VIRTUAL), shop)
    assert line(again) == line(cache)


async def test_rules_calendars_groups_and_holidays_are_followed(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    shop = await open_shop(database)
    async with transaction(database) as connection:
        await add(connection, number_of(shop))
    cache = RoutingCache(tmp_path / "routing")
    async with kept_fresh(cache, database, database_url):
        await until(lambda: target(cache) == TARGET)
        async with transaction(database) as connection:
            await book.add_rule(connection, LOCAL_OPERATOR, VIRTUAL, NIGHT, AGAINST)
        await until(lambda: line(cache).rules == (NIGHT,))
        async with transaction(database) as connection:
            await days_off.close(connection, LOCAL_OPERATOR, VIRTUAL, [SUNDAYS], AGAINST.now)
        await until(lambda: line(cache).closed_days == (SUNDAYS,))
        async with transaction(database) as connection:
            await days_off.close(connection, LOCAL_OPERATOR, shop, [SUNDAYS], AGAINST.now)
            await caller_groups.add(connection, LOCAL_OPERATOR, shop, "vip", [CALLER], AGAINST.now)
        await until(lambda: line(cache).account.closed_days == (SUNDAYS,))
        assert line(cache).account.groups == {"vip": frozenset({CALLER})}
        async with transaction(database) as connection:
            await account_settings.change(connection, LOCAL_OPERATOR, shop, AGAINST.now, zone="Asia/Tokyo")
        await until(lambda: line(cache).account.zone == "Asia/Tokyo")
        async with transaction(database) as connection:
            await holiday_calendar.seed(connection, LOCAL_OPERATOR, [2026], AGAINST.now)
        await until(lambda: CHRISTMAS in line(cache).holidays.days)
        async with transaction(database) as connection:
            await book.remove_rule(connection, LOCAL_OPERATOR, VIRTUAL, NIGHT.name, AGAINST)
            await days_off.open_again(connection, LOCAL_OPERATOR, VIRTUAL, [SUNDAYS], AGAINST.now)
            await caller_groups.remove(connection, LOCAL_OPERATOR, shop, "vip", AGAINST.now)
        await until(lambda: not line(cache).rules)
        await until(lambda: not line(cache).account.groups)
        assert line(cache).closed_days == ()


async def test_a_removed_number_takes_its_rules_with_it(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    shop = await open_with_everything(database)
    cache = RoutingCache(tmp_path / "routing")
    async with kept_fresh(cache, database, database_url):
        await until(lambda: is_whole(cache.find(VIRTUAL), shop))
        async with transaction(database) as connection:
            await remove(connection, VIRTUAL)
        await until(lambda: cache.find(VIRTUAL) is None)
        await put_in(database, number_of(shop))
        await until(lambda: target(cache) == TARGET)
        assert line(cache).rules == ()
        assert line(cache).closed_days == ()


async def test_a_notification_that_names_nothing_known_means_read_all_again(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    shop = await open_shop(database)
    async with transaction(database) as connection:
        await connection.execute(text("ALTER TABLE numbers DISABLE TRIGGER USER"))
    cache = RoutingCache(tmp_path / "routing")
    async with kept_fresh(cache, database, database_url):
        await until(lambda: cache.known)
        await put_in(database, number_of(shop))
        async with transaction(database) as connection:
            await connection.execute(text("SELECT pg_notify('dari_accounts', 'something else')"))
        await until(lambda: target(cache) == TARGET)


async def test_many_changes_at_once_are_followed(database: AsyncEngine, database_url: str, tmp_path: Path) -> None:
    shop = await open_shop(database)
    cache = RoutingCache(tmp_path / "routing")
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
    cache = RoutingCache(tmp_path / "routing")
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
    cache = RoutingCache(tmp_path / "routing")
    async with kept_fresh(cache, database, database_url):
        await until(lambda: target(cache) == TARGET)
    again = RoutingCache(tmp_path / "routing")
    assert again.known
    assert again.find(VIRTUAL) == cache.find(VIRTUAL)


async def test_a_change_right_before_the_end_is_on_disk_too(
    database: AsyncEngine, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "_SNAPSHOT_DELAY", 3600.0)
    await put_in(database, number_of(await open_shop(database)))
    cache = RoutingCache(tmp_path / "routing")
    async with kept_fresh(cache, database, database_url):
        await until(lambda: target(cache) == TARGET)
    assert target(RoutingCache(tmp_path / "routing")) == TARGET


async def test_a_broken_snapshot_is_as_good_as_none(tmp_path: Path) -> None:
    (tmp_path / "routing").write_bytes(b'{"format":1')
    cache = RoutingCache(tmp_path / "routing")
    assert not cache.known


async def test_a_database_that_is_away_leaves_what_is_known(tmp_path: Path) -> None:
    write_known(Known(numbers={VIRTUAL: number_of(UUID(int=1))}), tmp_path / "routing")
    cache = RoutingCache(tmp_path / "routing")
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
        cache = RoutingCache(tmp_path / "routing")
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


def ringback(cache: RoutingCache) -> tuple[str, ...] | None:
    found = cache.find(VIRTUAL)
    return found.number.treatment.ringback if found else None


async def greeting(database: AsyncEngine, shop: UUID, folder: Path, hertz: int) -> str:
    """The sound of the account's prompt 인사말 in its new version."""
    file = write_audio(folder / f"{hertz}.wav", tone(hertz, 0.5))
    shelf = Shelf(shop, "인사말", folder / "sounds", datetime(2026, 11, 21, tzinfo=UTC))
    async with transaction(database) as connection:
        return (await library.add(connection, LOCAL_OPERATOR, shelf, file)).sound


async def test_the_next_call_hears_the_prompts_current_version(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    shop = await open_shop(database)
    first = await greeting(database, shop, tmp_path, 500)
    closed = Rule(name="night", condition=Condition(weekdays=(1,)), treatment=Treatment(announcement="prompt:인사말"))
    async with transaction(database) as connection:
        await add(connection, number_of(shop, treatment=Treatment(ringback=("prompt:인사말", "own/x"))))
        await book.add_rule(connection, LOCAL_OPERATOR, VIRTUAL, closed, AGAINST)
    cache = RoutingCache(tmp_path / "routing")
    async with kept_fresh(cache, database, database_url):
        await until(lambda: ringback(cache) == (first, "own/x"))
        second = await greeting(database, shop, tmp_path, 700)
        assert second != first
        await until(lambda: ringback(cache) == (second, "own/x"))
        assert line(cache).rules[0].treatment.announcement == second
        async with transaction(database) as connection:
            assert await current_lines.find(connection, VIRTUAL) == line(cache)
            assert (await current_lines.find_as_set(connection, VIRTUAL)).rules == (closed,)
            await library.rollback(connection, LOCAL_OPERATOR, shop, "인사말", 1, AGAINST.now)
        await until(lambda: ringback(cache) == (first, "own/x"))
    after = RoutingCache(tmp_path / "routing")
    assert ringback(after) == (first, "own/x"), "the snapshot has the prompts"


async def test_a_prompt_of_another_account_is_not_heard(database: AsyncEngine, tmp_path: Path) -> None:
    shop, other = await open_shop(database), await open_shop(database, "other")
    await greeting(database, other, tmp_path, 500)
    await put_in(database, number_of(shop, treatment=Treatment(ringback=("prompt:인사말",))))
    cache = RoutingCache(tmp_path / "routing")
    await cache.load(database)
    assert ringback(cache) == (NOT_THERE,)
