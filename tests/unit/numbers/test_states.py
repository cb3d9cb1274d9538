"""The life of a number: whatever is tried in whatever order, it stays in a state that can be, and with whom is due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.foundation.errors import Conflict, NotAllowed
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind
from engine.numbers.quarantine_terms import QuarantineTerms
from engine.numbers.states import (
    HELD,
    MOVES,
    Move,
    State,
    StockNumber,
    announced,
    freed,
    held_longer,
    issued,
    let_go,
    ported_in,
    ported_out,
    prolonged,
    released,
    reserved,
    resumed,
    returned,
    suspended,
    transferred,
)
from engine.numbers.suspension import NOT_IN_SERVICE, SuspendedFor, Suspension

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
NUMBER = PhoneNumber("050712345678")
ONE, OTHER, THIRD = (UUID(int=place) for place in (11, 12, 13))
TERMS = QuarantineTerms(days=92)
FREE = StockNumber(
    number=NUMBER, kind=NumberKind.VIRTUAL, state=State.AVAILABLE, changed_at=START, range_id=UUID(int=5)
)
OWN = msgspec.structs.replace(FREE, number=PhoneNumber("0212345678"), kind=NumberKind.OWN, range_id=None)


def because(why: SuspendedFor, now: datetime = START, announcement: str = "ko/closed") -> Suspension:
    return Suspension(why=why, by="somebody", at=now, announcement=announcement)


Deed = Callable[[StockNumber, UUID, datetime], StockNumber]

DEEDS: dict[Move, Deed] = {
    Move.RESERVED: lambda old, who, now: reserved(old, who, now + timedelta(minutes=10), now),
    Move.LET_GO: lambda old, who, now: let_go(old, now),
    Move.ISSUED: lambda old, who, now: issued(old, who, now)[1],
    Move.PORTED_IN: lambda old, who, now: ported_in(old, old.kind, who, now),
    Move.SUSPENDED: lambda old, who, now: suspended(old, because(SuspendedFor.WISH, now)),
    Move.RESUMED: lambda old, who, now: resumed(old, now, from_above=False),
    Move.RELEASED: lambda old, who, now: released(old, TERMS, now),
    Move.HELD_LONGER: lambda old, who, now: held_longer(old, now + timedelta(days=14), now),
    Move.FREED: lambda old, who, now: freed(old, now),
    Move.TRANSFERRED: lambda old, who, now: transferred(old, old.held_by or who, who, now),
    Move.PORTED_OUT: lambda old, who, now: ported_out(old, now),
    Move.RETURNED: lambda old, who, now: returned(old, TERMS, now),
}
STEPS = st.lists(
    st.tuples(
        st.sampled_from(sorted(DEEDS, key=lambda move: move.value)),
        st.sampled_from([ONE, OTHER, THIRD]),
        st.sampled_from([timedelta(0), timedelta(minutes=3), timedelta(minutes=11), timedelta(days=50)]),
    ),
    max_size=40,
)


def check_shape(stock: StockNumber) -> None:
    """What the table's constraints say as well."""
    assert (stock.held_by is not None) == (stock.state in HELD)
    assert (stock.reserved_until is not None) == (stock.state is State.RESERVED)
    assert (stock.suspended_for is not None) == (stock.state is State.SUSPENDED)
    assert (stock.quarantined_until is not None) == (stock.state is State.QUARANTINED)
    if stock.state is State.QUARANTINED:
        assert stock.last_holder is not None
        assert stock.released_at is not None
    assert stock.order_id is None or stock.held_by is not None


@settings(max_examples=400, deadline=None)
@given(start=st.sampled_from([FREE, OWN]), steps=STEPS)
def test_whatever_is_tried_the_number_stays_whole_and_only_known_moves_happen(
    start: StockNumber, steps: list[tuple[Move, UUID, timedelta]]
) -> None:
    stock, now = start, START
    for move, who, passed in steps:
        now += passed
        before = stock
        try:
            stock = DEEDS[move](before, who, now)
        except (Conflict, NotAllowed):
            continue
        taken_back = move is Move.ISSUED and before.state is State.QUARANTINED
        assert before.state in MOVES[Move.TAKEN_BACK if taken_back else move]
        check_shape(stock)
        assert stock.version == before.version + 1
        assert (stock.number, stock.kind, stock.range_id) == (before.number, before.kind, before.range_id)
        if stock.held_by not in (None, before.held_by) and move is not Move.TRANSFERRED:
            check_was_to_be_had(before, stock.held_by, now)


def check_was_to_be_had(before: StockNumber, by: UUID | None, now: datetime) -> None:
    """Nobody gets a number that another has, has reserved, or may still take back."""
    assert before.state not in (State.IN_SERVICE, State.SUSPENDED)
    if before.state is State.RESERVED:
        assert before.reserved_until is not None
        assert now >= before.reserved_until
    if before.state is State.QUARANTINED:
        assert before.last_holder == by


def test_every_move_and_no_other_has_states_that_it_goes_out_from() -> None:
    assert set(MOVES) == set(Move) - {Move.ADDED}
    assert set(DEEDS) == set(MOVES) - {Move.TAKEN_BACK}


def test_the_whole_round_from_available_to_available() -> None:
    stock = reserved(FREE, ONE, START + timedelta(minutes=10), START)
    move, stock = issued(stock, ONE, START + timedelta(minutes=5))
    assert move is Move.ISSUED
    stock = resumed(suspended(stock, because(SuspendedFor.WISH)), START, from_above=False)
    stock = released(stock, TERMS, START)
    assert stock.quarantined_until == START + timedelta(days=92)
    with pytest.raises(Conflict, match="until 2027-02-22"):
        freed(stock, START + timedelta(days=91))
    stock = freed(stock, START + timedelta(days=92))
    assert (stock.state, stock.held_by) == (State.AVAILABLE, None)
    assert issued(stock, OTHER, START)[1].held_by == OTHER


def test_a_reservation_is_exclusive_for_its_own_people_too_and_free_when_it_is_over() -> None:
    stock = reserved(FREE, ONE, START + timedelta(minutes=10), START)
    for who in (ONE, OTHER):
        with pytest.raises(Conflict, match="reserved already"):
            reserved(stock, who, START + timedelta(minutes=20), START + timedelta(minutes=10, microseconds=-1))
    again = reserved(stock, OTHER, START + timedelta(minutes=20), START + timedelta(minutes=10))
    assert again.held_by == OTHER
    with pytest.raises(Conflict, match="somebody else has reserved"):
        issued(again, ONE, START + timedelta(minutes=11))


def test_a_number_in_quarantine_is_its_last_holders_alone() -> None:
    stock = released(issued(FREE, ONE, START)[1], TERMS, START)
    with pytest.raises(Conflict, match="kept back for its last holder until 2027-02-22"):
        issued(stock, OTHER, START)
    move, back = issued(stock, ONE, START)
    assert (move, back.held_by) == (Move.TAKEN_BACK, ONE)


def test_what_a_holder_brought_along_leaves_with_the_holder() -> None:
    brought = ported_in(msgspec.structs.replace(OWN, state=State.PORTED_OUT), NumberKind.OWN, ONE, START)
    gone = released(brought, TERMS, START)
    assert (gone.state, gone.last_holder) == (State.PORTED_OUT, ONE)
    assert ported_in(gone, NumberKind.OWN, OTHER, START).held_by == OTHER


def test_a_050_number_of_no_range_is_kept_back_and_then_not_ours_to_issue() -> None:
    brought = msgspec.structs.replace(FREE, range_id=None, state=State.IN_SERVICE, held_by=ONE)
    kept = released(brought, TERMS, START)
    assert kept.state is State.QUARANTINED
    assert freed(kept, START + timedelta(days=92)).state is State.PORTED_OUT


def why(stock: StockNumber) -> list[SuspendedFor]:
    return [one.why for one in stock.suspensions]


def test_each_reason_is_lifted_by_whom_it_is_due_and_the_others_stay() -> None:
    serving = issued(FREE, ONE, START)[1]
    wish = suspended(serving, because(SuspendedFor.WISH))
    over = suspended(wish, because(SuspendedFor.PERIOD_OVER))
    barred = suspended(over, because(SuspendedFor.BARRED))
    assert why(barred) == [SuspendedFor.BARRED, SuspendedFor.PERIOD_OVER, SuspendedFor.WISH]
    assert (barred.suspended_for, barred.state) == (SuspendedFor.BARRED, State.SUSPENDED)
    for one in SuspendedFor:
        with pytest.raises(Conflict, match="suspended already"):
            suspended(barred, because(one))
    assert why(resumed(barred, START, from_above=False)) == [SuspendedFor.BARRED, SuspendedFor.PERIOD_OVER]
    above = resumed(barred, START, from_above=True)
    assert why(above) == [SuspendedFor.PERIOD_OVER, SuspendedFor.WISH], "the holder's own stays"
    assert why(resumed(above, START, from_above=True)) == [SuspendedFor.PERIOD_OVER]
    longer = prolonged(over, START)
    assert (why(longer), longer.state) == ([SuspendedFor.WISH], State.SUSPENDED)
    again = resumed(longer, START, from_above=False)
    assert (again.suspensions, again.state, again.suspended_for) == ((), State.IN_SERVICE, None)


def test_what_is_not_ones_own_is_not_lifted() -> None:
    serving = issued(FREE, ONE, START)[1]
    with pytest.raises(NotAllowed, match="barred from above"):
        resumed(suspended(serving, because(SuspendedFor.BARRED)), START, from_above=False)
    for above in (True, False):
        with pytest.raises(Conflict, match="period of use is over"):
            resumed(suspended(serving, because(SuspendedFor.PERIOD_OVER)), START, from_above=above)


def test_callers_hear_the_announcement_of_the_gravest_reason_and_it_is_changed_by_whom_it_is_due() -> None:
    wish = suspended(issued(FREE, ONE, START)[1], because(SuspendedFor.WISH, announcement="prompt:휴가"))
    barred = suspended(wish, because(SuspendedFor.BARRED))
    assert (wish.announcement, barred.announcement) == ("prompt:휴가", "ko/closed")
    with pytest.raises(NotAllowed, match="barred from above"):
        announced(barred, "prompt:이사", from_above=False)
    changed = announced(barred, "ko/busy", from_above=True)
    assert (changed.announcement, changed.version) == ("ko/busy", barred.version + 1)
    assert resumed(changed, START, from_above=True).announcement == "prompt:휴가"
    assert announced(wish, "prompt:이사", from_above=False).announcement == "prompt:이사"
    with pytest.raises(Conflict, match="not suspended"):
        announced(issued(FREE, ONE, START)[1], "ko/busy", from_above=True)


def test_a_transfer_keeps_the_state_and_leaves_the_order() -> None:
    bar = because(SuspendedFor.BARRED, announcement="prompt:미납")
    stock = msgspec.structs.replace(FREE, state=State.SUSPENDED, held_by=ONE, suspensions=(bar,), order_id=UUID(int=77))
    given_away = transferred(stock, ONE, OTHER, START)
    assert (given_away.state, given_away.suspended_for) == (State.SUSPENDED, SuspendedFor.BARRED)
    assert given_away.announcement == NOT_IN_SERVICE, "the giver's prompt stays with the giver"
    assert (given_away.held_by, given_away.last_holder, given_away.order_id) == (OTHER, ONE, None)
    with pytest.raises(Conflict, match="does not have it any more"):
        transferred(given_away, ONE, THIRD, START)
    with pytest.raises(Conflict, match="period of use is over"):
        transferred(suspended(stock, because(SuspendedFor.PERIOD_OVER)), ONE, OTHER, START)


def test_a_number_of_a_range_comes_back_from_another_carrier_into_quarantine() -> None:
    away = ported_out(issued(FREE, ONE, START)[1], START)
    assert away.state is State.PORTED_OUT
    back = returned(away, TERMS, START)
    assert (back.state, back.last_holder) == (State.QUARANTINED, ONE)
    with pytest.raises(Conflict, match="of no range of ours"):
        returned(msgspec.structs.replace(away, range_id=None), TERMS, START)


def test_an_order_is_kept_from_its_reservation_into_service_and_by_nobody_else() -> None:
    order = UUID(int=77)
    stock = reserved(FREE, ONE, START + timedelta(days=1), START, order=order)
    assert issued(stock, ONE, START)[1].order_id == order
    assert issued(stock, OTHER, START + timedelta(days=2))[1].order_id is None
