"""Days off (휴무일) that rules go by: those of an account, and those of one of its numbers beside them.

Deeds work in the caller's transaction and write there what they changed (`engine.routing.told`); whether the actor may
do it, the door has asked.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor
from engine.foundation.errors import Invalid, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import inventory
from engine.routing import account_settings, store, told
from engine.routing.model import ClosedDay
from engine.routing.rules import check_closed_day

_MOST = 1000
_NOT_THERE = "closed day: it is not in the list; look there which days are"

Owner = UUID | PhoneNumber
"""Whose days off: an account's, by its id, or those of one number."""


async def listing(connection: AsyncConnection, of: Owner) -> tuple[ClosedDay, ...]:
    """The days off of an account, or those of one number beside them. Raises NotFound."""
    await _check_there(connection, of)
    return await store.closed_days_of(connection, of)


async def close(connection: AsyncConnection, actor: Actor, of: Owner, days: Sequence[ClosedDay], now: datetime) -> int:
    """Closes on these days; how many are new. Raises NotFound or Invalid."""
    before = await listing(connection, of)
    return len(await _keep(connection, actor, of, before, {*before, *_in_order_all(days)}, now))


async def open_again(
    connection: AsyncConnection, actor: Actor, of: Owner, days: Sequence[ClosedDay], now: datetime
) -> None:
    """Closes on these days no more. Raises NotFound, also when it was not closed on one of them."""
    before, gone = await listing(connection, of), _in_order_all(days)
    if not gone <= {*before}:
        raise NotFound(_NOT_THERE)
    await _keep(connection, actor, of, before, {*before} - gone, now)


async def replace(
    connection: AsyncConnection, actor: Actor, of: Owner, days: Sequence[ClosedDay], now: datetime
) -> None:
    """Closes on these days and on no others. Raises NotFound or Invalid."""
    before = await listing(connection, of)
    await _keep(connection, actor, of, before, _in_order_all(days), now)


async def _keep(
    connection: AsyncConnection,
    actor: Actor,
    of: Owner,
    before: Collection[ClosedDay],
    wanted: Collection[ClosedDay],
    now: datetime,
) -> list[ClosedDay]:
    """The days off that were `before` are `wanted` now; those that are new.

    Raises Invalid, or NotFound for one that somebody else has removed meanwhile.
    """
    gone, new = (_sorted(days) for days in ({*before} - {*wanted}, {*wanted} - {*before}))
    for day in new:
        check_closed_day(day)
    if len(wanted) > _MOST:
        raise Invalid(f"closed days: at most {_MOST} are kept; remove those that are past")
    for day in gone:
        if not await store.open_again(connection, of, day):
            raise NotFound(_NOT_THERE)
    new = await store.close(connection, of, new)
    if gone or new:
        await told.tell_closed_days(connection, actor, of, gone, new, now)
    return new


def _sorted(days: Iterable[ClosedDay]) -> list[ClosedDay]:
    """In one order, so that two at once wait for each other instead of blocking each other."""
    return sorted(days, key=msgspec.json.encode)


def _in_order_all(days: Iterable[ClosedDay]) -> set[ClosedDay]:
    return {msgspec.structs.replace(day, weeks=tuple(sorted(set(day.weeks)))) for day in days}


async def _check_there(connection: AsyncConnection, of: Owner) -> None:
    if isinstance(of, UUID):
        await account_settings.find(connection, of)
    else:
        await inventory.find(connection, of)
