"""The SQL of choosing numbers: only numbers that are free, found by their digits from the last to the first.

Each of the statements reads one span after the other, each through an index, and ends at the limit: what it costs
depends on how many spans hold nothing, not on how many numbers there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind
from engine.numbers.number_range import LENGTHS
from engine.numbers.similar import Span, Wish

# The plan rests on three things: spans come in their order without a sort, one length gives its numbers of a span in
# theirs, and the limit within keeps the whole of a full span from being read. Free numbers are of our ranges, so that
# there are no other lengths: each is asked by itself, which costs less than more indexes would. It stands in the text,
# as the planner knows of a number that it sees how many there are.
_FREE = """
    SELECT free.number
    FROM unnest(CAST(:lows AS text[]), CAST(:highs AS text[])) WITH ORDINALITY AS span (low, high, place)
    CROSS JOIN LATERAL (SELECT number, reversed FROM ({alike}) AS alike ORDER BY reversed LIMIT :limit) AS free
    ORDER BY span.place, free.reversed
    LIMIT :limit
"""
_OF_ONE_LENGTH = """(
        SELECT number, reverse(number) COLLATE "C" AS reversed
        FROM number_stock
        WHERE state = 'available' AND kind = :kind {within} AND length(number) = {digits:d}
            AND reverse(number) COLLATE "C" >= span.low AND reverse(number) COLLATE "C" < span.high
        ORDER BY reverse(number) COLLATE "C"
        LIMIT :limit
    )"""

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
    connection: AsyncConnection, kind: NumberKind, wished: Wish, spans: Sequence[Span], limit: int
) -> list[PhoneNumber]:
    """Free numbers out of these spans, in their order, of the exchange and length wished."""
    asked, values = statement(kind, wished, spans, limit)
    return list(await connection.scalars(asked, values))


def statement(kind: NumberKind, wished: Wish, spans: Sequence[Span], limit: int) -> tuple[TextClause, dict[str, Any]]:
    """What `free` asks: within an exchange or not, each with an index of its own."""
    values: dict[str, Any] = {
        "kind": kind.value,
        "lows": [span.low for span in spans],
        "highs": [span.high for span in spans],
        "limit": limit,
    }
    if wished.exchange is not None:
        values["exchange"] = wished.exchange
    return _prepared(LENGTHS if wished.digits is None else (wished.digits,), "exchange" in values), values


@cache
def _prepared(lengths: Sequence[int], in_exchange: bool) -> TextClause:
    within = "AND left(number, 4) = :exchange" if in_exchange else ""
    alike = " UNION ALL ".join(_OF_ONE_LENGTH.format(within=within, digits=digits) for digits in lengths)
    return text(_FREE.format(alike=alike))


async def pick(
    connection: AsyncConnection, numbers: Sequence[PhoneNumber], limit: int, now: datetime
) -> list[PhoneNumber]:
    """Those of the numbers, at most so many, that are free and that nobody else can take before this transaction ends.

    One that somebody else is about to take is left out at once, without waiting.
    """
    return list(await connection.scalars(_PICK, {"numbers": list(numbers), "limit": limit, "now": now}))
