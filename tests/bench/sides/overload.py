"""Twice as many calls as the side holds: what becomes of those that are up, those refused, and those afterwards."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from tests.bench.figures import delays
from tests.bench.load import Load, callers, read_outcome
from tests.bench.progress import Say
from tests.bench.sides.probe import Probed
from tests.bench.sides.results import Overload
from tests.bench.sides.taker import STANDING, Side, Taker
from tests.bench.sides.trial import probe_rate, probing

LET_IN = 0.6
"""Of what the side holds; refusals need the rest."""
_STANDING, _STANDING_RATE = 30, 10.0
_BEFORE, _AFTER = 6.0, 15.0
_PROBE_RATE = 10.0
_AT_ONCE = 5000
_AS_BEFORE = 2.0
"""Setup is normal again when it takes at most so many times the longest of before."""


async def overload(side: Side, taker: Taker, limit: int, seconds: float, say: Say) -> Overload:
    """The side lets in `limit` calls a second, LET_IN of what it holds; twice what it holds is offered."""
    offered = 2 * limit / LET_IN
    trickle = _trickle(probe_rate(offered), seconds, side)
    rate = offered - trickle.rate
    load = Load(round(rate * seconds), rate, side.hold, side.patience)
    held = overload_seconds(side, seconds)
    standing = Load(_STANDING, _STANDING_RATE, held, side.patience)
    say(f"{side.name}: {offered:.0f} calls a second where {limit} are let in", held)
    async with callers(taker.place(STANDING), standing) as up:
        await asyncio.sleep(_STANDING / _STANDING_RATE)
        async with probing(side, taker) as probe:
            before, after = Probed(), Probed()
            await probe.calls(_trickle(_PROBE_RATE, _BEFORE, side), into=before)
            async with callers(taker.place(), load, with_sound=side.with_sound, at_once=_AT_ONCE) as calling:
                ended = time.monotonic() + load.calls / load.rate
                await asyncio.gather(
                    probe.calls(trickle),
                    _at(ended, lambda: probe.calls(_trickle(_PROBE_RATE, _AFTER, side), into=after)),
                    calling.wait(),
                )
            meanwhile = probe.probed
        await up.wait()
    stood = read_outcome(taker.place(STANDING).folder / "callers.tsv")
    outcome = read_outcome(taker.place().folder / "callers.tsv")
    failed = outcome.failed + meanwhile.failed
    return Overload(
        limit=limit,
        offered=offered,
        standing=_STANDING,
        harmed=_STANDING - stood.answered,
        answered=outcome.answered + meanwhile.answered,
        refused=failed.pop("503", 0),
        failed=dict(failed),
        refusal=delays(meanwhile.refusal),
        load_refusal=delays(outcome.refusal),
        normal_after=normal_after(after.setups, ended, _AS_BEFORE * max(before.answer, default=0.0)),
    )


def overload_seconds(side: Side, seconds: float) -> float:
    """How long `overload` takes."""
    return _STANDING / _STANDING_RATE + _BEFORE + seconds + side.hold + _AFTER + 5


def _trickle(rate: float, seconds: float, side: Side) -> Load:
    return Load(round(rate * seconds), rate, 0.3, side.patience)


async def _at(instant: float, begins: Callable[[], Awaitable[None]]) -> None:
    await asyncio.sleep(instant - time.monotonic())
    await begins()


def normal_after(setups: list[tuple[float, float | None]], ended: float, longest: float) -> float | None:
    """Seconds from `ended` to the first call from which on all were set up within `longest` seconds; None: none was."""
    since = None
    for began, setup in sorted(setups, key=lambda one: one[0]):
        if setup is None or setup > longest:
            since = None
        elif since is None:
            since = max(0.0, began - ended)
    return since
