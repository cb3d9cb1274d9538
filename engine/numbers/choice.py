"""Choosing a number (C10): shows the best free ones for a shop, and keeps those chosen while the form is open.

Each deed works in the caller's transaction. Where a number stands in the ranking never depends on which others are
free: pages follow one another without gaps and repetitions however many people reserve meanwhile.
"""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed
from engine.accounts.permissions import check
from engine.accounts.tree import kept_open, place_of
from engine.foundation.errors import Conflict, Invalid
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers import life, store_choice
from engine.numbers.model import NumberKind
from engine.numbers.similar import Reason, Wish, reasons, spans

MOST_OFFERED = 500
MOST_AT_ONCE = 20
_SPANS = (16, 240, None)
"""So many spans are asked first, then, and then all the rest, which are a thousand."""
_TRIED_AT_ONCE = 100  # more than people who choose the same at the same instant


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A free number and why it is offered; no reasons: only that it is free."""

    number: PhoneNumber
    reasons: tuple[Reason, ...]


class Offers(msgspec.Struct, frozen=True, kw_only=True):
    """One page, the best first."""

    offers: tuple[Offer, ...]
    next: PhoneNumber | None
    """What `after` is for the page behind this one; None: there is none."""


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A number kept for an account until an instant; nobody else can have it before."""

    number: PhoneNumber
    until: datetime
    reasons: tuple[Reason, ...]


async def choose(
    connection: AsyncConnection,
    actor: Actor,
    account: UUID,
    wished: Wish,
    *,
    kind: NumberKind = NumberKind.VIRTUAL,
    after: PhoneNumber | None = None,
    limit: int = 20,
) -> Offers:
    """The best free numbers behind `after`. Raises NotFound, NotAllowed or Invalid.

    `after` is any number that is in the ranking, free or not any more.
    """
    check(actor, Deed.ISSUE_NUMBERS, await place_of(connection, account))
    if not 1 <= limit <= MOST_OFFERED:
        raise Invalid(f"limit: {limit} must be 1 to {MOST_OFFERED}")
    found = await _best_free(connection, kind, wished, after, limit + 1)
    page = found[:limit]
    return Offers(
        offers=tuple(Offer(number=number, reasons=reasons(wished.like, number)) for number in page),
        next=page[-1] if len(found) > limit else None,
    )


async def reserve(
    connection: AsyncConnection, actor: Actor, account: UUID, number: PhoneNumber, now: datetime
) -> Reservation:
    """Keeps a number that was chosen. Of any people who want it at once, one gets it; nobody waits for the others.

    Raises NotFound, NotAllowed, or Conflict when it is not free any more.
    """
    check(actor, Deed.ISSUE_NUMBERS, (await kept_open(connection, account)).place)
    await life.check_room(connection, account, 1, now)
    if not await store_choice.pick(connection, [number], 1, now):
        raise Conflict(f"number {written(number)}: it is not free any more; choose another")
    return await _kept(connection, actor, account, number, None, now)


async def reserve_best(
    connection: AsyncConnection,
    actor: Actor,
    account: UUID,
    wished: Wish,
    count: int,
    now: datetime,
    *,
    kind: NumberKind = NumberKind.VIRTUAL,
) -> tuple[Reservation, ...]:
    """Keeps the best numbers that are still free, the best first. People who wish the same at once get different ones.

    All or nothing: raises Conflict when fewer are free, else NotFound, NotAllowed or Invalid.
    """
    check(actor, Deed.ISSUE_NUMBERS, (await kept_open(connection, account)).place)
    if not 1 <= count <= MOST_AT_ONCE:
        raise Invalid(f"count: {count} must be 1 to {MOST_AT_ONCE}")
    await life.check_room(connection, account, count, now)
    picked: list[PhoneNumber] = []
    after = None
    while len(picked) < count:
        best = await _best_free(connection, kind, wished, after, _TRIED_AT_ONCE)
        if not best:
            raise Conflict(f"count: only {len(picked)} of {count} such numbers are free; wish for fewer or for others")
        picked += await store_choice.pick(connection, best, count - len(picked), now)
        after = best[-1]
    return tuple([await _kept(connection, actor, account, number, wished.like, now) for number in picked])


async def _best_free(
    connection: AsyncConnection, kind: NumberKind, wished: Wish, after: PhoneNumber | None, limit: int
) -> list[PhoneNumber]:
    """The first spans are asked alone: as a rule they hold enough."""
    every = spans(wished, after)
    found: list[PhoneNumber] = []
    for many in _SPANS:
        if len(found) < limit and (some := list(islice(every, many))):
            found += await store_choice.free(connection, kind, wished, some, limit - len(found))
    return found


async def _kept(
    connection: AsyncConnection, actor: Actor, account: UUID, number: PhoneNumber, like: str | None, now: datetime
) -> Reservation:
    until = now + life.RESERVED_FOR
    await life.keep_back(connection, actor, number, account, now, until)
    return Reservation(number=number, until=until, reasons=reasons(like, number))
