"""Numbers ordered by count and period of use (C22).

An order reserves its numbers at once, all of them or none. When its period begins they ring its target, if it names
one; shortly before the end the holder is told; at the end they are suspended, and after some days released. Each deed
works in the caller's transaction, asks `permissions`, and writes history, audit and events. Deeds raise NotFound,
NotAllowed, Invalid or Conflict.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed, Module
from engine.accounts.permissions import check, check_on, reach
from engine.accounts.tree import kept_open, place_of
from engine.audit import trail
from engine.foundation.errors import Conflict, NotFound
from engine.foundation.ids import new_id
from engine.foundation.phone_number import NumberClass, PhoneNumber, check_target, classify
from engine.numbers import inventory, store_life, store_orders
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.order_model import (
    FOR_EVER,
    STANDARD_PERIODS,
    Order,
    OrderStatus,
    Periods,
    check_end,
    check_order,
)
from engine.numbers.quarantine import BY_TIME
from engine.numbers.quarantine_terms import STANDARD_TERMS, QuarantineTerms
from engine.numbers.ranges import known
from engine.numbers.states import (
    SERVED,
    Move,
    State,
    StockNumber,
    issued,
    let_go,
    prolonged,
    released,
    reserved,
    suspended,
)
from engine.numbers.stock import Hand, Moved, move_each, move_free
from engine.numbers.suspension import SuspendedFor, Suspension
from engine.numbers.told import tell_holders, tell_of

ENDS_SOON = "period ends soon"
"""The change of the event that warns of the end."""
_TRIED_AT_ONCE = 100  # more than people who order at the same instant


async def place(
    connection: AsyncConnection,
    actor: Actor,
    account: UUID,
    count: int,
    now: datetime,
    *,
    prefix: str = "",
    target: PhoneNumber | None = None,
    starts_at: datetime | None = None,
    ends_at: datetime | None = None,
) -> tuple[Order, list[PhoneNumber]]:
    """Orders so many free 050 numbers for the account; the numbers. `starts_at` None: now; `ends_at` None: no end.

    Raises Conflict when fewer are free.
    """
    receiver = await kept_open(connection, account)
    check(actor, Deed.ISSUE_NUMBERS, receiver.place)
    starts_at = starts_at or now
    check_order(count, prefix, starts_at, ends_at, now)
    if target is not None:
        check_target(target)
        if classify(target) is NumberClass.MOBILE:
            check_on(receiver, Module.MOBILE_TARGETS)
    order = Order(
        id=new_id(now),
        account_id=account,
        count=count,
        prefix=prefix,
        target=target,
        starts_at=starts_at,
        ends_at=ends_at,
        ordered_by=actor.who,
        ordered_at=now,
    )
    await store_orders.insert(connection, order)
    hand = Hand(actor.who, now)
    moves = await _take_free(connection, order, hand)
    await tell_holders(connection, moves, now)
    if starts_at <= now:
        order = await _begin(connection, order, hand)
    await _write(connection, actor, order, None, now)
    return order, [moved.after.number for moved in moves]


async def prolong(
    connection: AsyncConnection, actor: Actor, order: UUID, ends_at: datetime | None, now: datetime
) -> Order:
    """Sets another end, None: none at all. What was suspended because the period was over is resumed, unless its
    holder or somebody above suspended it too.
    """
    old = await _locked(connection, actor, order)
    if old.status is OrderStatus.CANCELLED:
        raise Conflict(f"order {order}: it was cancelled; place another one")
    check_end(old.starts_at, ends_at, now)
    numbers = await store_life.of_order(connection, order)
    if old.status is OrderStatus.ENDED and not numbers:
        raise Conflict(f"order {order}: its numbers were released; place another one")
    status = OrderStatus.BEGUN if old.status is OrderStatus.ENDED else old.status
    new = msgspec.structs.replace(old, ends_at=ends_at, warned_at=None, status=status)
    await store_orders.update(connection, new)
    hand = Hand(actor.who, now)
    moves = await move_each(
        connection,
        numbers,
        hand,
        lambda stock: (Move.RESUMED, prolonged(stock, now)),
        due=lambda stock: stock.order_id == order and _period_is_over(stock),
    )
    await _announce(connection, moves)
    kept = [stock for stock in numbers if stock.state is State.RESERVED]
    longer = [(stock, _reserved_until(stock, ends_at or FOR_EVER, now)) for stock in kept]
    await store_life.move_many(connection, longer, waiting=True)  # what somebody issues now needs it no more
    await tell_holders(connection, moves, now)
    await _write(connection, actor, new, old, now)
    return new


async def cancel(connection: AsyncConnection, actor: Actor, order: UUID, now: datetime) -> Order:
    """Gives all numbers of an order back whose period has not begun."""
    old = await _locked(connection, actor, order)
    if old.status is not OrderStatus.PLACED:
        raise Conflict(f"order {order}: it is {old.status.value}; release its numbers, or let them go")
    new = msgspec.structs.replace(old, status=OrderStatus.CANCELLED)
    await store_orders.update(connection, new)
    numbers = await store_life.of_order(connection, order)
    if any(stock.state is not State.RESERVED for stock in numbers):
        raise Conflict(f"order {order}: some of its numbers were issued already; release those first")
    moves = await move_each(
        connection,
        numbers,
        Hand(actor.who, now),
        lambda stock: (Move.LET_GO, let_go(stock, now)),
        due=lambda stock: stock.order_id == order,
    )
    await tell_holders(connection, moves, now)
    await _write(connection, actor, new, old, now)
    return new


async def find(connection: AsyncConnection, actor: Actor, order: UUID) -> tuple[Order, list[StockNumber]]:
    """An order, and the numbers that are still of it."""
    found = await store_orders.one(connection, order)
    if found is None:
        raise _no_such(order)
    check(actor, Deed.SEE_NUMBERS, await place_of(connection, found.account_id), what=f"order {order}")
    return found, await store_life.of_order(connection, order)


async def listing(
    connection: AsyncConnection, actor: Actor, *, before: UUID | None = None, limit: int = 100
) -> list[Order]:
    """Orders of the actor's accounts, the newest first, older than `before`."""
    return await store_orders.listing(connection, reach(actor, Deed.SEE_NUMBERS), before, limit)


async def look_after_one(
    connection: AsyncConnection,
    now: datetime,
    periods: Periods = STANDARD_PERIODS,
    terms: QuarantineTerms = STANDARD_TERMS,
) -> bool:
    """Does what time has made due for one order: begins, warns, ends or releases. False: nothing is due."""
    hand = Hand(BY_TIME, now)
    if order := await store_orders.next_to_end(connection, now):
        await _end(connection, order, hand)
    elif order := await store_orders.next_to_begin(connection, now):
        await _begin(connection, order, hand)
    elif order := await store_orders.next_to_warn(connection, now, timedelta(days=periods.warn_days)):
        await _warn(connection, order, now)
    elif order := await store_orders.next_to_release(connection, now, timedelta(days=periods.grace_days)):
        await _release(connection, order, hand, terms)
    return order is not None


async def _take_free(connection: AsyncConnection, order: Order, hand: Hand) -> list[Moved]:
    """Reserves the order's numbers, those left out that others are about to take. Raises Conflict."""
    until = order.ends_at or FOR_EVER
    taken: list[Moved] = []
    after = ""
    while (left := order.count - len(taken)) > 0:
        free = await store_life.available(connection, NumberKind.VIRTUAL, order.prefix, after, left + _TRIED_AT_ONCE)
        if not free:
            raise Conflict(f"count: only {len(taken)} of {order.count} such numbers are free; order fewer or others")
        taken += await move_free(
            connection,
            free,
            hand,
            lambda old: (Move.RESERVED, reserved(old, order.account_id, until, hand.at, order=order.id)),
            most=left,
        )
        after = free[-1].number
    return taken


async def _begin(connection: AsyncConnection, order: Order, hand: Hand) -> Order:
    begun = msgspec.structs.replace(order, status=OrderStatus.BEGUN)
    await store_orders.update(connection, begun)
    if order.target is None:
        return begun
    moves = await move_each(
        connection,
        await store_life.of_order(connection, order.id),
        hand,
        lambda stock: issued(stock, order.account_id, hand.at),
        due=lambda stock: stock.order_id == order.id and stock.state is State.RESERVED,
    )
    for moved in moves:
        wanted = ServiceNumber(
            number=moved.after.number, kind=moved.after.kind, account_id=order.account_id, target=order.target
        )
        await inventory.start(connection, wanted)
    await tell_holders(connection, moves, hand.at)
    return begun


async def _warn(connection: AsyncConnection, order: Order, now: datetime) -> None:
    await store_orders.update(connection, msgspec.structs.replace(order, warned_at=now))
    ends_at = None if order.ends_at is None else order.ends_at.isoformat()
    for stock in await store_life.of_order(connection, order.id):
        await tell_of(connection, order.account_id, stock.number, ENDS_SOON, now, order=str(order.id), ends_at=ends_at)


async def _end(connection: AsyncConnection, order: Order, hand: Hand) -> None:
    """Also those that are suspended for another reason: their period is over all the same."""
    await store_orders.update(connection, msgspec.structs.replace(order, status=OrderStatus.ENDED))
    numbers = await store_life.of_order(connection, order.id)
    over = Suspension(why=SuspendedFor.PERIOD_OVER, by=hand.who, at=hand.at)
    moves = await move_each(
        connection,
        numbers,
        hand,
        lambda stock: (Move.SUSPENDED, suspended(stock, over)),
        due=lambda stock: stock.order_id == order.id and stock.state in SERVED and not _period_is_over(stock),
    )
    await _announce(connection, moves)
    moves += await move_each(
        connection,
        numbers,
        hand,
        lambda stock: (Move.LET_GO, let_go(stock, hand.at)),
        due=lambda stock: stock.order_id == order.id and stock.state is State.RESERVED,
    )
    await tell_holders(connection, moves, hand.at)


async def _release(connection: AsyncConnection, order: Order, hand: Hand, default: QuarantineTerms) -> None:
    """Also those that were barred meanwhile: their period is over all the same."""
    terms = {one.id: one.terms for one in await known(connection)}

    def decide(stock: StockNumber) -> tuple[Move, StockNumber]:
        own = default if stock.range_id is None else terms.get(stock.range_id, default)
        return Move.RELEASED, released(stock, own, hand.at)

    moves = await move_each(
        connection,
        await store_life.of_order(connection, order.id),
        hand,
        decide,
        due=lambda stock: stock.order_id == order.id,
    )
    for moved in moves:
        await inventory.drop(connection, moved.after.number)
    await tell_holders(connection, moves, hand.at)


async def _announce(connection: AsyncConnection, moves: Iterable[Moved]) -> None:
    """What callers hear from the next call on."""
    for moved in moves:
        await inventory.set_suspended(connection, moved.after.number, moved.after.announcement)


def _period_is_over(stock: StockNumber) -> bool:
    return any(one.why is SuspendedFor.PERIOD_OVER for one in stock.suspensions)


def _reserved_until(stock: StockNumber, until: datetime, now: datetime) -> StockNumber:
    return msgspec.structs.replace(stock, reserved_until=until, changed_at=now, version=stock.version + 1)


async def _locked(connection: AsyncConnection, actor: Actor, order: UUID) -> Order:
    found = await store_orders.one_locked(connection, order)
    if found is None:
        raise _no_such(order)
    check(actor, Deed.ISSUE_NUMBERS, await place_of(connection, found.account_id), what=f"order {order}")
    return found


def _no_such(order: UUID) -> NotFound:
    return NotFound(f"order {order}: there is none that you may see")


async def _write(connection: AsyncConnection, actor: Actor, new: Order, old: Order | None, now: datetime) -> None:
    fields = ("count", "prefix", "starts_at", "ends_at", "status")
    await trail.write(
        connection,
        who=actor.who,
        deed=Deed.ISSUE_NUMBERS.value,
        account_id=new.account_id,
        object_kind="number order",
        object_id=new.id,
        before=None if old is None else {field: getattr(old, field) for field in fields},
        after={field: getattr(new, field) for field in fields},
        peer=actor.peer,
        now=now,
    )
