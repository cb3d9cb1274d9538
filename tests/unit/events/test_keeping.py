"""How old events are when the machine's clock is right, when it jumps, and when the machine was off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from engine.events.keeping import BELIEVED, noted_by, reckoned

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAYS = 30
_STEPS = st.timedeltas(timedelta(days=-1000), timedelta(days=1000))


def looks(steps: dict[int, timedelta], hours: int) -> list[datetime]:
    """Our clock at each of the hourly looks; the machine's is set by a step before some of them."""
    machine, ours, shown = NOON, NOON, [NOON]
    for hour in range(1, hours + 1):
        before, machine = machine, machine + HOUR + steps.get(hour, timedelta(0))
        ours = reckoned(ours, before, machine)
        shown.append(ours)
    return shown


def kept_for(steps: dict[int, timedelta]) -> timedelta:
    """True time from when an event was noted, at the first look, until it may go."""
    shown = looks(steps, 24 * (DAYS + 10))
    return HOUR * next(hour for hour, ours in enumerate(shown) if noted_by(ours, DAYS) >= NOON)


def test_with_a_right_clock_it_is_kept_for_its_days_and_one_more() -> None:
    assert kept_for({}) == timedelta(days=DAYS) + BELIEVED


@given(at=st.integers(1, 24 * DAYS), step=_STEPS)
def test_no_step_of_the_clock_deletes_before_the_time(at: int, step: timedelta) -> None:
    assert timedelta(days=DAYS) <= kept_for({at: step}) <= timedelta(days=DAYS) + BELIEVED + HOUR


@given(at=st.integers(1, 24 * DAYS), later=st.integers(1, 200), step=st.timedeltas(timedelta(days=2)))
def test_a_clock_that_jumps_ahead_and_is_set_right_deletes_nothing_before_the_time(
    at: int, later: int, step: timedelta
) -> None:
    step = min(step, timedelta(days=100_000))
    assert kept_for({at: step, at + later: -step}) >= timedelta(days=DAYS)


def test_what_a_machine_that_is_off_at_night_keeps_is_as_old_as_by_any_clock() -> None:
    """Looks that are half a day apart are believed."""
    assert reckoned(NOON, NOON, NOON + timedelta(hours=14)) == NOON + timedelta(hours=14)


def test_a_machine_that_was_off_for_long_keeps_what_it_has_for_longer() -> None:
    assert reckoned(NOON, NOON, NOON + timedelta(days=90)) == NOON + BELIEVED
