"""Until when a ringback is right: no change before, and a change then."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cdr.model import Result
from engine.numbers.treatment import Treatment
from engine.routing.call_plan import Forward
from engine.routing.edges import AHEAD
from engine.routing.model import Condition, History, LastCall, Line, PastCall, Rule
from engine.routing.plan import plan
from tests.routing_lines import CALLER, NOTHING, VIP, ZONES, dates, line, rule, span

A, B = Treatment(ringback=("own/a",)), Treatment(ringback=("own/b",))


def forwarded(served: Line, instant: datetime, history: History = NOTHING) -> Forward:
    found = plan(served, CALLER, instant, history, 30)
    assert isinstance(found, Forward)
    return found


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


MORNING = (span("09:00-10:00"),)
NINE_TO_SIX = (rule("day", Condition(times=(span("09:00-18:00"),)), A),)
CLOSED_ON = rule("date", Condition(dates=(dates("2026-11-19", "2026-11-19"),)), A)


@pytest.mark.parametrize(
    ("rules", "zone", "instant", "until"),
    [
        (NINE_TO_SIX, "Asia/Seoul", "2026-11-18 08:58:00", "2026-11-18 09:00:00"),
        (NINE_TO_SIX, "Asia/Seoul", "2026-11-18 08:57:59", None),
        (NINE_TO_SIX, "Asia/Seoul", "2026-11-18 08:58:00.000001", "2026-11-18 09:00:00"),
        (NINE_TO_SIX, "Asia/Seoul", "2026-11-18 09:00:00", None),
        (NINE_TO_SIX, "Asia/Seoul", "2026-11-18 17:59:59.999999", "2026-11-18 18:00:00"),
        ((CLOSED_ON,), "Asia/Seoul", "2026-11-18 23:59:30", "2026-11-19 00:00:00"),
        ((CLOSED_ON,), "Asia/Seoul", "2026-11-19 23:59:30", "2026-11-20 00:00:00"),
        ((CLOSED_ON,), "Asia/Seoul", "2026-11-20 23:59:30", None),
        # An edge at which nothing changes for the caller.
        ((rule("always", treatment=B), *NINE_TO_SIX), "Asia/Seoul", "2026-11-18 08:59:00", None),
        ((rule("vip", Condition(callers=("vip",), times=MORNING), A),), "Asia/Seoul", "2026-11-18 08:59:00", None),
        ((rule("n", Condition(times=MORNING), Treatment(notice="own/n")),), "Asia/Seoul", "2026-11-18 08:59:00", None),
    ],
)  # fmt: skip
def test_it_is_the_next_edge_that_changes_something(
    rules: tuple[Rule, ...], zone: str, instant: str, until: str | None
) -> None:
    seoul = timedelta(hours=9)
    found = forwarded(line(*rules, zone=zone), utc(instant) - seoul).ringback_until
    assert found == (None if until is None else utc(until) - seoul)


@pytest.mark.parametrize(
    ("zone", "hours", "instant", "until"),
    [
        # Clocks jump into the span, and out of it; no edge of it is passed.
        ("Europe/Berlin", "02:30-03:30", "2026-03-29 00:59:00.5", "2026-03-29 01:00:00"),
        ("Europe/Berlin", "01:30-02:30", "2026-03-29 00:59:00", "2026-03-29 01:00:00"),
        ("America/New_York", "01:30-02:00", "2026-11-01 05:59:00", "2026-11-01 06:00:00"),
        ("Australia/Lord_Howe", "01:30-01:31", "2026-04-04 14:59:30", "2026-04-04 15:00:00"),
        ("Australia/Lord_Howe", "02:31-02:32", "2026-10-03 15:29:30", "2026-10-03 15:31:00"),
    ],
)
def test_it_sees_clocks_being_changed(zone: str, hours: str, instant: str, until: str) -> None:
    served = line(rule("span", Condition(times=(span(hours),)), A), zone=zone)
    for written_in in (UTC, ZoneInfo(zone)):
        assert forwarded(served, utc(instant).astimezone(written_in)).ringback_until == utc(until)


def test_it_sees_that_the_last_call_grows_old() -> None:
    now = utc("2026-11-18 09:00:00")
    condition = Condition(last_call=LastCall(results=(Result.BUSY,), within_hours=1))
    history = History(calls=(PastCall(now - timedelta(minutes=59), Result.BUSY, None, 0.0),))
    served = line(rule("again", condition, A))
    assert forwarded(served, now, history).ringback_until == now + timedelta(minutes=1)
    assert forwarded(served, now - timedelta(minutes=2), history).ringback_until is None


# Spans around the instants asked about, so that most lines have an edge within reach.
NEAR = st.builds(
    lambda start, end: Condition(times=(span(f"{start}-{end}"),)),
    *[st.sampled_from(["00:00", "00:01", "01:30", "01:59", "02:00", "02:01", "02:30", "02:31", "03:00", "03:01"])] * 2,
)
DAILY = st.builds(Condition, weekdays=st.lists(st.integers(1, 7), min_size=1, max_size=3, unique=True).map(tuple))
BOTH = st.builds(lambda day, hours: Condition(weekdays=day.weekdays, times=hours.times), DAILY, NEAR)
RULES = st.lists(
    st.builds(
        rule,
        st.just("rule"),
        st.one_of(NEAR, DAILY, BOTH),
        st.sampled_from([A, B, Treatment(ringback=()), Treatment(notice="own/n")]),
        enabled=st.booleans(),
    ),
    min_size=1,
    max_size=4,
)
CHANGES = [
    utc("2026-03-29 01:00"), utc("2026-10-25 01:00"), utc("2026-03-08 07:00"), utc("2026-11-01 06:00"),
    utc("2026-10-03 15:30"), utc("2026-04-04 15:00"), utc("2026-11-17 15:00"), utc("2026-11-17 17:00"),
]  # fmt: skip
INSTANTS = st.builds(
    lambda change, away: change + timedelta(seconds=away),
    st.sampled_from(CHANGES),
    st.one_of(st.integers(-200, 200), st.floats(-200, 200), st.integers(-4000, 4000)),
)


@settings(deadline=None, max_examples=150)
@given(RULES, st.sampled_from(ZONES), INSTANTS)
def test_nothing_changes_before_it_and_something_at_it(rules: list[Rule], zone: str, instant: datetime) -> None:
    served = line(*rules, zone=zone)
    now = forwarded(served, instant)
    until = now.ringback_until
    assert until is None or instant < until <= instant + AHEAD
    end = until or instant + AHEAD + timedelta(microseconds=1)
    for moment in (instant + (end - instant) * share / 40 for share in range(40)):
        assert forwarded(served, moment).ringback == now.ringback
    assert forwarded(served, end - timedelta(microseconds=1)).ringback == now.ringback
    if until is not None:
        assert forwarded(served, until).ringback != now.ringback


def test_vip_hears_the_change_that_others_do_not() -> None:
    served = line(rule("vip", Condition(callers=("vip",), times=(span("09:00-10:00"),)), A))
    found = plan(served, VIP, utc("2026-11-18 23:59:30"), NOTHING, 30)
    assert isinstance(found, Forward)
    assert found.ringback_until == utc("2026-11-19 00:00:00")
