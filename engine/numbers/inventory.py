"""The inventory: puts numbers into service, changes what they do, takes them out.

Each deed works in the caller's transaction (`engine.foundation.database.transaction`), so that nothing is half done.
The running engines hear of it when that transaction commits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import is_sender
from engine.foundation.errors import Conflict, NotAllowed, NotFound
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers import store, store_life
from engine.numbers.model import ServiceNumber
from engine.numbers.quarantine_terms import STANDARD_TERMS, QuarantineTerms
from engine.numbers.ranges import terms_of
from engine.numbers.rules import checked, laid_over, without
from engine.numbers.states import Move, StockNumber, released
from engine.numbers.stock import Hand, Moved, enter_service, local_hand, make_move
from engine.numbers.treatment import Limits, Treatment


class NumberChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be different about a number; what is left out stays."""

    target: PhoneNumber | UnsetType = UNSET
    treatment: Treatment | UnsetType = UNSET
    """Laid over the number's own: what it does not say stays."""
    clear: tuple[str, ...] = ()
    """Names of treatment settings that are no longer said; done before `treatment` is laid over."""
    limits: Limits | UnsetType = UNSET
    """All of them anew."""
    callback: str | UnsetType | None = UNSET
    sender: PhoneNumber | UnsetType | None = UNSET
    repeat_window_days: int | UnsetType = UNSET
    min_talk_seconds: int | UnsetType = UNSET
    suspended: str | UnsetType = UNSET
    """What callers of the suspended number hear instead of what they heard."""


async def add(connection: AsyncConnection, number: ServiceNumber, hand: Hand | None = None) -> ServiceNumber:
    """Puts a number into service; the number as it is kept. `hand` None: the operator's of this machine, now.

    It comes out of the stock or, where the stock never had it, as brought along. Raises Invalid, NotAllowed, or
    Conflict when it is not to be had.
    """
    return (await enter(connection, number, hand or local_hand(datetime.now(UTC))))[0]


async def enter(connection: AsyncConnection, number: ServiceNumber, hand: Hand) -> tuple[ServiceNumber, Moved]:
    """As `add`; also the move that its place in the stock made."""
    checked(number)
    moved = await enter_service(connection, number, hand)
    return await start(connection, number), moved


async def change(connection: AsyncConnection, number: PhoneNumber, wanted: NumberChange) -> ServiceNumber:
    """Changes what a number does; the number as it is then. Raises NotFound, Invalid or NotAllowed."""
    new = checked(changed(await find_locked(connection, number), wanted))
    await _check_registered(connection, new)
    await store.update(connection, new)
    return new


def changed(number: ServiceNumber, wanted: NumberChange) -> ServiceNumber:
    """What `wanted` would make of the number; not checked. Raises Invalid for a setting to clear that is none."""
    given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not UNSET}
    treatment = without(number.treatment, given.pop("clear"))
    given["treatment"] = laid_over(treatment, given.get("treatment", Treatment()))
    return msgspec.structs.replace(number, **given)


async def remove(connection: AsyncConnection, number: PhoneNumber, hand: Hand | None = None) -> None:
    """Takes a number out of service; it is released. `hand` None: the operator's of this machine, now.

    Raises NotFound.
    """
    await leave(connection, number, hand or local_hand(datetime.now(UTC)), STANDARD_TERMS)


async def leave(
    connection: AsyncConnection,
    number: PhoneNumber,
    hand: Hand,
    terms: QuarantineTerms,
    *,
    holder: UUID | None = None,
) -> Moved:
    """As `remove`, into a quarantine by `terms` where the number is of no range; also the move that it made.

    `holder` is who must still have it.
    """
    if await store.one(connection, number) is None:
        raise _no_such(number)
    known = await store_life.one(connection, number)
    terms = terms if known is None else await terms_of(connection, known, terms)

    def decide(stock: StockNumber) -> tuple[Move, StockNumber]:
        return Move.RELEASED, released(stock, terms, hand.at)

    moved = await make_move(connection, number, hand, decide, holder=holder)
    await drop(connection, number)
    return moved


async def set_suspended(connection: AsyncConnection, number: PhoneNumber, announcement: str | None) -> None:
    """What all its callers hear from the next call on; None: its calls are forwarded. Raises NotFound."""
    if not await store.set_suspended(connection, number, announcement):
        raise _no_such(number)


async def drop(connection: AsyncConnection, number: PhoneNumber) -> None:
    """Takes a number away from routing, its rules and days off with it. Raises NotFound."""
    if not await store.delete(connection, number):
        raise _no_such(number)


async def start(connection: AsyncConnection, number: ServiceNumber) -> ServiceNumber:
    """Shows a number to routing whose place in the stock is right already; as it is kept. Raises what `add` raises."""
    number = checked(number)
    await _check_registered(connection, number)
    if not await store.insert(connection, number):
        raise Conflict(f"number {written(number.number)} is in service already; change it with `dari number set`")
    return number


async def start_anew(connection: AsyncConnection, number: ServiceNumber) -> None:
    """As `replace`, without the rules and days off that it had."""
    await drop(connection, number.number)
    await start(connection, number)


async def replace(connection: AsyncConnection, number: ServiceNumber) -> None:
    """The number as it is to be from the next call on, its account too. Raises what `add` raises for its settings."""
    number = checked(number)
    await _check_registered(connection, number)
    await store.update(connection, number)


async def find(connection: AsyncConnection, number: PhoneNumber) -> ServiceNumber:
    """One number. Raises NotFound."""
    found = await store.one(connection, number)
    if found is None:
        raise _no_such(number)
    return found


async def find_locked(connection: AsyncConnection, number: PhoneNumber) -> ServiceNumber:
    """As `find`; nobody else can change it or its rules before this transaction ends."""
    found = await store.one_locked(connection, number)
    if found is None:
        raise _no_such(number)
    return found


async def look_up(connection: AsyncConnection, number: PhoneNumber) -> ServiceNumber | None:
    """One number; None when it is not in service."""
    return await store.one(connection, number)


async def look_up_all(
    connection: AsyncConnection, numbers: Collection[PhoneNumber]
) -> dict[PhoneNumber, ServiceNumber]:
    """Those of these numbers that are in service."""
    found = await store.some(connection, numbers) if numbers else []
    return {number.number: number for number in found}


async def listing(connection: AsyncConnection, account: UUID | None = None) -> list[ServiceNumber]:
    """The numbers of an account, or of all, by number."""
    return await store.of_account(connection, account)


def in_service(connection: AsyncConnection) -> AsyncIterator[list[ServiceNumber]]:
    """All numbers as of one instant, part by part, so that a running engine can read them between its calls."""
    return store.in_parts(connection)


async def _check_registered(connection: AsyncConnection, number: ServiceNumber) -> None:
    if number.sender is not None and not await is_sender(connection, number.account_id, number.sender):
        raise NotAllowed(f"sender: {written(number.sender)} is not registered for this account; register it first")


def _no_such(number: PhoneNumber) -> NotFound:
    return NotFound(f"number {written(number)} is not in service; `dari number list` shows those that are")
