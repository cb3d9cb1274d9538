"""When an event is tried again, and when it is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.webhooks.ladder import (
    JITTER,
    PATIENCE,
    REFUSED_TRIES,
    WAITS,
    Answer,
    is_late,
    is_refused_for_good,
    wait_after,
)

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@given(failures=st.integers(1, 10_000), chance=st.floats(0, 1))
def test_every_wait_is_near_its_step_and_never_much_longer_than_the_last(failures: int, chance: float) -> None:
    step = WAITS[min(failures, len(WAITS)) - 1]
    assert (1 - JITTER) * step <= wait_after(failures, chance) <= (1 + JITTER) * step
    assert wait_after(failures, chance) <= timedelta(hours=1.2)


@given(chance=st.floats(0, 1))
def test_waits_grow(chance: float) -> None:
    waits = [wait_after(failures, chance) for failures in range(1, len(WAITS) + 1)]
    assert waits == sorted(waits)
    assert len(set(waits)) == len(waits)


def test_the_ladder_reaches_to_three_days() -> None:
    tried, failures = timedelta(0), 0
    while not is_late(NOW - timedelta(days=9), NOW, NOW + tried):
        failures += 1
        tried += wait_after(failures, 0.5)
    assert timedelta(days=3) <= tried < timedelta(days=3, hours=2)
    assert 70 < failures < 90


@pytest.mark.parametrize(("age", "late"), [(PATIENCE, True), (PATIENCE - timedelta(seconds=1), False)])
def test_after_three_days_of_trying_an_event_is_late(age: timedelta, late: bool) -> None:
    assert is_late(NOW - age, NOW - age, NOW) is late
    assert is_late(NOW - age - PATIENCE, NOW - age, NOW) is late
    assert is_late(NOW - age, NOW - age - PATIENCE, NOW) is late


@pytest.mark.parametrize(
    ("status", "delivered", "gone", "wrong"),
    [
        (200, True, False, False),
        (204, True, False, False),
        (299, True, False, False),
        (None, False, False, False),
        (302, False, False, False),
        (400, False, False, True),
        (401, False, False, False),
        (404, False, False, False),
        (410, False, True, False),
        (422, False, False, True),
        (429, False, False, False),
        (503, False, False, False),
    ],
)
def test_what_each_answer_means(status: int | None, delivered: bool, gone: bool, wrong: bool) -> None:
    answer = Answer(status)
    assert (answer.delivered, answer.gone, answer.finds_it_wrong) == (delivered, gone, wrong)
    assert is_refused_for_good(answer, REFUSED_TRIES) is wrong
    assert not is_refused_for_good(answer, REFUSED_TRIES - 1)
