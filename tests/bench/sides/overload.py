"""Twice as many calls as are let in: what becomes of those that are up, of those refused, and of those afterwards."""

from __future__ import annotations

import asyncio
import time

from tests.bench.figures import delays
from tests.bench.load import Load, callers, read_outcome
from tests.bench.progress import Say
from tests.bench.sides.probe import Probed
from tests.bench.sides.results import Overload
from tests.bench.sides.taker import STANDING, Side, Taker
from tests.bench.sides.trial import probing

_STANDING, _STANDING_RATE = 30, 10.0
_BEFORE, _AFTER = 6.0, 15.0
_PROBE_RATE = 8.0
_AS_BEFORE = 2.0
"""Setup is normal again when it takes at most so many times the longest of before."""


async def overload(side: Side, taker: Taker, limit: float, seconds: float, say: Say) -> Overload:
    """The side lets in `limit` calls a second and the shops answer."""
    offered = 2 * limit
    load = Load(round(offered * seconds), offered, side.hold, side.patience)
    held = _STANDING / _STANDING_RATE + _BEFORE + load.seconds + _AFTER + 5
    standing = Load(_STANDING, _STANDING_RATE, held, side.patience)
    say(f"{side.name}: {offered:g} calls a second where {limit:g} are let in", held)
    async with callers(taker.place(STANDING), standing) as up:
        await asyncio.sleep(_STANDING / _STANDING_RATE)
        before = await _probed(side, taker, _BEFORE)
        async with callers(taker.place(), load, with_sound=side.with_sound, at_once=5000) as calling:
            await asyncio.sleep(load.calls / load.rate)
            ended = time.monotonic()
            after = await _probed(side, taker, _AFTER)
            await calling.wait()
        await up.wait()
    stood = read_outcome(taker.place(STANDING).folder / "callers.tsv")
    outcome = read_outcome(taker.place().folder / "callers.tsv")
    failed = dict(outcome.failed)
    return Overload(
        limit=limit,
        offered=offered,
        standing=_STANDING,
        harmed=_STANDING - stood.answered,
        answered=outcome.answered,
        refused=failed.pop("503", 0),
        failed=failed,
        refusal=delays(outcome.refusal),
        normal_after=normal_after(after.setups, ended, _AS_BEFORE * max(before.answer, default=0.0)),
    )


def normal_after(setups: list[tuple[float, float | None]], ended: float, longest: float) -> float | None:
    """Seconds from `ended` to the first call from which on all were set up within `longest` seconds; None: none was."""
    since = None
    for began, setup in setups:
        if setup is None or setup > longest:
            since = None
        elif since is None:
            since = max(0.0, began - ended)
    return since


async def _probed(side: Side, taker: Taker, seconds: float) -> Probed:
    async with probing(side, taker) as probe:
        await probe.calls(Load(round(_PROBE_RATE * seconds), _PROBE_RATE, 0.3, side.patience))
        return probe.probed
