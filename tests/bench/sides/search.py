"""The search for the highest rate that holds: which to try next. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Search:
    """Ask `next`, try it briefly, `tell` how it went; until `next` is None. `best` is then the highest that held."""

    first: float
    most: float = 1000.0
    precision: float = 0.05
    """The search ends when the lowest that failed is at most this much higher than the highest that held."""
    growth: float = 1.4
    best: float = 0.0
    _failed: float | None = None
    _tried: set[float] = field(default_factory=set)

    def begin_with(self, known: Iterable[tuple[float, bool]]) -> None:
        """Rates that were tried already, and whether they held: the highest that did, and what failed above it, count;
        what failed below it did so by some other cause."""
        tried = sorted(known)
        self.best = max((rate for rate, held in tried if held), default=0.0)
        self._failed = next((rate for rate, held in tried if not held and rate > self.best), None)

    def next(self) -> float | None:
        """The rate to try, rounded to whole calls a second; None when it is known well enough."""
        if self._failed is None:
            rate = self.first if self.best < self.first / self.growth else min(self.best * self.growth, self.most)
        elif not self.best:
            rate = self._failed / self.growth
        elif self._failed <= self.best * (1 + self.precision):
            return None
        else:
            rate = (self.best + self._failed) / 2
        rounded = max(1.0, float(round(rate)))
        return None if rounded in self._tried or rounded == self.best else rounded

    def tell(self, rate: float, *, held: bool) -> None:
        """How `rate` went. One that failed is the bound from then on, whatever held above it."""
        self._tried.add(rate)
        if not held:
            self._failed = rate if self._failed is None else min(self._failed, rate)
            self.best = self.best if self.best < rate else 0.0
        elif self._failed is None or rate < self._failed:
            self.best = max(self.best, rate)


_DOWN = (0.9, 0.85, 0.8)
"""What of a rate that did not hold is tried next; the last of them again and again."""


@dataclass(slots=True)
class Descent:
    """Which rates are to hold for the whole time: the highest that held briefly, then less by ever larger steps until
    one holds, and once more between that one and the lowest that did not. `best` is the highest that held; 0: none."""

    first: float
    precision: float = 0.05
    best: float = 0.0
    _failed: float | None = None
    _downwards: int = 0
    _is_over: bool = False

    def next(self) -> float | None:
        """The rate to try, in whole calls a second; None when there is nothing more to learn."""
        if self._is_over:
            return None
        if self._failed is None:
            return float(round(self.first)) or None
        if not self.best:
            lower = round(self._failed * _DOWN[min(self._downwards, len(_DOWN)) - 1])
            return float(min(lower, self._failed - 1)) or None
        between = float(round((self.best + self._failed) / 2))
        known = self._failed <= self.best * (1 + self.precision) or between in (self.best, self._failed)
        return None if known else between

    def tell(self, rate: float, *, held: bool) -> None:
        """How `rate` went."""
        self._is_over = self.best > 0 or (held and self._failed is None)
        if held:
            self.best = rate
        else:
            self._failed = rate
            self._downwards += 1
