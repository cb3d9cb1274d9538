"""The highest rate that a side holds for a while: searched with short trials, then held against the whole time."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from tests.bench.measuring import AT_REST, until_quiet
from tests.bench.progress import Say
from tests.bench.sides.results import Sustained, Trial
from tests.bench.sides.search import Search
from tests.bench.sides.taker import Side, Taker
from tests.bench.sides.trial import Pace, step


@dataclass(frozen=True, slots=True)
class Thoroughness:
    """How the search goes."""

    short: float
    """Seconds of a trial that only narrows the rate down."""
    whole: float
    """Seconds for which the rate must hold in the end; 0: the short trials are all."""
    precision: float
    most_trials: int
    budget: float
    """Seconds after which no further trial begins."""
    most_rate: float = 600.0


_BREATH = 5.0  # seconds
_LESS = 0.95  # of a rate that did not hold for the whole time


async def sustained(side: Side, taker: Taker, how: Thoroughness, pace: Pace, say: Say) -> Sustained:
    """After a trial that failed the next waits until the side is quiet again; one that held leaves little behind."""
    trials: list[Trial] = []
    deadline = time.monotonic() + how.budget

    async def held(rate: float, seconds: float) -> bool:
        say(f"{side.name}: {rate:g} calls a second for {seconds:g} s", seconds)
        probe_rate = min(pace.probe_rate, max(1.0, rate / 5))
        done = await step(side, taker, rate, Pace(seconds, 1.0, min(_BREATH, pace.settle), probe_rate))
        trials.append(Trial(rate, seconds, done.why_not))
        if not done.held:
            await until_quiet(taker.parts(), AT_REST, pace.settle)
        return done.held

    search = Search(side.first_rate, how.most_rate, how.precision)
    while len(trials) < how.most_trials and time.monotonic() < deadline and (rate := search.next()):
        search.tell(rate, held=await held(rate, how.short))
    if not how.whole:
        return Sustained(search.best or math.nan, how.short, trials)
    best = search.best
    for _ in range(how.most_trials):
        if best < 1 or await held(round(best, 1), how.whole):
            break
        best *= _LESS
    else:
        best = 0.0
    return Sustained(round(best, 1) if best >= 1 else math.nan, how.whole, trials)
