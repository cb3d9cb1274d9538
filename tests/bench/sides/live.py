"""Many calls held at one time: what one more of them takes in memory, descriptors and threads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.load import Load, callers, read_outcome
from tests.bench.sides.results import ASTERISK, ENGINE, Live, PerCall, group_of
from tests.bench.sides.taker import Side, Taker
from tests.bench.usage import used

_RATE = 50.0
"""Calls a second at which they come."""
_LOOKED_AT = 10.0
"""Seconds for which all are up."""


@dataclass(frozen=True, slots=True)
class _Held:
    kilobytes: float
    descriptors: int
    threads: int


async def live(side: Side, taker: Taker, calls: int, *, with_sound: bool) -> Live:
    """`calls` come and stay; the shops must answer, with sound if these talk.

    Asterisk must be fresh: what it gave back it keeps, and would seem to need less.
    """
    parts = taker.parts()
    arriving = calls / _RATE
    load = Load(calls, _RATE, arriving + _LOOKED_AT + side.patience, side.patience)
    before = _held(parts)
    async with callers(taker.place(), load, with_sound=with_sound, at_once=calls) as calling:
        await asyncio.sleep(arriving + min(side.patience, 10.0) / 2)
        began, spent = time.monotonic(), used(parts)
        await asyncio.sleep(_LOOKED_AT / 2)
        after, later, span = _held(parts), used(parts), time.monotonic() - began
        await calling.wait()
    outcome = read_outcome(taker.place().folder / "callers.tsv")
    return Live(
        calls=calls,
        with_sound=with_sound,
        answered=outcome.answered,
        failed=dict(outcome.failed),
        groups={group: _per_call(before, after, group, calls) for group in (ASTERISK, ENGINE) if group in after},
        asterisk_cpu=100 * (later.processes["asterisk"] - spent.processes["asterisk"]) / span,
    )


def live_seconds(side: Side, calls: int) -> float:
    """How long `live` takes."""
    return 2 * calls / _RATE + _LOOKED_AT + side.patience


def _per_call(before: Mapping[str, _Held], after: Mapping[str, _Held], group: str, calls: int) -> PerCall:
    one, other = before[group], after[group]
    return PerCall(
        kilobytes=(other.kilobytes - one.kilobytes) / calls,
        descriptors=(other.descriptors - one.descriptors) / calls,
        threads=(other.threads - one.threads) / calls,
    )


def _held(parts: Mapping[str, int]) -> dict[str, _Held]:
    """By group."""
    held: dict[str, _Held] = {}
    for part, pid in parts.items():
        one, so_far = _of_process(pid), held.get(group_of(part), _Held(0.0, 0, 0))
        held[group_of(part)] = _Held(
            so_far.kilobytes + one.kilobytes, so_far.descriptors + one.descriptors, so_far.threads + one.threads
        )
    return held


def _of_process(pid: int) -> _Held:
    folder = Path(f"/proc/{pid}")
    try:
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        descriptors = sum(1 for _ in (folder / "fd").iterdir())
    except OSError:
        return _Held(0.0, 0, 0)
    return _Held(float(status["VmRSS"].split()[0]), descriptors, int(status["Threads"]))
