"""Whether some conditions hold whenever another one does. Pure.

Sound: yes is said only where it is so for every caller at every instant, in every zone and with every calendar. Where
that would take more than a look at the conditions, the answer is no.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import time

from engine.routing.model import Condition, DayKind

_DAY = 86_400_000_000
"""In microseconds, as all times here."""
_WEEK = 7 * _DAY
_ALL_WEEKDAYS = frozenset(range(1, 8))
_ALL_KINDS = frozenset(DayKind)

_Stretch = tuple[int, int]
"""From the first up to but without the second; counted from midnight of the day, or of the Monday, of the start."""


def covered(narrow: Condition, by: Sequence[Condition]) -> bool:
    """Whether one of `by` holds whenever `narrow` does."""
    wide = [condition for condition in by if _asks_no_more_of_callers(condition, narrow)]
    return _covered_day_by_day(narrow, wide) or _covered_over_the_week(narrow, wide)


def _asks_no_more_of_callers(wide: Condition, narrow: Condition) -> bool:
    if wide.callers and not (narrow.callers and set(narrow.callers) <= set(wide.callers)):
        return False
    if wide.last_call is None:
        return True
    return (
        narrow.last_call is not None
        and set(narrow.last_call.results) <= set(wide.last_call.results)
        and narrow.last_call.within_hours <= wide.last_call.within_hours
    )


def _covered_day_by_day(narrow: Condition, wide: Iterable[Condition]) -> bool:
    """By those that may start on each day on which `narrow` may."""
    fitting = [condition for condition in wide if _starts_on_all_days_of(narrow, condition)]
    return _lie_within(_stretches(narrow), [stretch for condition in fitting for stretch in _stretches(condition)])


def _covered_over_the_week(narrow: Condition, wide: Iterable[Condition]) -> bool:
    """By those that come again every week, whatever the date. `narrow` is taken as if it came every week as well."""
    weekly = [condition for condition in wide if not condition.dates and _any_kind(condition)]
    return _lie_within(_in_the_week(narrow), [stretch for condition in weekly for stretch in _in_the_week(condition)])


def _starts_on_all_days_of(narrow: Condition, wide: Condition) -> bool:
    return (
        (_weekdays(narrow) <= _weekdays(wide))
        and (_any_kind(wide) or (bool(narrow.days) and set(narrow.days) <= set(wide.days)))
        and (not wide.dates or (bool(narrow.dates) and _lie_within(_day_numbers(narrow), _day_numbers(wide))))
    )


def _weekdays(condition: Condition) -> frozenset[int]:
    return frozenset(condition.weekdays) or _ALL_WEEKDAYS


def _any_kind(condition: Condition) -> bool:
    """Whether it takes days of every kind; each day is of at least one."""
    return not condition.days or set(condition.days) >= _ALL_KINDS


def _day_numbers(condition: Condition) -> list[_Stretch]:
    return [(dates.first.toordinal(), dates.last.toordinal() + 1) for dates in condition.dates]


def _stretches(condition: Condition) -> list[_Stretch]:
    """When it holds, counted from the midnight before its start; past midnight that is more than a day."""
    if not condition.times:
        return [(0, _DAY)]
    spans = [(_since_midnight(span.start), _since_midnight(span.end)) for span in condition.times]
    return [(start, end if end > start else end + _DAY) for start, end in spans]


def _in_the_week(condition: Condition) -> list[_Stretch]:
    """When it holds in a week, if its dates and kinds of day are left out."""
    found: list[_Stretch] = []
    for weekday in _weekdays(condition):
        for start, end in _stretches(condition):
            first, last = (weekday - 1) * _DAY + start, (weekday - 1) * _DAY + end
            found.append((first, min(last, _WEEK)))
            if last > _WEEK:
                found.append((0, last - _WEEK))
    return found


def _lie_within(narrow: Iterable[_Stretch], wide: Iterable[_Stretch]) -> bool:
    """Whether all of `narrow` lies in `wide` taken together."""
    joined: list[_Stretch] = []
    for first, last in sorted(wide):
        if joined and first <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return all(first >= last or any(low <= first and last <= high for low, high in joined) for first, last in narrow)


def _since_midnight(clock: time) -> int:
    return ((clock.hour * 60 + clock.minute) * 60 + clock.second) * 1_000_000 + clock.microsecond
