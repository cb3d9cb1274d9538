"""Call records found again."""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

from sqlalchemy import Text, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.cdr.model import CallRecord
from engine.cdr.store import calls, from_row, get
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.ids import instant_of
from engine.foundation.phone_number import PhoneNumber


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
        call_id = UUID(text)
        instant_of(call_id)  # other ids than ours may name an instant that there is not
        return call_id
    except ValueError:
        raise Invalid(f"call {text!r}: give the whole id of a call or its last eight digits") from None
