"""The inventory: puts numbers into service, changes what they do, takes them out.

Each deed works in the caller's transaction (`engine.foundation.database.transaction`), so that nothing is half done.
The running engines hear of it when that transaction commits.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import is_sender
from engine.foundation.errors import Conflict, NotAllowed, NotFound
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers import store
from engine.numbers.model import ServiceNumber
from engine.numbers.rules import checked, laid_over, without
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


async def add(connection: AsyncConnection, number: ServiceNumber) -> ServiceNumber:
    """Puts a number into service; the number as it is kept. Raises Invalid, NotAllowed, or Conflict when taken."""
    number = checked(number)
    await _check_registered(connection, number)
    if not await store.insert(connection, number):
        raise Conflict(f"number {written(number.number)} is in service already; change it with `dari number set`")
    return number


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


async def remove(connection: AsyncConnection, number: PhoneNumber) -> None:
    """Takes a number out of service. Raises NotFound."""
    if not await store.delete(connection, number):
        raise _no_such(number)


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
