"""Days off, public holidays, groups of callers, and what an account's numbers have in common, on the real database."""

from __future__ import annotations

from datetime import date
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.database import transaction
from engine.foundation.errors import Invalid, NotFound
from engine.numbers.treatment import Limits
from engine.routing import account_settings, caller_groups, days_off, holiday_calendar
from engine.routing.model import ClosedDay
from tests.integration.routing.conftest import AGAINST, CALLER
from tests.opened_shop import TARGET, VIRTUAL, open_shop


async def test_a_temporary_holiday_stays_when_the_calendar_is_read_again(database: AsyncEngine) -> None:
    temporary, gone = date(2026, 12, 28), date(2026, 6, 1)
    async with transaction(database) as connection:
        new, _ = await holiday_calendar.seed(connection, LOCAL_OPERATOR, [2026, 2027], AGAINST.now)
        assert new > 25
        await holiday_calendar.add(connection, LOCAL_OPERATOR, temporary, "임시공휴일", AGAINST.now)
        await connection.execute(text("INSERT INTO holidays VALUES ('2026-06-01', 'no more', 'public')"))
        await holiday_calendar.remove(connection, LOCAL_OPERATOR, date(2026, 12, 25), AGAINST.now)
        assert await holiday_calendar.seed(connection, LOCAL_OPERATOR, [2026], AGAINST.now) == (1, 1)
        days = {holiday.day: holiday.source for holiday in await holiday_calendar.listing(connection)}
    assert days[temporary] == "temporary"
    assert days[date(2026, 12, 25)] == "public"
    assert gone not in days


async def test_closed_days_and_groups_are_of_one_account(database: AsyncEngine, shop: UUID) -> None:
    other = await open_shop(database, "other")
    async with transaction(database) as connection:
        assert (
            await days_off.close(connection, LOCAL_OPERATOR, shop, [ClosedDay(weekday=7, weeks=(4, 2, 2))], AGAINST.now)
            == 1
        )
        assert (
            await days_off.close(connection, LOCAL_OPERATOR, shop, [ClosedDay(weekday=7, weeks=(2, 4))], AGAINST.now)
            == 0
        )
        assert await days_off.listing(connection, shop) == (ClosedDay(weekday=7, weeks=(2, 4)),)
        assert await days_off.listing(connection, other) == ()
        assert await days_off.listing(connection, VIRTUAL) == ()
        await caller_groups.add(connection, LOCAL_OPERATOR, shop, "vip", [CALLER, TARGET], AGAINST.now)
        assert await caller_groups.listing(connection, other) == []
        assert await caller_groups.remove(connection, LOCAL_OPERATOR, shop, "vip", AGAINST.now, [TARGET]) == 1
        assert [member.number for member in await caller_groups.listing(connection, shop)] == [CALLER]
        for deed in (
            days_off.listing(connection, UUID(int=9)),
            days_off.close(connection, LOCAL_OPERATOR, CALLER, [ClosedDay(weekday=7)], AGAINST.now),
            days_off.open_again(connection, LOCAL_OPERATOR, shop, [ClosedDay(weekday=7)], AGAINST.now),
            account_settings.change(connection, LOCAL_OPERATOR, UUID(int=9), AGAINST.now, zone="Asia/Seoul"),
        ):
            with pytest.raises(NotFound):
                await deed
        for wrong in (ClosedDay(), ClosedDay(weekday=8), ClosedDay(weekday=1, weeks=(6,))):
            with pytest.raises(Invalid):
                await days_off.close(connection, LOCAL_OPERATOR, shop, [wrong], AGAINST.now)


async def test_an_accounts_zone_and_limits_are_set_apart(database: AsyncEngine, shop: UUID) -> None:
    async with transaction(database) as connection:
        await account_settings.change(connection, LOCAL_OPERATOR, shop, AGAINST.now, limits=Limits(per_day=7))
        await account_settings.change(connection, LOCAL_OPERATOR, shop, AGAINST.now, zone="Asia/Tokyo")
        found = await account_settings.find(connection, shop)
        assert (found.zone, found.limits) == ("Asia/Tokyo", Limits(per_day=7))
        for wrong in ({"zone": "Nowhere/Else"}, {"limits": Limits(at_once=0)}):
            with pytest.raises(Invalid):
                await account_settings.change(connection, LOCAL_OPERATOR, shop, AGAINST.now, **wrong)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    "broken",
    [
        "INSERT INTO number_rules VALUES ('050799999999', 'a', 1, '{}', '{}')",
        "INSERT INTO number_rules VALUES ('050712345678', '', 1, '{}', '{}')",
        "INSERT INTO number_rules VALUES ('050712345678', 'a', 1, '[]', '{}')",
        "INSERT INTO closed_days (number) VALUES ('050712345678')",
        "INSERT INTO closed_days (number, day, weekday) VALUES ('050712345678', '2026-12-25', 5)",
        "INSERT INTO closed_days (number, weekday, weeks) VALUES ('050712345678', 5, '{6}')",
        "INSERT INTO closed_days (weekday) VALUES (5)",
        "INSERT INTO holidays VALUES ('2026-12-25', 'x', 'mine')",
    ],
)
async def test_the_tables_themselves_refuse_what_no_rule_allows(database: AsyncEngine, broken: str) -> None:
    with pytest.raises(IntegrityError):
        async with transaction(database) as connection:
            await connection.execute(text(broken))
