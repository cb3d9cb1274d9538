"""The highest rate that a side holds for a while: searched with short trials, then held against the whole time."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tests.bench.measuring import AT_REST, until_quiet
from tests.bench.progress import Say
from tests.bench.sides.results import Step, Sustained, Trial, best_of
from tests.bench.sides.search import Descent, Search
from tests.bench.sides.taker import Side, Taker
from tests.bench.sides.trial import Pace, step

_BREATH = 5.0
"""Seconds until a side is quiet again after a trial that held."""
_AROUND = 20.0
"""Seconds that a trial takes beside those of its calls."""
_HOLDS = 3
"""For so many whole trials there is time; what the short ones leave is theirs too."""


@dataclass(frozen=True, slots=True)
class Thoroughness:
    """How the search goes."""

    short: float
    """Seconds of a trial that only narrows the rate down."""
    whole: float
    """Seconds for which the rate must hold in the end; 0: the short trials are all."""
    precision: float
    most_trials: int
    """Short ones."""
    budget: float
    """Seconds for the short trials."""
    most_rate: float = 600.0

    @property
    def longest(self) -> float:
        """Seconds after which no trial begins any more."""
        return self.budget + (_HOLDS * (self.whole + _AROUND) if self.whole else 0.0)


async def sustained(
    side: Side, taker: Taker, how: Thoroughness, pace: Pace, steps: Sequence[Step], say: Say
) -> Sustained:
    """`steps` have been measured already and bound the search, but for those that failed by chance. After a trial that
    failed the next waits until the side is quiet again; one that held leaves little behind."""
    trials: list[Trial] = []
    began = time.monotonic()

    async def held(rate: float, seconds: float) -> bool:
        say(f"{side.name}: {rate:g} calls a second for {seconds:g} s", seconds)
        done = await step(side, taker, rate, Pace(seconds, 1.0, min(_BREATH, pace.settle)), gives_up=True)
        trials.append(Trial(rate, seconds, done.why_not))
        if not done.held:
            await until_quiet(taker.parts(), AT_REST, pace.settle)
        return done.held

    def is_time_for(seconds: float, until: float) -> bool:
        return time.monotonic() - began + seconds <= until

    search = Search(side.first_rate, how.most_rate, how.precision)
    search.begin_with((one.rate, one.held) for one in steps if one.held or one.is_beyond)
    while len(trials) < how.most_trials and is_time_for(how.short, how.budget) and (rate := search.next()):
        search.tell(rate, held=await held(rate, how.short))
    if how.whole:
        descent = Descent(search.best, how.precision)
        while is_time_for(how.whole, how.longest) and (rate := descent.next()):
            descent.tell(rate, held=await held(rate, how.whole))
    return best_of(trials, steps, how.whole or how.short)
