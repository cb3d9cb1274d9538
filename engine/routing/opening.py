"""When a rule holds: its condition against the account's wall clock, the caller, and what happened before. Pure.

Time is what a clock on the account's wall shows at the instant. So when clocks go forward, a time that is left out
never comes, and a span that lies wholly in it does not hold on that day; when they go back, a time that comes twice
holds twice. A span past midnight belongs to the day on which it starts: weekdays, dates and kinds of day are asked of
that day.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber
from engine.routing.model import WITHHELD, ClosedDay, Condition, DayKind, History, Line, TimeSpan

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_KOREA = timezone(timedelta(hours=9), "KST")
_A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Day:
    """A day on the account's calendar. `holiday` is the name of a public holiday."""

    date: date
    weekday: int
    """ISO: 1 Monday to 7 Sunday."""
    kinds: tuple[DayKind, ...]
    named: str
    """As people say it: Wednesday 2026-11-18."""
    holiday: str | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """A call as conditions see it."""

    instant: datetime
    zone: tzinfo
    clock: time
    today: Day
    yesterday: Day
    caller: PhoneNumber | None
    groups: Mapping[str, frozenset[PhoneNumber]]
    history: History


@cache
def zone_of(name: str) -> tzinfo:
    """The zone of that name; Korea's for a name that this machine does not know, so that calls go on."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        return _KOREA


def check_zone(name: str) -> str:
    """The name, when this machine knows that zone. Raises Invalid."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError):
        raise Invalid(f"zone: {name!r} is not a time zone known here; write it like Asia/Seoul") from None
    return name


def situation(line: Line, caller: PhoneNumber | None, instant: datetime, history: History) -> Situation:
    """What the conditions of the line's rules are asked about."""
    zone = zone_of(line.account.zone)
    local = instant.astimezone(zone)
    today = local.date()
    return Situation(
        instant=instant,
        zone=zone,
        clock=local.time(),
        today=day_of(line, today),
        yesterday=day_of(line, today - _A_DAY),
        caller=caller,
        groups=line.account.groups,
        history=history,
    )


def day_of(line: Line, day: date) -> Day:
    """What `day` is for the line's number."""
    holiday = line.holidays.days.get(day)
    weekday = day.isoweekday()
    named = f"{WEEKDAYS[weekday - 1]} {day}"
    closed = _is_closed(day, line.account.closed_days) or _is_closed(day, line.closed_days)
    if holiday is None and not closed:
        return Day(day, weekday, (DayKind.OPEN_DAY,), named)
    kinds = ((DayKind.PUBLIC_HOLIDAY,) if holiday is not None else ()) + ((DayKind.CLOSED_DAY,) if closed else ())
    return Day(day, weekday, kinds, named, holiday)


def on_day(condition: Condition, day: Day) -> bool:
    """Whether a span of the condition may start on `day`."""
    return (
        (not condition.weekdays or day.weekday in condition.weekdays)
        and (not condition.dates or any(dates.first <= day.date <= dates.last for dates in condition.dates))
        and (not condition.days or any(kind in condition.days for kind in day.kinds))
    )


def verdict(condition: Condition, call: Situation) -> tuple[bool, str]:
    """Whether the condition holds, and why, in one English clause."""
    reasons: list[str] = []
    for part in (_callers, _last_call, _when):
        answer = part(condition, call)
        if answer is not None:
            holds, why = answer
            if not holds:
                return answer
            reasons.append(why)
    return True, " and ".join(reasons) or "it has no condition"


def _is_closed(day: date, closed_days: tuple[ClosedDay, ...]) -> bool:
    return any(
        closed.day == day
        if closed.day is not None
        else closed.weekday == day.isoweekday() and (not closed.weeks or (day.day - 1) // 7 + 1 in closed.weeks)
        for closed in closed_days
    )


def _callers(condition: Condition, call: Situation) -> tuple[bool, str] | None:
    if not condition.callers:
        return None
    if call.caller is None:
        return WITHHELD in condition.callers, "the caller's number is withheld"
    for name in condition.callers:
        if call.caller in call.groups.get(name, ()):
            return True, f"the caller is in {name}"
    return False, f"the caller is not in {_any_of(condition.callers)}"


def _last_call(condition: Condition, call: Situation) -> tuple[bool, str] | None:
    wanted = condition.last_call
    if wanted is None:
        return None
    if not call.history.known:
        return False, "the caller's last call is not known in time"
    if call.caller is None or not call.history.calls:
        return False, "no earlier call of this caller is known"
    last = call.history.calls[0]
    if last.result not in wanted.results:
        return False, f"the last call was “{last.result.value}”"
    if call.instant - last.at >= timedelta(hours=wanted.within_hours):
        return False, f"the last call was more than {wanted.within_hours} h ago"
    return True, f"the last call was “{last.result.value}”"


def _when(condition: Condition, call: Situation) -> tuple[bool, str] | None:
    if not condition.times:
        if not (condition.weekdays or condition.dates or condition.days):
            return None
        return on_day(condition, call.today), _day_named(condition, call.today)
    refused: Day | None = None
    for span in condition.times:
        day = _start_day(span, call)
        if day is not None:
            if on_day(condition, day):
                return True, f"{_now(call)} is within {_span(span)}{_belonging(condition, day, call)}"
            refused = day
    if refused is not None:
        return False, _day_named(condition, refused)
    return False, f"{_now(call)} is outside {_spans(condition.times)}"


def _start_day(span: TimeSpan, call: Situation) -> Day | None:
    """The day on which the span started that the clock is in; None: it is in none."""
    past_midnight = span.end <= span.start
    if span.start <= call.clock:
        return call.today if past_midnight or call.clock < span.end else None
    return call.yesterday if past_midnight and call.clock < span.end else None


def _now(call: Situation) -> str:
    return f"{WEEKDAYS[call.today.weekday - 1]} {call.clock.isoformat('minutes')}"


@lru_cache(maxsize=10_000)
def _spans(spans: tuple[TimeSpan, ...]) -> str:
    return _any_of(map(_span, spans))


def _span(span: TimeSpan) -> str:
    return f"{span.start.isoformat('minutes')}-{span.end.isoformat('minutes')}"


def _belonging(condition: Condition, day: Day, call: Situation) -> str:
    if not (condition.weekdays or condition.dates or condition.days):
        return ""
    return f" of {day.date}" if day is call.today else f" that began on {day.named}"


def _day_named(condition: Condition, day: Day) -> str:
    """The day, and of what it is not, if anything."""
    named = day.named
    if condition.weekdays and day.weekday not in condition.weekdays:
        return f"{named} is not a {_any_of(WEEKDAYS[weekday - 1] for weekday in condition.weekdays)}"
    if condition.dates and not any(dates.first <= day.date <= dates.last for dates in condition.dates):
        return f"{named} is not in {_any_of(f'{dates.first} to {dates.last}' for dates in condition.dates)}"
    if condition.days:
        is_what = f"{named} is {_kinds(day.kinds)}{f' ({day.holiday})' if day.holiday else ''}"
        wanted = any(kind in condition.days for kind in day.kinds)
        return is_what if wanted else f"{is_what}, not {_kinds(condition.days)}"
    return f"{named} is one of its days"


@lru_cache(maxsize=100)
def _kinds(kinds: tuple[DayKind, ...]) -> str:
    return _any_of(map(_kind, kinds))


def _kind(kind: DayKind) -> str:
    return f"an {kind.value}" if kind is DayKind.OPEN_DAY else f"a {kind.value}"


def _any_of(words: Iterable[str]) -> str:
    return " or ".join(words)
