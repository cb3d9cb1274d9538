"""The search for the highest rate that holds: which to try next. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Search:
    """Ask `next`, try it, `tell` how it went; until `next` is None. `best` is then the highest that held."""

    first: float
    most: float = 1000.0
    precision: float = 0.05
    """The search ends when the lowest that failed is at most this much higher than the highest that held."""
    growth: float = 1.4
    best: float = 0.0
    _failed: float | None = None
    _tried: set[float] = field(default_factory=set)

    def next(self) -> float | None:
        """The rate to try, rounded to whole calls a second; None when it is known well enough."""
        if self._failed is None:
            rate = self.first if not self.best else min(self.best * self.growth, self.most)
        elif not self.best:
            rate = self._failed / self.growth
        elif self._failed <= self.best * (1 + self.precision):
            return None
        else:
            rate = (self.best + self._failed) / 2
        rounded = max(1.0, float(round(rate)))
        return None if rounded in self._tried else rounded

    def tell(self, rate: float, *, held: bool) -> None:
        """How `rate` went. One that failed is the bound from then on, whatever held above it."""
        self._tried.add(rate)
        if not held:
            self._failed = rate if self._failed is None else min(self._failed, rate)
            self.best = self.best if self.best < rate else 0.0
        elif self._failed is None or rate < self._failed:
            self.best = max(self.best, rate)
