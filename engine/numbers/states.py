"""What states a number of the stock goes through, and which moves there are between them. Pure.

Every move is one function here: it takes the number as it is and gives it as it will be, or raises Conflict with what
stands in the way. Whoever writes it down does so only while the number is still as it was (`StockNumber.version`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec

from engine.foundation.errors import Conflict, NotAllowed
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers.model import NumberKind
from engine.numbers.quarantine_terms import QuarantineTerms, quarantine_end


class State(Enum):
    """Where in its life a number is."""

    AVAILABLE = "available"
    RESERVED = "reserved"
    """Kept for one account until an instant; from then on it is as good as available."""
    IN_SERVICE = "in service"
    SUSPENDED = "suspended"
    """Still its holder's; callers hear an announcement."""
    QUARANTINED = "quarantined"
    """Released: kept back from everybody but its last holder."""
    PORTED_OUT = "ported out"
    """No longer served by us."""


class SuspendedFor(Enum):
    """Why a number is suspended; it decides who may resume it."""

    WISH = "wish"
    """The holder's own."""
    PERIOD_OVER = "period over"
    """What was ordered has ended: a longer period resumes it."""
    BARRED = "barred"
    """By somebody above the holder, who alone resumes it."""


class Move(Enum):
    """What can happen to a number; the word stands in its history."""

    ADDED = "added"
    """To the stock, out of a range."""
    RESERVED = "reserved"
    LET_GO = "reservation ended"
    ISSUED = "issued"
    TAKEN_BACK = "taken back"
    """Issued to its last holder out of quarantine."""
    PORTED_IN = "ported in"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    RELEASED = "released"
    """From then on in quarantine, or, when it was never ours, out of our hands."""
    HELD_LONGER = "held longer"
    FREED = "freed"
    TRANSFERRED = "transferred"
    PORTED_OUT = "ported out"
    RETURNED = "returned"
    """A number of ours that was ported out comes back, into quarantine."""


MOVES: Mapping[Move, frozenset[State]] = {
    Move.RESERVED: frozenset({State.AVAILABLE, State.RESERVED}),
    Move.LET_GO: frozenset({State.RESERVED}),
    Move.ISSUED: frozenset({State.AVAILABLE, State.RESERVED}),
    Move.TAKEN_BACK: frozenset({State.QUARANTINED}),
    Move.PORTED_IN: frozenset({State.PORTED_OUT}),
    Move.SUSPENDED: frozenset({State.IN_SERVICE, State.SUSPENDED}),
    Move.RESUMED: frozenset({State.SUSPENDED}),
    Move.RELEASED: frozenset({State.IN_SERVICE, State.SUSPENDED}),
    Move.HELD_LONGER: frozenset({State.QUARANTINED}),
    Move.FREED: frozenset({State.QUARANTINED}),
    Move.TRANSFERRED: frozenset({State.IN_SERVICE, State.SUSPENDED}),
    Move.PORTED_OUT: frozenset({State.IN_SERVICE, State.SUSPENDED}),
    Move.RETURNED: frozenset({State.PORTED_OUT}),
}
"""From which states each move goes out. ADDED and PORTED_IN also bring numbers that were not in the stock."""

HELD = frozenset({State.RESERVED, State.IN_SERVICE, State.SUSPENDED})
"""States in which a number has a holder."""
SERVED = frozenset({State.IN_SERVICE, State.SUSPENDED})
"""States in which a number stands among those that routing knows."""


class StockNumber(msgspec.Struct, frozen=True, kw_only=True):
    """A number of the stock: what state it is in, and whose it is."""

    number: PhoneNumber
    kind: NumberKind
    state: State
    changed_at: datetime
    range_id: UUID | None = None
    """None: it is of no range of ours; its holder brought it."""
    held_by: UUID | None = None
    reserved_until: datetime | None = None
    order_id: UUID | None = None
    suspended_for: SuspendedFor | None = None
    last_holder: UUID | None = None
    """Who had it before it was released."""
    released_at: datetime | None = None
    quarantined_until: datetime | None = None
    version: int = 0


def is_ours(stock: StockNumber) -> bool:
    """Whether we may issue it to others after its holder: what a holder brought along goes with the holder.

    A 050 number forwards, so strangers' calls would reach the next holder wherever it came from.
    """
    return stock.range_id is not None or stock.kind is NumberKind.VIRTUAL


def can_be_had(stock: StockNumber, by: UUID, now: datetime) -> bool:
    """Whether the account could be issued the number at once."""
    return _issuing(stock, by, now) is not None


def reserved(stock: StockNumber, by: UUID, until: datetime, now: datetime, *, order: UUID | None = None) -> StockNumber:
    """Kept for `by` until then; exclusive also among the people of one account."""
    _check_move(stock, Move.RESERVED)
    if stock.reserved_until is not None and now < stock.reserved_until:
        raise Conflict(f"number {written(stock.number)}: it is reserved already; choose another")
    return _moved(stock, State.RESERVED, now, held_by=by, reserved_until=until, order_id=order)


def let_go(stock: StockNumber, now: datetime) -> StockNumber:
    """Reserved no more."""
    _check_move(stock, Move.LET_GO)
    return _moved(stock, State.AVAILABLE, now)


def issued(stock: StockNumber, to: UUID, now: datetime) -> tuple[Move, StockNumber]:
    """In service for `to`; which move brought it there."""
    move = _issuing(stock, to, now)
    if move is None:
        raise Conflict(f"number {written(stock.number)}: {_why_not_to(stock, to, now)}")
    order = stock.order_id if stock.held_by == to else None
    return move, _moved(stock, State.IN_SERVICE, now, held_by=to, order_id=order)


def suspended(stock: StockNumber, why: SuspendedFor, now: datetime) -> StockNumber:
    """Still the holder's; callers hear an announcement. A graver reason takes the place of a lighter one."""
    _check_move(stock, Move.SUSPENDED)
    if stock.suspended_for is not None and _GRAVITY[stock.suspended_for] >= _GRAVITY[why]:
        raise Conflict(f"number {written(stock.number)}: it is suspended already ({stock.suspended_for.value})")
    return _moved(stock, State.SUSPENDED, now, held_by=stock.held_by, order_id=stock.order_id, suspended_for=why)


_GRAVITY = {SuspendedFor.WISH: 0, SuspendedFor.PERIOD_OVER: 1, SuspendedFor.BARRED: 2}


def resumed(stock: StockNumber, now: datetime, *, from_above: bool, longer: bool = False) -> StockNumber:
    """Forwarded again. `from_above`: somebody above the holder does it; `longer`: its period of use has become so.

    Raises also NotAllowed.
    """
    _check_move(stock, Move.RESUMED)
    if stock.suspended_for is SuspendedFor.PERIOD_OVER and not longer:
        raise Conflict(f"number {written(stock.number)}: its period of use is over; make its order longer")
    if stock.suspended_for is SuspendedFor.BARRED and not from_above:
        raise NotAllowed(f"number {written(stock.number)}: it was barred from above; ask whoever runs this platform")
    return _moved(stock, State.IN_SERVICE, now, held_by=stock.held_by, order_id=stock.order_id)


def released(stock: StockNumber, terms: QuarantineTerms, now: datetime) -> StockNumber:
    """Into quarantine; a number that its holder brought along leaves us instead."""
    _check_move(stock, Move.RELEASED)
    if not is_ours(stock):
        return _gone(stock, now)
    return _quarantined(stock, terms, now)


def held_longer(stock: StockNumber, until: datetime, now: datetime) -> StockNumber:
    """In quarantine until a later instant: it is still called."""
    _check_move(stock, Move.HELD_LONGER)
    return msgspec.structs.replace(stock, quarantined_until=until, changed_at=now, version=stock.version + 1)


def freed(stock: StockNumber, now: datetime) -> StockNumber:
    """Out of quarantine. One that is of no range is not ours to issue: it stays out of our hands."""
    _check_move(stock, Move.FREED)
    if stock.quarantined_until is not None and now < stock.quarantined_until:
        raise Conflict(f"number {written(stock.number)}: it is in quarantine until {stock.quarantined_until:%Y-%m-%d}")
    state = State.AVAILABLE if stock.range_id is not None else State.PORTED_OUT
    return _moved(stock, state, now)


def transferred(stock: StockNumber, giver: UUID, to: UUID, now: datetime) -> StockNumber:
    """Another's, in the same state; it leaves the order that it came from."""
    _check_move(stock, Move.TRANSFERRED)
    if stock.held_by != giver:
        raise Conflict(f"number {written(stock.number)}: whoever offered it does not have it any more")
    return _moved(
        stock, stock.state, now, held_by=to, suspended_for=stock.suspended_for, last_holder=giver, released_at=None
    )


def ported_out(stock: StockNumber, now: datetime) -> StockNumber:
    """Its holder took it to another carrier."""
    _check_move(stock, Move.PORTED_OUT)
    return _gone(stock, now)


def ported_in(stock: StockNumber, kind: NumberKind, to: UUID, now: datetime) -> StockNumber:
    """In service again with us, for whoever brings it."""
    _check_move(stock, Move.PORTED_IN)
    return _moved(stock, State.IN_SERVICE, now, kind=kind, held_by=to)


def returned(stock: StockNumber, terms: QuarantineTerms, now: datetime) -> StockNumber:
    """A number of our ranges, given up at the other carrier: into quarantine."""
    _check_move(stock, Move.RETURNED)
    if stock.range_id is None or stock.last_holder is None:
        raise Conflict(f"number {written(stock.number)}: it is of no range of ours; port it in for its holder")
    return _quarantined(stock, terms, now)


def _issuing(stock: StockNumber, to: UUID, now: datetime) -> Move | None:
    """Which move would put the number into service for the account; None: none can."""
    if stock.state in MOVES[Move.ISSUED]:
        return None if _is_anothers(stock, to, now) else Move.ISSUED
    if stock.state is State.QUARANTINED:
        return Move.TAKEN_BACK if stock.last_holder == to else None
    return None


def _is_anothers(stock: StockNumber, account: UUID, now: datetime) -> bool:
    kept = stock.reserved_until is not None and now < stock.reserved_until
    return kept and stock.held_by != account


def _why_not_to(stock: StockNumber, to: UUID, now: datetime) -> str:
    match stock.state:
        case State.RESERVED:
            return "somebody else has reserved it; choose another"
        case State.QUARANTINED:
            return f"it is kept back for its last holder until {stock.quarantined_until:%Y-%m-%d}; choose another"
        case State.PORTED_OUT:
            return "it is with another carrier; port it in"
        case _ if stock.held_by == to:
            return "it is in service already; change it with `dari number set`"
        case _:
            return "it is in service for another account"


def _check_move(stock: StockNumber, move: Move) -> None:
    if stock.state not in MOVES[move]:
        ready = " or ".join(sorted(state.value for state in MOVES[move]))
        raise Conflict(
            f"number {written(stock.number)}: it is {stock.state.value} and cannot be {_DONE.get(move, move.value)}; "
            f"it must be {ready}"
        )


_DONE = {Move.LET_GO: "let go of", Move.FREED: "freed", Move.HELD_LONGER: "held longer"}


def _quarantined(stock: StockNumber, terms: QuarantineTerms, now: datetime) -> StockNumber:
    return _moved(
        stock,
        State.QUARANTINED,
        now,
        last_holder=stock.held_by or stock.last_holder,
        released_at=now,
        quarantined_until=quarantine_end(now, terms),
    )


def _gone(stock: StockNumber, now: datetime) -> StockNumber:
    return _moved(stock, State.PORTED_OUT, now, last_holder=stock.held_by, released_at=now)


def _moved(stock: StockNumber, state: State, now: datetime, **said: Any) -> StockNumber:
    """What belongs to the state left behind is no more; who last had the number stays known."""
    fresh: dict[str, Any] = {
        "held_by": None,
        "reserved_until": None,
        "order_id": None,
        "suspended_for": None,
        "quarantined_until": None,
    }
    return msgspec.structs.replace(stock, state=state, changed_at=now, version=stock.version + 1, **{**fresh, **said})
