"""The tree on the real database: what stands where, what each deed leaves, and races."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts import modules, tree
from engine.accounts.book import account_called, account_named, accounts
from engine.accounts.model import (
    ALL_MODULES,
    LOCAL_OPERATOR,
    OPERATOR_ID,
    Account,
    AccountKind,
    Actor,
    Module,
    Role,
)
from engine.accounts.tree import UNDER, listing, open_account, top_of
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound
from engine.numbers.inventory import add
from tests.eventually import eventually
from tests.opened_shop import number_of, open_shop

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
LATER = NOW + timedelta(seconds=1)
_T = TypeVar("_T")
KINDS = {
    "agency": AccountKind.AGENCY,
    "region": AccountKind.REGION,
    "branch": AccountKind.BRANCH,
    "shop": AccountKind.SHOP,
}


async def done(database: AsyncEngine, deed: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
    async with transaction(database) as connection:
        return await deed(connection)


async def opened(database: AsyncEngine, kind: str, name: str, under: UUID = OPERATOR_ID) -> Account:
    return await done(
        database, lambda connection: open_account(connection, LOCAL_OPERATOR, under, KINDS[kind], name, NOW)
    )


async def line(database: AsyncEngine) -> tuple[Account, Account, Account, Account]:
    """An agency, a region under it, a branch under that, and a shop."""
    agency = await opened(database, "agency", "agency")
    region = await opened(database, "region", "region", agency.id)
    branch = await opened(database, "branch", "branch", region.id)
    return agency, region, branch, await opened(database, "shop", "shop", branch.id)


async def again(database: AsyncEngine, account: Account) -> Account:
    return await done(database, lambda connection: tree.find(connection, account.id))


def manager(account: Account, role: Role) -> Actor:
    return Actor(who="user:1", place=account.place, role=role)


async def written(database: AsyncEngine, table: str) -> list[dict[str, Any]]:
    async with transaction(database) as connection:
        rows = await connection.execute(text(f"SELECT * FROM {table} ORDER BY id"))  # noqa: S608
        return [dict(row._mapping) for row in rows]


async def test_the_operator_is_the_root_and_every_plain_account_a_shop_under_it(database: AsyncEngine) -> None:
    root = await done(database, lambda connection: tree.find(connection, OPERATOR_ID))
    assert (root.kind, root.parent, root.path, root.name) == (AccountKind.OPERATOR, None, (OPERATOR_ID,), "operator")
    shop = await done(database, lambda connection: account_named(connection, LOCAL_OPERATOR, "가게", NOW))
    assert (shop.kind, shop.parent, shop.path) == (AccountKind.SHOP, OPERATOR_ID, (OPERATOR_ID, shop.id))
    assert shop.modules == ALL_MODULES
    assert await done(database, accounts) == [shop]


async def test_a_line_from_the_agency_to_the_shop(database: AsyncEngine) -> None:
    agency, region, branch, shop = await line(database)
    assert shop.path == (OPERATOR_ID, agency.id, region.id, branch.id, shop.id)
    assert [one.fee_waived for one in (agency, region, branch, shop)] == [False, False, True, False]
    assert top_of(shop.path) == agency.id == top_of(agency.path)
    assert top_of((OPERATOR_ID,)) == OPERATOR_ID
    under = await done(database, lambda connection: listing(connection, region.id))
    assert {one.id for one in under} == {region.id, branch.id, shop.id}
    first = await done(database, lambda connection: listing(connection, region.id, limit=1))
    rest = await done(database, lambda connection: listing(connection, region.id, after=first[0].id))
    assert [*first, *rest] == under
    places = await done(database, lambda connection: tree.account_places(connection, [shop.id, uuid4()]))
    assert places == {shop.id: shop.place}


async def test_what_was_done_is_written_into_the_audit_and_the_stream(database: AsyncEngine) -> None:
    agency = await opened(database, "agency", "agency")
    await done(database, lambda connection: tree.rename(connection, LOCAL_OPERATOR, agency.id, "대행사", LATER))
    entries, events = await written(database, "audit"), await written(database, "events")
    assert [entry["deed"] for entry in entries] == ["open accounts", "change accounts"]
    assert (entries[1]["before"], entries[1]["after"]) == ({"name": "agency"}, {"name": "대행사"})
    assert {entry["account_id"] for entry in entries} == {agency.id}
    assert [event["kind"] for event in events] == ["account.changed"] * 2
    assert events[1]["body"]["fields"] == ["name"]
    await done(database, lambda connection: tree.rename(connection, LOCAL_OPERATOR, agency.id, "대행사", LATER))
    assert len(await written(database, "audit")) == 2


@pytest.mark.parametrize("above", ["agency", "region", "branch", "shop"])
@pytest.mark.parametrize("kind", ["agency", "region", "branch", "shop"])
async def test_what_may_stand_under_what(database: AsyncEngine, above: str, kind: str) -> None:
    parent = {one.kind.value: one for one in await line(database)}[above]
    if KINDS[kind] in UNDER[KINDS[above]]:
        assert (await opened(database, kind, "new", parent.id)).parent == parent.id
    else:
        with pytest.raises(Invalid, match="directly under"):
            await opened(database, kind, "new", parent.id)


async def test_a_name_is_taken_only_beside(database: AsyncEngine) -> None:
    one, other = await opened(database, "agency", "one"), await opened(database, "agency", "other")
    shop = await opened(database, "shop", "main street", one.id)
    same = await opened(database, "shop", "main street", other.id)
    with pytest.raises(Conflict, match="main street"):
        await opened(database, "shop", "main street", one.id)
    with pytest.raises(Conflict, match="main street"):
        await done(database, lambda connection: tree.move(connection, LOCAL_OPERATOR, same.id, one.id, NOW))
    beside = await opened(database, "shop", "beside", one.id)
    with pytest.raises(Conflict, match="beside it"):
        await done(database, lambda connection: tree.rename(connection, LOCAL_OPERATOR, beside.id, "main street", NOW))
    with pytest.raises(Conflict, match="2 have that name"):
        await done(database, lambda connection: account_named(connection, LOCAL_OPERATOR, "main street", NOW))
    with pytest.raises(Conflict, match="AGENCY/main street"):
        await done(database, lambda connection: account_called(connection, "main street"))
    for called in ("one/main street", str(shop.id), " one / main street"):
        assert await done(database, partial(account_called, written=called)) == shop
    assert (await done(database, lambda connection: account_called(connection, "operator"))).id == OPERATOR_ID
    for nobody in ("two/main street", "nobody", str(uuid4())):
        with pytest.raises(NotFound):
            await done(database, partial(account_called, written=nobody))


async def test_a_closed_account_gives_its_name_free(database: AsyncEngine) -> None:
    shop = await opened(database, "shop", "shop")
    closed = await done(database, lambda connection: tree.close(connection, LOCAL_OPERATOR, shop.id, NOW))
    assert closed.status == "closed"
    another = await opened(database, "shop", "shop")
    assert await done(database, lambda connection: account_named(connection, LOCAL_OPERATOR, "shop", NOW)) == another
    with pytest.raises(Conflict, match="closed"):
        await done(database, lambda connection: tree.rename(connection, LOCAL_OPERATOR, shop.id, "x", NOW))
    with pytest.raises(Conflict, match="closed"):
        await done(database, lambda connection: tree.kept_open(connection, shop.id))
    with pytest.raises(Conflict, match="closed"):
        await done(
            database,
            lambda connection: modules.switch(connection, LOCAL_OPERATOR, shop.id, Module.API, False, NOW),
        )


async def test_an_account_in_use_is_not_closed(database: AsyncEngine) -> None:
    agency, _, branch, shop = await line(database)
    for account in (agency, branch):
        with pytest.raises(Conflict, match="under it"):
            await done(database, partial(tree.close, actor=LOCAL_OPERATOR, account=account.id, now=NOW))
    used = await open_shop(database, "used")
    await done(database, lambda connection: add(connection, number_of(used)))
    with pytest.raises(Conflict, match="numbers"):
        await done(database, lambda connection: tree.close(connection, LOCAL_OPERATOR, used, NOW))
    with pytest.raises(DariError):
        await done(database, lambda connection: tree.close(connection, LOCAL_OPERATOR, OPERATOR_ID, NOW))
    for account in (shop, branch):
        await done(database, partial(tree.close, actor=LOCAL_OPERATOR, account=account.id, now=NOW))


async def test_a_part_is_moved_with_all_below_it(database: AsyncEngine) -> None:
    agency, region, branch, shop = await line(database)
    other = await opened(database, "agency", "other")
    moved = await done(database, lambda connection: tree.move(connection, LOCAL_OPERATOR, region.id, other.id, NOW))
    assert moved.path == (OPERATOR_ID, other.id, region.id)
    assert (await again(database, shop)).path == (OPERATOR_ID, other.id, region.id, branch.id, shop.id)
    assert [one.id for one in await done(database, lambda connection: listing(connection, agency.id))] == [agency.id]
    for below in (region, branch, shop):
        with pytest.raises(Conflict, match="under itself"):
            await done(database, partial(tree.move, actor=LOCAL_OPERATOR, account=region.id, parent=below.id, now=NOW))
    with pytest.raises(Invalid, match="directly under"):
        await done(database, lambda connection: tree.move(connection, LOCAL_OPERATOR, agency.id, region.id, NOW))
    with pytest.raises(DariError):
        await done(database, lambda connection: tree.move(connection, LOCAL_OPERATOR, OPERATOR_ID, other.id, NOW))


async def test_an_agency_works_in_its_own_part_only(database: AsyncEngine) -> None:
    agency, region, branch, shop = await line(database)
    other = await opened(database, "agency", "other")
    foreign = await opened(database, "shop", "foreign", other.id)
    boss = manager(agency, Role.AGENCY)
    made = await done(
        database, lambda connection: open_account(connection, boss, branch.id, AccountKind.SHOP, "by agency", NOW)
    )
    assert made.parent == branch.id
    await done(database, lambda connection: tree.move(connection, boss, made.id, region.id, NOW))
    for deed in (
        lambda connection: tree.seen(connection, boss, foreign.id),
        lambda connection: tree.rename(connection, boss, foreign.id, "mine", NOW),
        lambda connection: tree.close(connection, boss, foreign.id, NOW),
        lambda connection: tree.move(connection, boss, foreign.id, agency.id, NOW),
        lambda connection: tree.move(connection, boss, shop.id, other.id, NOW),
        lambda connection: open_account(connection, boss, other.id, AccountKind.SHOP, "x", NOW),
        lambda connection: modules.switch(connection, boss, foreign.id, Module.API, False, NOW),
    ):
        with pytest.raises(NotFound):
            await done(database, deed)
    for deed in (
        lambda connection: tree.close(connection, boss, agency.id, NOW),
        lambda connection: tree.waive_fee(connection, boss, shop.id, True, NOW),
        lambda connection: modules.switch(connection, boss, agency.id, Module.API, True, NOW),
    ):
        with pytest.raises(NotAllowed):
            await done(database, deed)
    assert (await again(database, foreign)) == foreign


async def test_what_is_off_above_is_off_below(database: AsyncEngine) -> None:
    agency, region, _, shop = await line(database)

    async def switched(account: Account, module: Module, on: bool) -> Account:
        return await done(
            database, lambda connection: modules.switch(connection, LOCAL_OPERATOR, account.id, module, on, NOW)
        )

    assert (await switched(region, Module.RECORDING, False)).modules == ALL_MODULES - {Module.RECORDING}
    assert (await again(database, shop)).modules == ALL_MODULES - {Module.RECORDING}
    assert (await again(database, agency)).modules == ALL_MODULES
    with pytest.raises(NotAllowed, match="recording"):
        modules.check_on(await again(database, shop), Module.RECORDING)
    with pytest.raises(Conflict, match="off for branch"):
        await switched(shop, Module.RECORDING, True)
    await switched(shop, Module.API, False)

    async def off(*accounts: Account) -> list[set[Module]]:
        found = await done(
            database, lambda connection: modules.switched_off(connection, {account.id for account in accounts})
        )
        return [set(found[account.id]) for account in accounts]

    assert await off(agency, region, shop) == [set(), {Module.RECORDING}, {Module.RECORDING, Module.API}]
    assert await off() == []
    with pytest.raises(NotFound, match="there is none"):
        await done(database, lambda connection: modules.switched_off(connection, [shop.id, uuid4()]))
    await switched(region, Module.RECORDING, True)
    assert (await again(database, shop)).modules == ALL_MODULES - {Module.API}
    entries = [entry for entry in await written(database, "audit") if entry["account_id"] == region.id]
    switches = [(entry["before"], entry["after"]) for entry in entries if entry["deed"] == "switch modules"]
    assert ({"recording": False}, {"recording": True}) in switches
    assert len(switches) == 2


async def test_business_figures_are_checked_and_kept(database: AsyncEngine) -> None:
    shop = await opened(database, "shop", "shop")

    async def kept(**values: Any) -> Account:
        return await done(
            database,
            lambda connection: tree.set_business(
                connection,
                LOCAL_OPERATOR,
                shop.id,
                NOW,
                **({"trade": None, "yearly_revenue": None, "evidence": None} | values),
            ),
        )

    after = await kept(trade="56111", yearly_revenue=900_000_000, evidence=" tax office ")
    assert (after.trade, after.yearly_revenue, after.revenue_evidence) == ("56111", 900_000_000, "tax office")
    for wrong in ({"trade": "561"}, {"yearly_revenue": -1}, {"yearly_revenue": 10**19}, {"evidence": "x" * 1001}):
        with pytest.raises(Invalid):
            await kept(**wrong)


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../etc/passwd", "Asia/Seoul\0"])
async def test_a_zone_that_is_none_is_refused(database: AsyncEngine, zone: str) -> None:
    shop = await opened(database, "shop", "shop")
    with pytest.raises(Invalid, match="zone"):
        await done(database, lambda connection: tree.set_zone(connection, LOCAL_OPERATOR, shop.id, zone, NOW))


async def test_paths_hold_while_many_open_move_and_close_at_once(database: AsyncEngine) -> None:
    """Whatever loses a race is refused; every path still says what the parents say."""
    chosen = random.Random(20261122)
    at_once = asyncio.Semaphore(8)  # fewer than the database takes connections
    agencies = [await opened(database, "agency", f"agency {number}") for number in range(3)]
    regions = [await opened(database, "region", f"region {number}", agencies[number].id) for number in range(3)]
    branches = [await opened(database, "branch", f"branch {number}", regions[number].id) for number in range(3)]

    async def one(number: int) -> None:
        where = chosen.choice([*agencies, *regions, *branches]).id
        moved = chosen.choice([*regions, *branches]).id
        deeds: list[Callable[[AsyncConnection], Awaitable[Account]]] = [
            lambda connection: open_account(connection, LOCAL_OPERATOR, where, AccountKind.SHOP, f"shop {number}", NOW),
            lambda connection: tree.move(connection, LOCAL_OPERATOR, moved, where, NOW),
            lambda connection: tree.close(connection, LOCAL_OPERATOR, moved, NOW),
        ]
        with suppress(NotFound, NotAllowed, Invalid, Conflict):
            async with at_once:
                await done(database, chosen.choices(deeds, [6, 6, 1])[0])

    await asyncio.gather(*(one(number) for number in range(120)))
    everybody = {
        account.id: account
        for account in await done(database, lambda connection: listing(connection, OPERATOR_ID, limit=500))
    }
    assert len(everybody) > 20
    for account in everybody.values():
        way = [account.id]
        while (above := everybody[way[0]].parent) is not None:
            way.insert(0, above)
        assert account.path == tuple(way)
        if account.parent is not None:
            assert account.kind in UNDER[everybody[account.parent].kind]
            if account.status == "active":
                assert everybody[account.parent].status == "active"


async def test_closing_waits_for_who_puts_something_in(database: AsyncEngine) -> None:
    agency = await opened(database, "agency", "agency")
    async with transaction(database) as connection:
        await open_account(connection, LOCAL_OPERATOR, agency.id, AccountKind.SHOP, "shop", NOW)
        closing = asyncio.ensure_future(done(database, lambda other: tree.close(other, LOCAL_OPERATOR, agency.id, NOW)))
        await waits(database)
    with pytest.raises(Conflict, match="under it"):
        await closing


async def waits(database: AsyncEngine) -> None:
    """Until somebody waits for a lock."""

    async def one() -> bool:
        async with transaction(database) as connection:
            return bool(
                await connection.scalar(
                    text(
                        "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' "
                        "AND datname = current_database())"
                    )
                )
            )

    await eventually(one)
