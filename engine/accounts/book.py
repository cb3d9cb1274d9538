"""The book of accounts: finds and opens them, and registers their sender numbers.

Each deed works in the caller's transaction (`engine.foundation.database.transaction`), so that several hold together.
"""

from __future__ import annotations

import re
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import store
from engine.accounts.model import Account
from engine.foundation.errors import Invalid, NotAllowed
from engine.foundation.ids import new_id
from engine.foundation.phone_number import NumberClass, PhoneNumber, classify, written

_LONGEST_NAME = 100
_LONGEST_EVIDENCE = 1000

_MAY_SEND = (
    NumberClass.MOBILE,
    NumberClass.LANDLINE,
    NumberClass.INTERNET,
    NumberClass.REPRESENTATIVE,
    NumberClass.TOLL_FREE,
)


async def account_named(connection: AsyncConnection, name: str, now: datetime) -> Account:
    """The account of that name, opened `now` when there was none. Raises Invalid for a name that cannot be one."""
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise Invalid(f"account: {name[:40]!r} must be 1 to {_LONGEST_NAME} printable characters")
    found = await store.account_by_name(connection, name)
    if found is None:
        await store.insert_account(connection, new_id(now), name)
        found = await store.account_by_name(connection, name)
    assert found is not None  # noqa: S101 - accounts are never removed
    return found


async def accounts(connection: AsyncConnection) -> list[Account]:
    """All accounts by name."""
    return await store.all_accounts(connection)


async def register_sender(connection: AsyncConnection, account: UUID, number: PhoneNumber, evidence: str) -> None:
    """Registers a number that messages of `account` may come from, with the proof that it may use it.

    A number registered before stays as it is. Raises Invalid or NotAllowed when it cannot be a sender.
    """
    check_sender(number)
    if not evidence.strip() or len(evidence) > _LONGEST_EVIDENCE or "\0" in evidence:
        raise Invalid(f"evidence: say in 1 to {_LONGEST_EVIDENCE} characters how the account may use the sender number")
    await store.insert_sender(connection, account, number, evidence.strip())


async def is_sender(connection: AsyncConnection, account: UUID, number: PhoneNumber) -> bool:
    """Whether `account` has registered that sender number."""
    return await store.sender_exists(connection, account, number)


def check_sender(number: PhoneNumber) -> None:
    """Raises NotAllowed for a forwarding 050 number and Invalid for one that carriers do not take as a sender."""
    kind = classify(number)
    if kind is NumberClass.VIRTUAL:
        raise NotAllowed(
            f"sender: {written(number)} is a forwarding 050 number; name a number that is the account's own"
        )
    if kind not in _MAY_SEND or not re.fullmatch(r"[0-9]{8,11}", number):
        raise Invalid(f"sender: {written(number)} cannot send messages; name a registered number of 8 to 11 digits")
