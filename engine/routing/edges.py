"""At which instants rules may begin or cease to hold, a short while ahead. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, time, timedelta, tzinfo

from engine.routing.model import Condition, History

AHEAD = timedelta(seconds=120)
"""As long as telephones ring at most."""

_MIDNIGHT = time()
_A_DAY = 86_400_000_000
"""In microseconds."""
_A_MICROSECOND = timedelta(microseconds=1)
_A_SECOND = timedelta(seconds=1)
_NONE = timedelta(0)


def edges(
    conditions: Iterable[Condition], instant: datetime, zone: tzinfo, history: History, ahead: timedelta = AHEAD
) -> list[datetime]:
    """The instants after `instant`, `ahead` at most, at which one of the conditions may change, in their order.

    Between two of them none changes, as long as nothing but time does. `instant` is in UTC, and so are they.
    """
    conditions = tuple(conditions)
    found = set(_memory_edges(conditions, instant, history, ahead))
    clocks = set(_clock_edges(conditions))
    if clocks:
        moved = _clock_moves(instant, zone, ahead)
        found.update(_coming(clocks, instant, zone, ahead))
        if moved is not None:
            found.add(moved)
            found.update(_coming(clocks, moved, zone, instant + ahead - moved))
    return sorted(found)


def _clock_edges(conditions: tuple[Condition, ...]) -> Iterator[time]:
    for condition in conditions:
        for span in condition.times:
            yield span.start
            yield span.end
        if not condition.times and (condition.weekdays or condition.dates or condition.days):
            yield _MIDNIGHT


def _memory_edges(
    conditions: tuple[Condition, ...], instant: datetime, history: History, ahead: timedelta
) -> Iterator[datetime]:
    """When the last call is too long ago."""
    if not history.known or not history.calls:
        return
    for condition in conditions:
        if condition.last_call is not None:
            edge = history.calls[0].at.astimezone(UTC) + timedelta(hours=condition.last_call.within_hours)
            if _NONE < edge - instant <= ahead:
                yield edge


def _coming(clocks: set[time], instant: datetime, zone: tzinfo, ahead: timedelta) -> Iterator[datetime]:
    """When a clock that runs on as it does at `instant` shows one of `clocks`, within `ahead`."""
    shown = _microseconds(instant.astimezone(zone).time())
    latest = ahead // _A_MICROSECOND
    for clock in clocks:
        away = (_microseconds(clock) - shown) % _A_DAY
        if 0 < away <= latest:
            yield instant + timedelta(microseconds=away)


def _clock_moves(instant: datetime, zone: tzinfo, ahead: timedelta) -> datetime | None:
    """When within `ahead` the zone's clocks are put forward or back; they are at whole seconds."""
    before = instant.astimezone(zone).utcoffset()
    latest = instant + ahead
    if latest.astimezone(zone).utcoffset() == before:
        return None
    earliest, latest = instant.replace(microsecond=0), latest.replace(microsecond=0) + _A_SECOND
    while latest - earliest > _A_SECOND:
        middle = (earliest + (latest - earliest) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == before:
            earliest = middle
        else:
            latest = middle
    return latest


def _microseconds(clock: time) -> int:
    """Since midnight."""
    return ((clock.hour * 60 + clock.minute) * 60 + clock.second) * 1_000_000 + clock.microsecond
