"""How days and times are typed: each is read as it is shown, and nonsense is told by its name."""

from __future__ import annotations

from datetime import date, time

import pytest

from engine.cli.calendar import (
    closed_days,
    dates,
    shown_closed_day,
    shown_dates,
    shown_span,
    shown_weekdays,
    times,
    weekdays,
)
from engine.foundation.errors import Invalid
from engine.routing.model import ClosedDay, DateRange, TimeSpan


@pytest.mark.parametrize(
    ("typed", "days"),
    [
        ("mon-fri", (1, 2, 3, 4, 5)),
        ("Sat, sunday", (6, 7)),
        ("sat-mon", (1, 6, 7)),
        ("fri,mon,mon", (1, 5)),
        ("mon-sun", (1, 2, 3, 4, 5, 6, 7)),
        ("tue-tue", (2,)),
    ],
)
def test_weekdays_are_read(typed: str, days: tuple[int, ...]) -> None:
    assert weekdays(typed) == days
    assert weekdays(shown_weekdays(days)) == days


def test_times_go_past_midnight_and_up_to_it() -> None:
    night = TimeSpan(start=time(22), end=time(4, 30))
    evening = TimeSpan(start=time(18), end=time(0))
    assert times("22:00-04:30, 18:00-24:00") == (night, evening)
    assert times(shown_span(night)) == (night,)


def test_dates_are_days_or_ranges() -> None:
    christmas = DateRange(first=date(2026, 12, 24), last=date(2026, 12, 26))
    new_year = DateRange(first=date(2027, 1, 1), last=date(2027, 1, 1))
    assert dates("2026-12-24..2026-12-26,2027-01-01") == (christmas, new_year)
    assert dates(f"{shown_dates(christmas)},{shown_dates(new_year)}") == (christmas, new_year)


@pytest.mark.parametrize(
    ("typed", "days"),
    [
        (["2026-12-25"], [ClosedDay(day=date(2026, 12, 25))]),
        (["2026-12-31..2027-01-01"], [ClosedDay(day=date(2026, 12, 31)), ClosedDay(day=date(2027, 1, 1))]),
        (["every", "sunday"], [ClosedDay(weekday=7)]),
        (["Sundays"], [ClosedDay(weekday=7)]),
        (["2nd and 4th sunday"], [ClosedDay(weekday=7, weeks=(2, 4))]),
        (["1st,3rd", "mon", "tue"], [ClosedDay(weekday=1, weeks=(1, 3)), ClosedDay(weekday=2)]),
    ],
)
def test_closed_days_are_read(typed: list[str], days: list[ClosedDay]) -> None:
    assert closed_days(typed) == days
    assert closed_days([shown_closed_day(day) for day in days]) == days


@pytest.mark.parametrize("typed", ["", "mon-", "1", "mon..fri", "mon,,tue"])
def test_weekdays_that_are_none_are_refused(typed: str) -> None:
    with pytest.raises(Invalid, match=r"^weekdays"):
        weekdays(typed)


@pytest.mark.parametrize("typed", ["", "9-18", "09:00", "24:00-25:00", "09:60-10:00", "09:00-24:01", "a:b-c:d"])
def test_times_that_are_none_are_refused(typed: str) -> None:
    with pytest.raises(Invalid, match=r"^times"):
        times(typed)


@pytest.mark.parametrize("typed", ["", "2026-02-30", "2026-12-24..", "..2026-12-24", "tomorrow", "2026-1-1"])
def test_dates_that_are_none_are_refused(typed: str) -> None:
    with pytest.raises(Invalid, match=r"^date"):
        dates(typed)


@pytest.mark.parametrize(
    "typed",
    ["", "2nd", "last sunday", "6th sunday", "2nd 2026-12-25", "2026-12-25..2020-01-01", "2020-01-01..2026-01-01"],
)
def test_closed_days_that_are_none_are_refused(typed: str) -> None:
    with pytest.raises(Invalid, match=r"^closed day"):
        closed_days([typed])
