"""Calls at one rate through one side, and what each cost beyond what the side uses when idle."""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench.figures import delays
from tests.bench.load import Load, Watch, call_no_more, callers, read_outcome, shops
from tests.bench.measuring import idle_shares, summed, until_quiet
from tests.bench.sides.goals import COMPARED_AT
from tests.bench.sides.probe import FineProbe, fine_probe
from tests.bench.sides.results import GROUPS, Step, per_group
from tests.bench.sides.taker import LOAD, PROBE, PROBE_NUMBERS, Side, Taker
from tests.bench.usage import Used, used


@dataclass(frozen=True, slots=True)
class Pace:
    """How thoroughly it is measured."""

    seconds: float
    """For which each rate is offered."""
    idle_seconds: float
    settle: float
    """At most so many seconds until it is quiet again."""
    compared_seconds: float = 0.0
    """For which COMPARED_AT is offered; 0: as long as any other."""

    def at(self, rate: float) -> Pace:
        """How thoroughly that rate is measured."""
        longer = rate == COMPARED_AT and self.compared_seconds
        return replace(self, seconds=self.compared_seconds) if longer else self


_PROBE, _PROBE_SHARE = 20.0, 0.4
"""Calls a second of our own telephones, and at most so much of the rate; the rest are SIPp's."""

_LOOK_EVERY = 0.5


def probe_rate(rate: float) -> float:
    """How many of `rate` calls a second are the probe's."""
    return min(_PROBE, _PROBE_SHARE * rate)


@asynccontextmanager
async def answered(side: Side, taker: Taker) -> AsyncIterator[None]:
    """The shops answer, and the side takes calls: the first have been answered when the block begins."""
    async with shops(taker.place(), with_sound=side.with_sound):
        async with probing(side, taker) as probe:
            await probe.until_taken()
        yield


@asynccontextmanager
async def probing(side: Side, taker: Taker) -> AsyncIterator[FineProbe]:
    """Our own telephones, open while the block runs."""
    async with fine_probe(f"{taker.network}.{PROBE}", taker.sip, PROBE_NUMBERS, side.patience) as probe:
        yield probe


async def step(side: Side, taker: Taker, rate: float, pace: Pace, *, gives_up: bool = False) -> Step:
    """One rate; the shops must answer. One that gives up calls no more once it is clear that the rate does not hold."""
    parts = taker.parts()
    everything = {**parts, "bench": os.getpid()}  # whoever calls and answers is our child
    await until_quiet(parts, math.inf, pace.settle)
    idle = await idle_shares(parts, pace.idle_seconds)
    trickle, load = offered(rate, pace.seconds, side)
    before, began = used(everything), time.monotonic()
    async with callers(taker.place(), load, with_sound=side.with_sound) as calling, probing(side, taker) as probe:
        no_more = asyncio.Event()
        placing = [probe.calls(trickle, no_more=no_more), calling.wait()]
        if gives_up:
            placing.append(_until_spoiled(calling, probe, taker.place().folder / "callers.tsv", no_more))
        await asyncio.gather(*placing)
    loaded, under_load = used(everything), time.monotonic() - began
    written = await taker.written()
    await until_quiet(parts, sum(idle.values()), pace.settle)
    after, span = used(everything), time.monotonic() - began
    outcome, probed = read_outcome(taker.place(LOAD).folder / "callers.tsv"), probe.probed
    calls = max(1, outcome.placed + probed.placed)
    by_part = {part: 1000 * seconds / calls for part, seconds in _spent(before, after, idle, span).items()}
    spent = per_group(by_part)
    return Step(
        rate=rate,
        seconds=pace.seconds,
        placed=outcome.placed + probed.placed,
        failed=dict(outcome.failed + probed.failed)
        | ({} if no_more.is_set() else _missing(load.calls - outcome.placed)),
        repeated=outcome.repeated,
        restarted=sorted(part for part, pid in taker.parts().items() if parts.get(part) != pid),
        behind=not written.through,
        late=max(0.0, outcome.span - (load.calls - 1) / load.rate),
        ringing=delays(probed.ringing),
        audio=delays(probed.audio),
        reached=delays(probed.reached),
        answer=delays(probed.answer),
        passed_on=delays(probed.passed_on),
        own=delays(probed.own),
        unpunctual=delays(probed.unpunctual),
        load_answer=delays(outcome.answer),
        cpu={group: max(0.0, spent[group]) for group in GROUPS if group in spent},
        parts=by_part,
        others=100 * (loaded.machine - before.machine - (summed(loaded) - summed(before))) / under_load,
    )


async def _until_spoiled(
    calling: asyncio.subprocess.Process, probe: FineProbe, log: Path, no_more: asyncio.Event
) -> None:
    watch = Watch(log)
    while calling.returncode is None:
        await asyncio.sleep(_LOOK_EVERY)
        if probe.probed.failed or watch.is_spoiled():
            no_more.set()
            call_no_more(calling)
            return


def offered(rate: float, seconds: float, side: Side) -> tuple[Load, Load]:
    """The probe's calls and SIPp's, which together are that rate."""
    trickle = probe_rate(rate)
    return _load(trickle, seconds, side), _load(rate - trickle, seconds, side)


def _load(rate: float, seconds: float, side: Side) -> Load:
    return Load(max(2, round(rate * seconds)), rate, side.hold, side.patience)


def _missing(calls: int) -> dict[str, int]:
    return {"never placed": calls} if calls > 0 else {}


def _spent(before: Used, after: Used, idle: dict[str, float], span: float) -> dict[str, float]:
    """Processor seconds by part, less the idle share."""
    return {
        part: after.processes[part] - before.processes[part] - idle.get(part, 0.0) * span
        for part in after.processes
        if part in before.processes
    }
