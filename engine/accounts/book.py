"""The book of accounts: finds and opens them, and registers their sender numbers.

Each deed works in the caller's transaction (`engine.foundation.database.transaction`), so that several hold together,
and writes there what it changed; whether the actor may do it, the door has asked.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import store
from engine.accounts.model import OPERATOR_ID, Account, Actor, Deed
from engine.accounts.told import Thing, tell, write_down
from engine.accounts.tree import checked_name, find, told_of
from engine.audit.model import PERSONAL
from engine.foundation.errors import Conflict, Invalid, NotAllowed, NotFound
from engine.foundation.ids import new_id
from engine.foundation.phone_number import NumberClass, PhoneNumber, classify, written

_LONGEST_EVIDENCE = 1000

_MAY_SEND = (
    NumberClass.MOBILE,
    NumberClass.LANDLINE,
    NumberClass.INTERNET,
    NumberClass.REPRESENTATIVE,
    NumberClass.TOLL_FREE,
)


async def account_named(connection: AsyncConnection, actor: Actor, name: str, now: datetime) -> Account:
    """The account of that name, opened `now` as a shop directly under the operator when there was none.

    Raises Invalid for a name that cannot be one, Conflict for one that several accounts have.
    """
    name = checked_name(name)
    found = await store.accounts_by_name(connection, name)
    if not found:
        opened = await store.insert_account(connection, new_id(now), name)
        found = await store.accounts_by_name(connection, name)
        if opened:
            made = _only(found, name)
            await tell(connection, actor, Deed.OPEN_ACCOUNTS, made.id, now, after=told_of(made))
    return _only(found, name)


async def account_called(connection: AsyncConnection, written: str) -> Account:
    """The open account that somebody names: its id, its name, or `AGENCY/…/NAME` where several have that name.

    `operator` is the root. Raises NotFound or Conflict.
    """
    written = written.strip()
    try:
        return await find(connection, UUID(written))
    except ValueError:
        pass
    if found := await store.accounts_by_name(connection, written):
        return _only(found, written)
    if written == "operator":
        return await find(connection, OPERATOR_ID)
    if "/" in written:
        everybody = {account.id: account for account in await store.all_accounts(connection)}
        ends = tuple(name.strip() for name in written.split("/"))
        found = [one for one in everybody.values() if _ends_with(one, everybody, ends) and one.status == "active"]
        if found:
            return _only(found, written)
    raise NotFound(f"account {written!r}: there is none of that name; `dari account list` shows those that are")


async def accounts(connection: AsyncConnection) -> list[Account]:
    """All accounts by name, closed ones too, without the operator itself."""
    return await store.all_accounts(connection)


def _only(found: list[Account], name: str) -> Account:
    if len(found) > 1:
        raise Conflict(f"account {name!r}: {len(found)} have that name; name it with those above it, as AGENCY/{name}")
    return found[0]


def _ends_with(account: Account, everybody: Mapping[UUID, Account], names: tuple[str, ...]) -> bool:
    """Whether the names on the way to it end like that."""
    way = [everybody[node].name for node in account.path if node in everybody]
    return tuple(way[-len(names) :]) == names


async def register_sender(
    connection: AsyncConnection, actor: Actor, account: UUID, number: PhoneNumber, evidence: str, now: datetime
) -> None:
    """Registers a number that messages of `account` may come from, with the proof that it may use it.

    A number registered before stays as it is. Raises Invalid or NotAllowed when it cannot be a sender.
    """
    check_sender(number)
    if not evidence.strip() or len(evidence) > _LONGEST_EVIDENCE or "\0" in evidence:
        raise Invalid(f"evidence: say in 1 to {_LONGEST_EVIDENCE} characters how the account may use the sender number")
    if await store.insert_sender(connection, account, number, evidence.strip()):
        told = {"evidence": evidence.strip(), PERSONAL: {"number": number}}
        await write_down(
            connection, actor, Deed.CHANGE_MESSAGES, Thing("sender", account, account), after=told, now=now
        )


async def senders(connection: AsyncConnection, account: UUID) -> list[tuple[PhoneNumber, str]]:
    """The numbers that messages of `account` may come from, each with the proof that it may use it."""
    return await store.senders_of(connection, account)


async def is_sender(connection: AsyncConnection, account: UUID, number: PhoneNumber) -> bool:
    """Whether `account` has registered that sender number."""
    return await store.sender_exists(connection, account, number)


async def senders_among(
    connection: AsyncConnection, asked: Collection[tuple[UUID, PhoneNumber]]
) -> set[tuple[UUID, PhoneNumber]]:
    """Those of these pairs whose account has registered that sender number."""
    return await store.senders_among(connection, asked) if asked else set()


def check_sender(number: PhoneNumber) -> None:
    """Raises NotAllowed for a forwarding 050 number and Invalid for one that carriers do not take as a sender."""
    kind = classify(number)
    if kind is NumberClass.VIRTUAL:
        raise NotAllowed(
            f"sender: {written(number)} is a forwarding 050 number; name a number that is the account's own"
        )
    if kind not in _MAY_SEND or not re.fullmatch(r"[0-9]{8,11}", number):
        raise Invalid(f"sender: {written(number)} cannot send messages; name a registered number of 8 to 11 digits")
