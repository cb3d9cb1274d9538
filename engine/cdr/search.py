"""Call records found again."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Text, Uuid, any_, cast, column, func, or_, select, table, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.cdr.model import CallRecord, Direction, Result
from engine.cdr.store import calls, find_all, from_row, get
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.phone_number import PhoneNumber

_accounts = table("accounts", column("id", Uuid), column("path", ARRAY(Uuid)))

TURNED_AWAY = (Result.OVER_LIMIT, Result.CLOSED, Result.BLOCKED, Result.NOT_FORWARDABLE, Result.SWITCHED_OFF)
"""What calls end as that rang nobody by decision: they count for no limit."""


async def recent(
    connection: AsyncConnection,
    *,
    number: PhoneNumber | None = None,
    since: datetime | None = None,
    limit: int = 100,
) -> list[CallRecord]:
    """The newest calls first, `limit` at most; only those to `number`, only those that arrived at or after `since`."""
    query = select(calls).order_by(calls.c.arrived_at.desc(), calls.c.call_id.desc()).limit(limit)
    if number is not None:
        query = query.where(calls.c.number == number)
    if since is not None:
        query = query.where(calls.c.arrived_at >= since)
    return [from_row(row) for row in (await connection.execute(query)).mappings()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which calls are looked for; None: whichever."""

    under: UUID | None = None
    """Of this account and all below it."""
    account: UUID | None = None
    """Of this very account."""
    number: PhoneNumber | None = None
    caller: PhoneNumber | None = None
    result: Result | None = None
    direction: Direction | None = None
    since: datetime | None = None
    """Arrived at this instant or later."""
    until: datetime | None = None
    """Arrived before it."""


class CallPlace(NamedTuple):
    """Where a call stands among all: they are in the order of their arrival."""

    arrived_at: datetime
    call_id: UUID


async def page(
    connection: AsyncConnection, wanted: Wanted, *, before: CallPlace | None = None, limit: int
) -> list[CallRecord]:
    """The newest such calls first, `limit` at most, that stand before that place; None: from the newest on."""
    query = select(calls).order_by(calls.c.arrived_at.desc(), calls.c.call_id.desc()).limit(limit)
    if before is not None:
        query = query.where(tuple_(calls.c.arrived_at, calls.c.call_id) < tuple_(*before))
    query = query.where(*_conditions(wanted))
    return [from_row(row) for row in (await connection.execute(query)).mappings()]


async def of_ids(connection: AsyncConnection, call_ids: Collection[UUID]) -> dict[UUID, CallRecord]:
    """The records of these calls, by id; those that are kept no more are left out."""
    return await find_all(connection, call_ids)


def is_wanted(record: CallRecord, wanted: Wanted) -> bool:
    """Whether a record is of those looked for, apart from whose it is."""
    return (
        wanted.number in (None, record.number)
        and wanted.caller in (None, record.caller)
        and wanted.result in (None, record.result)
        and wanted.direction in (None, record.direction)
        and (wanted.since is None or record.arrived_at >= wanted.since)
        and (wanted.until is None or record.arrived_at < wanted.until)
    )


def _conditions(wanted: Wanted) -> Iterator[ColumnElement[bool]]:
    if wanted.under is not None:
        below = _accounts.c.path.contains(cast([wanted.under], ARRAY(Uuid)))
        yield select(_accounts.c.id).where(_accounts.c.id == calls.c.account_id, below).exists()
    if wanted.account is not None:
        yield calls.c.account_id == wanted.account
    if wanted.number is not None:
        yield calls.c.number == wanted.number
    if wanted.caller is not None:
        yield calls.c.caller == wanted.caller
    if wanted.result is not None:
        yield calls.c.result == wanted.result.value
    if wanted.direction is not None:
        yield calls.c.direction == wanted.direction.value
    if wanted.since is not None:
        yield calls.c.arrived_at >= wanted.since
    if wanted.until is not None:
        yield calls.c.arrived_at < wanted.until


class Outcome(NamedTuple):
    """A call in short: when it arrived, how it ended, who talked and how long."""

    at: datetime
    result: Result
    target: PhoneNumber | None
    talk_seconds: float


async def calls_of_caller(
    connection: AsyncConnection, number: PhoneNumber, caller: PhoneNumber, *, since: datetime, limit: int
) -> list[Outcome]:
    """The newest calls of `caller` to `number` first, `limit` at most, that arrived after `since`."""
    query = (
        select(calls.c.arrived_at, calls.c.result, calls.c.target, calls.c.talk_seconds)
        .where(calls.c.number == number, calls.c.caller == caller, calls.c.arrived_at > since)
        .order_by(calls.c.arrived_at.desc())
        .limit(limit)
    )
    return [Outcome(at, Result(result), *rest) for at, result, *rest in await connection.execute(query)]


class LetIn(NamedTuple):
    """A call that counts for the limits of its number and its account."""

    number: PhoneNumber | None
    account_id: UUID | None
    at: datetime


async def calls_let_in(
    connection: AsyncConnection, numbers: Collection[PhoneNumber], accounts: Collection[UUID], since: datetime
) -> list[LetIn]:
    """The calls to these numbers, or of these accounts, that arrived after `since` and were not turned away."""
    query = select(calls.c.number, calls.c.account_id, calls.c.arrived_at).where(
        calls.c.arrived_at > since,
        or_(
            calls.c.number == any_(cast(list(numbers), ARRAY(Text))),
            calls.c.account_id == any_(cast(list(accounts), ARRAY(Uuid))),
        ),
        calls.c.direction == Direction.INCOMING.value,
        calls.c.result.not_in([result.value for result in TURNED_AWAY]),
    )
    return [LetIn(*row) for row in await connection.execute(query)]


async def find(connection: AsyncConnection, call: str) -> CallRecord:
    """The call with this id, or whose id ends in these eight hexadecimal digits, as the log lines show it.

    Raises Invalid, NotFound, or Conflict when several end so.
    """
    text = call.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{8}", text):
        return await get(connection, _call_id(call))
    query = select(calls).where(func.right(cast(calls.c.call_id, Text), 8) == text).limit(2)
    rows = (await connection.execute(query)).mappings().all()
    if not rows:
        raise NotFound(f"call {call}: no record has an id that ends so")
    if len(rows) > 1:
        raise Conflict(f"call {call}: several ids end so; give the whole id")
    return from_row(rows[0])


def _call_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise Invalid(f"call {text!r}: give the whole id of a call or its last eight digits") from None
