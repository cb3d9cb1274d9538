"""When an account or a number is closed, the public holidays, and an account's time zone and limits."""

from __future__ import annotations

from datetime import date
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from annotated_types import MaxLen, MinLen
from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import OPERATOR_PLACE, Deed
from engine.accounts.permissions import check
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.etag import IfMatch, tagged, unchanged
from engine.api.owned import allowed_account, allowed_number
from engine.api.rules import Weekday
from engine.api.treatments import Limits
from engine.api.wire import AccountInPath, NumberInPath, Shape
from engine.routing import account_settings, days_off, holiday_calendar
from engine.routing import model as of
from engine.routing.days_off import Owner

_MOST = 1000
_MOST_YEARS = 10

Year = Annotated[int, Field(ge=holiday_calendar.FIRST_YEAR, le=holiday_calendar.LAST_YEAR, examples=[2026])]


class ClosedDay(Shape):
    """휴무일: a date, or a weekday, every week or in certain weeks of the month. Either `day` or `weekday`."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"weekday": 7, "weeks": [2, 4]}, {"day": "2026-12-25"}]})

    day: date | None = None
    weekday: Weekday | None = None
    weeks: Annotated[tuple[Annotated[int, Field(ge=1, le=5)], ...], MaxLen(5)] = ()
    """Which of the month's such weekdays; empty: every week."""

    def as_said(self) -> of.ClosedDay:
        return of.ClosedDay(day=self.day, weekday=self.weekday, weeks=tuple(sorted(set(self.weeks))))


class ClosedDays(Shape):
    """All days off."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"days": [{"weekday": 7, "weeks": [2, 4]}]}]})

    days: Annotated[tuple[ClosedDay, ...], MaxLen(_MOST)]

    def as_said(self) -> list[of.ClosedDay]:
        return [day.as_said() for day in self.days]


class Holiday(Shape):
    """A public holiday. `source`: `public` is the calendar's, `temporary` was entered by hand."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"day": "2026-12-25", "name": "기독탄신일", "source": "public"}]}
    )

    day: date
    name: str
    source: str


class Holidays(Shape):
    """Public holidays by day."""

    holidays: tuple[Holiday, ...]


class NewHoliday(Shape):
    """A temporary public holiday."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"day": "2027-03-09", "name": "대통령 선거일"}]})

    day: date
    name: Annotated[str, Field(min_length=1, max_length=60)]


class CalendarYears(Shape):
    """Years whose public holidays are taken from the calendar."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"years": [2026, 2027]}]})

    years: Annotated[tuple[Year, ...], MinLen(1), MaxLen(_MOST_YEARS)]


class HolidaysTaken(Shape):
    """What came of taking the calendar's holidays."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"new": 18, "gone": 0}]})

    new: int
    gone: int
    """Those that the calendar has no more."""


class CallSettings(Shape):
    """What all numbers of an account have in common."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"zone": "Asia/Seoul", "limits": {"at_once": 20, "per_hour": None}}]}
    )

    zone: Annotated[str, Field(min_length=1, max_length=64)]
    """IANA time zone in which its hours are meant."""
    limits: Limits


def hours_router() -> APIRouter:
    """Closed days of accounts and numbers, public holidays, call settings of accounts."""
    router = door_router("hours")
    router.get("/numbers/{number}/closed-days")(number_closed_days)
    router.put("/numbers/{number}/closed-days")(set_number_closed_days)
    router.get("/accounts/{account}/closed-days")(account_closed_days)
    router.put("/accounts/{account}/closed-days")(set_account_closed_days)
    router.get("/accounts/{account}/call-settings")(call_settings)
    router.put("/accounts/{account}/call-settings")(set_call_settings)
    router.get("/holidays")(holidays)
    router.post("/holidays", status_code=HTTPStatus.CREATED)(add_holiday)
    router.post("/holidays/seed")(seed_holidays)
    router.delete("/holidays/{day}", status_code=HTTPStatus.NO_CONTENT)(remove_holiday)
    return router


async def number_closed_days(number: NumberInPath, actor: ActorDep, rows: Rows, response: Response) -> ClosedDays:
    """A number's own days off, beside its account's."""
    await allowed_number(rows, actor, Deed.SEE_RULES, number)
    return tagged(response, await _closed_days(rows, number))


async def set_number_closed_days(
    number: NumberInPath,
    wanted: ClosedDays,
    actor: ActorDep,
    rows: Rows,
    now: Now,
    if_match: IfMatch,
    response: Response,
) -> ClosedDays:
    """Give a number these days off and no others."""
    await allowed_number(rows, actor, Deed.CHANGE_RULES, number)
    await unchanged(rows, "closed days of number", number, if_match, lambda: _closed_days(rows, number))
    await days_off.replace(rows, actor, number, wanted.as_said(), now)
    return tagged(response, await _closed_days(rows, number))


async def account_closed_days(account: AccountInPath, actor: ActorDep, rows: Rows, response: Response) -> ClosedDays:
    """An account's days off."""
    await allowed_account(rows, actor, Deed.SEE_RULES, account)
    return tagged(response, await _closed_days(rows, account))


async def set_account_closed_days(
    account: AccountInPath,
    wanted: ClosedDays,
    actor: ActorDep,
    rows: Rows,
    now: Now,
    if_match: IfMatch,
    response: Response,
) -> ClosedDays:
    """Give an account these days off and no others."""
    await allowed_account(rows, actor, Deed.CHANGE_RULES, account)
    await unchanged(rows, "closed days of account", account, if_match, lambda: _closed_days(rows, account))
    await days_off.replace(rows, actor, account, wanted.as_said(), now)
    return tagged(response, await _closed_days(rows, account))


async def call_settings(account: AccountInPath, actor: ActorDep, rows: Rows, response: Response) -> CallSettings:
    """An account's time zone and limits."""
    await allowed_account(rows, actor, Deed.SEE_ACCOUNTS, account)
    return tagged(response, await _call_settings(rows, account))


async def set_call_settings(
    account: AccountInPath,
    wanted: CallSettings,
    actor: ActorDep,
    rows: Rows,
    now: Now,
    if_match: IfMatch,
    response: Response,
) -> CallSettings:
    """Set an account's time zone and limits."""
    await allowed_account(rows, actor, Deed.CHANGE_ACCOUNTS, account)
    await unchanged(rows, "call settings", account, if_match, lambda: _call_settings(rows, account))
    await account_settings.change(rows, actor, account, now, zone=wanted.zone, limits=wanted.limits.as_said())
    return tagged(response, await _call_settings(rows, account))


async def holidays(
    _actor: ActorDep,
    rows: Rows,
    year: Annotated[Year | None, Query(description="Of this year only.")] = None,
) -> Holidays:
    """Public holidays."""
    return Holidays.model_validate({"holidays": await holiday_calendar.listing(rows, year)})


async def add_holiday(wanted: NewHoliday, actor: ActorDep, rows: Rows, now: Now) -> Holiday:
    """Enter a temporary public holiday."""
    check(actor, Deed.CHANGE_RULES, OPERATOR_PLACE, what="holidays")
    await holiday_calendar.add(rows, actor, wanted.day, wanted.name, now)
    return Holiday(day=wanted.day, name=wanted.name.strip(), source="temporary")


async def seed_holidays(wanted: CalendarYears, actor: ActorDep, rows: Rows, now: Now) -> HolidaysTaken:
    """Take Korea's public holidays, substitute days among them, from the calendar; temporary ones stay."""
    check(actor, Deed.CHANGE_RULES, OPERATOR_PLACE, what="holidays")
    new, gone = await holiday_calendar.seed(rows, actor, sorted(set(wanted.years)), now)
    return HolidaysTaken(new=new, gone=gone)


async def remove_holiday(day: date, actor: ActorDep, rows: Rows, now: Now) -> None:
    """Remove a public holiday."""
    check(actor, Deed.CHANGE_RULES, OPERATOR_PLACE, what="holidays")
    await holiday_calendar.remove(rows, actor, day, now)


async def _closed_days(rows: AsyncConnection, of_: Owner) -> ClosedDays:
    return ClosedDays.model_validate({"days": await days_off.listing(rows, of_)})


async def _call_settings(rows: AsyncConnection, account: UUID) -> CallSettings:
    return CallSettings.model_validate(await account_settings.find(rows, account))
