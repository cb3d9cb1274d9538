"""How days, weekdays and times are typed and shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, time, timedelta

from engine.foundation.errors import Invalid
from engine.routing.model import ClosedDay, DateRange, TimeSpan

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ORDINALS = {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5}
_TIMES = re.compile(r"([0-9]{1,2}):([0-9]{2})-([0-9]{1,2}):([0-9]{2})")
_LONGEST_RANGE = 366


def weekdays(text: str) -> tuple[int, ...]:
    """`mon-fri,sun` as ISO weekdays in their order; sat-mon goes over the end of the week. Raises Invalid."""
    found: set[int] = set()
    for part in _parts(text):
        first, dash, last = part.partition("-")
        begin, end = _weekday(first), _weekday(last if dash else first)
        found.update((begin + step - 1) % 7 + 1 for step in range((end - begin) % 7 + 1))
    return tuple(sorted(found))


def times(text: str) -> tuple[TimeSpan, ...]:
    """`09:00-12:00,18:00-02:00`; the last one goes past midnight. 24:00 is the midnight at the end. Raises Invalid."""
    found = []
    for part in _parts(text):
        figures = _TIMES.fullmatch(part)
        try:
            if figures is None:
                raise ValueError
            hour, minute, last_hour, last_minute = map(int, figures.groups())
            if figures.groups()[:2] == figures.groups()[2:]:
                raise Invalid(f"times: {part!r} is no time at all; leave times out for the whole day")
            ends_at_midnight = (last_hour, last_minute) == (24, 0)
            found.append(
                TimeSpan(start=time(hour, minute), end=time(0 if ends_at_midnight else last_hour, last_minute))
            )
        except ValueError:
            raise Invalid(f"times: {part!r} are no times; write them like 09:00-18:00 or 22:00-04:00") from None
    return tuple(found)


def dates(text: str, field: str = "date") -> tuple[DateRange, ...]:
    """`2026-12-24..2026-12-26,2027-01-01`. Raises Invalid."""
    found = []
    for part in _parts(text):
        first, dots, last = part.partition("..")
        begin = day(first, field)
        found.append(DateRange(first=begin, last=day(last, field) if dots else begin))
    return tuple(found)


def day(text: str, field: str = "date") -> date:
    """`2026-12-25`. Raises Invalid."""
    try:
        return date.fromisoformat(text.strip())
    except ValueError:
        raise Invalid(f"{field}: {text!r} is no date; write it like 2026-12-25") from None


def closed_days(words: Iterable[str]) -> list[ClosedDay]:
    """`2026-12-25`, `2026-12-24..2026-12-26`, `every sunday`, `2nd and 4th sunday`, several after each other.

    Raises Invalid.
    """
    found: list[ClosedDay] = []
    weeks: list[int] = []
    for given in (part for typed in words for part in re.split(r"[\s,]+", typed.lower()) if part):
        if given in _ORDINALS:
            weeks.append(_ORDINALS[given])
        elif given.removesuffix("s") in (*WEEKDAYS, *_NAMES):
            found.append(ClosedDay(weekday=_weekday(given.removesuffix("s")), weeks=tuple(weeks)))
            weeks = []
        elif given[0].isdigit() and not weeks:
            found += [ClosedDay(day=one) for one in _days_of(given)]
        elif given not in ("every", "and"):
            raise Invalid(
                f"closed day: {given!r} cannot be read here; write it like 2026-12-25, 2026-12-24..2026-12-26, "
                "every sunday, or 2nd and 4th sunday"
            )
    if weeks or not found:
        raise Invalid("closed day: name a date or a weekday, like 2026-12-25 or 2nd and 4th sunday")
    return found


def shown_weekdays(days: Iterable[int]) -> str:
    return ",".join(WEEKDAYS[weekday - 1] for weekday in days)


def shown_span(span: TimeSpan) -> str:
    return f"{span.start:%H:%M}-{span.end:%H:%M}"


def shown_dates(range_: DateRange) -> str:
    return str(range_.first) if range_.first == range_.last else f"{range_.first}..{range_.last}"


def shown_closed_day(closed: ClosedDay) -> str:
    """As it can be typed."""
    if closed.day is not None:
        return str(closed.day)
    named = _NAMES[(closed.weekday or 1) - 1]
    ordinals = {week: ordinal for ordinal, week in _ORDINALS.items()}
    return " and ".join(ordinals[week] for week in closed.weeks) + f" {named}" if closed.weeks else f"every {named}"


def _days_of(text: str) -> list[date]:
    (range_,) = dates(text, "closed day")
    length = (range_.last - range_.first).days + 1
    if not 1 <= length <= _LONGEST_RANGE:
        raise Invalid(f"closed day: {text} must be 1 to {_LONGEST_RANGE} days, from the first to the last")
    return [range_.first + timedelta(days=number) for number in range(length)]


def _weekday(text: str) -> int:
    for names in (WEEKDAYS, _NAMES):
        if text.strip().lower() in names:
            return names.index(text.strip().lower()) + 1
    raise Invalid(f"weekdays: {text!r} is none; write them like mon-fri,sun")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]
