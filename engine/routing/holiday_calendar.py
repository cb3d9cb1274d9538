"""The public holidays that rules go by, the same for all accounts: those of the calendar, and temporary ones.

Deeds work in the caller's transaction and write there what they changed (`engine.routing.told`); whether the actor may
do it, the door has asked.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.routing import store, told
from engine.routing.entries import Holiday
from engine.routing.korean_holidays import public_holidays

FIRST_YEAR, LAST_YEAR = 2000, 2100
_LONGEST_NAME = 60


async def listing(connection: AsyncConnection, year: int | None = None) -> list[Holiday]:
    """By day, of one year or of all."""
    return await store.holidays(connection, year)


async def seed(connection: AsyncConnection, actor: Actor, years: Collection[int], now: datetime) -> tuple[int, int]:
    """Takes the calendar's public holidays of these years; temporary ones stay. How many are new, and how many gone.

    Raises Invalid.
    """
    for year in years:
        _check_year(year)
    new, gone = await store.keep_public_holidays(connection, years, public_holidays(years))
    if new or gone:
        taken = {"years": sorted(set(years)), "new": new, "gone": gone}
        await told.tell_holiday(connection, actor, "calendar", now, after=taken)
    return new, gone


async def add(connection: AsyncConnection, actor: Actor, day: date, name: str, now: datetime) -> None:
    """Enters a temporary public holiday. Raises Invalid, or Conflict when that day is one already."""
    _check_year(day.year)
    if not 0 < len(name.strip()) <= _LONGEST_NAME or not name.isprintable():
        raise Invalid(f"holiday: its name must be 1 to {_LONGEST_NAME} printable characters")
    if not await store.add_holiday(connection, day, name.strip()):
        raise Conflict(f"holiday: {day} is one already; remove it first to give it another name")
    await told.tell_holiday(connection, actor, day, now, after={"name": name.strip()})


async def remove(connection: AsyncConnection, actor: Actor, day: date, now: datetime) -> None:
    """Raises NotFound. One of the calendar comes back when that year is seeded again."""
    name = await store.remove_holiday(connection, day)
    if name is None:
        raise NotFound(f"holiday: {day} is none; look which days are")
    await told.tell_holiday(connection, actor, day, now, before={"name": name})


def _check_year(year: int) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise Invalid(f"holiday: {year} must be a year from {FIRST_YEAR} to {LAST_YEAR}")
