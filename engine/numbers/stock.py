"""The stock of numbers as it is kept: moves are made once, whoever else tries at the same time, and are noted.

A move is decided from the number as it was read and written only while it is still so; who comes second decides anew
from what the first one left, which as a rule is the Conflict that tells it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.errors import Conflict, NotFound, TryLater
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers import store_life, store_ranges, store_transfer
from engine.numbers.history import Happened
from engine.numbers.model import ServiceNumber
from engine.numbers.states import SERVED, Move, State, StockNumber, issued, ported_in
from engine.numbers.transfer_model import Transfer

_TRIES = 20
"""More changes of one number at the same instant are no race any more."""

Decide = Callable[[StockNumber], tuple[Move, StockNumber]]
"""What becomes of a number. Raises Conflict or NotAllowed when it may not."""


class Moved(NamedTuple):
    """What a number was and what it became."""

    move: Move
    before: StockNumber | None
    """None: it was not in the stock."""
    after: StockNumber
    withdrawn: Transfer | None = None
    """The open offer that ended with it."""

    @property
    def whose(self) -> UUID | None:
        """Whom it concerns: who has the number now, or had it last."""
        return self.after.held_by or (self.before and self.before.held_by) or self.after.last_holder


class Hand(NamedTuple):
    """Who does it, and when."""

    who: str
    at: datetime
    note: str = ""


async def find(connection: AsyncConnection, number: PhoneNumber) -> StockNumber:
    """Raises NotFound."""
    found = await store_life.one(connection, number)
    if found is None:
        raise NotFound(f"number {written(number)}: it is not in the stock; `dari range list` shows what is")
    return found


async def make_move(
    connection: AsyncConnection, number: PhoneNumber, hand: Hand, decide: Decide, *, holder: UUID | None = None
) -> Moved:
    """Moves the number as `decide` says and notes it; an offer of it ends when its holder loses it, and who takes it
    back begins without stray calls.

    `holder` is who must still have it: what somebody may do was asked of that account. Raises NotFound, Conflict, or
    what `decide` raises.
    """
    for _ in range(_TRIES):
        before = await find(connection, number)
        if holder is not None and before.held_by != holder:
            raise Conflict(f"number {written(number)}: it has just changed hands; look again")
        move, after = decide(before)
        if await store_life.move(connection, before, after):
            moved = Moved(move, before, after, await _end_offer(connection, before, after, hand))
            await store_life.note(connection, [happened(moved, hand)])
            if move is Move.TAKEN_BACK:
                await store_life.forget_strays(connection, [number])
            return moved
    raise TryLater(f"number {written(number)}: too many change it at the same time; try again")


async def move_free(
    connection: AsyncConnection,
    read: Sequence[StockNumber],
    hand: Hand,
    decide: Decide,
    *,
    most: int | None = None,
) -> list[Moved]:
    """Moves those of these numbers, at most so many, that are as they were read and that nobody else moves now, and
    notes it.
    """
    return (await _move_once(connection, read, hand, decide, waiting=False, most=most))[0]


async def move_each(
    connection: AsyncConnection,
    read: Sequence[StockNumber],
    hand: Hand,
    decide: Decide,
    *,
    due: Callable[[StockNumber], bool],
) -> list[Moved]:
    """Moves all of these numbers that are `due`, as they were read or as others have left them meanwhile, and notes it.

    Raises what `decide` raises.
    """
    done: list[Moved] = []
    for _ in range(_TRIES):
        moves, lost = await _move_once(connection, list(filter(due, read)), hand, decide, waiting=True)
        done += moves
        if not lost:
            return done
        read = await store_life.several(connection, lost)
    raise TryLater("numbers: too many change them at the same time; try again")


async def _move_once(
    connection: AsyncConnection,
    read: Sequence[StockNumber],
    hand: Hand,
    decide: Decide,
    *,
    waiting: bool,
    most: int | None = None,
) -> tuple[list[Moved], list[PhoneNumber]]:
    """What was moved, and the numbers that were not as they were read."""
    wanted = [Moved(move, before, after) for before in read for move, after in [decide(before)]]
    pairs = [(before, moved.after) for before, moved in zip(read, wanted, strict=True)]
    made = await store_life.move_many(connection, pairs, waiting=waiting, most=most)
    moves: list[Moved] = []
    for before, moved in zip(read, wanted, strict=True):
        if before.number in made:
            offer = await _end_offer(connection, before, moved.after, hand)
            moves.append(moved._replace(withdrawn=offer))
    await store_life.note(connection, [happened(moved, hand) for moved in moves])
    return moves, [before.number for before in read if before.number not in made]


async def _end_offer(
    connection: AsyncConnection, before: StockNumber, after: StockNumber, hand: Hand
) -> Transfer | None:
    """Who loses a number can offer it to nobody any more."""
    if before.state in SERVED and after.held_by != before.held_by:
        return await store_transfer.withdraw_open(connection, before.number, hand.who, hand.at)
    return None


async def enter_service(connection: AsyncConnection, number: ServiceNumber, hand: Hand) -> Moved:
    """Makes the number its account's and in service, out of the stock or, where it was never there, as brought along.

    Raises Conflict.
    """
    new = StockNumber(
        number=number.number,
        kind=number.kind,
        state=State.IN_SERVICE,
        changed_at=hand.at,
        range_id=await store_ranges.range_of(connection, number.number),
        held_by=number.account_id,
    )
    if await store_life.one(connection, number.number) is None and await store_life.insert(connection, new):
        moved = Moved(Move.PORTED_IN, None, new)
        await store_life.note(connection, [happened(moved, hand)])
        return moved

    def decide(stock: StockNumber) -> tuple[Move, StockNumber]:
        if stock.state is State.PORTED_OUT:
            return Move.PORTED_IN, ported_in(stock, number.kind, number.account_id, hand.at)
        return issued(stock, number.account_id, hand.at)

    return await make_move(connection, number.number, hand, decide)


def happened(moved: Moved, hand: Hand) -> Happened:
    """The line of the history."""
    move, before, after, _ = moved
    whose, to = moved.whose, None
    if move is Move.TRANSFERRED and before is not None:
        whose, to = before.held_by, after.held_by
    return Happened(
        number=after.number,
        at=hand.at,
        move=move,
        state=after.state,
        account_id=whose,
        to_account=to,
        who=hand.who,
        note=hand.note,
    )


def local_hand(now: datetime) -> Hand:
    """The operator's, at this machine."""
    return Hand(LOCAL_OPERATOR.who, now)
