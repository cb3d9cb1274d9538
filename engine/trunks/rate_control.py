"""How many new calls a second are let in, found out while they come: rate-based overload control. Pure.

A machine that has too much is late before it fails. From then on waiting makes work of its own (a caller's INVITE comes
again, a question is given up and asked in another way), so that it does not recover while the calls keep coming. So
fewer are let in as soon as calls wait, and more again once they do not.
"""

from __future__ import annotations

from collections import deque

LOOK_EVERY = 0.1
"""Seconds."""
LEAST = 5
"""Calls a second that are let in whatever happens: where those are late, it is for another reason."""
_LATE, _VERY_LATE, _PROMPT = 0.25, 0.5, 0.08
"""Seconds that half of the calls wait. A caller's INVITE comes again after 0.5; below it, what is less and less late
passes by itself."""
_LATE_LOOKS = 2
"""So often in a row: a moment's hold-up is no overload."""
_LOWERED_TO, _LESS_A_SECOND, _LOWERED_AT_MOST_TO = 0.75, 0.5, 0.2
"""Of the rate that is too much, and less for each second that calls wait: those that wait are to be dealt with, too."""
_TAKES_EFFECT = 1.0
"""Seconds until a lower limit is felt."""
_SAFE, _BUSIEST_OF = 0.8, 5.0
"""Of the highest rate of so many seconds."""
_LOWEST = 0.25
"""Of the safe rate: where that is too much, it is for what waits already."""
_RAISED, _RAISED_CAREFULLY = 0.03, 0.002
"""By look. Carefully from the safe rate on, and so much more for each two seconds since it was lowered."""
_NEEDED, _NOT_NEEDED_FOR = 0.5, 5.0
"""A limit goes when less than that share of it comes for so many seconds."""
_RATE_OVER, _QUICKEST_OVER = 1.0, 60.0
"""Seconds."""


class RateControl:
    """Call `look` every LOOK_EVERY seconds, with monotonic seconds."""

    def __init__(self) -> None:
        self._limit: float | None = None
        self._safe = 0.0
        self._ages: list[float] = []
        self._looks: deque[tuple[float, int]] = deque()
        self._rates: deque[tuple[float, float]] = deque()
        self._quickest: deque[tuple[float, float]] = deque()
        self._late_looks = 0
        self._late_before = 0.0
        self._lowered = self._needed = float("-inf")

    @property
    def limit(self) -> int | None:
        """New calls a second to let in; None: all of them."""
        return None if self._limit is None else round(self._limit)

    def note(self, age: float) -> None:
        """A call has been dealt with, so many seconds after it came, by two clocks that may differ."""
        self._ages.append(max(age, 0.0))

    def look(self, now: float) -> int | None:
        """The limit from now on."""
        ages, self._ages = sorted(self._ages), []
        rate, late = self._rate(now, len(ages)), self._late(now, ages)
        if late is None:
            if not rate and now - self._needed > _NOT_NEEDED_FOR:
                self._limit = None
            return self.limit
        passes_by_itself = late < min(self._late_before, _VERY_LATE)
        self._late_looks = self._late_looks + 1 if late > _LATE and not passes_by_itself else 0
        self._late_before = late
        if self._late_looks >= _LATE_LOOKS and now - self._lowered >= _TAKES_EFFECT:
            self._lower(rate, late, now)
        elif self._limit is not None and late < _PROMPT:
            self._raise(self._limit, rate, now)
        return self.limit

    def _lower(self, rate: float, late: float, now: float) -> None:
        if self._limit is None and rate <= LEAST:
            return
        too_much = rate if self._limit is None else min(rate, self._limit)
        self._safe = _SAFE * max(dealt_with for _, dealt_with in self._rates)
        share = max(_LOWERED_TO - _LESS_A_SECOND * late, _LOWERED_AT_MOST_TO)
        self._limit = max(LEAST, _LOWEST * self._safe, share * too_much)
        self._lowered = self._needed = now

    def _raise(self, limit: float, rate: float, now: float) -> None:
        if rate > _NEEDED * limit:
            self._needed = now
        carefully = _RAISED_CAREFULLY * (1 + (now - self._lowered) / 2)
        more = _RAISED if limit < self._safe else min(_RAISED, carefully)
        self._limit = None if now - self._needed > _NOT_NEEDED_FOR else limit * (1 + more)

    def _rate(self, now: float, calls: int) -> float:
        """Calls a second that were dealt with in the last one."""
        self._looks.append((now, calls))
        while len(self._looks) > 1 and now - self._looks[1][0] >= _RATE_OVER:
            self._looks.popleft()
        (since, _), *later = self._looks
        rate = sum(count for _, count in later) / max(now - since, LOOK_EVERY)
        self._rates.append((now, rate))
        while now - self._rates[0][0] > _BUSIEST_OF:
            self._rates.popleft()
        return rate

    def _late(self, now: float, ages: list[float]) -> float | None:
        """Seconds that half of the calls since the last look waited longer than the quickest of a minute, by which two
        clocks are compared; None: there were no calls."""
        while self._quickest and now - self._quickest[0][0] > _QUICKEST_OVER:
            self._quickest.popleft()
        if not ages:
            return None
        while self._quickest and self._quickest[-1][1] >= ages[0]:
            self._quickest.pop()
        self._quickest.append((now, ages[0]))
        return ages[len(ages) // 2] - self._quickest[0][1]
