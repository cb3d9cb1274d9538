"""The search for the highest rate that holds."""

from __future__ import annotations

import pytest

from tests.bench.sides.search import Descent, Search


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


def test_what_is_known_already_is_not_tried_again() -> None:
    search = Search(100.0, precision=0.05)
    search.begin_with([(10.0, True), (50.0, True), (100.0, False), (150.0, False)])
    best, tried = _found(83, search)
    assert 79 <= best <= 83
    assert all(50 < rate < 100 for rate in tried)


def test_a_rate_that_failed_below_one_that_held_did_so_by_chance() -> None:
    search = Search(100.0)
    search.begin_with([(10.0, False), (50.0, True), (100.0, True)])
    assert search.best == 100
    assert search.next() == 140


def test_nothing_that_was_known_held() -> None:
    search = Search(100.0)
    search.begin_with([(10.0, False), (50.0, False)])
    best, tried = _found(5, search)
    assert best == 5
    assert tried[0] == 7


def _held_longest(limit: float, descent: Descent) -> list[float]:
    tried = []
    while (rate := descent.next()) is not None:
        tried.append(rate)
        assert len(tried) < 50
        descent.tell(rate, held=rate <= limit)
    return tried


def test_what_holds_for_the_whole_time_at_once_is_the_answer() -> None:
    descent = Descent(164.0)
    assert _held_longest(200, descent) == [164]
    assert descent.best == 164


def test_it_goes_down_by_larger_steps_and_up_once() -> None:
    descent = Descent(164.0)
    assert _held_longest(120, descent) == [164, 148, 126, 101, 114]
    assert descent.best == 114
    descent = Descent(100.0)
    assert _held_longest(92, descent) == [100, 90, 95]
    assert descent.best == 90


def test_steps_too_small_to_tell_apart_are_not_tried() -> None:
    descent = Descent(100.0, precision=0.15)
    assert _held_longest(95, descent) == [100, 90]


@pytest.mark.parametrize("first", [0.0, 1.0, 2.0, 5.0, 40.0])
def test_it_ends_where_nothing_holds(first: float) -> None:
    descent = Descent(first)
    tried = _held_longest(0, descent)
    assert descent.best == 0
    assert tried == sorted(set(tried), reverse=True)
    assert not tried or tried[-1] == 1
