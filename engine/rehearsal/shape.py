"""When made-up calls come, whom they call, who calls, and how they end. Pure: the same seed gives the same past."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.cdr.model import Result, Side

Numbers = NDArray[np.int64]
Instants = NDArray[np.int64]
"""Microseconds since 1970."""

_KOREA = 9
_OF_HOUR = (0.3, 0.2, 0.1, 0.1, 0.1, 0.2, 0.5, 1.2, 2.5, 5, 7, 8.5, 8, 6.5, 6.5, 6.5, 7, 8.5, 9.5, 7.5, 5, 3, 1.5, 0.7)
"""Korean hours: a peak before noon, one towards the evening, next to nothing at night."""
_OF_WEEKDAY = (1.1, 1.05, 1.0, 1.05, 1.2, 0.85, 0.45)
_POPULARITY = 0.85
"""Exponent of the rank: of 200,000 numbers the busiest hundredth gets about half of the calls."""
_REGULARS = 0.4
"""Of the calls come from one of a number's own regular callers."""
_RETURNS = 0.03
"""Of a number's regular calls come from its first regular, of the rest as many from the second, and so on."""
_CALLERS_PER_CALL = 0.15
"""How many others call: each of them a few times."""


class Ending(NamedTuple):
    """One way in which calls end, and the share of calls that do."""

    share: float
    result: Result
    ended_by: Side
    cause: int
    rang: bool = True
    answered: bool = False
    withheld: bool = False


ENDINGS = (
    Ending(0.42, Result.ANSWERED, Side.CALLER, 16, answered=True),
    Ending(0.15, Result.ANSWERED, Side.TARGET, 16, answered=True),
    Ending(0.03, Result.ANSWERED, Side.CALLER, 16, answered=True, withheld=True),
    Ending(0.12, Result.CALLER_GAVE_UP, Side.CALLER, 16),
    Ending(0.09, Result.NO_ANSWER, Side.DARI, 19),
    Ending(0.07, Result.BUSY, Side.TARGET, 17, rang=False),
    Ending(0.04, Result.CLOSED, Side.DARI, 21, rang=False),
    Ending(0.02, Result.REJECTED, Side.TARGET, 21),
    Ending(0.015, Result.UNREACHABLE, Side.DARI, 27, rang=False),
    Ending(0.01, Result.CONGESTION, Side.DARI, 34, rang=False),
    Ending(0.01, Result.VOICEMAIL, Side.CALLER, 16, answered=True),
    Ending(0.005, Result.NOT_ACCEPTED, Side.DARI, 19),
    Ending(0.005, Result.OVER_LIMIT, Side.DARI, 17, rang=False),
    Ending(0.005, Result.BLOCKED, Side.DARI, 21, rang=False),
    Ending(0.002, Result.SWITCHED_OFF, Side.DARI, 1, rang=False),
    Ending(0.004, Result.NOT_FORWARDABLE, Side.DARI, 21, rang=False),
    Ending(0.003, Result.NOT_IN_SERVICE, Side.DARI, 1, rang=False),
    Ending(0.002, Result.FAILED, Side.DARI, 38, rang=False),
    Ending(0.001, Result.LOST, Side.DARI, 0, rang=False),
)
"""Every result occurs."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Some calls that ended alike, in the order of arrival; one entry per call in every column."""

    ending: Ending
    arrived: Instants
    number: Numbers
    """Its place among the numbers."""
    caller: Numbers
    """Eight digits behind 010."""
    ring: Instants
    """Microseconds for which it rang; 0: it did not."""
    talk: Instants


class Past:
    """So many calls to so many numbers, in the days before `end`."""

    def __init__(self, *, numbers: int, calls: int, days: int, end: datetime, seed: int) -> None:
        self._seed = seed
        random = np.random.default_rng([seed, 0])
        self._end = end.replace(minute=0, second=0, microsecond=0)
        self._begin = self._end - timedelta(days=days)
        self._of_hour = random.multinomial(calls, _hours(self._begin, days, random))
        self._chances = np.cumsum(_popularity(numbers, random))
        self._callers = max(1, int(calls * _CALLERS_PER_CALL))

    def months(self) -> list[tuple[date, int]]:
        """The months (UTC) that have calls, and how many: oldest first."""
        found: dict[date, int] = {}
        for hour, calls in enumerate(self._of_hour):
            month = self._instant(hour).date().replace(day=1)
            found[month] = found.get(month, 0) + int(calls)
        return [(month, calls) for month, calls in sorted(found.items()) if calls]

    def of_month(self, month: date, at_most: int) -> Iterator[list[Calls]]:
        """The calls of a month, so many or few more at a time, each time grouped by how they ended."""
        random = np.random.default_rng([self._seed, month.year, month.month])
        hours: list[int] = []
        waiting = 0
        for hour, calls in enumerate(self._of_hour):
            if calls and self._instant(hour).date().replace(day=1) == month:
                hours.append(hour)
                waiting += int(calls)
                if waiting >= at_most:
                    yield self._calls(hours, random)
                    hours, waiting = [], 0
        if hours:
            yield self._calls(hours, random)

    def _instant(self, hour: int) -> datetime:
        return self._begin + timedelta(hours=hour)

    def _calls(self, hours: list[int], random: np.random.Generator) -> list[Calls]:
        begin = int(self._begin.timestamp()) * 1_000_000
        starts = np.repeat(np.array(hours, np.int64), self._of_hour[hours]) * 3_600_000_000 + begin
        count = len(starts)
        arrived = np.sort(starts + random.integers(0, 3_600_000_000, count)) // 1000 * 1000  # as call ids: milliseconds
        number = np.minimum(np.searchsorted(self._chances, random.random(count)), len(self._chances) - 1)
        caller = self._who(number, random)
        kind = random.choice(len(ENDINGS), count, p=_shares())
        ring = (random.gamma(2.0, 5.0, count).clip(0.3, 60) * 1e6).astype(np.int64)
        talk = (random.lognormal(4.0, 1.0, count).clip(1, 7200) * 1e6).astype(np.int64)
        return [
            _ended(ending, kind == place, Calls(ending, arrived, number, caller, ring, talk))
            for place, ending in enumerate(ENDINGS)
            if (kind == place).any()
        ]

    def _who(self, number: Numbers, random: np.random.Generator) -> Numbers:
        """Regulars come back to their number, the first of them most often; the others call once in a while."""
        count = len(number)
        regular = (number * 7919 + random.geometric(_RETURNS, count)) * 104729
        anybody = random.integers(0, self._callers, count) * 15485863
        return np.where(random.random(count) < _REGULARS, regular, anybody) % 80_000_000 + 20_000_000


def _ended(ending: Ending, which: NDArray[np.bool_], calls: Calls) -> Calls:
    nothing = np.zeros(int(which.sum()), np.int64)
    return Calls(
        ending,
        calls.arrived[which],
        calls.number[which],
        calls.caller[which],
        calls.ring[which] if ending.rang else nothing,
        calls.talk[which] if ending.answered else nothing,
    )


def _shares() -> NDArray[np.float64]:
    shares = np.array([ending.share for ending in ENDINGS])
    return np.asarray(shares / shares.sum(), np.float64)


def _hours(begin: datetime, days: int, random: np.random.Generator) -> NDArray[np.float64]:
    """The share of each hour: by hour and weekday in Korea, and no two days alike."""
    local = [begin + timedelta(hours=hour + _KOREA) for hour in range(24 * days)]
    weights = np.array([_OF_HOUR[instant.hour] * _OF_WEEKDAY[instant.weekday()] for instant in local])
    weights *= np.repeat(random.uniform(0.85, 1.15, days), 24)
    return np.asarray(weights / weights.sum(), np.float64)


def _popularity(numbers: int, random: np.random.Generator) -> NDArray[np.float64]:
    """A few are called all the time, most hardly ever."""
    weights = np.arange(1, numbers + 1, dtype=np.float64) ** -_POPULARITY
    random.shuffle(weights)
    return np.asarray(weights / weights.sum(), np.float64)
