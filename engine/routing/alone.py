"""What a number's calls go through while no engine is there, for the days ahead. Pure.

The dialplan then runs a call by itself, from entries "until that instant, this route" that were made by `plan` before.
Nobody looks into the past there, counts the calls of an hour or of a day, or sends a text; so what a treatment promises
of that is left out as for a caller who can get none, and instead of a voicemail the caller hears how it failed.

A caller counts by the groups of the account that the number's rules name (`kinds_of_callers`), or as withheld.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import msgspec

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import Failure, Fallback, TargetOrder, Then, Treatment
from engine.routing.call_plan import Announce, CallPlan, Forward, Ring, Stage
from engine.routing.edges import edges
from engine.routing.model import BLOCKED, WITHHELD, AccountRouting, History, Line, Load
from engine.routing.opening import situation, zone_of
from engine.routing.plan import laid_over, plan
from engine.routing.switched import targets_of

AHEAD = timedelta(days=14)
"""For how long entries are made; the last one holds on."""
STRANGER = PhoneNumber("0200000000")
"""Stands for a caller who shows a number that can get no text, and of whom nothing is known."""
MOST_KINDS = 30
"""Kinds of callers of one account that are told apart."""

_HALF_A_DAY = timedelta(hours=12)
_NO_PAST = History(known=False)
_FULL = History(known=False, number=Load(at_once=1_000_000), account=Load(at_once=1_000_000))
_SAID_INSTEAD = {
    Failure.BUSY: "ko/busy",
    Failure.NO_ANSWER: "ko/no-answer",
    Failure.UNREACHABLE: "ko/unreachable",
    Failure.REJECTED: "ko/rejected",
    Failure.NOT_ACCEPTED: "ko/no-answer",
    Failure.OVER_LIMIT: "ko/over-limit",
}
"""What a caller hears who would have left a message."""

Groups = frozenset[str]
"""The groups of the account that a caller is in, without those who are turned away."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The plan of every call before `until`; None: of every later one."""

    until: datetime | None
    plan: CallPlan
    targets: int = 0
    """How many stages of the plan are passed over when there are more calls at once than there may be."""
    shares: tuple[int, ...] = ()
    """Of the first stages, in percent: which of them comes before the others is drawn for each call; (): none is."""


def entries(line: Line, groups: Groups | None, now: datetime, ring_seconds: int) -> tuple[Entry, ...]:
    """What holds from `now` on, in its order: at each instant what `plan` says then. `groups` None: withheld callers.

    For callers who are not blocked.
    """
    return tuple(entry for entry in entries_in_steps(line, groups, now, ring_seconds) if entry is not None)


def entries_in_steps(line: Line, groups: Groups | None, now: datetime, ring_seconds: int) -> Iterator[Entry | None]:
    """The same, for whoever has other things to do meanwhile: None after each instant that brings no entry.

    Fifty rules for fourteen days take a second.
    """
    alone = as_alone(line, groups or frozenset())
    caller = None if groups is None else STRANGER
    started = now.astimezone(UTC)
    planned = _planned(alone, caller, started, ring_seconds)
    for edge in _edges(alone, started):
        then = _planned(alone, caller, edge, ring_seconds)
        yield replace(planned, until=edge) if then != planned else None
        planned = then
    yield planned


def changes_with_time(line: Line) -> bool:
    """Whether entries of the line run out: a line without such rules has one for ever."""
    return any(
        rule.enabled
        and (rule.condition.times or rule.condition.weekdays or rule.condition.dates or rule.condition.days)
        for rule in line.rules
    )


def as_alone(line: Line, groups: Groups) -> Line:
    """The line without what nobody can keep, for a STRANGER who is in `groups`."""
    return replace(
        line,
        number=msgspec.structs.replace(line.number, treatment=_kept(line.number.treatment)),
        rules=tuple(msgspec.structs.replace(rule, treatment=_kept(rule.treatment)) for rule in line.rules),
        account=msgspec.structs.replace(line.account, groups={name: frozenset({STRANGER}) for name in groups}),
    )


def groups_asked_for(line: Line) -> Groups:
    """The groups that the line's rules name."""
    return frozenset(
        name
        for rule in line.rules
        if rule.enabled
        for name in rule.condition.callers
        if name not in (WITHHELD, BLOCKED)
    )


def asks_for_withheld(line: Line) -> bool:
    """Whether withheld callers may be treated in another way than the others."""
    return any(rule.enabled and WITHHELD in rule.condition.callers for rule in line.rules)


def kinds_of_callers(account: AccountRouting, asked_for: Groups) -> dict[PhoneNumber, Groups]:
    """Which of the groups `asked_for` each of the account's callers is in; without those who are in none or blocked.

    Kinds beyond MOST_KINDS are left out, the smallest first: such callers are treated as everybody is.
    """
    found: dict[PhoneNumber, set[str]] = {}
    for name in asked_for:
        for member in account.groups.get(name, ()):
            found.setdefault(member, set()).add(name)
    for caller in account.groups.get(BLOCKED, ()):
        found.pop(caller, None)
    kinds = {caller: frozenset(names) for caller, names in found.items()}
    most = _most_frequent(kinds.values())
    return {caller: kind for caller, kind in kinds.items() if kind in most}


def kind_name(groups: Groups | None) -> str:
    """How a kind of callers is named in keys: the same whoever names it."""
    if groups is None:
        return WITHHELD
    return hashlib.blake2b("\n".join(sorted(groups)).encode(), digest_size=6).hexdigest()


def _planned(line: Line, caller: PhoneNumber | None, instant: datetime, ring_seconds: int) -> Entry:
    """What callers and targets notice of the plan, and nothing else of it."""
    planned = plan(line, caller, instant, _NO_PAST, ring_seconds)
    if isinstance(planned, Announce):
        return Entry(None, msgspec.structs.replace(planned, asked=(), switched_off=()))
    targets = 0
    if _has_limit(line):
        over = plan(line, caller, instant, _FULL, ring_seconds)
        targets = len(planned.stages) - len(over.stages) if isinstance(over, Forward) else 0
    noticed = msgspec.structs.replace(
        planned, asked=(), left_out=(), switched_off=(), ringback_until=None, callback=None
    )
    return _before_the_draw(line, caller, instant, Entry(None, noticed, targets))


def _before_the_draw(line: Line, caller: PhoneNumber | None, instant: datetime, entry: Entry) -> Entry:
    """The targets in the order in which they are set, with their shares, where the plan of one call has drawn one."""
    treatment, _ = laid_over(line, situation(line, caller, instant, _NO_PAST))
    named = targets_of(line, treatment)
    if treatment.order is not TargetOrder.BY_SHARE or len(named) < 2 or not isinstance(entry.plan, Forward):
        return entry
    drawn, *others = entry.plan.stages[: len(named)]
    stages = next(
        stages
        for place in range(len(named))
        if _ring(stages := (*others[:place], drawn, *others[place:]), [target.number for target in named])
    )
    whole = (*stages, *entry.plan.stages[len(named) :])
    shares = tuple(max(target.share, 0) for target in named)
    return replace(entry, plan=msgspec.structs.replace(entry.plan, stages=whole), shares=shares)


def _ring(stages: tuple[Stage, ...], numbers: list[PhoneNumber]) -> bool:
    return [one.number for stage in stages if isinstance(stage, Ring) for one in stage.targets] == numbers


def _has_limit(line: Line) -> bool:
    return line.number.limits.at_once is not None or line.account.limits.at_once is not None


def _edges(line: Line, started: datetime) -> Iterable[datetime]:
    """In steps of half a day: `edges` sees each time of the day once, and none at the very start."""
    conditions = [rule.condition for rule in line.rules if rule.enabled]
    if not changes_with_time(line):
        return
    zone = zone_of(line.account.zone)
    step = started
    while step < started + AHEAD:
        yield from edges(conditions, step, zone, _NO_PAST, _HALF_A_DAY)
        step += _HALF_A_DAY


def _kept(treatment: Treatment) -> Treatment:
    chain = treatment.fallbacks
    if treatment.consent is None and not any(link.then in (Then.TEXT, Then.VOICEMAIL) for link in chain or ()):
        return treatment
    kept = None if chain is None else tuple(new for link in chain for new in _instead(link))
    return msgspec.structs.replace(treatment, consent=None, fallbacks=kept)


def _instead(link: Fallback) -> Iterable[Fallback]:
    match link.then:
        case Then.TEXT:
            return
        case Then.VOICEMAIL:
            for failure in link.on or Failure:
                yield Fallback(then=Then.ANNOUNCE, on=(failure,), sounds=(_SAID_INSTEAD[failure],))
        case _:
            yield link


def _most_frequent(kinds: Iterable[Groups]) -> set[Groups]:
    count: dict[Groups, int] = {}
    for kind in kinds:
        count[kind] = count.get(kind, 0) + 1
    return set(sorted(count, key=lambda kind: (-count[kind], sorted(kind)))[:MOST_KINDS])
