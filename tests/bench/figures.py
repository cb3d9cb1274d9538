"""What one run of calls.py tells, and how runs of two checkouts stand side by side. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

import msgspec


class Delays(msgspec.Struct, frozen=True):
    """Milliseconds from the INVITE on; of nothing measured, not a number."""

    count: int
    p50: float
    p99: float
    longest: float


class PartUse(msgspec.Struct, frozen=True):
    """What one process of the system used, all its children included."""

    ms_per_call: float
    """Processor milliseconds per call, less what it uses when idle."""
    idle: float
    """Processor share when nothing happens, % of one core."""
    megabytes: float
    """Resident at the end, the process itself."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One load on one checkout."""

    name: str
    commit: str
    rate: float
    """SIPp's calls a second; the probe's come on top."""
    placed: int
    """All calls since the start: warm-up, SIPp's and the probe's."""
    recorded: int
    """Of these in the database."""
    answered: int
    """Of the measured ones, held to the end and hung up by the caller."""
    failed: dict[str, int]
    """The others, by SIP code or by what happened."""
    repeated: int
    """INVITEs that SIPp had to say again."""
    load_ringing: Delays
    load_answer: Delays
    probe_ringing: Delays
    probe_answer: Delays
    parts: dict[str, PartUse]
    restarted: list[str]
    """Parts that were started again meanwhile: then the figures are worth nothing."""
    others: float
    """What the machine did beside this run, % of one core; the noise."""

    @property
    def is_clean(self) -> bool:
        """No call failed, none was said twice, and every one is written down."""
        return not (self.failed or self.repeated or self.restarted) and self.recorded == self.placed

    @property
    def lost(self) -> int:
        """Answered calls without a record, at least so many."""
        return max(0, self.answered - self.recorded)


def delays(seconds: Sequence[float]) -> Delays:
    """By nearest rank."""
    milliseconds = sorted(1000 * one for one in seconds)
    if not milliseconds:
        return Delays(0, math.nan, math.nan, math.nan)
    return Delays(len(milliseconds), _rank(milliseconds, 0.5), _rank(milliseconds, 0.99), milliseconds[-1])


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


class Row(msgspec.Struct, frozen=True):
    """A measure: of each checkout every run's figure, and, of two checkouts, the ratio of the medians."""

    measure: str
    figures: list[list[float]]
    digits: int

    @property
    def ratio(self) -> float | None:
        """The last checkout's median over the first one's; None where there is nothing, or too little, to compare."""
        if len(self.figures) < 2 or any(math.isnan(one) for one in (*self.figures[0], *self.figures[-1])):
            return None
        before, after = median(self.figures[0]), median(self.figures[-1])
        return after / before if before >= 5 * 10**-self.digits and after >= 0 else None


def rows(columns: Sequence[Sequence[Run]]) -> list[Row]:
    """Every measure of the runs; a column holds the runs of one checkout."""
    parts = sorted(
        {name for runs in columns for run in runs for name in run.parts},
        key=lambda name: -max(run.parts[name].ms_per_call for runs in columns for run in runs if name in run.parts),
    )
    measures: list[tuple[str, Callable[[Run], float], int]] = [
        ("probe: INVITE to 18x, p50 ms", lambda run: run.probe_ringing.p50, 1),
        ("probe: INVITE to 18x, p99 ms", lambda run: run.probe_ringing.p99, 1),
        ("probe: INVITE to 200, p50 ms", lambda run: run.probe_answer.p50, 1),
        ("probe: INVITE to 200, p99 ms", lambda run: run.probe_answer.p99, 1),
        ("SIPp: INVITE to 18x, p50 ms", lambda run: run.load_ringing.p50, 1),
        ("SIPp: INVITE to 18x, p99 ms", lambda run: run.load_ringing.p99, 1),
        ("SIPp: INVITE to 200, p50 ms", lambda run: run.load_answer.p50, 1),
        ("SIPp: INVITE to 200, p99 ms", lambda run: run.load_answer.p99, 1),
        *((f"{name}: CPU ms per call", _part(name, "ms_per_call"), 2) for name in parts),
        ("all parts: CPU ms per call", lambda run: sum(part.ms_per_call for part in run.parts.values()), 2),
        *((f"{name}: resident MB", _part(name, "megabytes"), 0) for name in parts[:4]),
        ("all parts when idle, % of a core", lambda run: sum(part.idle for part in run.parts.values()), 1),
        ("calls placed", lambda run: run.placed, 0),
        ("calls in the database", lambda run: run.recorded, 0),
        ("calls failed", lambda run: sum(run.failed.values()), 0),
        ("INVITEs repeated", lambda run: run.repeated, 0),
        ("noise: others on the machine, % of a core", lambda run: run.others, 0),
    ]
    return [Row(name, [[figure(run) for run in runs] for runs in columns], digits) for name, figure, digits in measures]


def _part(name: str, field: str) -> Callable[[Run], float]:
    def figure(run: Run) -> float:
        return float(getattr(run.parts[name], field)) if name in run.parts else math.nan

    return figure
