"""The SQL of choosing numbers: only numbers that are free, found by their digits from the last to the first.

Each of the statements reads one span after the other, each through an index, and ends at the limit: what it costs
depends on how many spans hold nothing, not on how many numbers there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind
from engine.numbers.similar import Span

# The plan rests on three things: spans come in their order without a sort, one span gives its numbers in theirs, and
# the limit within keeps the whole of a full span from being read.
_FREE = """
    SELECT free.number
    FROM unnest(CAST(:lows AS text[]), CAST(:highs AS text[])) WITH ORDINALITY AS span (low, high, place)
    CROSS JOIN LATERAL (
        SELECT number, reverse(number) COLLATE "C" AS reversed
        FROM number_stock
        WHERE state = 'available' AND kind = :kind {within}
            AND reverse(number) COLLATE "C" >= span.low AND reverse(number) COLLATE "C" < span.high
        ORDER BY reverse(number) COLLATE "C"
        LIMIT :limit
    ) AS free
    ORDER BY span.place, free.reversed
    LIMIT :limit
"""
_FREE_ANYWHERE = _FREE.format(within="")
_FREE_WITHIN = _FREE.format(within="AND left(number, 4) = :exchange")

# The order of the locks is the order of the wish; what others hold locked they are about to reserve.
_PICK = text("""
    SELECT number
    FROM number_stock JOIN unnest(CAST(:numbers AS text[])) WITH ORDINALITY AS wished (number, place) USING (number)
    WHERE state = 'available' OR (state = 'reserved' AND reserved_until <= :now)
    ORDER BY place
    LIMIT :limit
    FOR NO KEY UPDATE OF number_stock SKIP LOCKED
""")


async def free(
    connection: AsyncConnection, kind: NumberKind, exchange: str | None, spans: Sequence[Span], limit: int
) -> list[PhoneNumber]:
    """Free numbers out of these spans, in their order."""
    sql, values = statement(kind, exchange, spans, limit)
    return list(await connection.scalars(text(sql), values))


def statement(kind: NumberKind, exchange: str | None, spans: Sequence[Span], limit: int) -> tuple[str, dict[str, Any]]:
    """What `free` asks."""
    values = {
        "kind": kind.value,
        "lows": [span.low for span in spans],
        "highs": [span.high for span in spans],
        "limit": limit,
    }
    return (_FREE_ANYWHERE, values) if exchange is None else (_FREE_WITHIN, values | {"exchange": exchange})


async def pick(
    connection: AsyncConnection, numbers: Sequence[PhoneNumber], limit: int, now: datetime
) -> list[PhoneNumber]:
    """Those of the numbers, at most so many, that are free and that nobody else can take before this transaction ends.

    One that somebody else is about to take is left out at once, without waiting.
    """
    return list(await connection.scalars(_PICK, {"numbers": list(numbers), "limit": limit, "now": now}))
