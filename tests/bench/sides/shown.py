"""The sides beside each other: every figure, and its ratio to A. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tests.bench.figures import Delays
from tests.bench.sides.goals import COMPARED_AT
from tests.bench.sides.results import GROUPS, Live, Overload, SideRun, Step, Sustained


class Line(NamedTuple):
    """A figure of each side, NaN where there is none."""

    figure: str
    values: list[float]
    digits: int

    def cells(self) -> list[str]:
        """As text, with the ratio to the first side behind the figures of the others."""
        base = self.values[0]
        cells = []
        for place, value in enumerate(self.values):
            if math.isnan(value):
                cells.append("–")
                continue
            ratio = f" ×{value / base:.2f}" if place and base > 0 else ""
            cells.append(f"{value:.{self.digits}f}{ratio}")
        return cells


_DELAYS = (
    ("INVITE to 18x", "ringing"),
    ("INVITE to first sound", "audio"),
    ("INVITE to the target's INVITE", "reached"),
    ("INVITE to 200", "answer"),
    ("target's 200 to caller's 200", "passed_on"),
    ("probe's own time, left out", "own"),
)


def lines(runs: Sequence[SideRun]) -> list[Line]:
    """All figures that at least one side has."""
    made = [*_sustained(runs), *_steps(runs), *_in_turns(runs), *_live(runs), *_overload(runs), *_written(runs)]
    return [line for line in made if not all(math.isnan(value) for value in line.values)]


def _sustained(runs: Sequence[SideRun]) -> Iterator[Line]:
    yield Line("calls/s sustained", [run.sustained.rate if run.sustained else math.nan for run in runs], 1)
    yield Line("  for so many seconds", [run.sustained.held_for if run.sustained else math.nan for run in runs], 0)


def _steps(runs: Sequence[SideRun]) -> Iterator[Line]:
    for rate in sorted({step.rate for run in runs for step in run.steps}):
        steps = [run.at(rate) for run in runs]
        for title, name in _DELAYS:
            for rank in ("p50", "p99"):
                yield Line(f"{rate:g}/s: {title}, {rank} ms", [_delay(step, name, rank) for step in steps], 1)
        for group in GROUPS:
            values = [step.cpu.get(group, math.nan) if step else math.nan for step in steps]
            yield Line(f"{rate:g}/s: {group}, CPU ms per call", values, 2)
        yield Line(f"{rate:g}/s: calls failed", [_of(step, "failed") for step in steps], 0)
        yield Line(f"{rate:g}/s: INVITEs repeated", [_of(step, "repeated") for step in steps], 0)
        yield Line(f"{rate:g}/s: noise, others on the machine, % of a core", [_of(step, "others") for step in steps], 0)


def _in_turns(runs: Sequence[SideRun]) -> Iterator[Line]:
    for rank in ("p50", "p99"):
        values = [float(getattr(run.in_turns, rank)) if run.in_turns else math.nan for run in runs]
        yield Line(f"{COMPARED_AT:g}/s in turns: INVITE to 200, {rank} ms", values, 1)


def _delay(step: Step | None, name: str, rank: str) -> float:
    if step is None:
        return math.nan
    found: Delays = getattr(step, name)
    return float(getattr(found, rank))


def _of(step: Step | None, name: str) -> float:
    if step is None:
        return math.nan
    value = getattr(step, name)
    return float(sum(value.values()) if isinstance(value, dict) else value)


def _live(runs: Sequence[SideRun]) -> Iterator[Line]:
    kinds = sorted({(live.with_sound, live.calls) for run in runs for live in run.live}, reverse=True)
    for with_sound, calls in kinds:
        held = [_found(run, calls, with_sound) for run in runs]
        what = f"{calls} live calls {'with sound' if with_sound else 'without'}"
        yield Line(f"{what}: answered and held", [one.answered if one else math.nan for one in held], 0)
        yield Line(f"{what}: Asterisk, % of a core", [one.asterisk_cpu if one else math.nan for one in held], 0)
        for group in GROUPS:
            for title, name in (("kB", "kilobytes"), ("descriptors", "descriptors"), ("threads", "threads")):
                values = [
                    float(getattr(one.groups[group], name)) if one and group in one.groups else math.nan for one in held
                ]
                yield Line(f"{what}: {group}, {title} per call", values, 1)


_OVERLOAD: tuple[tuple[str, Callable[[Overload], float], int], ...] = (
    ("calls/s offered", lambda told: told.offered, 0),
    ("calls/s let in", lambda told: told.limit, 0),
    ("calls taken and held", lambda told: told.answered, 0),
    ("calls refused with 503", lambda told: told.refused, 0),
    ("calls that were neither", lambda told: sum(told.failed.values()), 0),
    ("INVITE to 503, p50 ms", lambda told: told.refusal.p50, 1),
    ("INVITE to 503, p99 ms", lambda told: told.refusal.p99, 1),
    ("INVITE to 503 at SIPp, p99 ms", lambda told: told.load_refusal.p99, 1),
    ("calls in progress harmed", lambda told: told.harmed, 0),
    ("back to normal after, s", lambda told: math.nan if told.normal_after is None else told.normal_after, 1),
)


def _overload(runs: Sequence[SideRun]) -> Iterator[Line]:
    for title, figure, digits in _OVERLOAD:
        values = [figure(run.overload) if run.overload else math.nan for run in runs]
        yield Line(f"overload: {title}", values, digits)


def _found(run: SideRun, calls: int, with_sound: bool) -> Live | None:
    return next((live for live in run.live if (live.calls, live.with_sound) == (calls, with_sound)), None)


def _written(runs: Sequence[SideRun]) -> Iterator[Line]:
    """Only of sides that write."""
    for title, name in (
        ("calls placed", "calls"),
        ("calls in the database", "recorded"),
        ("messages accepted", "messages"),
    ):
        yield Line(title, [float(getattr(run, name)) if run.calls else math.nan for run in runs], 0)


_PROBE_IS_SLOW = 20.0
"""Milliseconds; then the test tools hold up the calls."""


def blemishes(run: SideRun) -> Iterator[str]:
    """What to know before believing the figures."""
    if run.absent:
        yield f"absent: {run.absent}"
    yield from _of_steps(run.steps)
    if run.sustained:
        yield from _of_search(run.sustained, run.steps)
    for live in run.live:
        if live.failed:
            yield f"{live.calls} live calls: {_counted(live.failed)}"
    if run.overload and run.overload.failed:
        yield f"overload: {_counted(run.overload.failed)}"
    if run.recorded != run.calls:
        yield f"{run.calls} calls placed, {run.recorded} in the database"


def _of_steps(steps: Sequence[Step]) -> Iterator[str]:
    for step in steps:
        if not step.held:
            yield f"at {step.rate:g}/s: {step.why_not}"
        if max(step.own.p99, step.unpunctual.p99) > _PROBE_IS_SLOW:
            yield (
                f"at {step.rate:g}/s: the probe had no time, p99: {step.own.p99:.0f} ms for its own answer, "
                f"{step.unpunctual.p99:.0f} ms late"
            )


def _of_search(found: Sustained, steps: Sequence[Step]) -> Iterator[str]:
    yield "tried: " + ", ".join(f"{one.rate:g}/s {one.why_not or 'held'} ({one.seconds:g} s)" for one in found.trials)
    if not found.held_for:
        yield "not one of these rates held"
        return
    if found.held_for < found.wanted:
        yield f"{found.rate:g}/s held for {found.held_for:g} s, none for {found.wanted:g} s"
    if all(one.held for one in steps) and not any(one.why_not for one in found.trials):
        yield f"none failed: it may hold more than {found.rate:g}/s"


def _counted(failed: Mapping[str, int]) -> str:
    return ", ".join(f"{count} × {why}" for why, count in failed.items())
