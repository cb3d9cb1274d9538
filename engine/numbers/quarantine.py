"""Quarantine that listens (C11, X8): stray calls to released numbers are counted, and what is still called is held.

Everything works in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import life, ranges, store_life
from engine.numbers.quarantine_terms import STANDARD_TERMS, QuarantineTerms, held_until, korean_day
from engine.numbers.states import Move, State, StockNumber, freed, held_longer
from engine.numbers.stock import Hand, move_free
from engine.numbers.told import tell_holders

BY_TIME = "time"
"""Whose hand it is when nobody does it."""
AT_ONCE = 500
"""Numbers in one transaction."""


async def count_strays(connection: AsyncConnection, calls: Iterable[tuple[PhoneNumber, datetime]]) -> None:
    """Counts calls that came for numbers not in service, each once: those whose number is in quarantine."""
    counted = [(number, korean_day(at), at) for number, at in calls]
    if counted:
        await store_life.count_strays(connection, counted)


async def strays(
    connection: AsyncConnection, actor: Actor, number: PhoneNumber, now: datetime, days: int = 92
) -> Mapping[date, int]:
    """Calls by Korean day to the number in quarantine, of the last `days`. Raises NotFound or NotAllowed."""
    await life.find(connection, actor, number)
    since = korean_day(now - timedelta(days=days))
    return (await store_life.strays(connection, [number], since)).get(number, {})


async def end_quarantines(
    connection: AsyncConnection, now: datetime, default: QuarantineTerms = STANDARD_TERMS, limit: int = AT_ONCE
) -> tuple[int, int]:
    """Frees numbers whose quarantine is over and quiet, and holds the others longer; how many of each.

    `default` holds for numbers of no range. Call it again as long as it does anything.
    """
    over = await store_life.quarantine_over(connection, now, limit)
    if not over:
        return 0, 0
    terms = {one.id: one.terms for one in await ranges.known(connection)}
    longest = max([default.quiet_days, *(term.quiet_days for term in terms.values())])
    numbers = [stock.number for stock in over]
    calls = await store_life.strays(connection, numbers, korean_day(now - timedelta(days=longest)))

    def decide(stock: StockNumber) -> tuple[Move, StockNumber]:
        own = default if stock.range_id is None else terms.get(stock.range_id, default)
        assert stock.released_at is not None and stock.quarantined_until is not None  # noqa: S101, PT018 - of its state
        until = held_until(stock.released_at, stock.quarantined_until, calls.get(stock.number, {}), own, now)
        if until is None:
            return Move.FREED, freed(stock, now)
        return Move.HELD_LONGER, held_longer(stock, until, now)

    moves = await move_free(connection, over, Hand(BY_TIME, now), decide)
    free = [moved.after.number for moved in moves if moved.after.state is not State.QUARANTINED]
    await store_life.forget_strays(connection, free)
    await tell_holders(connection, moves, now)
    return len(free), len(moves) - len(free)
