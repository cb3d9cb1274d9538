"""Listening grants on the real database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts import grants, modules
from engine.accounts.model import (
    LOCAL_OPERATOR,
    OPERATOR_ID,
    Account,
    AccountKind,
    Actor,
    ListeningGrant,
    Module,
    Role,
)
from engine.accounts.tree import open_account
from engine.calls.listening_log import ListeningLog
from engine.calls.listening_rules import Wish, belongs_to_them
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, Invalid, NotAllowed, NotFound
from tests.hand_clock import HandClock

NOW = datetime(2026, 11, 22, 3, tzinfo=UTC)
_T = TypeVar("_T")


class Line(NamedTuple):
    agency: Account
    shop: Account
    stranger: Account


async def done(database: AsyncEngine, deed: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
    async with transaction(database) as connection:
        return await deed(connection)


async def opened(database: AsyncEngine) -> Line:
    async with transaction(database) as connection:
        agency = await open_account(connection, LOCAL_OPERATOR, OPERATOR_ID, AccountKind.AGENCY, "agency", NOW)
        stranger = await open_account(connection, LOCAL_OPERATOR, OPERATOR_ID, AccountKind.AGENCY, "stranger", NOW)
        shop = await open_account(connection, LOCAL_OPERATOR, agency.id, AccountKind.SHOP, "shop", NOW)
    return Line(agency, shop, stranger)


def owner(shop: Account) -> Actor:
    return Actor(who="user:owner", place=shop.place, role=Role.OWNER)


async def given(database: AsyncEngine, line: Line, **change: Any) -> ListeningGrant:
    values: dict[str, Any] = {
        "actor": owner(line.shop),
        "shop": line.shop.id,
        "to_account": line.agency.id,
        "now": NOW,
        "until": NOW + timedelta(days=31),
        "reason": "training",
    }
    return await done(database, partial(grants.give, **(values | change)))


async def test_a_grant_runs_from_its_beginning_to_its_end_or_until_it_is_taken_back(database: AsyncEngine) -> None:
    line = await opened(database)
    grant = await given(database, line, begins=NOW + timedelta(hours=1), until=NOW + timedelta(hours=3))

    async def running(hours: float) -> bool:
        found = await done(
            database, lambda connection: grants.running(connection, line.shop.id, NOW + timedelta(hours=hours))
        )
        return bool(found)

    assert [await running(hours) for hours in (0.9, 1, 2.9, 3)] == [False, True, True, False]
    back = partial(grants.take_back, grant=grant.id, now=NOW + timedelta(hours=2))
    with pytest.raises(NotAllowed):
        await done(database, partial(back, actor=Actor(who="user:3", place=line.agency.place, role=Role.AGENCY)))
    with pytest.raises(NotFound):
        await done(database, partial(back, actor=Actor(who="user:4", place=line.stranger.place, role=Role.AGENCY)))
    await done(database, partial(back, actor=owner(line.shop)))
    assert not await running(2)
    with pytest.raises(Conflict):
        await done(database, partial(back, actor=owner(line.shop)))
    with pytest.raises(NotFound):
        await done(database, lambda connection: grants.take_back(connection, LOCAL_OPERATOR, uuid4(), NOW))


async def test_the_operator_writes_down_a_grant_only_with_its_paper(database: AsyncEngine) -> None:
    line = await opened(database)
    with pytest.raises(Invalid, match="evidence"):
        await given(database, line, actor=LOCAL_OPERATOR)
    made = await given(database, line, actor=LOCAL_OPERATOR, to_account=OPERATOR_ID, evidence="form of 2026-11-20")
    assert (made.by, made.evidence) == (LOCAL_OPERATOR.who, "form of 2026-11-20")
    assert await done(database, lambda connection: grants.of_shop(connection, owner(line.shop), line.shop.id)) == [made]
    with pytest.raises(NotAllowed):
        await given(database, line, actor=Actor(who="user:3", place=line.agency.place, role=Role.AGENCY), evidence="x")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"until": NOW + timedelta(days=31, seconds=1)}, "until"),
        ({"until": NOW}, "until"),
        ({"begins": NOW + timedelta(days=40)}, "until"),
        ({"begins": NOW - timedelta(days=30)}, "until"),
        ({"reason": " "}, "reason"),
        ({"reason": "x" * 501}, "reason"),
    ],
)
async def test_a_grant_that_cannot_be_is_refused(database: AsyncEngine, change: dict[str, Any], field: str) -> None:
    line = await opened(database)
    with pytest.raises(Invalid, match=field):
        await given(database, line, **change)


async def test_only_an_account_above_gets_one_and_only_a_shop_gives_one(database: AsyncEngine) -> None:
    line = await opened(database)
    for nobody in (line.stranger.id, line.shop.id, uuid4()):
        with pytest.raises(Invalid, match="to_account"):
            await given(database, line, to_account=nobody)
    with pytest.raises(Invalid, match="only a shop"):
        await given(database, line, actor=LOCAL_OPERATOR, shop=line.agency.id, to_account=OPERATOR_ID, evidence="paper")


async def test_the_database_itself_holds_the_31_days(database: AsyncEngine) -> None:
    line = await opened(database)
    grant = await given(database, line)
    with pytest.raises(IntegrityError):
        async with transaction(database) as connection:
            await connection.execute(
                text("UPDATE listening_grants SET until = until + interval '1 second' WHERE id = :id"), {"id": grant.id}
            )


async def test_a_grant_is_told_to_the_audit_and_to_the_shops_events(database: AsyncEngine) -> None:
    line = await opened(database)
    grant = await given(database, line)
    async with transaction(database) as connection:
        audit = (await connection.execute(text("SELECT * FROM audit WHERE object_kind = 'listening grant'"))).one()
        events = (await connection.execute(text("SELECT * FROM events WHERE body->>'thing' = 'listening grant'"))).all()
    assert (audit.who, audit.account_id, audit.object_id) == ("user:owner", line.shop.id, str(grant.id))
    assert audit.after["to_account"] == str(line.agency.id)
    assert [event.account_id for event in events] == [line.shop.id]


async def test_the_engine_asks_the_database_who_may_listen(database: AsyncEngine) -> None:
    line = await opened(database)
    clock = HandClock()
    log = ListeningLog(database, clock)
    manager = Actor(who="user:2", place=line.agency.place, role=Role.AGENCY)
    wish = Wish(call="ab12cd34", who="manager", reason="training", actor=manager)

    async def until() -> datetime:
        return belongs_to_them(wish, await log.standing(line.shop.id), clock.now())

    assert await log.standing(None) is None
    assert await log.standing(uuid4()) is None
    with pytest.raises(NotAllowed, match="grant"):
        await until()
    grant = await given(database, line, now=clock.now(), until=clock.now() + timedelta(hours=2))
    assert await until() == grant.until
    clock.advance(timedelta(hours=1))
    assert await until() == grant.until
    await done(
        database,
        lambda connection: modules.switch(
            connection, LOCAL_OPERATOR, line.agency.id, Module.LISTENING, False, clock.now()
        ),
    )
    with pytest.raises(NotAllowed, match="off for shop"):
        await until()
    clock.advance(timedelta(hours=1))
    with pytest.raises(NotAllowed, match="grant"):
        await until()
