"""Whose a thing is, and whether who asks may do this with it. What may not be seen is told like what does not exist."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import OPERATOR_ID, OPERATOR_PLACE, AccountKind, Actor, Deed, Place
from engine.accounts.permissions import check
from engine.accounts.tree import place_of
from engine.foundation.errors import NotFound
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers import inventory
from engine.numbers.model import ServiceNumber


async def allowed_account(rows: AsyncConnection, actor: Actor, deed: Deed, account: UUID) -> Place:
    """Where the account stands. Raises NotFound, NotAllowed, Invalid."""
    place = await place_of(rows, account)
    check(actor, deed, place)
    return place


async def allowed_number(rows: AsyncConnection, actor: Actor, deed: Deed, number: PhoneNumber) -> ServiceNumber:
    """The number, in service or suspended. Raises NotFound, NotAllowed, Invalid."""
    found = await inventory.look_up(rows, number)
    what = f"number {written(number)}"
    if found is None:
        raise NotFound(f"{what}: there is none that you may see")
    check(actor, deed, await place_of(rows, found.account_id), what=what)
    return found


async def check_owner(rows: AsyncConnection, actor: Actor, deed: Deed, account: UUID | None, what: str) -> None:
    """Returns when the actor may do this with a thing of that account; None: it is nobody's, and the operator's to see.

    Raises NotFound, NotAllowed, Invalid.
    """
    place = OPERATOR_PLACE if account is None else await place_of(rows, account)
    check(actor, deed, place, what=what)


class Whose(NamedTuple):
    """By which account a list is narrowed; both None: it is the operator's, who sees all."""

    under: UUID | None
    """To this one and all below it."""
    account: UUID | None
    """To this very one: the same for a shop, and quicker found."""


async def whose(rows: AsyncConnection, actor: Actor, deed: Deed, account: UUID | None) -> Whose:
    """What a list for the actor shows: all that they reach, or one account. Raises NotFound, NotAllowed, Invalid."""
    place = actor.place if account is None else await place_of(rows, account)
    check(actor, deed, place)
    if place.account == OPERATOR_ID:
        return Whose(None, None)
    return Whose(None, place.account) if place.kind is AccountKind.SHOP else Whose(place.account, None)
