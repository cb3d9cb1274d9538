"""The life of a number, deed by deed: reserved, issued, suspended, released, ported; who held it and when.

Each deed works in the caller's transaction, asks `permissions`, and writes history, audit and event with the change.
What it does is in force for the next call. Deeds raise NotFound, NotAllowed, Invalid or Conflict.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from msgspec import UNSET
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import OPERATOR_PLACE, Actor, Deed, Module, Place
from engine.accounts.permissions import check, check_on, may, reach
from engine.accounts.tree import find as find_account
from engine.accounts.tree import kept_open, place_of
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers import inventory, stock, store_life
from engine.numbers.content import differ_in_content_only
from engine.numbers.history import Happened
from engine.numbers.inventory import NumberChange
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.quarantine_terms import STANDARD_TERMS, QuarantineTerms
from engine.numbers.ranges import terms_of
from engine.numbers.rules import rings_mobiles
from engine.numbers.sound_names import is_sound, may_be_prompt, named_prompt
from engine.numbers.states import (
    HELD,
    SERVED,
    Move,
    State,
    StockNumber,
    announced,
    ported_out,
    reserved,
    resumed,
    returned,
    suspended,
)
from engine.numbers.states import (
    let_go as let_go_of,
)
from engine.numbers.stock import Hand
from engine.numbers.suspension import NOT_IN_SERVICE as NOT_IN_SERVICE
from engine.numbers.suspension import SuspendedFor, Suspension
from engine.numbers.told import tell_move, tell_settings

RESERVED_FOR = timedelta(minutes=10)
"""As long as a form may stay open."""
LONGEST_RESERVATION = timedelta(days=31)
MOST_RESERVED = 100
"""Numbers that an account keeps back at a time, those of its orders aside: five forms with the most that one may hold.
More would let one account empty a small stock without paying for a number.
"""
_LONGEST_NOTE = 200


async def reserve(
    connection: AsyncConnection,
    actor: Actor,
    number: PhoneNumber,
    account: UUID,
    now: datetime,
    until: datetime | None = None,
) -> StockNumber:
    """Keeps a free number for the account; None: for `RESERVED_FOR`. It is exclusive for the account's own people too.

    One whose reservation is over is free.
    """
    check(actor, Deed.ISSUE_NUMBERS, (await kept_open(connection, account)).place)
    await check_room(connection, account, 1, now)
    return await keep_back(connection, actor, number, account, now, until)


async def keep_back(
    connection: AsyncConnection,
    actor: Actor,
    number: PhoneNumber,
    account: UUID,
    now: datetime,
    until: datetime | None = None,
) -> StockNumber:
    """As `reserve`, for whoever has asked already whether the actor may and whether there is room."""
    until = until or now + RESERVED_FOR
    if not now < until <= now + LONGEST_RESERVATION:
        raise Invalid(f"until: {until:%Y-%m-%d %H:%M %Z} must be within {LONGEST_RESERVATION.days} days from now")
    moved = await stock.make_move(
        connection, number, Hand(actor.who, now), lambda old: (Move.RESERVED, reserved(old, account, until, now))
    )
    await tell_move(connection, actor, Deed.ISSUE_NUMBERS, moved, now)
    return moved.after


async def check_room(connection: AsyncConnection, account: UUID, more: int, now: datetime) -> None:
    """Raises Conflict when the account would keep back too many; nobody else reserves for it before this transaction
    ends. Comes before any number is locked, so that no two wait for each other.
    """
    held = await store_life.reservations(connection, account, now)
    if held + more > MOST_RESERVED:
        raise Conflict(
            f"reserve: the account keeps {held} numbers back and may keep {MOST_RESERVED}; issue some or let them go"
        )


async def let_go(connection: AsyncConnection, actor: Actor, number: PhoneNumber, now: datetime) -> StockNumber:
    """Ends a reservation before its time."""
    held, _ = await _held(connection, actor, Deed.ISSUE_NUMBERS, number)
    moved = await stock.make_move(
        connection, number, Hand(actor.who, now), lambda old: (Move.LET_GO, let_go_of(old, now)), holder=held.held_by
    )
    await tell_move(connection, actor, Deed.ISSUE_NUMBERS, moved, now)
    return moved.after


async def issue(connection: AsyncConnection, actor: Actor, wanted: ServiceNumber, now: datetime) -> ServiceNumber:
    """Puts a number of the stock into service for `wanted.account_id`; the number as it is kept.

    It must be free, reserved for that account, or in quarantine with that account as its last holder.
    """
    await _check_receiver(connection, actor, wanted)
    known = await stock.find(connection, wanted.number)
    if known.state is State.PORTED_OUT:
        raise Conflict(f"number {written(wanted.number)}: it is with another carrier; port it in")
    return await _enter(connection, actor, wanted, now)


async def port_in(connection: AsyncConnection, actor: Actor, wanted: ServiceNumber, now: datetime) -> ServiceNumber:
    """Puts a number into service that its holder brings along: a shop's own, or a 050 number from another carrier.

    050 and 080 numbers come with a carrier's papers, so only the operator takes them in.
    """
    await _check_receiver(connection, actor, wanted)
    if wanted.kind in (NumberKind.VIRTUAL, NumberKind.OPT_OUT):
        check(actor, Deed.MANAGE_RANGES, OPERATOR_PLACE)
    known = await store_life.one(connection, wanted.number)
    if known is not None and known.state is not State.PORTED_OUT:
        raise Conflict(f"number {written(wanted.number)}: it is in the stock already ({known.state.value}); issue it")
    return await _enter(connection, actor, wanted, now)


async def put_into_service(
    connection: AsyncConnection, actor: Actor, wanted: ServiceNumber, now: datetime
) -> ServiceNumber:
    """Issues the number when it is in the stock, and ports it in when it is not."""
    known = await store_life.one(connection, wanted.number)
    if known is None or known.state is State.PORTED_OUT:
        return await port_in(connection, actor, wanted, now)
    return await issue(connection, actor, wanted, now)


async def change(
    connection: AsyncConnection, actor: Actor, number: PhoneNumber, wanted: NumberChange, now: datetime
) -> ServiceNumber:
    """Re-targets a number and switches its features; the number as it is then.

    Where only what callers hear and read becomes another, whoever may change messages may do it (K12).
    """
    held, place = await held_place(connection, actor, number)
    for_content = may(actor, Deed.CHANGE_MESSAGES, place)
    if not for_content:
        check(actor, Deed.CHANGE_NUMBERS, place, what=f"number {written(number)}")
    old = await inventory.find_locked(connection, number)
    if old.account_id != held.held_by:
        raise changed_hands(number)
    only_content = differ_in_content_only(old, inventory.changed(old, wanted))
    if not only_content:
        check(actor, Deed.CHANGE_NUMBERS, place, what=f"number {written(number)}")
    if wanted.suspended is not UNSET:
        await _announce(connection, held, wanted.suspended, from_above=_from_above(actor, place))
    new = await inventory.change(connection, number, wanted)
    if rings_mobiles(new) and not rings_mobiles(old):
        check_on(await find_account(connection, new.account_id), Module.MOBILE_TARGETS)
    deed = Deed.CHANGE_MESSAGES if only_content and for_content else Deed.CHANGE_NUMBERS
    await tell_settings(connection, actor, deed, old, new, now)
    return new


async def _announce(connection: AsyncConnection, held: StockNumber, sound: str, *, from_above: bool) -> None:
    """Whoever moves the number now goes on to its settings, which this transaction holds: they are not waited for."""
    check_announcement(sound)
    new = announced(held, sound, from_above=from_above)
    if not await store_life.move_many(connection, [(held, new)], waiting=False):
        raise changed_hands(held.number)


async def suspend(
    connection: AsyncConnection,
    actor: Actor,
    number: PhoneNumber,
    now: datetime,
    *,
    announcement: str = NOT_IN_SERVICE,
    bar: bool = True,
    note: str = "",
) -> StockNumber:
    """All callers hear the announcement from the next call on. Whoever stands above the holder bars the number, so that
    the holder alone cannot resume it, unless `bar` is False.
    """
    held, place = await _held(connection, actor, Deed.RELEASE_NUMBERS, number)
    why = SuspendedFor.BARRED if bar and _from_above(actor, place) else SuspendedFor.WISH
    check_announcement(announcement)
    suspension = Suspension(why=why, by=actor.who, at=now, announcement=announcement)
    moved = await stock.make_move(
        connection,
        number,
        Hand(actor.who, now, checked_note(note)),
        lambda old: (Move.SUSPENDED, suspended(old, suspension)),
        holder=held.held_by,
    )
    await inventory.set_suspended(connection, number, moved.after.announcement)
    await tell_move(connection, actor, Deed.RELEASE_NUMBERS, moved, now)
    return moved.after


async def resume(connection: AsyncConnection, actor: Actor, number: PhoneNumber, now: datetime) -> StockNumber:
    """Lifts what the actor may lift: calls are forwarded again from the next one on if that was all."""
    held, place = await _held(connection, actor, Deed.RELEASE_NUMBERS, number)
    from_above = _from_above(actor, place)
    moved = await stock.make_move(
        connection,
        number,
        Hand(actor.who, now),
        lambda old: (Move.RESUMED, resumed(old, now, from_above=from_above)),
        holder=held.held_by,
    )
    await inventory.set_suspended(connection, number, moved.after.announcement)
    await tell_move(connection, actor, Deed.RELEASE_NUMBERS, moved, now)
    return moved.after


async def release(
    connection: AsyncConnection,
    actor: Actor,
    number: PhoneNumber,
    now: datetime,
    terms: QuarantineTerms = STANDARD_TERMS,
) -> StockNumber:
    """Gives a number up: its settings go, and it is kept back from everybody but its holder for as long as its range
    says, or `terms` where it is of none. What the holder brought along leaves with it.
    """
    held, _ = await _held(connection, actor, Deed.RELEASE_NUMBERS, number)
    if held.state not in SERVED:
        raise Conflict(f"number {written(number)}: it is {held.state.value}, not in service; let the reservation go")
    moved = await inventory.leave(connection, number, Hand(actor.who, now), terms, holder=held.held_by)
    await tell_move(connection, actor, Deed.RELEASE_NUMBERS, moved, now)
    return moved.after


async def port_out(connection: AsyncConnection, actor: Actor, number: PhoneNumber, now: datetime) -> StockNumber:
    """The holder takes the number to another carrier."""
    check(actor, Deed.MANAGE_RANGES, OPERATOR_PLACE)
    held, _ = await _held(connection, actor, Deed.RELEASE_NUMBERS, number)
    moved = await stock.make_move(
        connection,
        number,
        Hand(actor.who, now),
        lambda old: (Move.PORTED_OUT, ported_out(old, now)),
        holder=held.held_by,
    )
    await inventory.drop(connection, number)
    await tell_move(connection, actor, Deed.RELEASE_NUMBERS, moved, now)
    return moved.after


async def take_return(
    connection: AsyncConnection,
    actor: Actor,
    number: PhoneNumber,
    now: datetime,
    terms: QuarantineTerms = STANDARD_TERMS,
) -> StockNumber:
    """A number of our ranges comes back from another carrier, into quarantine."""
    check(actor, Deed.MANAGE_RANGES, OPERATOR_PLACE)
    terms = await terms_of(connection, await stock.find(connection, number), terms)
    moved = await stock.make_move(
        connection, number, Hand(actor.who, now), lambda old: (Move.RETURNED, returned(old, terms, now))
    )
    await tell_move(connection, actor, Deed.MANAGE_RANGES, moved, now)
    return moved.after


async def find(connection: AsyncConnection, actor: Actor, number: PhoneNumber) -> StockNumber:
    """The number as the actor may see it: what their accounts hold or last held, what is free, and all for whoever
    may see ranges.
    """
    found = await stock.find(connection, number)
    whose = found.held_by or (found.last_holder if found.state is State.QUARANTINED else None)
    if (whose is None and found.state is State.AVAILABLE) or may(actor, Deed.SEE_RANGES, OPERATOR_PLACE):
        return found
    if whose is None:
        raise no_such(number)
    check(actor, Deed.SEE_NUMBERS, await place_of(connection, whose), what=f"number {written(number)}")
    return found


async def listing(
    connection: AsyncConnection,
    actor: Actor,
    *,
    account: UUID | None = None,
    state: State | None = None,
    prefix: str = "",
    after: str = "",
    limit: int = 100,
) -> list[StockNumber]:
    """Numbers by number, from behind `after`: those held by `account`, or by the actor's accounts, or, for whoever
    sees ranges and names no account, all of the stock.
    """
    if account is not None:
        check(actor, Deed.SEE_NUMBERS, await place_of(connection, account))
    within = reach(actor, Deed.SEE_NUMBERS)
    everything = may(actor, Deed.SEE_RANGES, OPERATOR_PLACE)
    return await store_life.listing(
        connection,
        within=None if everything else within,
        account=account,
        state=state,
        prefix=prefix,
        after=after,
        limit=limit,
    )


async def history(connection: AsyncConnection, actor: Actor, number: PhoneNumber, limit: int = 100) -> list[Happened]:
    """What happened to the number, the newest first: what concerns the actor's accounts, and all for whoever sees
    ranges.
    """
    within = None if may(actor, Deed.SEE_RANGES, OPERATOR_PLACE) else reach(actor, Deed.SEE_NUMBERS)
    found = await store_life.history(connection, number, within, limit)
    if not found:
        raise no_such(number)
    return found


def no_such(number: PhoneNumber) -> NotFound:
    """For a number that somebody may not see as for one that is not there."""
    return NotFound(f"number {written(number)}: there is none that you may see")


def changed_hands(number: PhoneNumber) -> Conflict:
    """For a number that somebody else has changed since it was looked at."""
    return Conflict(f"number {written(number)}: it has just changed hands; look again")


def checked_note(note: str) -> str:
    """A word of explanation as it is kept. Raises Invalid."""
    note = note.strip()
    if len(note) > _LONGEST_NOTE or not note.isprintable():
        raise Invalid(f"note: it must be at most {_LONGEST_NOTE} printable characters")
    return note


async def held_place(connection: AsyncConnection, actor: Actor, number: PhoneNumber) -> tuple[StockNumber, Place]:
    """The number and where its holder stands. Raises NotFound, or, where nobody holds it and the actor may know so,
    Conflict.
    """
    found = await store_life.one(connection, number)
    if found is None:
        raise no_such(number)
    if found.state not in HELD or found.held_by is None:
        if may(actor, Deed.SEE_RANGES, OPERATOR_PLACE):
            raise Conflict(f"number {written(number)}: it is {found.state.value} and nobody's; issue it first")
        raise no_such(number)
    return found, await place_of(connection, found.held_by)


async def _held(
    connection: AsyncConnection, actor: Actor, deed: Deed, number: PhoneNumber
) -> tuple[StockNumber, Place]:
    """The number, to which the actor may do this."""
    found, place = await held_place(connection, actor, number)
    check(actor, deed, place, what=f"number {written(number)}")
    return found, place


async def _check_receiver(connection: AsyncConnection, actor: Actor, wanted: ServiceNumber) -> None:
    """Whether the actor may put this number into service for the account, and the account may have it so."""
    receiver = await kept_open(connection, wanted.account_id)
    check(actor, Deed.ISSUE_NUMBERS, receiver.place)
    if rings_mobiles(wanted):
        check_on(receiver, Module.MOBILE_TARGETS)


async def _enter(connection: AsyncConnection, actor: Actor, wanted: ServiceNumber, now: datetime) -> ServiceNumber:
    kept, moved = await inventory.enter(connection, wanted, Hand(actor.who, now))
    await tell_move(connection, actor, Deed.ISSUE_NUMBERS, moved, now, more={"personal": {"target": kept.target}})
    return kept


def _from_above(actor: Actor, holder: Place) -> bool:
    return actor.place.account != holder.account


def check_announcement(sound: str) -> None:
    """Raises Invalid for what names no sound."""
    prompt = named_prompt(sound)
    if not (is_sound(sound) if prompt is None else may_be_prompt(prompt)):
        raise Invalid(f"announcement: {sound[:60]!r} is no sound like {NOT_IN_SERVICE} and no prompt:NAME")
