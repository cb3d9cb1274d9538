"""Transfer of a number to another account (이관, 명의변경): offered, and accepted or declined by the receiver (C12).

Calls that were belong to whoever had the number then; from the next one on they are the receiver's. Each deed works in
the caller's transaction, asks `permissions`, and writes history, audit and events for both sides. Deeds raise NotFound,
NotAllowed, Invalid or Conflict.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.book import is_sender
from engine.accounts.model import Actor, Deed, Module
from engine.accounts.permissions import check, check_on, may, reach
from engine.accounts.tree import kept_open, place_of
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.ids import new_id
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers import inventory, stock, store_life, store_transfer
from engine.numbers.life import checked_note, held_place
from engine.numbers.rules import rings_mobiles
from engine.numbers.states import SERVED, Move, check_transferable, transferred
from engine.numbers.stock import Hand
from engine.numbers.told import tell_move, tell_transfer, write
from engine.numbers.transfer_model import Transfer, TransferStatus, settings_after

OPEN_FOR = timedelta(days=7)
LONGEST_OPEN = timedelta(days=31)


async def offer(
    connection: AsyncConnection,
    actor: Actor,
    number: PhoneNumber,
    to: UUID,
    now: datetime,
    *,
    keep_settings: bool = True,
    open_for: timedelta = OPEN_FOR,
) -> Transfer:
    """Offers the number to the account `to`, which need not be one that the actor sees; it stays as it is meanwhile."""
    await store_life.lock(connection, number)  # else whoever releases it now would not see the offer
    held, place = await held_place(connection, actor, number)
    check(actor, Deed.TRANSFER_NUMBERS, place, what=f"number {written(number)}")
    if held.state not in SERVED:
        raise Conflict(f"number {written(number)}: it is {held.state.value}; only a number in service is transferred")
    check_transferable(held)
    if to == place.account:
        raise Invalid(f"to: {written(number)} is that account's already")
    if not timedelta(0) < open_for <= LONGEST_OPEN:
        raise Invalid(f"open for: it must be up to {LONGEST_OPEN.days} days")
    await kept_open(connection, to)
    made = Transfer(
        id=new_id(now),
        number=number,
        from_account=place.account,
        to_account=to,
        keep_settings=keep_settings,
        status=TransferStatus.OFFERED,
        offered_by=actor.who,
        offered_at=now,
        expires_at=now + open_for,
    )
    await _tell_expired(connection, await store_transfer.expire_of(connection, number, now), now)
    if not await store_transfer.insert(connection, made):
        raise Conflict(f"number {written(number)}: it is offered to somebody already; withdraw that offer first")
    await _tell(connection, actor, made, now)
    return made


async def accept(
    connection: AsyncConnection, actor: Actor, transfer: UUID, now: datetime, target: PhoneNumber | None = None
) -> Transfer:
    """Takes the number over, for the receiver's side. `target` is whom its calls ring from now on; None: as before,
    which goes only with kept settings.
    """
    offered = await _receiving(connection, actor, transfer)
    await store_life.lock(connection, offered.number)  # first the number, then its offers: as whoever releases it does
    done = await _decide(connection, actor, transfer, TransferStatus.ACCEPTED, now)
    receiver = await kept_open(connection, done.to_account)
    moved = await stock.make_move(
        connection,
        done.number,
        Hand(actor.who, now, "with its settings" if done.keep_settings else "without its settings"),
        lambda old: (Move.TRANSFERRED, transferred(old, done.from_account, done.to_account, now)),
        holder=done.from_account,
    )
    old = await inventory.find_locked(connection, done.number)
    known = old.sender is not None and await is_sender(connection, done.to_account, old.sender)
    new = settings_after(old, done, target, moved.after.announcement, sender_registered=known)
    if rings_mobiles(new):
        check_on(receiver, Module.MOBILE_TARGETS)
    if done.keep_settings:
        await inventory.replace(connection, new)
    else:
        await inventory.start_anew(connection, new)
    await tell_move(connection, actor, Deed.TRANSFER_NUMBERS, moved, now)
    return done


async def decline(
    connection: AsyncConnection, actor: Actor, transfer: UUID, now: datetime, reason: str = ""
) -> Transfer:
    """Refuses the number, for the receiver's side."""
    await _receiving(connection, actor, transfer)
    done = await _decide(connection, actor, transfer, TransferStatus.DECLINED, now, checked_note(reason))
    await _tell(connection, actor, done, now)
    return done


async def withdraw(
    connection: AsyncConnection, actor: Actor, transfer: UUID, now: datetime, reason: str = ""
) -> Transfer:
    """Takes the offer back, for the side that made it."""
    found = await find(connection, actor, transfer)
    check(actor, Deed.TRANSFER_NUMBERS, await place_of(connection, found.from_account), what=f"transfer {transfer}")
    done = await _decide(connection, actor, transfer, TransferStatus.WITHDRAWN, now, checked_note(reason))
    await _tell(connection, actor, done, now)
    return done


async def expire(connection: AsyncConnection, now: datetime) -> int:
    """Ends offers that nobody answered in time; how many."""
    ended = await store_transfer.expire(connection, now)
    await _tell_expired(connection, ended, now)
    return len(ended)


async def find(connection: AsyncConnection, actor: Actor, transfer: UUID) -> Transfer:
    """The transfer as either side may see it."""
    found = await store_transfer.one(connection, transfer)
    if found is not None:
        for side in (found.from_account, found.to_account):
            if may(actor, Deed.SEE_NUMBERS, await place_of(connection, side)):
                return found
    raise NotFound(f"transfer {transfer}: there is none that you may see")


async def listing(
    connection: AsyncConnection,
    actor: Actor,
    *,
    status: TransferStatus | None = None,
    before: UUID | None = None,
    limit: int = 100,
) -> list[Transfer]:
    """Transfers from and to the actor's accounts, the newest first, older than `before`."""
    return await store_transfer.listing(connection, reach(actor, Deed.SEE_NUMBERS), status, before, limit)


async def _receiving(connection: AsyncConnection, actor: Actor, transfer: UUID) -> Transfer:
    found = await find(connection, actor, transfer)
    check(actor, Deed.TRANSFER_NUMBERS, await place_of(connection, found.to_account), what=f"transfer {transfer}")
    return found


async def _decide(
    connection: AsyncConnection,
    actor: Actor,
    transfer: UUID,
    status: TransferStatus,
    now: datetime,
    reason: str = "",
) -> Transfer:
    done = await store_transfer.decide(connection, transfer, status, actor.who, now, reason)
    if done is None:
        raise Conflict(f"transfer {transfer}: it is not open any more; look at what has become of it")
    return done


async def _tell(connection: AsyncConnection, actor: Actor, transfer: Transfer, now: datetime) -> None:
    offered = transfer.status is TransferStatus.OFFERED
    await write(
        connection,
        actor,
        Deed.TRANSFER_NUMBERS,
        transfer.number,
        transfer.from_account,
        now,
        before=None if offered else {"transfer": TransferStatus.OFFERED},
        after={"transfer": transfer.status, "id": transfer.id, "to_account": transfer.to_account},
    )
    await tell_transfer(connection, transfer, now)


async def _tell_expired(connection: AsyncConnection, ended: Iterable[Transfer], now: datetime) -> None:
    for one in ended:
        await tell_transfer(connection, one, now)
