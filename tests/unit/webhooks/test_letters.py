"""What goes out in one request, and how a batch that is refused is cut."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from engine.events.stream import StreamEvent, event_id
from engine.webhooks.letters import MOST_BYTES, Letter, Pile

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
TOP = UUID(int=1)


def event(seq: int, size: int = 0) -> StreamEvent:
    told = json.dumps({"id": event_id(UUID(int=seq)), "sequence": seq, "data": "x" * size}).encode()
    return StreamEvent(
        uid=UUID(int=seq), seq=seq, kind="call.ended", at=AT, numbered_at=AT, call_id=None, path=(TOP,), told=told
    )


def pile(most: int, places: range) -> Pile:
    filled = Pile(TOP, most)
    filled.add(map(event, places))
    return filled


def made(filled: Pile) -> Letter:
    letter = filled.letter()
    assert letter is not None
    return letter


def test_alone_an_event_is_the_body_and_gives_the_id() -> None:
    letter = made(pile(1, range(1, 4)))
    assert (letter.body, letter.id) == (event(1).told, event_id(UUID(int=1)))


def test_in_a_batch_events_stand_as_they_are_told_alone() -> None:
    letter = made(pile(3, range(1, 6)))
    assert json.loads(letter.body) == {"type": "batch", "events": [json.loads(event(seq).told) for seq in (1, 2, 3)]}
    assert json.loads(made(pile(3, range(1, 2))).body)["type"] == "batch"  # also where one event waits


def test_nothing_waits_to_fill_up_and_a_letter_stays_until_it_is_passed() -> None:
    waiting = pile(10, range(1, 3))
    first = made(waiting)
    assert (first.first, first.last) == (1, 2)
    waiting.add([event(3)])
    assert made(waiting) is first
    waiting.passed(2)
    assert (made(waiting).first, made(waiting).last) == (3, 3)
    waiting.passed(3)
    assert waiting.letter() is None


@given(one=st.sets(st.integers(1, 30), min_size=1), other=st.sets(st.integers(1, 30), min_size=1))
def test_two_letters_have_the_same_id_if_and_only_if_they_hold_the_same_events(one: set[int], other: set[int]) -> None:
    """Also with the same first and last one, as of a range and of the dead letters in it."""
    letters = [Letter(TOP, tuple(map(event, sorted(places))), enveloped=True) for places in (one, other)]
    assert (letters[0].id == letters[1].id) == (one == other)
    assert (letters[0].body == letters[1].body) == (one == other)


def test_a_body_has_a_limit_and_what_is_larger_goes_alone() -> None:
    waiting = Pile(TOP, 100)
    waiting.add([event(1, MOST_BYTES // 2), event(2, MOST_BYTES // 3), event(3, MOST_BYTES // 3), event(4, MOST_BYTES)])
    sent = []
    while (letter := waiting.letter()) is not None:
        sent.append([one.seq for one in letter.events])
        assert len(letter.body) <= MOST_BYTES or len(letter.events) == 1
        waiting.passed(letter.last)
    assert sent == [[1, 2], [3], [4]]


@given(count=st.integers(1, 200), most=st.integers(2, 100), data=st.data())
def test_halves_find_each_wrong_event_alone_and_deliver_all_others_in_order(
    count: int, most: int, data: st.DataObject
) -> None:
    bad = data.draw(st.sets(st.integers(1, count)))
    waiting, taken, alone, tries = pile(most, range(1, count + 1)), [], [], 0
    while (letter := waiting.letter()) is not None:
        tries += 1
        places = [one.seq for one in letter.events]
        if not bad.intersection(places):
            taken += places
        elif len(places) > 1:
            waiting.halve(letter)
            continue
        else:
            alone += places
        waiting.passed(letter.last)
    assert taken == [place for place in range(1, count + 1) if place not in bad]
    assert alone == sorted(bad)
    assert tries <= -(-count // most) + len(bad) * 2 * most.bit_length()
