"""The life of a number: whatever is tried in whatever order, it stays in a state that can be, and with whom is due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.foundation.errors import Conflict, DariError, NotAllowed
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind
from engine.numbers.quarantine_terms import QuarantineTerms
from engine.numbers.states import (
    HELD,
    MOVES,
    Move,
    State,
    StockNumber,
    SuspendedFor,
    can_be_had,
    freed,
    held_longer,
    issued,
    let_go,
    ported_in,
    ported_out,
    released,
    reserved,
    resumed,
    returned,
    suspended,
    transferred,
)

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
NUMBER = PhoneNumber("050712345678")
ONE, OTHER, THIRD = (UUID(int=place) for place in (11, 12, 13))
TERMS = QuarantineTerms(days=92)
FREE = StockNumber(
    number=NUMBER, kind=NumberKind.VIRTUAL, state=State.AVAILABLE, changed_at=START, range_id=UUID(int=5)
)
OWN = msgspec.structs.replace(FREE, number=PhoneNumber("0212345678"), kind=NumberKind.OWN, range_id=None)

Deed = Callable[[StockNumber, UUID, datetime], StockNumber]

DEEDS: dict[Move, Deed] = {
    Move.RESERVED: lambda old, who, now: reserved(old, who, now + timedelta(minutes=10), now),
    Move.LET_GO: lambda old, who, now: let_go(old, now),
    Move.ISSUED: lambda old, who, now: issued(old, who, now)[1],
    Move.PORTED_IN: lambda old, who, now: ported_in(old, old.kind, who, now),
    Move.SUSPENDED: lambda old, who, now: suspended(old, SuspendedFor.WISH, now),
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


@settings(max_examples=200, deadline=None)
@given(steps=STEPS, who=st.sampled_from([ONE, OTHER, THIRD]))
def test_that_a_number_can_be_had_is_the_same_as_that_it_is_issued(
    steps: list[tuple[Move, UUID, timedelta]], who: UUID
) -> None:
    stock, now = FREE, START
    for move, whom, passed in steps:
        now += passed
        try:
            stock = DEEDS[move](stock, whom, now)
        except DariError:
            continue
    if can_be_had(stock, who, now):
        move, after = issued(stock, who, now)
        assert (after.state, after.held_by) == (State.IN_SERVICE, who)
        assert stock.state in MOVES[move]
    else:
        with pytest.raises(Conflict):
            issued(stock, who, now)


def test_every_move_and_no_other_has_states_that_it_goes_out_from() -> None:
    assert set(MOVES) == set(Move) - {Move.ADDED}
    assert set(DEEDS) == set(MOVES) - {Move.TAKEN_BACK}


def test_the_whole_round_from_available_to_available() -> None:
    stock = reserved(FREE, ONE, START + timedelta(minutes=10), START)
    move, stock = issued(stock, ONE, START + timedelta(minutes=5))
    assert move is Move.ISSUED
    stock = resumed(suspended(stock, SuspendedFor.WISH, START), START, from_above=False)
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


def test_who_may_resume_depends_on_why_it_is_suspended() -> None:
    serving = issued(FREE, ONE, START)[1]
    wish = suspended(serving, SuspendedFor.WISH, START)
    over = suspended(wish, SuspendedFor.PERIOD_OVER, START)
    barred = suspended(over, SuspendedFor.BARRED, START)
    for graver, lighter in ((barred, SuspendedFor.PERIOD_OVER), (over, SuspendedFor.WISH), (wish, SuspendedFor.WISH)):
        with pytest.raises(Conflict, match="suspended already"):
            suspended(graver, lighter, START)
    with pytest.raises(NotAllowed, match="barred from above"):
        resumed(barred, START, from_above=False)
    with pytest.raises(Conflict, match="period of use is over"):
        resumed(over, START, from_above=True)
    for stock, above, longer in ((wish, False, False), (barred, True, False), (over, False, True)):
        assert resumed(stock, START, from_above=above, longer=longer).state is State.IN_SERVICE


def test_a_transfer_keeps_the_state_and_leaves_the_order() -> None:
    order = UUID(int=77)
    stock = msgspec.structs.replace(FREE, state=State.SUSPENDED, held_by=ONE, suspended_for=SuspendedFor.BARRED)
    given_away = transferred(msgspec.structs.replace(stock, order_id=order), ONE, OTHER, START)
    assert (given_away.state, given_away.suspended_for) == (State.SUSPENDED, SuspendedFor.BARRED)
    assert (given_away.held_by, given_away.last_holder, given_away.order_id) == (OTHER, ONE, None)
    with pytest.raises(Conflict, match="does not have it any more"):
        transferred(given_away, ONE, THIRD, START)


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
