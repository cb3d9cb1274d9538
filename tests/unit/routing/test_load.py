"""How many calls there are and were: the book against a plain count of everything that ever happened."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.foundation.phone_number import PhoneNumber
from engine.routing import load as load_module
from engine.routing.load import DAY, HOUR, LoadBook
from engine.routing.model import Load

NUMBER, OTHER = PhoneNumber("050712345678"), PhoneNumber("050712345679")
ACCOUNT = UUID(int=1)


def test_nothing_is_known_of_a_number_that_was_never_called() -> None:
    assert LoadBook().load(NUMBER, 0.0) == Load()


def test_a_call_counts_for_its_number_and_its_account_until_it_ends_and_its_time_is_over() -> None:
    book = LoadBook()
    book.begin(NUMBER, ACCOUNT, 100.0)
    book.begin(OTHER, ACCOUNT, 200.0)
    assert book.load(NUMBER, 200.0) == Load(1, 1, 1)
    assert book.load(ACCOUNT, 200.0) == Load(2, 2, 2)
    book.end(NUMBER, ACCOUNT)
    assert book.load(NUMBER, 200.0) == Load(0, 1, 1)
    assert book.load(ACCOUNT, 200.0) == Load(1, 2, 2)
    assert book.load(NUMBER, 99.9 + HOUR) == Load(0, 1, 1)
    assert book.load(NUMBER, 100.0 + HOUR) == Load(0, 0, 1)
    assert book.load(NUMBER, 100.0 + DAY) == Load(0, 0, 0)


def test_calls_of_before_the_start_count_and_are_not_live() -> None:
    book = LoadBook()
    book.seed(NUMBER, (-10.0, -10.0, -HOUR - 1, -DAY))
    assert book.load(NUMBER, 0.0) == Load(0, 2, 3)


def test_a_call_that_the_book_has_seen_is_not_counted_again_when_it_is_written_down() -> None:
    book = LoadBook()
    book.begin(NUMBER, ACCOUNT, 100.0)
    book.end(NUMBER, ACCOUNT)
    book.seed(NUMBER, (99.8, 95.0))
    assert book.load(NUMBER, 200.0) == Load(0, 2, 2)


def test_a_call_that_is_taken_over_began_before_others() -> None:
    book = LoadBook()
    book.begin(NUMBER, ACCOUNT, 5000.0)
    book.begin(NUMBER, ACCOUNT, 1000.0)
    assert book.load(NUMBER, 5000.0) == Load(2, 1, 2)


def test_an_end_without_a_beginning_leaves_no_debt() -> None:
    book = LoadBook()
    book.end(NUMBER, ACCOUNT)
    book.begin(NUMBER, ACCOUNT, 1.0)
    assert book.load(NUMBER, 1.0).at_once == 1


def test_numbers_that_are_no_longer_called_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "_SWEEP_EVERY", 10)
    book = LoadBook()
    for last in range(10):
        number = PhoneNumber(f"05071234567{last}")
        book.begin(number, ACCOUNT, 0.0)
        book.end(number, ACCOUNT)
    for _ in range(20):
        book.begin(NUMBER, ACCOUNT, DAY)
        book.end(NUMBER, ACCOUNT)
    assert book.known == 2, "NUMBER and ACCOUNT"


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 3 * DAY)), max_size=40), st.floats(0, 4 * DAY))
def test_it_counts_as_one_who_remembers_everything_would(deeds: list[tuple[bool, float]], asked: float) -> None:
    book = LoadBook()
    began: list[float] = []
    live = 0
    for begins, at in sorted(deeds, key=lambda deed: deed[1]):
        if at > asked:
            break
        if begins:
            book.begin(NUMBER, ACCOUNT, at)
            began.append(at)
            live += 1
        elif live:
            book.end(NUMBER, ACCOUNT)
            live -= 1
    expected = Load(live, sum(asked - at < HOUR for at in began), sum(asked - at < DAY for at in began))
    assert book.load(NUMBER, asked) == expected
    assert book.load(ACCOUNT, asked) == expected
