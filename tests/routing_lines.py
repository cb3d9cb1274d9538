"""Lines to plan calls on; tests change what they are about. And random ones, for what holds of every line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import Limits, Treatment
from engine.routing.model import (
    WITHHELD,
    AccountRouting,
    ClosedDay,
    Condition,
    DateRange,
    DayKind,
    History,
    Holidays,
    LastCall,
    Line,
    PastCall,
    Rule,
    TimeSpan,
)

ACCOUNT = UUID("0190a8a0-0000-7000-8000-000000000001")
NUMBER = PhoneNumber("050712345678")
SHOP = PhoneNumber("0212345678")
SECOND = PhoneNumber("01011112222")
THIRD = PhoneNumber("01033334444")
CALLER = PhoneNumber("01023456789")
VIP = PhoneNumber("01099990000")
BAD = PhoneNumber("01066660000")
SEOUL = ZoneInfo("Asia/Seoul")
ZONES = ("Asia/Seoul", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
WEDNESDAY = datetime(2026, 11, 18, 14, 5, tzinfo=SEOUL)
NOTHING = History()
UNSAID = Treatment()
ALWAYS = Condition()
UNLIMITED = Limits()


def line(
    *rules: Rule,
    treatment: Treatment = UNSAID,
    limits: Limits = UNLIMITED,
    zone: str = "Asia/Seoul",
    account_limits: Limits = UNLIMITED,
    closed_days: Sequence[ClosedDay] = (),
    account_closed_days: Sequence[ClosedDay] = (),
    holidays: dict[date, str] | None = None,
    sender: PhoneNumber | None = SHOP,
    target: PhoneNumber = SHOP,
    number: PhoneNumber = NUMBER,
) -> Line:
    """NUMBER, which rings SHOP; VIP is in the group vip, BAD in blocked, nobody in empty."""
    return Line(
        number=ServiceNumber(
            number=number,
            kind=NumberKind.VIRTUAL,
            account_id=ACCOUNT,
            target=target,
            treatment=treatment,
            limits=limits,
            sender=sender,
        ),
        rules=rules,
        account=AccountRouting(
            account_id=ACCOUNT,
            zone=zone,
            limits=account_limits,
            closed_days=tuple(account_closed_days),
            groups={"vip": frozenset({VIP}), "blocked": frozenset({BAD}), "empty": frozenset()},
        ),
        closed_days=tuple(closed_days),
        holidays=Holidays(days=holidays or {}),
    )


def rule(name: str, condition: Condition = ALWAYS, treatment: Treatment = UNSAID, *, enabled: bool = True) -> Rule:
    return Rule(name=name, condition=condition, treatment=treatment, enabled=enabled)


def span(text: str) -> TimeSpan:
    """`22:00-04:00`."""
    start, end = text.split("-")
    return TimeSpan(start=time.fromisoformat(start), end=time.fromisoformat(end))


def dates(first: str, last: str) -> DateRange:
    return DateRange(first=date.fromisoformat(first), last=date.fromisoformat(last))


# Where clocks and calendars are at their worst, in UTC: leap day, year's end, and each zone's changes of 2028.
_EDGES = (
    datetime(2028, 2, 28, 15, tzinfo=UTC),
    datetime(2028, 2, 29, 15, tzinfo=UTC),
    datetime(2028, 12, 31, 15, tzinfo=UTC),
    datetime(2028, 3, 26, 1, tzinfo=UTC),
    datetime(2028, 10, 29, 1, tzinfo=UTC),
    datetime(2028, 3, 12, 7, tzinfo=UTC),
    datetime(2028, 11, 5, 6, tzinfo=UTC),
    datetime(2028, 4, 1, 15, tzinfo=UTC),
    datetime(2028, 9, 30, 15, 30, tzinfo=UTC),
)
_YEAR = datetime(2028, 1, 1, tzinfo=UTC)

instants = st.one_of(
    st.builds(
        lambda edge, away: edge + away,
        st.sampled_from(_EDGES),
        st.timedeltas(timedelta(hours=-30), timedelta(hours=30)),
    ),
    st.builds(lambda away: _YEAR + away, st.timedeltas(timedelta(0), timedelta(days=366))),
)
clocks = st.one_of(
    st.sampled_from([time(0), time(2), time(2, 30), time(3), time(9), time(23, 59)]),
    st.builds(time, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59])),
)
days_of_2028 = st.one_of(
    st.sampled_from([date(2028, 2, 28), date(2028, 2, 29), date(2028, 3, 1), date(2028, 12, 31)]),
    st.dates(date(2027, 12, 25), date(2029, 1, 5)),
)
date_ranges = st.builds(
    lambda first, days: DateRange(first=first, last=first + timedelta(days=days)),
    days_of_2028,
    st.sampled_from([0, 1, 6, 30, 200]),
)
last_calls = st.builds(
    LastCall,
    results=st.sampled_from([(Result.BUSY,), (Result.BUSY, Result.NO_ANSWER), (Result.ANSWERED,)]),
    within_hours=st.sampled_from([1, 24, 48]),
)


def _some(values: st.SearchStrategy[object], most: int = 3) -> st.SearchStrategy[tuple[object, ...]]:
    """Nothing as often as something: each part of a condition is mostly left out."""
    return st.one_of(st.just(()), st.lists(values, min_size=1, max_size=most, unique=True).map(tuple))


times_of_day = st.builds(TimeSpan, start=clocks, end=clocks)
day_conditions: st.SearchStrategy[Condition] = st.builds(
    Condition,
    weekdays=_some(st.integers(1, 7), 6),
    times=_some(times_of_day),
    dates=_some(date_ranges, 2),
    days=_some(st.sampled_from(DayKind)),
)
conditions: st.SearchStrategy[Condition] = st.builds(
    Condition,
    weekdays=_some(st.integers(1, 7), 6),
    times=_some(times_of_day),
    dates=_some(date_ranges, 2),
    days=_some(st.sampled_from(DayKind)),
    callers=_some(st.sampled_from(["vip", "empty", WITHHELD, "unknown"])),
    last_call=st.one_of(st.none(), st.none(), last_calls),
)
closed_days: st.SearchStrategy[tuple[ClosedDay, ...]] = st.lists(
    st.one_of(
        st.builds(ClosedDay, day=days_of_2028),
        st.builds(ClosedDay, weekday=st.integers(1, 7), weeks=_some(st.integers(1, 5), 2)),
    ),
    max_size=2,
).map(tuple)
holidays = st.dictionaries(days_of_2028, st.just("휴일"), max_size=4)
callers = st.sampled_from([CALLER, VIP, BAD, None])


@st.composite
def histories(draw: st.DrawFn, instant: datetime) -> History:
    """Up to three calls before `instant`, some of them just about as long ago as conditions ask."""
    ages = st.one_of(
        st.sampled_from([timedelta(hours=1), timedelta(hours=24), timedelta(hours=1, microseconds=-1)]),
        st.timedeltas(timedelta(seconds=1), timedelta(days=30)),
    )
    calls = [
        PastCall(
            instant - age,
            draw(st.sampled_from([Result.BUSY, Result.NO_ANSWER, Result.ANSWERED])),
            draw(st.sampled_from([SHOP, SECOND, None])),
            draw(st.sampled_from([0.0, 30.0])),
        )
        for age in sorted(draw(st.lists(ages, max_size=3)))
    ]
    return History(known=draw(st.sampled_from([True, True, True, False])), calls=tuple(calls))


def sweep(instant: datetime, steps: int = 50) -> list[datetime]:
    """`instant` and others after it, over some ten days, at ever other times of the day."""
    return [instant + n * timedelta(hours=5, minutes=13, seconds=7) for n in range(steps)]
