"""Call records as of an earlier instant, for asking what would have been. Calls that Dari placed are left out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Text, and_, any_, cast, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.cdr.model import CallRecord, Direction, Result
from engine.cdr.search import TURNED_AWAY, Outcome
from engine.cdr.store import calls, from_row
from engine.foundation.phone_number import PhoneNumber

PAGE = 500
_LONGEST_CALL = timedelta(days=1)


class LoadThen(NamedTuple):
    """How many calls there were."""

    at_once: int
    last_hour: int
    last_day: int


async def arrived(
    connection: AsyncConnection, numbers: Collection[PhoneNumber], since: datetime, until: datetime
) -> AsyncIterator[list[CallRecord]]:
    """The calls to these numbers that arrived from `since` up to but without `until`, oldest first, page by page.

    Between two pages the connection is free for other questions.
    """
    last: tuple[datetime, UUID] | None = None
    while True:
        query = select(calls).where(_between(numbers, since, until))
        if last is not None:
            query = query.where(tuple_(calls.c.arrived_at, calls.c.call_id) > tuple_(*last))
        query = query.order_by(calls.c.arrived_at, calls.c.call_id).limit(PAGE)
        page = [from_row(row) for row in (await connection.execute(query)).mappings()]
        if page:
            last = (page[-1].arrived_at, page[-1].call_id)
            yield page
        if len(page) < PAGE:
            return


async def count_arrived(
    connection: AsyncConnection, numbers: Collection[PhoneNumber], since: datetime, until: datetime
) -> int:
    """How many `arrived` gives."""
    query = select(func.count()).select_from(calls).where(_between(numbers, since, until))
    return int((await connection.execute(query)).scalar_one())


async def past_of_caller(
    connection: AsyncConnection,
    number: PhoneNumber,
    caller: PhoneNumber,
    *,
    since: datetime,
    before: datetime,
    limit: int,
) -> list[Outcome]:
    """The caller's calls to `number` that arrived after `since` and before `before`, newest first, `limit` at most."""
    query = (
        select(calls.c.arrived_at, calls.c.result, calls.c.target, calls.c.talk_seconds)
        .where(
            calls.c.number == number,
            calls.c.caller == caller,
            calls.c.arrived_at > since,
            calls.c.arrived_at < before,
        )
        .order_by(calls.c.arrived_at.desc())
        .limit(limit)
    )
    return [Outcome(at, Result(result), *rest) for at, result, *rest in await connection.execute(query)]


async def load_then(connection: AsyncConnection, of: PhoneNumber | UUID, instant: datetime) -> LoadThen:
    """The calls to a number, or of an account, just before `instant`; those still going on now are not known here."""
    whose = calls.c.account_id == of if isinstance(of, UUID) else calls.c.number == of
    query = select(
        func.count().filter(calls.c.ended_at > instant),
        func.count().filter(calls.c.arrived_at > instant - timedelta(hours=1)),
        func.count().filter(calls.c.arrived_at > instant - timedelta(days=1)),
    ).where(
        whose,
        calls.c.arrived_at > instant - _LONGEST_CALL,
        calls.c.arrived_at < instant,
        calls.c.direction == Direction.INCOMING.value,
        calls.c.result.not_in([result.value for result in TURNED_AWAY]),
    )
    return LoadThen(*(await connection.execute(query)).one())


def _between(numbers: Collection[PhoneNumber], since: datetime, until: datetime) -> ColumnElement[bool]:
    return and_(
        calls.c.number == any_(cast(list(numbers), ARRAY(Text))),
        calls.c.arrived_at >= since,
        calls.c.arrived_at < until,
        calls.c.direction == Direction.INCOMING.value,
    )
