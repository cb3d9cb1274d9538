"""The search for the highest rate that holds."""

from __future__ import annotations

import pytest

from tests.bench.sides.search import Search


def _found(limit: float, search: Search, most: int = 50) -> tuple[float, list[float]]:
    tried: list[float] = []
    while (rate := search.next()) is not None:
        assert len(tried) < most
        tried.append(rate)
        search.tell(rate, held=rate <= limit)
    return search.best, tried


@pytest.mark.parametrize("limit", [3, 40, 99, 100, 101, 180, 351, 599])
def test_it_comes_as_near_as_it_should_from_whatever_it_begins_with(limit: int) -> None:
    for first in (10.0, 100.0, 500.0):
        best, tried = _found(limit, Search(first, most=600.0, precision=0.05))
        assert best <= limit
        assert best >= limit / 1.05 - 1
        assert len(tried) == len(set(tried))


def test_it_never_goes_beyond_the_most() -> None:
    best, tried = _found(10_000, Search(100.0, most=300.0))
    assert best == max(tried) == 300


def test_nothing_holds() -> None:
    best, tried = _found(0, Search(8.0))
    assert best == 0
    assert tried[-1] == 1


def test_a_rate_that_failed_is_a_bound_even_when_a_higher_one_held_before() -> None:
    search = Search(100.0)
    search.tell(100.0, held=True)
    search.tell(140.0, held=True)
    search.tell(120.0, held=False)
    assert search.best < 120
    following = search.next()
    assert following is not None
    assert following < 120
