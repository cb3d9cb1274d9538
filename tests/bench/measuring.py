"""One run: a system up in a fresh home, calls through it, and what they cost beyond what it costs when idle."""

from __future__ import annotations

import asyncio
import math
import os
import time
from contextlib import suppress
from dataclasses import dataclass

from tests.bench.checkout import Checkout, System, running
from tests.bench.figures import PartUse, Run, delays
from tests.bench.load import Load, Outcome, Place, callers, probing, read_outcome, shops
from tests.bench.progress import Say
from tests.bench.usage import Used, used

_WARM_UP = Load(calls=10, rate=5.0, hold=0.2)
_IDLE_SECONDS = 5.0
AT_REST = 0.05
"""Of a core, all parts together, when there is nothing more to do; what is done slowly beside calls takes a quarter."""
_SETTLED_WITHIN = 40.0
_QUIET = 0.06  # of a core, all parts together beyond what they use when idle
_WRITTEN_WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What every checkout goes through alike."""

    load: Load
    probe_rate: float
    numbers: int
    network: str
    """The first three numbers of the loopback addresses."""

    @property
    def probe(self) -> Load:
        """As long as the load takes, at least one call."""
        return Load(max(1, round(self.probe_rate * self.load.calls / self.load.rate)), self.probe_rate, self.load.hold)


async def measure(name: str, checkout: Checkout, plan: Plan, say: Say) -> Run:
    """Raises GaveUp when the system does not get up or takes no call. Nothing of it is left when this returns."""
    say("dari up")
    async with running(checkout, f"{plan.network}.1") as system:
        say("a trunk, numbers and the first calls")
        place = await _in_service(system, f"{plan.network}.2", plan.numbers)
        async with shops(place):
            async with probing(place) as first:
                warm_up = await first.until_taken()
                await first.calls(_WARM_UP)
            measured = await _measured(system, place, plan, say)
        sipp, probe = measured.sipp, measured.probe
        placed = warm_up + _WARM_UP.calls + sipp.placed + probe.placed
        say("counting the calls in the database")
        return Run(
            name=name,
            commit=checkout.commit,
            rate=plan.load.rate,
            placed=placed,
            recorded=await _recorded(system, placed),
            answered=sipp.answered + probe.answered,
            failed=dict(sipp.failed + probe.failed),
            repeated=sipp.repeated,
            load_ringing=delays(sipp.ringing),
            load_answer=delays(sipp.answer),
            probe_ringing=delays(probe.ringing),
            probe_answer=delays(probe.answer),
            parts=measured.parts,
            restarted=measured.restarted,
            others=measured.others,
        )


async def _in_service(system: System, carrier: str, count: int) -> Place:
    """A trunk to the carrier, and numbers that ring a shop there."""
    numbers = tuple(f"05071234{one:04}" for one in range(1, count + 1))
    place = Place(dari=system.sip, carrier=carrier, numbers=numbers, folder=system.home)
    await system.run("trunk", "add", "carrier", "--match", carrier, "--contact", place.trunk)
    for one, number in enumerate(numbers, 1):
        await system.run("number", "add", number, "--target", f"02345{one:04}")
    return place


@dataclass(frozen=True, slots=True)
class _Measured:
    sipp: Outcome
    probe: Outcome
    parts: dict[str, PartUse]
    restarted: list[str]
    others: float


async def _measured(system: System, place: Place, plan: Plan, say: Say) -> _Measured:
    parts, load = system.parts(), plan.load
    everything = {**parts, "bench": os.getpid()}  # whoever calls and answers is our child
    say("until it is quiet", _SETTLED_WITHIN)
    await until_quiet(parts, math.inf)
    say("idle", _IDLE_SECONDS)
    idle = await idle_shares(parts)
    say(f"{load.calls} calls, {load.rate:g} a second", load.seconds)
    before, began = used(everything), time.monotonic()
    async with callers(place, load) as calling, probing(place) as probe:
        await asyncio.gather(probe.calls(plan.probe), calling.wait())
    loaded, under_load = used(everything), time.monotonic() - began
    say("until it is quiet", _SETTLED_WITHIN)
    await until_quiet(parts, sum(idle.values()))
    after, span = used(parts), time.monotonic() - began
    sipp = read_outcome(place.folder / "callers.tsv")
    calls = sipp.placed + probe.outcome.placed
    living = system.parts()
    return _Measured(
        sipp=sipp,
        probe=probe.outcome,
        parts={
            part: PartUse(
                ms_per_call=1000 * (after.processes[part] - before.processes[part] - idle[part] * span) / calls,
                idle=100 * idle[part],
                megabytes=after.resident[part],
            )
            for part in parts
            if part in after.processes and part in before.processes and part in idle
        },
        restarted=sorted(part for part, pid in parts.items() if living.get(part) != pid),
        others=100 * (loaded.machine - before.machine - (summed(loaded) - summed(before))) / under_load,
    )


def summed(found: Used) -> float:
    return sum(found.processes.values())


async def idle_shares(parts: dict[str, int], seconds: float = _IDLE_SECONDS) -> dict[str, float]:
    """The share of a core that each part uses when nothing happens."""
    before, began = used(parts), time.monotonic()
    await asyncio.sleep(seconds)
    after, span = used(parts), time.monotonic() - began
    both = before.processes.keys() & after.processes.keys()
    return {part: (after.processes[part] - before.processes[part]) / span for part in both}


async def until_quiet(parts: dict[str, int], idle: float, within: float = _SETTLED_WITHIN) -> bool:
    """Until two seconds long the parts use hardly more than `idle`, of a core, and no less than the second before.

    Returns after `within` seconds in any case; whether it is quiet.
    """
    last, quiet = math.inf, 0
    with suppress(TimeoutError):
        async with asyncio.timeout(within):
            while quiet < 2:
                before, began = summed(used(parts)), time.monotonic()
                await asyncio.sleep(1.0)
                share = (summed(used(parts)) - before) / (time.monotonic() - began)
                quiet = quiet + 1 if share <= idle + _QUIET and share > last - _QUIET else 0
                last = share
    return quiet >= 2


async def _recorded(system: System, placed: int) -> int:
    """Calls in the database, once all are there or nothing more comes."""
    last, same = -1, 0
    deadline = time.monotonic() + _WRITTEN_WITHIN
    while True:
        found = await system.recorded()
        same = same + 1 if found == last else 0
        if found >= placed or same >= 3 or time.monotonic() > deadline:
            return found
        last = found
        await asyncio.sleep(1.0)
