"""When an account or a number is closed, the public holidays, and an account's time zone and limits."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

import msgspec
from annotated_types import MaxLen, MinLen
from fastapi import APIRouter, Query, Response
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import OPERATOR_ID, OPERATOR_PLACE, Deed
from engine.accounts.permissions import check
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.etag import IfMatch, tagged, unchanged
from engine.api.owned import allowed_account, allowed_number
from engine.api.rules import Weekday
from engine.api.treatments import Limits
from engine.api.wire import AccountInPath, NumberInPath, Shape
from engine.api.written_down import Thing, number_changed, write_down
from engine.routing import book
from engine.routing import model as of
from engine.routing.book import Owner

_MOST = 1000
_MOST_YEARS = 10

Year = Annotated[int, Field(ge=book.FIRST_YEAR, le=book.LAST_YEAR, examples=[2026])]


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
    owner = await allowed_number(rows, actor, Deed.CHANGE_RULES, number)
    before, after = await _set_closed_days(rows, number, wanted, if_match)
    plain = {"before": {"closed_days": _plain(before)}, "after": {"closed_days": _plain(after)}}
    await number_changed(rows, actor, Deed.CHANGE_RULES, owner, **plain, now=now)
    return tagged(response, after)


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
    before, after = await _set_closed_days(rows, account, wanted, if_match)
    thing = Thing("closed days", account, account)
    plain = {"before": {"days": _plain(before)}, "after": {"days": _plain(after)}}
    await write_down(rows, actor, Deed.CHANGE_RULES, thing, **plain, now=now)
    return tagged(response, after)


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
    thing = Thing("call settings", account, account)
    before = await unchanged(rows, f"call settings {account}", if_match, lambda: _call_settings(rows, account))
    await book.set_account(rows, account, zone=wanted.zone, limits=wanted.limits.as_said())
    after = await _call_settings(rows, account)
    plain = {"before": before.model_dump(mode="json"), "after": after.model_dump(mode="json")}
    await write_down(rows, actor, Deed.CHANGE_ACCOUNTS, thing, **plain, now=now)
    return tagged(response, after)


async def holidays(
    _actor: ActorDep,
    rows: Rows,
    year: Annotated[Year | None, Query(description="Of this year only.")] = None,
) -> Holidays:
    """Public holidays."""
    return Holidays.model_validate({"holidays": await book.holidays(rows, year)})


async def add_holiday(wanted: NewHoliday, actor: ActorDep, rows: Rows, now: Now) -> Holiday:
    """Enter a temporary public holiday."""
    check(actor, Deed.CHANGE_RULES, OPERATOR_PLACE, what="holidays")
    await book.add_holiday(rows, wanted.day, wanted.name)
    thing = Thing("holiday", OPERATOR_ID, wanted.day)
    await write_down(rows, actor, Deed.CHANGE_RULES, thing, after={"name": wanted.name}, now=now)
    return Holiday(day=wanted.day, name=wanted.name.strip(), source="temporary")


async def seed_holidays(wanted: CalendarYears, actor: ActorDep, rows: Rows, now: Now) -> HolidaysTaken:
    """Take Korea's public holidays, substitute days among them, from the calendar; temporary ones stay."""
    check(actor, Deed.CHANGE_RULES, OPERATOR_PLACE, what="holidays")
    years = sorted(set(wanted.years))
    new, gone = await book.seed_holidays(rows, years)
    thing = Thing("holiday", OPERATOR_ID, "calendar")
    await write_down(rows, actor, Deed.CHANGE_RULES, thing, after={"years": years, "new": new, "gone": gone}, now=now)
    return HolidaysTaken(new=new, gone=gone)


async def remove_holiday(day: date, actor: ActorDep, rows: Rows, now: Now) -> None:
    """Remove a public holiday."""
    check(actor, Deed.CHANGE_RULES, OPERATOR_PLACE, what="holidays")
    await book.remove_holiday(rows, day)
    thing = Thing("holiday", OPERATOR_ID, day)
    await write_down(rows, actor, Deed.CHANGE_RULES, thing, now=now)


async def _closed_days(rows: AsyncConnection, of_: Owner) -> ClosedDays:
    return ClosedDays.model_validate({"days": await book.closed_days(rows, of_)})


async def _set_closed_days(
    rows: AsyncConnection, of_: Owner, wanted: ClosedDays, if_match: str
) -> tuple[ClosedDays, ClosedDays]:
    """The days off before and after."""
    before = await unchanged(rows, f"closed days {of_}", if_match, lambda: _closed_days(rows, of_))
    old, new = ({day.as_said() for day in days.days} for days in (before, wanted))
    await book.open_again(rows, of_, _sorted(old - new))
    await book.close(rows, of_, _sorted(new - old))
    return before, await _closed_days(rows, of_)


def _sorted(days: Iterable[of.ClosedDay]) -> list[of.ClosedDay]:
    """In one order, so that two at once wait for each other instead of blocking each other."""
    return sorted(days, key=msgspec.json.encode)


async def _call_settings(rows: AsyncConnection, account: UUID) -> CallSettings:
    return CallSettings.model_validate(await book.account_routing(rows, account))


def _plain(days: ClosedDays) -> object:
    return days.model_dump(mode="json")["days"]
