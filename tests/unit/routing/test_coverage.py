"""Coverage is claimed where it is certain, and found where people look for it."""

from __future__ import annotations

from datetime import date, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.routing.coverage import covered
from engine.routing.model import WITHHELD, ClosedDay, Condition, DayKind, History, LastCall
from engine.routing.opening import situation, verdict
from tests.routing_lines import (
    ZONES,
    callers,
    closed_days,
    conditions,
    dates,
    histories,
    holidays,
    instants,
    line,
    span,
    sweep,
)

NINE_TO_SIX, SIX_TO_NINE = (span("09:00-18:00"),), (span("18:00-09:00"),)
FRIDAY_NIGHT = Condition(weekdays=(5,), times=(span("22:00-04:00"),))
BUSY_TODAY = LastCall(results=(Result.BUSY,), within_hours=24)


@pytest.mark.parametrize(
    ("narrow", "by", "is_covered"),
    [
        (Condition(), [Condition()], True),
        (Condition(), [], False),
        (FRIDAY_NIGHT, [Condition()], True),
        (Condition(), [FRIDAY_NIGHT], False),
        (FRIDAY_NIGHT, [Condition(weekdays=(5,))], False),
        (FRIDAY_NIGHT, [Condition(weekdays=(5, 6))], True),
        (FRIDAY_NIGHT, [Condition(weekdays=(5,)), Condition(weekdays=(6,), times=(span("00:00-04:00"),))], True),
        (FRIDAY_NIGHT, [Condition(weekdays=(5,)), Condition(weekdays=(6,), times=(span("00:00-03:59"),))], False),
        (FRIDAY_NIGHT, [Condition(times=(span("21:00-05:00"),))], True),
        (Condition(weekdays=(7,), times=(span("22:00-04:00"),)), [Condition(weekdays=(7, 1))], True),
        (Condition(times=NINE_TO_SIX), [Condition(times=(span("08:00-12:00"), span("12:00-19:00")))], True),
        (Condition(times=NINE_TO_SIX), [Condition(times=(span("09:00-17:59"),))], False),
        (Condition(), [Condition(times=NINE_TO_SIX), Condition(times=SIX_TO_NINE)], True),
        (Condition(), [Condition(weekdays=(1, 2, 3, 4, 5)), Condition(weekdays=(6, 7))], True),
        (Condition(), [Condition(weekdays=(1, 2, 3, 4, 5)), Condition(weekdays=(6,))], False),
        (Condition(callers=("vip",)), [Condition(callers=("vip", WITHHELD))], True),
        (Condition(callers=("vip", WITHHELD)), [Condition(callers=("vip",))], False),
        (Condition(), [Condition(callers=("vip",))], False),
        (Condition(last_call=BUSY_TODAY), [Condition()], True),
        (Condition(), [Condition(last_call=BUSY_TODAY)], False),
        (
            Condition(last_call=LastCall(results=(Result.BUSY,), within_hours=48)),
            [Condition(last_call=BUSY_TODAY)],
            False,
        ),
        (Condition(), [Condition(times=(span("00:00-00:00"),))], True),
        (Condition(), [Condition(times=(span("05:00-05:00"),))], True),
        (Condition(times=(span("05:00-05:00"),)), [Condition(times=NINE_TO_SIX)], False),
        (
            Condition(last_call=LastCall(results=(Result.BUSY,), within_hours=1)),
            [Condition(last_call=BUSY_TODAY)],
            True,
        ),
        (
            Condition(last_call=LastCall(results=(Result.BUSY, Result.NO_ANSWER))),
            [Condition(last_call=BUSY_TODAY)],
            False,
        ),
        (
            Condition(dates=(dates("2028-02-01", "2028-03-31"),)),
            [Condition(dates=(dates("2028-03-01", "2028-04-30"), dates("2028-01-01", "2028-02-29")))],
            True,
        ),
        (
            Condition(dates=(dates("2028-02-01", "2028-03-31"),)),
            [Condition(dates=(dates("2028-03-01", "2028-04-30"), dates("2028-01-01", "2028-02-28")))],
            False,
        ),
        (Condition(), [Condition(dates=(dates("2000-01-01", "2099-12-31"),))], False),
        (Condition(days=(DayKind.PUBLIC_HOLIDAY,)), [Condition(days=tuple(DayKind))], True),
        (Condition(days=(DayKind.PUBLIC_HOLIDAY,)), [Condition(days=(DayKind.CLOSED_DAY,))], False),
        (Condition(), [Condition(days=tuple(DayKind))], True),
        (
            Condition(days=(DayKind.OPEN_DAY,), times=NINE_TO_SIX),
            [
                Condition(days=(DayKind.OPEN_DAY,), times=(span("09:00-12:00"),)),
                Condition(days=(DayKind.OPEN_DAY, DayKind.CLOSED_DAY), times=(span("12:00-18:00"),)),
            ],
            True,
        ),
    ],
)
def test_by_example(narrow: Condition, by: list[Condition], is_covered: bool) -> None:
    assert covered(narrow, by) is is_covered


@st.composite
def moments(draw: st.DrawFn) -> tuple[datetime, History]:
    instant = draw(instants)
    return instant, draw(histories(instant))


simple = st.one_of(
    conditions,
    st.builds(
        Condition,
        weekdays=st.sampled_from([(), (1, 2, 3, 4, 5), (5, 6, 7), (6, 7, 1)]),
        times=st.sampled_from([(), NINE_TO_SIX, SIX_TO_NINE, (span("22:00-04:00"),), (span("00:00-12:00"),)]),
    ),
)


@st.composite
def narrow_and_wide(draw: st.DrawFn) -> tuple[Condition, list[Condition]]:
    """A condition, and some that often cover it: parts of it left out, its days or spans shared out, any."""
    narrow = draw(simple)
    kept = draw(st.sets(st.sampled_from(Condition.__struct_fields__)))
    less = Condition(**{name: getattr(narrow, name) for name in kept})
    shared = [msgspec.structs.replace(less, weekdays=(weekday,)) for weekday in less.weekdays]
    spans = [msgspec.structs.replace(less, times=(hours,)) for hours in less.times]
    wide = draw(st.sampled_from([[less], shared, spans])) + draw(st.lists(simple, max_size=2))
    return narrow, draw(st.permutations(wide))


@settings(deadline=None, max_examples=120)
@given(
    narrow_and_wide(),
    moments(),
    callers,
    st.sampled_from(ZONES),
    closed_days,
    holidays,
)
def test_what_is_said_to_be_covered_never_holds_alone(
    both: tuple[Condition, list[Condition]],
    moment: tuple[datetime, History],
    caller: PhoneNumber | None,
    zone: str,
    closed: tuple[ClosedDay, ...],
    public: dict[date, str],
) -> None:
    narrow, by = both
    if not covered(narrow, by):
        return
    served, (first, history) = line(zone=zone, closed_days=closed, holidays=public), moment
    for instant in sweep(first):
        call = situation(served, caller, instant, history)
        assert not verdict(narrow, call)[0] or any(verdict(wide, call)[0] for wide in by)
