"""What time does to numbers: reservations, quarantines, orders and offers whose time is over. One round of it."""

from __future__ import annotations

from datetime import datetime

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.database import transaction
from engine.numbers import store_life, transfer
from engine.numbers.order_model import STANDARD_PERIODS, Periods
from engine.numbers.orders import look_after_one
from engine.numbers.quarantine import AT_ONCE, BY_TIME, end_quarantines
from engine.numbers.quarantine_terms import STANDARD_TERMS, QuarantineTerms
from engine.numbers.states import Move, let_go
from engine.numbers.stock import Hand, move_free
from engine.numbers.told import tell_holders

log = structlog.get_logger(__name__)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """How much a round has done."""

    let_go: int = 0
    """Reservations ended."""
    orders: int = 0
    """Steps of orders."""
    freed: int = 0
    held_longer: int = 0
    expired: int = 0
    """Offers that nobody answered."""


async def look_after_numbers(
    database: AsyncEngine,
    now: datetime,
    *,
    terms: QuarantineTerms = STANDARD_TERMS,
    periods: Periods = STANDARD_PERIODS,
) -> Kept:
    """One round, in as many transactions as it takes; several at the same time do not harm each other.

    `terms` hold for numbers of no range. Raises TryLater.
    """
    lapsed = orders = freed = longer = 0
    async with transaction(database) as connection:
        expired = await transfer.expire(connection, now)
    while True:
        async with transaction(database) as connection:
            if not await look_after_one(connection, now, periods, terms):
                break
        orders += 1
    while True:
        async with transaction(database) as connection:
            over = await store_life.lapsed(connection, now, AT_ONCE)
            moves = await move_free(
                connection, over, Hand(BY_TIME, now), lambda stock: (Move.LET_GO, let_go(stock, now))
            )
            await tell_holders(connection, moves, now)
        lapsed += len(moves)
        if len(moves) < AT_ONCE:
            break
    while True:
        async with transaction(database) as connection:
            free, held = await end_quarantines(connection, now, terms)
        freed, longer = freed + free, longer + held
        if free + held < AT_ONCE:
            break
    kept = Kept(let_go=lapsed, orders=orders, freed=freed, held_longer=longer, expired=expired)
    if kept != Kept():
        log.info("numbers looked after", **msgspec.structs.asdict(kept))
    return kept
