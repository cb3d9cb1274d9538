"""When conditions hold: by table, and against a naive oracle that writes down every minute of a rule's days."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cdr.model import Result
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber
from engine.routing.model import WITHHELD, ClosedDay, Condition, DayKind, History, LastCall, Line, PastCall
from engine.routing.opening import check_zone, situation, verdict
from tests.routing_lines import (
    CALLER,
    NOTHING,
    SEOUL,
    VIP,
    WEDNESDAY,
    ZONES,
    closed_days,
    dates,
    day_conditions,
    holidays,
    instants,
    line,
    span,
)

CHRISTMAS = {date(2026, 12, 25): "기독탄신일"}
SECOND_SUNDAY = ClosedDay(weekday=7, weeks=(2,))


def asked(
    condition: Condition,
    instant: datetime,
    served: Line | None = None,
    caller: PhoneNumber | None = CALLER,
    history: History = NOTHING,
) -> tuple[bool, str]:
    return verdict(condition, situation(served or line(), caller, instant.astimezone(UTC), history))


def seoul(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=SEOUL)


NIGHT = (span("22:00-04:00"),)


@pytest.mark.parametrize(
    ("condition", "instant", "holds", "why"),
    [
        (Condition(), "2026-11-18 14:05", True, "it has no condition"),
        (Condition(weekdays=(3,)), "2026-11-18 00:00", True, "Wednesday 2026-11-18 is one of its days"),
        (Condition(weekdays=(3,)), "2026-11-19 00:00", False, "Thursday 2026-11-19 is not a Wednesday"),
        (Condition(times=(span("09:00-18:00"),)), "2026-11-18 09:00", True, "Wednesday 09:00 is within 09:00-18:00"),
        (Condition(times=(span("09:00-18:00"),)), "2026-11-18 18:00", False, "Wednesday 18:00 is outside 09:00-18:00"),
        (Condition(times=(span("18:00-09:00"),)), "2026-11-18 14:05", False, "Wednesday 14:05 is outside 18:00-09:00"),
        (Condition(times=(span("00:00-00:00"),)), "2026-11-18 23:59", True, "Wednesday 23:59 is within 00:00-00:00"),
        (Condition(times=(span("05:00-05:00"),)), "2026-11-18 04:59", True, "Wednesday 04:59 is within 05:00-05:00"),
        (
            Condition(weekdays=(5,), times=NIGHT),
            "2026-11-21 03:59",
            True,
            "Saturday 03:59 is within 22:00-04:00 that began on Friday 2026-11-20",
        ),
        (Condition(weekdays=(5,), times=NIGHT), "2026-11-20 03:59", False, "Thursday 2026-11-19 is not a Friday"),
        (Condition(weekdays=(5,), times=NIGHT), "2026-11-21 04:00", False, "Saturday 04:00 is outside 22:00-04:00"),
        (
            Condition(weekdays=(5,), times=NIGHT),
            "2026-11-20 22:00",
            True,
            "Friday 22:00 is within 22:00-04:00 of 2026-11-20",
        ),
        (
            Condition(dates=(dates("2028-02-29", "2028-02-29"),), times=NIGHT),
            "2028-03-01 03:00",
            True,
            "Wednesday 03:00 is within 22:00-04:00 that began on Tuesday 2028-02-29",
        ),
        (
            Condition(dates=(dates("2026-12-24", "2026-12-26"),)),
            "2026-12-27 00:00",
            False,
            "Sunday 2026-12-27 is not in 2026-12-24 to 2026-12-26",
        ),
        (
            Condition(days=(DayKind.PUBLIC_HOLIDAY,)),
            "2026-12-25 12:00",
            True,
            "Friday 2026-12-25 is a public holiday (기독탄신일)",
        ),
        (
            Condition(days=(DayKind.PUBLIC_HOLIDAY,), times=NIGHT),
            "2026-12-26 03:00",
            True,
            "Saturday 03:00 is within 22:00-04:00 that began on Friday 2026-12-25",
        ),
        (
            Condition(days=(DayKind.PUBLIC_HOLIDAY, DayKind.CLOSED_DAY)),
            "2026-12-24 12:00",
            False,
            "Thursday 2026-12-24 is an open day, not a public holiday or a closed day",
        ),
        (Condition(days=(DayKind.CLOSED_DAY,)), "2026-11-08 12:00", True, "Sunday 2026-11-08 is a closed day"),
        (Condition(days=(DayKind.CLOSED_DAY,)), "2026-06-14 12:00", True, "Sunday 2026-06-14 is a closed day"),
        (
            Condition(days=(DayKind.CLOSED_DAY,)),
            "2026-11-15 12:00",
            False,
            "Sunday 2026-11-15 is an open day, not a closed day",
        ),
    ],
)
def test_days_and_times(condition: Condition, instant: str, holds: bool, why: str) -> None:
    served = line(holidays=CHRISTMAS, closed_days=(SECOND_SUNDAY,))
    assert asked(condition, seoul(instant), served) == (holds, why)


def test_the_account_s_closed_days_count_like_the_number_s_own() -> None:
    closed = Condition(days=(DayKind.CLOSED_DAY,))
    assert asked(closed, WEDNESDAY, line(account_closed_days=(ClosedDay(day=WEDNESDAY.date()),)))[0]
    assert asked(closed, WEDNESDAY, line(closed_days=(ClosedDay(weekday=3),)))[0]
    assert not asked(closed, WEDNESDAY)[0]


def test_a_holiday_on_a_closed_day_is_both_and_not_open() -> None:
    served = line(holidays={WEDNESDAY.date(): "휴일"}, closed_days=(ClosedDay(weekday=3),))
    assert [asked(Condition(days=(kind,)), WEDNESDAY, served)[0] for kind in DayKind] == [True, True, False]


@pytest.mark.parametrize(
    ("callers", "caller", "holds", "why"),
    [
        (("vip",), VIP, True, "the caller is in vip"),
        (("vip", "empty"), CALLER, False, "the caller is not in vip or empty"),
        (("unknown",), CALLER, False, "the caller is not in unknown"),
        (("vip",), None, False, "the caller's number is withheld"),
        (("vip", WITHHELD), None, True, "the caller's number is withheld"),
        ((WITHHELD,), CALLER, False, "the caller is not in withheld"),
    ],
)
def test_callers(callers: tuple[str, ...], caller: PhoneNumber | None, holds: bool, why: str) -> None:
    assert asked(Condition(callers=callers), WEDNESDAY, caller=caller) == (holds, why)


def calls(*results: Result, age: timedelta = timedelta(hours=1)) -> History:
    return History(calls=tuple(PastCall(WEDNESDAY - age * n, result, None, 0.0) for n, result in enumerate(results, 1)))


@pytest.mark.parametrize(
    ("history", "holds", "why"),
    [
        (calls(Result.BUSY, Result.ANSWERED), True, "the last call was “busy”"),
        (calls(Result.ANSWERED, Result.BUSY), False, "the last call was “answered”"),
        (calls(Result.BUSY, age=timedelta(hours=2)), False, "the last call was more than 2 h ago"),
        (calls(Result.BUSY, age=timedelta(hours=2, microseconds=-1)), True, "the last call was “busy”"),
        (NOTHING, False, "no earlier call of this caller is known"),
        (History(known=False), False, "the caller's last call is not known in time"),
    ],
)
def test_the_last_call(history: History, holds: bool, why: str) -> None:
    condition = Condition(last_call=LastCall(results=(Result.BUSY,), within_hours=2))
    assert asked(condition, WEDNESDAY, history=history) == (holds, why)


def test_every_part_must_hold_and_the_reasons_are_joined() -> None:
    condition = Condition(weekdays=(3,), callers=("vip",))
    why = "the caller is in vip and Wednesday 2026-11-18 is one of its days"
    assert asked(condition, WEDNESDAY, caller=VIP) == (True, why)
    assert not asked(condition, WEDNESDAY, caller=CALLER)[0]
    assert not asked(condition, WEDNESDAY + timedelta(days=1), caller=VIP)[0]


@pytest.mark.parametrize(
    ("zone", "utc", "hours", "holds"),
    [
        # Berlin, 2026-03-29: 02:00 becomes 03:00. The hour in between never comes; a span into it goes on after it.
        ("Europe/Berlin", "2026-03-29 00:59", "02:00-03:00", False),
        ("Europe/Berlin", "2026-03-29 01:00", "02:00-03:00", False),
        ("Europe/Berlin", "2026-03-29 01:00", "02:30-03:30", True),
        ("Europe/Berlin", "2026-03-29 01:29", "02:30-03:30", True),
        ("Europe/Berlin", "2026-03-29 01:30", "02:30-03:30", False),
        # Berlin, 2026-10-25: 03:00 becomes 02:00. Both passes count.
        ("Europe/Berlin", "2026-10-25 00:30", "02:00-03:00", True),
        ("Europe/Berlin", "2026-10-25 01:30", "02:00-03:00", True),
        ("Europe/Berlin", "2026-10-25 02:00", "02:00-03:00", False),
        # New York, 2026-11-01: 02:00 becomes 01:00.
        ("America/New_York", "2026-11-01 05:45", "01:30-02:00", True),
        ("America/New_York", "2026-11-01 06:15", "01:30-02:00", False),
        ("America/New_York", "2026-11-01 06:45", "01:30-02:00", True),
        # Lord Howe Island moves by half an hour: 2026-10-04 02:00 becomes 02:30, 2026-04-05 02:00 becomes 01:30.
        ("Australia/Lord_Howe", "2026-10-03 15:30", "02:00-02:30", False),
        ("Australia/Lord_Howe", "2026-10-03 15:30", "02:15-02:45", True),
        ("Australia/Lord_Howe", "2026-04-04 14:45", "01:30-02:00", True),
        ("Australia/Lord_Howe", "2026-04-04 15:15", "01:30-02:00", True),
        ("Australia/Lord_Howe", "2026-04-04 15:30", "01:30-02:00", False),
    ],
)
def test_when_clocks_are_changed(zone: str, utc: str, hours: str, holds: bool) -> None:
    instant = datetime.fromisoformat(utc).replace(tzinfo=UTC)
    assert asked(Condition(times=(span(hours),)), instant, line(zone=zone))[0] is holds


def minutes_of(condition: Condition, served: Line, around: date) -> set[datetime]:
    """What the wall shows in each minute of the spans that start on the days around `around`."""
    shown: set[datetime] = set()
    for start_day in (around - timedelta(days=1), around):
        if not naive_day(condition, served, start_day):
            continue
        for hours in condition.times or (span("00:00-00:00"),):
            at, midnight = datetime.combine(start_day, hours.start), hours.end <= hours.start
            end = datetime.combine(start_day + timedelta(days=1) if midnight else start_day, hours.end)
            while at < end:
                shown.add(at)
                at += timedelta(minutes=1)
    return shown


def naive_day(condition: Condition, served: Line, day: date) -> bool:
    kinds = set()
    if day in served.holidays.days:
        kinds.add(DayKind.PUBLIC_HOLIDAY)
    for closed in served.closed_days + served.account.closed_days:
        same_weekdays = [n for n in range(1, day.day + 1) if day.replace(day=n).isoweekday() == closed.weekday]
        on_weekday = closed.weekday == day.isoweekday() and (not closed.weeks or len(same_weekdays) in closed.weeks)
        if closed.day == day or on_weekday:
            kinds.add(DayKind.CLOSED_DAY)
    listed = [
        days.first + timedelta(days=n) for days in condition.dates for n in range((days.last - days.first).days + 1)
    ]
    return (
        (not condition.weekdays or day.isoweekday() in condition.weekdays)
        and (not condition.dates or day in listed)
        and (not condition.days or bool((kinds or {DayKind.OPEN_DAY}) & set(condition.days)))
    )


@settings(deadline=None, max_examples=150)
@given(day_conditions, instants, st.sampled_from(ZONES), closed_days, closed_days, holidays)
def test_it_holds_exactly_in_the_minutes_that_the_oracle_wrote_down(
    condition: Condition,
    instant: datetime,
    zone: str,
    own: tuple[ClosedDay, ...],
    account: tuple[ClosedDay, ...],
    public: dict[date, str],
) -> None:
    served = line(zone=zone, closed_days=own, account_closed_days=account, holidays=public)
    wall = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    minute = wall.replace(second=0, microsecond=0, fold=0)
    assert asked(condition, instant, served)[0] is (minute in minutes_of(condition, served, wall.date()))


def test_an_unknown_zone_is_refused_when_set_and_korea_s_when_a_call_comes() -> None:
    assert check_zone("Asia/Seoul") == "Asia/Seoul"
    for name in ("Asia/Soul", "", "../etc/passwd", "Asia"):
        with pytest.raises(Invalid, match="zone"):
            check_zone(name)
    in_the_morning = Condition(times=(span("09:00-10:00"),))
    assert asked(in_the_morning, datetime(2026, 11, 18, 0, 30, tzinfo=UTC), line(zone="Asia/Soul"))[0]
