"""What every side goes through, and how long that takes. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.bench.sides.goals import PRODUCT
from tests.bench.sides.live import live_seconds
from tests.bench.sides.overload import overload_seconds
from tests.bench.sides.sustain import Thoroughness
from tests.bench.sides.taker import Holds, Side
from tests.bench.sides.trial import Pace

_SETTLING = 8.0
"""Seconds in which a side that was opened takes calls and is quiet, and in which it is ended."""
_AROUND = 9.0
"""Seconds that a rate takes beside those of its calls and of the idle time before."""
_SHORT, _WHOLE = 4, 2
"""Trials of each kind that a search needs, by experience."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What every side goes through."""

    rates: tuple[float, ...]
    pace: Pace
    search: Thoroughness
    live: tuple[tuple[int, bool], ...]
    """How many calls are held at one time, and whether they talk."""
    overload: float
    """Seconds; 0: none."""
    limit: int
    """Calls a second that are let in then; 0: a share of what the side has held."""
    network: str
    searches_until: float = math.inf
    """On the monotonic clock: no search begins after that."""

    def live_of(self, side: Side) -> tuple[tuple[int, bool], ...]:
        """What of `live` that side holds."""
        if side.holds is Holds.AT_FIRST:
            return tuple((calls, sound) for calls, sound in self.live if sound == side.with_sound)[-1:]
        return self.live if side.holds is Holds.AFRESH else ()


def expected(side: Side, plan: Plan) -> float:
    """Seconds for that side, where nothing is unusual."""
    search, pace = plan.search, plan.pace
    rates = sum(pace.at(rate).seconds + pace.idle_seconds + side.hold + _AROUND for rate in plan.rates)
    short = min(search.budget, min(_SHORT, search.most_trials) * (search.short + side.hold + _AROUND))
    whole = _WHOLE * (search.whole + side.hold + _AROUND) if search.whole else 0.0
    live = plan.live_of(side)
    again = len(live) if side.holds is Holds.AFRESH else 0
    overload = plan.overload if side.name == PRODUCT else 0.0
    return (
        side.opens_in
        + _SETTLING
        + rates
        + short
        + whole
        + sum(live_seconds(side, calls) for calls, _ in live)
        + again * (side.opens_in + _SETTLING)
        + (side.opens_in + _SETTLING + overload_seconds(side, overload) if overload else 0.0)
    )
