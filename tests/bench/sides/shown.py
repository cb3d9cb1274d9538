"""The sides beside each other: every figure, and its ratio to A. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tests.bench.figures import Delays
from tests.bench.sides.results import GROUPS, Live, SideRun, Step


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
)


def lines(runs: Sequence[SideRun]) -> list[Line]:
    """All figures that at least one side has."""
    made = [*_sustained(runs), *_steps(runs), *_live(runs), *_written(runs)]
    return [line for line in made if not all(math.isnan(value) for value in line.values)]


def _sustained(runs: Sequence[SideRun]) -> Iterator[Line]:
    yield Line("calls/s sustained", [run.sustained.rate if run.sustained else math.nan for run in runs], 1)
    yield Line("  for so many seconds", [run.sustained.seconds if run.sustained else math.nan for run in runs], 0)


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


def blemishes(run: SideRun) -> Iterator[str]:
    """What to know before believing the figures."""
    if run.absent:
        yield f"absent: {run.absent}"
    for step in run.steps:
        if not step.held:
            yield f"at {step.rate:g}/s: {step.why_not}"
    if run.sustained:
        tried = ", ".join(f"{one.rate:g}/s {one.why_not or 'held'}" for one in run.sustained.trials)
        yield f"tried: {tried}"
    for live in run.live:
        if live.failed:
            yield f"{live.calls} live calls: " + ", ".join(f"{count} × {why}" for why, count in live.failed.items())
    if run.recorded != run.calls:
        yield f"{run.calls} calls placed, {run.recorded} in the database"
