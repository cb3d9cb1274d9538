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
from engine.numbers.sound_names import named_prompt
from engine.numbers.suspension import NOT_IN_SERVICE, SuspendedFor, Suspension, gravest_first


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
    suspensions: tuple[Suspension, ...] = ()
    """The gravest first: that one is in force."""
    last_holder: UUID | None = None
    """Who had it before it was released."""
    released_at: datetime | None = None
    quarantined_until: datetime | None = None
    version: int = 0

    @property
    def suspended_for(self) -> SuspendedFor | None:
        """The reason that is in force."""
        return self.suspensions[0].why if self.suspensions else None

    @property
    def announcement(self) -> str | None:
        """What all its callers hear; None: they are forwarded."""
        return self.suspensions[0].announcement if self.suspensions else None


def is_ours(stock: StockNumber) -> bool:
    """Whether we may issue it to others after its holder: what a holder brought along goes with the holder.

    A 050 number forwards, so strangers' calls would reach the next holder wherever it came from.
    """
    return stock.range_id is not None or stock.kind is NumberKind.VIRTUAL


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


def suspended(stock: StockNumber, suspension: Suspension) -> StockNumber:
    """Still the holder's; callers hear an announcement. What it was suspended for before stays beside it."""
    _check_move(stock, Move.SUSPENDED)
    if any(one.why is suspension.why for one in stock.suspensions):
        raise Conflict(
            f"number {written(stock.number)}: it is suspended already ({suspension.why.value}); "
            "change what its callers hear instead"
        )
    return _with_suspensions(stock, (*stock.suspensions, suspension), suspension.at)


def resumed(stock: StockNumber, now: datetime, *, from_above: bool) -> StockNumber:
    """Without the gravest reason that may be lifted so; forwarded again when no other is left.

    `from_above`: somebody above the holder does it, who lifts their bar before the holder's wish. Raises also
    NotAllowed.
    """
    _check_move(stock, Move.RESUMED)
    mine = (SuspendedFor.BARRED, SuspendedFor.WISH) if from_above else (SuspendedFor.WISH,)
    lifted = next((one for one in stock.suspensions if one.why in mine), None)
    if lifted is not None:
        return _with_suspensions(stock, tuple(one for one in stock.suspensions if one is not lifted), now)
    if stock.suspended_for is SuspendedFor.BARRED:
        raise NotAllowed(f"number {written(stock.number)}: it was barred from above; ask whoever runs this platform")
    raise Conflict(f"number {written(stock.number)}: its period of use is over; make its order longer")


def prolonged(stock: StockNumber, now: datetime) -> StockNumber:
    """Its period of use is not over any more; forwarded again when it is suspended for no other reason."""
    _check_move(stock, Move.RESUMED)
    left = tuple(one for one in stock.suspensions if one.why is not SuspendedFor.PERIOD_OVER)
    return _with_suspensions(stock, left, now)


def announced(stock: StockNumber, sound: str, *, from_above: bool) -> StockNumber:
    """Suspended as before; its callers hear another announcement. Raises also NotAllowed."""
    if not stock.suspensions:
        raise Conflict(f"number {written(stock.number)}: it is not suspended; its callers hear no announcement")
    in_force, *rest = stock.suspensions
    if in_force.why is SuspendedFor.BARRED and not from_above:
        raise NotAllowed(f"number {written(stock.number)}: it was barred from above; ask whoever runs this platform")
    changed = msgspec.structs.replace(in_force, announcement=sound)
    return msgspec.structs.replace(stock, suspensions=(changed, *rest), version=stock.version + 1)


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
    """Another's, in the same state; it leaves the order that it came from. An announcement of the giver's own stays
    with the giver.
    """
    check_transferable(stock)
    if stock.held_by != giver:
        raise Conflict(f"number {written(stock.number)}: whoever offered it does not have it any more")
    kept = tuple(
        msgspec.structs.replace(one, announcement=NOT_IN_SERVICE) if named_prompt(one.announcement) else one
        for one in stock.suspensions
    )
    return _moved(stock, stock.state, now, held_by=to, suspensions=kept, last_holder=giver, released_at=None)


def check_transferable(stock: StockNumber) -> None:
    """Raises Conflict when the number cannot go to another account.

    Outside of its order nothing would ever make its period longer.
    """
    _check_move(stock, Move.TRANSFERRED)
    if any(one.why is SuspendedFor.PERIOD_OVER for one in stock.suspensions):
        raise Conflict(f"number {written(stock.number)}: its period of use is over; make its order longer first")


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


def _with_suspensions(stock: StockNumber, suspensions: tuple[Suspension, ...], now: datetime) -> StockNumber:
    state = State.SUSPENDED if suspensions else State.IN_SERVICE
    return _moved(
        stock, state, now, held_by=stock.held_by, order_id=stock.order_id, suspensions=gravest_first(suspensions)
    )


def _gone(stock: StockNumber, now: datetime) -> StockNumber:
    return _moved(stock, State.PORTED_OUT, now, last_holder=stock.held_by, released_at=now)


def _moved(stock: StockNumber, state: State, now: datetime, **said: Any) -> StockNumber:
    """What belongs to the state left behind is no more; who last had the number stays known."""
    fresh: dict[str, Any] = {
        "held_by": None,
        "reserved_until": None,
        "order_id": None,
        "suspensions": (),
        "quarantined_until": None,
    }
    return msgspec.structs.replace(stock, state=state, changed_at=now, version=stock.version + 1, **{**fresh, **said})
