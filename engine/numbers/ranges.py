"""The ranges of 050 numbers that are ours to issue, and on what terms their numbers are kept back after release."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import OPERATOR_PLACE, Actor, Deed
from engine.accounts.permissions import check
from engine.audit.trail import write
from engine.foundation.errors import Conflict, NotFound
from engine.foundation.ids import new_id
from engine.numbers import store_life, store_ranges
from engine.numbers.number_range import NumberRange, checked_name, checked_prefix
from engine.numbers.quarantine_terms import STANDARD_TERMS, QuarantineTerms, check_terms
from engine.numbers.states import State, StockNumber


class RangeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A range, and how many of its numbers are in each state."""

    range: NumberRange
    numbers: Mapping[State, int]


async def add(
    connection: AsyncConnection,
    actor: Actor,
    name: str,
    prefix: str,
    digits: int,
    now: datetime,
    terms: QuarantineTerms = STANDARD_TERMS,
) -> NumberRange:
    """Takes a range on. Numbers in the stock that lie in it are of it from now on; others come by import.

    Raises NotAllowed, Invalid, or Conflict when a range has that name or shares numbers with it.
    """
    check(actor, Deed.MANAGE_RANGES, OPERATOR_PLACE, what="number ranges")
    new = NumberRange(
        id=new_id(now),
        name=checked_name(name),
        prefix=checked_prefix(prefix, digits),
        digits=digits,
        terms=terms,
        added_by=actor.who,
        added_at=now,
    )
    check_terms(terms)
    if not await store_ranges.insert(connection, new):
        raise Conflict(f"range {new.name!r}: another has that name or some of its numbers; `dari range list` shows all")
    await store_ranges.take_in(connection, new)
    await _write(connection, actor, new, None, new, now)
    return new


async def set_terms(
    connection: AsyncConnection, actor: Actor, name: str, terms: QuarantineTerms, now: datetime
) -> NumberRange:
    """For numbers released from now on, and for how long those that are called go on being held.

    Raises NotAllowed, NotFound or Invalid.
    """
    check(actor, Deed.MANAGE_RANGES, OPERATOR_PLACE, what="number ranges")
    check_terms(terms)
    old = await named(connection, name)
    new = msgspec.structs.replace(old, terms=terms)
    await store_ranges.set_terms(connection, new)
    await _write(connection, actor, new, old, new, now)
    return new


async def figures(connection: AsyncConnection, actor: Actor) -> list[RangeFigures]:
    """All ranges by their beginning, with what is in them. Raises NotAllowed."""
    check(actor, Deed.SEE_RANGES, OPERATOR_PLACE, what="number ranges")
    counts = await store_life.counts(connection)
    ranges = await store_ranges.all_ranges(connection)
    return [RangeFigures(range=one, numbers=counts.get(one.id, {})) for one in ranges]


async def find(connection: AsyncConnection, actor: Actor, name: str) -> NumberRange:
    """One range. Raises NotAllowed or NotFound."""
    check(actor, Deed.SEE_RANGES, OPERATOR_PLACE, what="number ranges")
    return await named(connection, name)


async def known(connection: AsyncConnection) -> list[NumberRange]:
    """All ranges by their beginning, for whatever is done by itself."""
    return await store_ranges.all_ranges(connection)


async def named(connection: AsyncConnection, name: str) -> NumberRange:
    """Raises NotFound."""
    for one in await store_ranges.all_ranges(connection):
        if one.name == name:
            return one
    raise NotFound(f"range {name!r}: there is none of that name; `dari range list` shows all")


async def terms_of(connection: AsyncConnection, stock: StockNumber, default: QuarantineTerms) -> QuarantineTerms:
    """Those of the number's range; `default` where it is of none."""
    if stock.range_id is None:
        return default
    return await store_ranges.terms_of(connection, stock.range_id) or default


async def _write(
    connection: AsyncConnection,
    actor: Actor,
    which: NumberRange,
    before: NumberRange | None,
    after: NumberRange,
    now: datetime,
) -> None:
    await write(
        connection,
        who=actor.who,
        deed=Deed.MANAGE_RANGES.value,
        account_id=None,
        object_kind="number range",
        object_id=which.name,
        before=None if before is None else {"terms": before.terms},
        after={"prefix": after.prefix, "digits": after.digits, "terms": after.terms},
        peer=actor.peer,
        now=now,
    )
