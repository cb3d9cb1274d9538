"""What goes over each trunk just now: calls at once in both directions, and calls sent per second.

Counts are of this engine. What several engines and calls without an engine add up to, Asterisk counts (dialplan).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from engine.trunks.model import Trunk

_MOST_UNUSED = 1.0
"""Seconds' worth of calls that a trunk which was idle may get at once."""


class Taken:
    """One call's place on a trunk. `release` gives it back; also at the end of a `with`. Twice is once."""

    __slots__ = ("_give_back", "trunk")

    def __init__(self, trunk: str, give_back: Callable[[str], None]) -> None:
        self.trunk = trunk
        self._give_back: Callable[[str], None] | None = give_back

    def release(self) -> None:
        if self._give_back is not None:
            give_back, self._give_back = self._give_back, None
            give_back(self.trunk)

    def __enter__(self) -> Taken:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Load:
    """Live counters per trunk. Instants are monotonic seconds and come from the caller."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._allowance: dict[str, tuple[float, float]] = {}
        """Per trunk with a rate: calls that may be sent at that instant."""

    def taken(self, trunk: str) -> Taken:
        """A call that came in over `trunk`, or that it has otherwise: it counts until released."""
        self._calls[trunk] += 1
        return Taken(trunk, self._released)

    def sent(self, trunk: Trunk, now: float) -> Taken:
        """A call that is sent to `trunk`: it counts among those per second too. Refuses nothing: ask `too_fast`."""
        if trunk.calls_per_second is not None:
            self._allowance[trunk.name] = (self._allowed(trunk, trunk.calls_per_second, now) - 1.0, now)
        return self.taken(trunk.name)

    def calls(self, trunk: str) -> int:
        """Calls at once."""
        return self._calls[trunk]

    def counts(self) -> Mapping[str, int]:
        """Calls at once by trunk; trunks without calls are left out."""
        return dict(+self._calls)

    def full(self, trunk: Trunk) -> bool:
        """Whether it has as many calls as it may have."""
        return trunk.max_calls is not None and self._calls[trunk.name] >= trunk.max_calls

    def too_fast(self, trunk: Trunk, now: float) -> bool:
        """Whether one call more would be sent sooner than its `calls_per_second` allow."""
        rate = trunk.calls_per_second
        return rate is not None and self._allowed(trunk, rate, now) < 1.0

    def _allowed(self, trunk: Trunk, rate: float, now: float) -> float:
        """Calls that may be sent now: they grow with time, up to a second's worth and at least one."""
        most = max(1.0, rate * _MOST_UNUSED)
        left, since = self._allowance.get(trunk.name, (most, now))
        return min(most, left + max(0.0, now - since) * rate)

    def _released(self, trunk: str) -> None:
        self._calls[trunk] -= 1
