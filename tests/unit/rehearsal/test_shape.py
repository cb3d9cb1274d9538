"""The shape of a made-up past."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from engine.cdr.model import Result
from engine.rehearsal.shape import ENDINGS, Calls, Past

END = datetime(2026, 11, 22, 6, 30, tzinfo=UTC)
CALLS, DAYS = 60_000, 56


def _past(seed: int = 1, numbers: int = 1000) -> Past:
    return Past(numbers=numbers, calls=CALLS, days=DAYS, end=END, seed=seed)


def _all(past: Past) -> list[Calls]:
    return [group for month, _ in past.months() for groups in past.of_month(month, 5000) for group in groups]


@pytest.fixture(scope="module")
def groups() -> list[Calls]:
    return _all(_past())


def _arrived(groups: list[Calls]) -> list[datetime]:
    korea = timedelta(hours=9)
    return [datetime.fromtimestamp(int(one) / 1e6, UTC) + korea for group in groups for one in group.arrived]


def test_there_are_exactly_as_many_calls_as_asked_for_and_all_in_their_days(groups: list[Calls]) -> None:
    arrived = _arrived(groups)
    assert len(arrived) == CALLS
    assert sum(calls for _, calls in _past().months()) == CALLS
    end = END.replace(minute=0) + timedelta(hours=9)
    assert min(arrived) >= end - timedelta(days=DAYS)
    assert max(arrived) < end


def test_each_month_holds_its_own_calls() -> None:
    past = _past()
    for month, calls in past.months():
        instants = [one for groups in past.of_month(month, 5000) for group in groups for one in group.arrived]
        assert len(instants) == calls
        assert {datetime.fromtimestamp(int(one) / 1e6, UTC).date().replace(day=1) for one in instants} == {month}


def test_days_are_busy_and_nights_and_sundays_are_quiet(groups: list[Calls]) -> None:
    arrived = _arrived(groups)
    hours = Counter(instant.hour for instant in arrived)
    days = Counter(instant.weekday() for instant in arrived)
    assert hours[18] > 20 * hours[3]
    assert days[6] < 0.6 * days[0]


def test_a_few_numbers_are_busy_and_callers_come_back(groups: list[Calls]) -> None:
    by_number = Counter(int(one) for group in groups for one in group.number)
    busiest = sum(count for _, count in by_number.most_common(10))
    assert 0.1 < busiest / CALLS < 0.6
    pairs = Counter(
        (int(number), int(caller))
        for group in groups
        for number, caller in zip(group.number, group.caller, strict=True)
    )
    again = sum(count for count in pairs.values() if count > 1)
    assert 0.1 < again / CALLS < 0.6
    assert all(20_000_000 <= int(caller) < 100_000_000 for group in groups for caller in group.caller)


def test_every_result_occurs_and_only_answered_calls_talk(groups: list[Calls]) -> None:
    assert {ending.result for ending in ENDINGS} == set(Result)
    assert {group.ending.result for group in groups} == set(Result)
    for group in groups:
        assert bool(group.talk.any()) is group.ending.answered
        assert bool(group.ring.any()) is group.ending.rang


def test_the_same_seed_makes_the_same_past_and_another_another() -> None:
    one, same, other = (_all(_past(seed, 50)) for seed in (1, 1, 2))
    assert all(np.array_equal(a.arrived, b.arrived) for a, b in zip(one, same, strict=True))
    assert all(np.array_equal(a.caller, b.caller) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one[0].arrived, other[0].arrived)


def test_one_number_alone_gets_every_call() -> None:
    past = Past(numbers=1, calls=10, days=1, end=END, seed=1)
    assert {int(one) for group in _all(past) for one in group.number} == {0}
