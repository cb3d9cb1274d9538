"""What is to be reached on two cores, as ratios in the same run, and how far it was. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from tests.bench.sides.results import ENGINE, WORKERS, SideRun, Step

LIMIT, BARE_AGI, BARE_ARI, CREATES, PRODUCT, TALKING, FILLED = "A", "B", "C", "C2", "D", "E", "F"
COMPARED_AT = 50.0
"""Calls a second at which setup times and costs are compared."""


class Goal(msgspec.Struct, frozen=True):
    """A figure, its floor and its aim; NaN: not measured in this run."""

    figure: str
    value: float
    floor: float
    aim: float
    more_is_better: bool = False

    @property
    def verdict(self) -> str:
        """In a word."""
        if math.isnan(self.value):
            return "not measured"
        if self._reaches(self.aim):
            return "aim"
        return "floor" if self._reaches(self.floor) else "missed"

    def _reaches(self, bound: float) -> bool:
        return self.value >= bound if self.more_is_better else self.value <= bound


def goals(runs: Mapping[str, SideRun]) -> list[Goal]:
    """Every goal, of whatever sides were measured."""
    product = runs.get(PRODUCT)
    d = _at(product)
    return [
        Goal("D sustained ÷ C (bare ARI, originate)", _rates(runs, PRODUCT, BARE_ARI), 0.75, 0.95, True),
        Goal("D sustained ÷ A", _rates(runs, PRODUCT, LIMIT), 0.35, 0.60, True),
        Goal("D setup p50 ÷ A at 50/s", _setup(runs, "p50"), 2.0, 1.5),
        Goal("D setup p99 ÷ A at 50/s", _setup(runs, "p99"), 2.5, 1.5),
        Goal("D engine + workers, CPU ms per call at 50/s", _own_cpu(d), 5.0, 2.5),
        Goal("D first ringback after INVITE, p99 ms at 50/s", d.audio.p99 if d else math.nan, 150.0, 50.0),
        Goal("D engine memory per live call, kB", _engine_memory(product), 60.0, 20.0),
        *(Goal(f"F ÷ D, {figure}", value, 1.3, 1.05) for figure, value in _full(runs).items()),
        Goal("D overload: calls in progress harmed", _overload(product, "harmed"), 0.0, 0.0),
        Goal("D overload: neither taken nor refused with 503", _overload(product, "failed"), 0.0, 0.0),
        Goal("D overload: refused within, p99 ms", _overload(product, "refusal"), 100.0, 100.0),
        Goal("D overload: back to normal after, s", _overload(product, "normal_after"), math.inf, 5.0),
    ]


def _at(run: SideRun | None) -> Step | None:
    return run.at(COMPARED_AT) if run else None


def _rates(runs: Mapping[str, SideRun], one: str, other: str) -> float:
    """NaN also when they were not held for the same time."""
    found = [run.sustained for name in (one, other) if (run := runs.get(name)) and run.sustained]
    if len(found) < 2 or found[0].held_for != found[1].held_for:
        return math.nan
    return _ratio(found[0].rate, found[1].rate)


def _ratio(one: float | None, other: float | None) -> float:
    return math.nan if one is None or not other else one / other  # of NaN NaN


def _setup(runs: Mapping[str, SideRun], rank: str) -> float:
    """Of turns where there were any: what is measured minutes apart, a machine may have done at another speed."""
    d, a = runs.get(PRODUCT), runs.get(LIMIT)
    if d is None or a is None:
        return math.nan
    if d.in_turns and a.in_turns:
        return _ratio(getattr(d.in_turns, rank), getattr(a.in_turns, rank))
    one, other = _at(d), _at(a)
    return _ratio(getattr(one.answer, rank), getattr(other.answer, rank)) if one and other else math.nan


def _own_cpu(step: Step | None) -> float:
    if step is None or ENGINE not in step.cpu:
        return math.nan
    return step.cpu[ENGINE] + step.cpu.get(WORKERS, 0.0)


def _engine_memory(run: SideRun | None) -> float:
    if run is None:
        return math.nan
    taken = [live.groups[ENGINE].kilobytes for live in run.live if ENGINE in live.groups]
    return max(taken, default=math.nan)


def _full(runs: Mapping[str, SideRun]) -> dict[str, float]:
    """How many times more of each figure a full database costs; of the sustained rate, how many times less it is."""
    d, f = _at(runs.get(PRODUCT)), _at(runs.get(FILLED))
    found = {"sustained (D ÷ F)": _rates(runs, PRODUCT, FILLED)}
    if d and f:
        found |= {
            "setup p50 at 50/s": _ratio(f.answer.p50, d.answer.p50),
            "setup p99 at 50/s": _ratio(f.answer.p99, d.answer.p99),
            "first ringback p99 at 50/s": _ratio(f.audio.p99, d.audio.p99),
            "engine + workers, CPU": _ratio(_own_cpu(f), _own_cpu(d)),
        }
    return found | {"engine memory per live call": _memory_of_same(runs.get(FILLED), runs.get(PRODUCT))}


def _memory_of_same(one: SideRun | None, other: SideRun | None) -> float:
    """Of the live calls that both had."""
    if one is None or other is None:
        return math.nan
    held = {(live.calls, live.with_sound): live.groups for live in other.live}
    both = [
        (live.groups[ENGINE].kilobytes, groups[ENGINE].kilobytes)
        for live in one.live
        if (groups := held.get((live.calls, live.with_sound))) and ENGINE in groups and ENGINE in live.groups
    ]
    return max((_ratio(*kilobytes) for kilobytes in both), default=math.nan)


def _overload(run: SideRun | None, figure: str) -> float:
    told = run.overload if run else None
    if told is None:
        return math.nan
    if figure == "normal_after":
        return math.inf if told.normal_after is None else told.normal_after
    if figure == "refusal":
        return told.refusal.p99
    return float(told.harmed if figure == "harmed" else sum(told.failed.values()))
