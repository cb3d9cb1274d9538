"""How long a number is kept back: as long as it is called, up to the longest."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.foundation.errors import Invalid
from engine.numbers.quarantine_terms import QuarantineTerms, check_terms, held_until, korean_day, quarantine_end

RELEASED = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
TERMS = QuarantineTerms(days=92, longest_days=200, quiet_days=14, quiet_calls=3)
END = quarantine_end(RELEASED, TERMS)

STRAYS = st.dictionaries(
    st.integers(0, 400).map(lambda days: (RELEASED + timedelta(days=days)).date()), st.integers(1, 50), max_size=20
)


def test_three_months_are_the_longest_three_months() -> None:
    assert QuarantineTerms().days == 92
    assert RELEASED + timedelta(days=92) == END


@given(STRAYS, st.integers(-10, 500))
def test_it_is_never_free_before_its_end_and_never_held_beyond_the_longest(strays: dict[date, int], days: int) -> None:
    now = END + timedelta(days=days)
    until = held_until(RELEASED, END, strays, TERMS, now)
    longest = RELEASED + timedelta(days=TERMS.longest_days)
    if now < END:
        assert until == END
    elif until is not None:
        assert now < until <= longest
    if now >= max(END, longest):
        assert until is None


@given(STRAYS, st.integers(0, 100))
def test_it_is_free_exactly_when_the_last_days_were_quiet(strays: dict[date, int], days: int) -> None:
    now = END + timedelta(days=days)
    today = korean_day(now)
    last = sum(strays.get(today - timedelta(days=back), 0) for back in range(TERMS.quiet_days))
    assert (held_until(RELEASED, END, strays, TERMS, now) is None) == (last <= TERMS.quiet_calls)


@given(STRAYS)
def test_more_calls_never_free_it_earlier(strays: dict[date, int]) -> None:
    fewer = dict.fromkeys(strays, 1)
    if held_until(RELEASED, END, fewer, TERMS, END) is not None:
        assert held_until(RELEASED, END, strays, TERMS, END) is not None


def test_calls_that_fade_free_it_in_steps() -> None:
    called_daily = {END.date() - timedelta(days=back): 2 for back in range(30)}
    first = held_until(RELEASED, END, called_daily, TERMS, END)
    assert first == END + timedelta(days=14)
    assert held_until(RELEASED, first, called_daily, TERMS, first) is None


def test_days_are_korean_ones() -> None:
    assert korean_day(datetime(2026, 11, 22, 14, 59, tzinfo=UTC)) == date(2026, 11, 22)
    assert korean_day(datetime(2026, 11, 22, 15, 0, tzinfo=UTC)) == date(2026, 11, 23)


@pytest.mark.parametrize(
    "terms",
    [
        QuarantineTerms(days=-1),
        QuarantineTerms(days=100, longest_days=99),
        QuarantineTerms(longest_days=3651),
        QuarantineTerms(quiet_days=0),
        QuarantineTerms(quiet_calls=-1),
    ],
)
def test_terms_that_cannot_be_are_refused(terms: QuarantineTerms) -> None:
    with pytest.raises(Invalid, match="must be"):
        check_terms(terms)
