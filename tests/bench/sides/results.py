"""What the sides showed: the figures of one side, and what each rate cost. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from tests.bench.figures import Delays

ASTERISK, ENGINE, WORKERS, DATABASE, REST, TOOLS = "Asterisk", "engine", "workers", "database", "rest", "test tools"
GROUPS = (ASTERISK, ENGINE, WORKERS, DATABASE, REST, TOOLS)
_OF_PART = {"asterisk": ASTERISK, "engine": ENGINE, "jobs": WORKERS, "postgres": DATABASE, "bench": TOOLS}
_BY_CHANCE = 0.01
"""Of the calls, that many at most may have gone wrong because the machine stood still for a moment."""


def group_of(part: str) -> str:
    """Where the figures of a part are counted; several engines are one."""
    return _OF_PART.get(part.partition("-")[0], REST)


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One rate for some seconds. The delays are the fine probe's but for `load_answer`."""

    rate: float
    """Calls a second, SIPp's and the probe's together."""
    seconds: float
    placed: int
    failed: dict[str, int]
    repeated: int
    """INVITEs said again, because nothing had come back for half a second."""
    restarted: list[str]
    """Parts that were started again meanwhile: their processor time is not counted."""
    behind: bool
    """Whether the workers were not through with the calls a minute after the last."""
    late: float
    """Seconds by which SIPp was behind with its last INVITE."""
    ringing: Delays
    """INVITE to the first 18x."""
    audio: Delays
    """INVITE to the first sound before the answer; of calls whose target rings for half a second."""
    reached: Delays
    """INVITE to the target's INVITE."""
    answer: Delays
    """INVITE to 200, where the target answers at once; without `own`."""
    passed_on: Delays
    """The target's 200 to the caller's."""
    own: Delays
    """What the probe itself needs: its target's INVITE to its 200."""
    unpunctual: Delays
    """By how much the probe's INVITEs were late."""
    load_answer: Delays
    """SIPp's INVITE to 200, on a clock of 4 ms steps."""
    cpu: dict[str, float]
    """Processor milliseconds per call by group, less what it uses when idle."""
    parts: dict[str, float]
    """The same by part."""
    others: float
    """What the machine did beside this run, % of one core; the noise."""

    @property
    def held(self) -> bool:
        """Whether no call failed, was said twice or was sent late, nothing was started again and all work is done."""
        return not (self.failed or self.repeated or self.restarted or self.behind) and self.late < 1.0

    @property
    def is_beyond(self) -> bool:
        """Whether it is clearly too much, and not a moment in which the machine stood still."""
        wrong = sum(self.failed.values()) + self.repeated
        return wrong > _BY_CHANCE * self.placed or self.behind or self.late >= 1.0

    @property
    def is_hopeless(self) -> bool:
        """Whether half of the calls failed."""
        return 2 * sum(self.failed.values()) > self.placed

    @property
    def why_not(self) -> str:
        """What spoiled it, in a few words; empty when nothing did."""
        told = [f"{count} × {why}" for why, count in sorted(self.failed.items(), key=lambda one: -one[1])[:2]]
        if self.repeated:
            told.append(f"{self.repeated} INVITEs repeated")
        if self.restarted:
            told.append(f"started again: {', '.join(self.restarted)}")
        if self.behind:
            told.append("the workers are behind")
        if self.late >= 1.0:
            told.append(f"{self.late:.0f} s late")
        return ", ".join(told)


class Trial(msgspec.Struct, frozen=True):
    """A rate that was tried for so many seconds."""

    rate: float
    seconds: float
    why_not: str
    """Empty: it held."""


class Sustained(msgspec.Struct, frozen=True):
    """The highest rate that held, and all that was tried."""

    rate: float
    """NaN: not one of those tried held."""
    held_for: float
    """Seconds; less than `wanted` when no rate held for so long while there was time."""
    wanted: float
    trials: list[Trial]


def best_of(trials: Sequence[Trial], steps: Sequence[Step], wanted: float) -> Sustained:
    """Of all that was tried, below every trial that failed: the highest rate that held for the `wanted` seconds, else
    the highest that held at all. Where even that is missing, the highest that held beside what failed."""
    known = [*trials, *(Trial(one.rate, one.seconds, one.why_not) for one in steps)]
    held = sorted((one for one in known if not one.why_not), key=lambda one: (one.rate, one.seconds))
    bound = min((one.rate for one in trials if one.why_not), default=math.inf)
    below = [one for one in held if one.rate < bound]
    found = [one for one in below if one.seconds >= wanted] or below or held
    if not found:
        return Sustained(math.nan, 0.0, wanted, list(trials))
    return Sustained(found[-1].rate, min(found[-1].seconds, wanted), wanted, list(trials))


class PerCall(msgspec.Struct, frozen=True):
    """What one more live call takes of a group's processes."""

    kilobytes: float
    descriptors: float
    threads: float


class Live(msgspec.Struct, frozen=True, kw_only=True):
    """Calls held at one time."""

    calls: int
    with_sound: bool
    answered: int
    failed: dict[str, int]
    groups: dict[str, PerCall]
    asterisk_cpu: float
    """% of one core while they were held."""


class Overload(msgspec.Struct, frozen=True, kw_only=True):
    """Twice the calls that it holds."""

    limit: float
    """Calls a second that the dialplan lets in."""
    offered: float
    standing: int
    """Calls that were up before."""
    harmed: int
    """Of them."""
    answered: int
    refused: int
    """With 503."""
    failed: dict[str, int]
    """The others, by SIP code or by what happened."""
    refusal: Delays
    """INVITE to 503 at the probe."""
    load_refusal: Delays
    """The same at SIPp, on its clock."""
    normal_after: float | None
    """Seconds after the last INVITE from which on setup was as before; None: not while it was watched."""


class SideRun(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about one side."""

    name: str
    title: str
    version: str = ""
    steps: list[Step] = []
    sustained: Sustained | None = None
    live: list[Live] = []
    overload: Overload | None = None
    in_turns: Delays | None = None
    """INVITE to 200 at COMPARED_AT, measured in turns with the other side that has it."""
    calls: int = 0
    """All that the database should know of; 0: this side writes none."""
    recorded: int = 0
    messages: int = 0
    """Of these calls, those whose message the gateway has taken."""
    absent: str = ""
    """Why it could not be measured."""

    def at(self, rate: float) -> Step | None:
        """The step of this rate."""
        return next((step for step in self.steps if step.rate == rate), None)


def per_group(parts: Mapping[str, float]) -> dict[str, float]:
    """Sums by group, of figures by part."""
    summed: dict[str, float] = {}
    for part, figure in parts.items():
        summed[group_of(part)] = summed.get(group_of(part), 0.0) + figure
    return summed
