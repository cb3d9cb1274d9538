"""The tree of accounts: who stands under whom, and the deeds that change it.

Each deed works in the caller's transaction, asks `permissions`, and writes the audit's entry and the event with the
change. Deeds raise NotFound, NotAllowed, Invalid or Conflict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from uuid import UUID
from zoneinfo import available_timezones

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import store
from engine.accounts.model import OPERATOR_ID, Account, AccountKind, Actor, Deed, Place
from engine.accounts.permissions import check
from engine.accounts.told import tell
from engine.accounts.trades import check_trade
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.ids import new_id

UNDER: Mapping[AccountKind, frozenset[AccountKind]] = MappingProxyType(
    {
        AccountKind.OPERATOR: frozenset({AccountKind.AGENCY, AccountKind.SHOP}),
        AccountKind.AGENCY: frozenset({AccountKind.REGION, AccountKind.BRANCH, AccountKind.SHOP}),
        AccountKind.REGION: frozenset({AccountKind.BRANCH, AccountKind.SHOP}),
        AccountKind.BRANCH: frozenset({AccountKind.SHOP}),
        AccountKind.SHOP: frozenset(),
    }
)
"""What may stand directly under what."""

LONGEST_NAME = 100
_LONGEST_EVIDENCE = 1000
_LARGEST_REVENUE = 10**15


def top_of(path: Sequence[UUID]) -> UUID | None:
    """The account directly under the operator whose stream the events of an account at `path` go into.

    The operator's own events have no other stream than its own.
    """
    return path[1] if len(path) > 1 else path[0] if path else None


async def find(connection: AsyncConnection, account: UUID) -> Account:
    """The account of that id, closed ones too, whoever asks. Raises NotFound."""
    found = await store.account(connection, account)
    if found is None:
        raise NotFound(f"account {account}: there is none that you may see")
    return found


async def seen(connection: AsyncConnection, actor: Actor, account: UUID) -> Account:
    """The account of that id, as the actor may see it."""
    found = await find(connection, account)
    check(actor, Deed.SEE_ACCOUNTS, found.place)
    return found


async def listing(
    connection: AsyncConnection, root: UUID, *, after: UUID | None = None, limit: int = 100
) -> list[Account]:
    """`root` (see `permissions.reach`) and all below it, by id, closed ones too; `after` the last id before."""
    return await store.under(connection, root, after, limit)


async def place_of(connection: AsyncConnection, account: UUID) -> Place:
    """Where the account stands. Raises NotFound."""
    places = await store.places(connection, [account])
    if account not in places:
        raise NotFound(f"account {account}: there is none that you may see")
    return places[account]


async def account_places(connection: AsyncConnection, accounts: Sequence[UUID]) -> dict[UUID, Place]:
    """Where each stands; those that do not exist are left away."""
    return await store.places(connection, accounts)


async def kept_open(connection: AsyncConnection, account: UUID) -> Account:
    """The account, which nobody closes before this transaction ends: for deeds that put something new into it.

    Raises NotFound, or Conflict when it is closed.
    """
    await store.keep(connection, account)
    found = await find(connection, account)
    _check_active(found)
    return found


async def alone_with(connection: AsyncConnection, account: UUID) -> None:
    """Waits for everybody else who is alone with the account, and makes them wait until this transaction ends."""
    await store.be_alone_with(connection, account)


async def open_account(
    connection: AsyncConnection,
    actor: Actor,
    parent: UUID,
    kind: AccountKind,
    name: str,
    now: datetime,
    *,
    zone: str | None = None,
) -> Account:
    """A new account directly under `parent`. A branch's base fee is waived."""
    above = await kept_open(connection, parent)
    check(actor, Deed.OPEN_ACCOUNTS, above.place)
    _check_under(above, kind)
    wanted = Account(
        id=new_id(now),
        name=checked_name(name),
        zone=_checked_zone(zone or above.zone),
        kind=kind,
        parent=parent,
        fee_waived=kind is AccountKind.BRANCH,
    )
    if not await store.open_account(connection, wanted, now):
        raise Conflict(f"name: {wanted.name!r} is another account's directly under {above.name}; choose another name")
    made = await find(connection, wanted.id)
    await tell(connection, actor, Deed.OPEN_ACCOUNTS, made.id, now, after=told_of(made))
    return made


async def rename(connection: AsyncConnection, actor: Actor, account: UUID, name: str, now: datetime) -> Account:
    """Gives the account another name."""
    before = await _changeable(connection, actor, Deed.CHANGE_ACCOUNTS, account)
    name = checked_name(name)
    if await store.name_taken(connection, before.parent, name, account):
        raise Conflict(f"name: {name!r} is another account's beside it; choose another name")
    _check_done(await store.rename(connection, account, name), before)
    return await _changed(connection, actor, Deed.CHANGE_ACCOUNTS, before, now)


async def set_zone(connection: AsyncConnection, actor: Actor, account: UUID, zone: str, now: datetime) -> Account:
    """Sets the time zone in which its days begin."""
    before = await _changeable(connection, actor, Deed.CHANGE_ACCOUNTS, account)
    _check_done(await store.set_zone(connection, account, _checked_zone(zone)), before)
    return await _changed(connection, actor, Deed.CHANGE_ACCOUNTS, before, now)


async def set_business(
    connection: AsyncConnection,
    actor: Actor,
    account: UUID,
    now: datetime,
    *,
    trade: str | None,
    yearly_revenue: int | None,
    evidence: str | None,
) -> Account:
    """Its trade's code, its yearly revenue in won and what shows that; together they decide `eligibility`.

    Whoever reviews sign-ups writes it down, having seen the evidence: nobody decides their own eligibility.
    """
    before = await _changeable(connection, actor, Deed.REVIEW_ACCOUNTS, account)
    check_trade(trade)
    if yearly_revenue is not None and not 0 <= yearly_revenue <= _LARGEST_REVENUE:
        raise Invalid(f"yearly_revenue: {yearly_revenue} must be 0 to {_LARGEST_REVENUE} won")
    evidence = (evidence or "").strip() or None
    if evidence and (len(evidence) > _LONGEST_EVIDENCE or "\0" in evidence):
        raise Invalid(f"revenue_evidence: say in 1 to {_LONGEST_EVIDENCE} characters what shows the revenue")
    _check_done(await store.set_business(connection, account, trade, yearly_revenue, evidence), before)
    return await _changed(connection, actor, Deed.REVIEW_ACCOUNTS, before, now)


async def waive_fee(connection: AsyncConnection, actor: Actor, account: UUID, waived: bool, now: datetime) -> Account:
    """Whether its base fee is waived."""
    before = await _changeable(connection, actor, Deed.WAIVE_FEES, account)
    _check_done(await store.set_waived(connection, account, waived), before)
    return await _changed(connection, actor, Deed.WAIVE_FEES, before, now)


async def move(connection: AsyncConnection, actor: Actor, account: UUID, parent: UUID, now: datetime) -> Account:
    """Puts the account, with all below it, directly under `parent`."""
    await _changeable(connection, actor, Deed.MOVE_ACCOUNTS, account)  # nobody else waits for who may not do it
    await store.lock_tree(connection)
    before = await _changeable(connection, actor, Deed.MOVE_ACCOUNTS, account)
    above = await kept_open(connection, parent)
    check(actor, Deed.OPEN_ACCOUNTS, above.place)
    if account in above.path:
        raise Conflict(f"account {before.name}: it cannot stand under itself; name an account that is not below it")
    _check_under(above, before.kind)
    if await store.name_taken(connection, parent, before.name, account):
        raise Conflict(f"name: {before.name!r} is another account's directly under {above.name}; rename one of them")
    _check_done(await store.move(connection, account, parent), before)
    return await _changed(connection, actor, Deed.MOVE_ACCOUNTS, before, now)


async def close(connection: AsyncConnection, actor: Actor, account: UUID, now: datetime) -> Account:
    """Ends the account; its calls and messages stay. It has no numbers and no open accounts under it any more."""
    await _changeable(connection, actor, Deed.CLOSE_ACCOUNTS, account)
    await store.lock_account(connection, account)
    before = await _changeable(connection, actor, Deed.CLOSE_ACCOUNTS, account)
    if account == OPERATOR_ID:
        raise Conflict(f"account {before.name}: the operator is never closed")
    children, numbers = await store.busy(connection, account)
    if children:
        raise Conflict(f"account {before.name}: it has accounts under it; close or move them first")
    if numbers:
        raise Conflict(f"account {before.name}: it has numbers in service; release or transfer them first")
    _check_done(await store.close(connection, account, now), before)
    return await _changed(connection, actor, Deed.CLOSE_ACCOUNTS, before, now)


def checked_name(name: str) -> str:
    """The name as it is kept. Raises Invalid for one that cannot be a name."""
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise Invalid(f"account: {name[:40]!r} must be 1 to {LONGEST_NAME} printable characters")
    return name


def _checked_zone(zone: str) -> str:
    if zone not in available_timezones():
        raise Invalid(f"zone: {zone[:40]!r} is no time zone; write one like Asia/Seoul")
    return zone


def _check_under(above: Account, kind: AccountKind) -> None:
    """Raises Invalid when the kinds do not go together."""
    if kind not in UNDER[above.kind]:
        kinds = ", ".join(sorted(one.value for one in UNDER[above.kind])) or "nothing"
        raise Invalid(f"kind: no {kind.value} stands directly under a {above.kind.value}; there stands {kinds}")


def _check_active(account: Account) -> None:
    if account.status != "active":
        raise Conflict(f"account {account.name}: it is closed; open another one")


def _check_done(done: bool, account: Account) -> None:
    if not done:
        raise Conflict(f"account {account.name}: somebody else closed it meanwhile; look again")


async def _changeable(connection: AsyncConnection, actor: Actor, deed: Deed, account: UUID) -> Account:
    """The account, which the actor may do this to and which is not closed."""
    found = await find(connection, account)
    check(actor, deed, found.place)
    _check_active(found)
    return found


async def _changed(connection: AsyncConnection, actor: Actor, deed: Deed, before: Account, now: datetime) -> Account:
    """The account as it is now; what changed is told."""
    after = await find(connection, before.id)
    old, new = told_of(before), told_of(after)
    differing = [field for field in new if old[field] != new[field]]
    if differing:
        await tell(
            connection,
            actor,
            deed,
            before.id,
            now,
            before={field: old[field] for field in differing},
            after={field: new[field] for field in differing},
        )
    return after


def told_of(account: Account) -> dict[str, object]:
    """What is written down of an account that is opened or changed."""
    values: dict[str, object] = msgspec.to_builtins(account)
    return {field: value for field, value in values.items() if field not in ("id", "modules")}
