"""The book of rules: a number's rules, closed days, groups of callers, public holidays, an account's zone and limits.

Each deed works in the caller's transaction (`engine.foundation.database.transaction`), so that nothing is half done.
The running engines hear of it when that transaction commits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Collection, Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers import life
from engine.numbers.inventory import NumberChange, find, find_locked, in_service, listing
from engine.numbers.model import ServiceNumber
from engine.numbers.rules import check_limits, checked_treatment, laid_over, texts_of, without
from engine.numbers.sound_names import prompts_of, with_sounds
from engine.numbers.treatment import Limits, Treatment
from engine.prompts import library
from engine.routing import store
from engine.routing.check import check
from engine.routing.current_prompts import with_current_prompts, with_prompts
from engine.routing.entries import Holiday, Member
from engine.routing.finding import Finding, Oddity, Severity
from engine.routing.korean_holidays import public_holidays
from engine.routing.model import WITHHELD, AccountRouting, ClosedDay, Condition, Line, Rule
from engine.routing.opening import check_zone
from engine.routing.rules import check_closed_day, checked_rules

FIRST_YEAR, LAST_YEAR = 2000, 2100
_LONGEST_GROUP = 60
_LONGEST_NOTE = 200
_MOST_CLOSED_DAYS = 1000
_MOST_NAMED = 5

Owner = UUID | PhoneNumber
"""Whose closed days: an account's, by its id, or those of one number."""


@dataclass(frozen=True, slots=True)
class Against:
    """What rules are checked against besides their number and account."""

    now: datetime
    ring_seconds: int = 30
    """The system's ring time."""
    sounds: Container[str] | None = None
    """Names of the sounds that are there; None: not asked."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A number's rules as they are now, and what is odd about them."""

    rules: tuple[Rule, ...]
    findings: tuple[Finding, ...]


class RuleChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be different about a rule; what is left out stays."""

    name: str | UnsetType = UNSET
    condition: Condition = Condition()
    """Its parts that are said replace those of the rule."""
    treatment: Treatment = Treatment()
    """Laid over the rule's."""
    clear: tuple[str, ...] = ()
    """Names of parts of the condition, and of settings, that are no longer said; done before the others."""


async def line(connection: AsyncConnection, number: PhoneNumber) -> Line:
    """The number with all that decides about its calls, with the sounds that its prompts are now. Raises NotFound."""
    return with_current_prompts(await line_as_set(connection, number))


async def line_as_set(connection: AsyncConnection, number: PhoneNumber) -> Line:
    """As `line`, with prompts by their names. Raises NotFound."""
    return await _line(connection, await find(connection, number))


async def rules(connection: AsyncConnection, number: PhoneNumber) -> tuple[Rule, ...]:
    """In the order in which they are asked. Raises NotFound."""
    await find(connection, number)
    return await store.rules_of(connection, number)


async def check_rules(connection: AsyncConnection, number: PhoneNumber, against: Against) -> tuple[Finding, ...]:
    """What is odd or wrong about the number's rules as they are. Raises NotFound."""
    return _findings(await line_as_set(connection, number), against)


async def add_rule(
    connection: AsyncConnection, number: PhoneNumber, rule: Rule, against: Against, position: int | None = None
) -> Kept:
    """Adds a rule at `position`, counted from 1; None: behind those that are as special as it is, or more so.

    Raises NotFound, NotAllowed, Invalid, or Conflict when the number has a rule of that name.
    """

    def added(known: tuple[Rule, ...]) -> Iterable[Rule]:
        if any(rule.name == other.name for other in known):
            raise Conflict(
                f"rule {rule.name!r}: {written(number)} has one of that name; change it with `dari rule set`"
            )
        return _placed(known, rule, position)

    return await _change_rules(connection, number, against, added)


async def change_rule(
    connection: AsyncConnection, number: PhoneNumber, name: str, wanted: RuleChange, against: Against
) -> Kept:
    """Changes a rule where it stands. Raises NotFound, NotAllowed, Invalid, or Conflict when the new name is taken."""

    def changed(known: tuple[Rule, ...]) -> Iterable[Rule]:
        old = _named(known, number, name)
        new = _changed(old, wanted)
        if new.name != old.name and any(rule.name == new.name for rule in known):
            raise Conflict(f"rule {new.name!r}: {written(number)} has one of that name; choose another")
        return (new if rule is old else rule for rule in known)

    return await _change_rules(connection, number, against, changed)


async def move_rule(
    connection: AsyncConnection, number: PhoneNumber, name: str, position: int, against: Against
) -> Kept:
    """Puts a rule at `position`, counted from 1; one behind the last is the last. Raises NotFound or Invalid."""

    def moved(known: tuple[Rule, ...]) -> Iterable[Rule]:
        rule = _named(known, number, name)
        return _placed([other for other in known if other is not rule], rule, position)

    return await _change_rules(connection, number, against, moved)


async def enable_rule(
    connection: AsyncConnection, number: PhoneNumber, name: str, against: Against, *, enabled: bool
) -> Kept:
    """Lets a rule be asked, or not, and keeps it either way. Raises NotFound or Invalid."""

    def switched(known: tuple[Rule, ...]) -> Iterable[Rule]:
        rule = _named(known, number, name)
        return (msgspec.structs.replace(rule, enabled=enabled) if other is rule else other for other in known)

    return await _change_rules(connection, number, against, switched)


async def remove_rule(connection: AsyncConnection, number: PhoneNumber, name: str, against: Against) -> Kept:
    """Raises NotFound."""

    def removed(known: tuple[Rule, ...]) -> Iterable[Rule]:
        rule = _named(known, number, name)
        return (other for other in known if other is not rule)

    return await _change_rules(connection, number, against, removed)


async def replace_rules(
    connection: AsyncConnection, number: PhoneNumber, wanted: Sequence[Rule], against: Against
) -> Kept:
    """The number has these rules in this order, and no others. Raises NotFound, NotAllowed or Invalid."""
    return await _change_rules(connection, number, against, lambda _: wanted)


async def put_into_service(
    connection: AsyncConnection, actor: Actor, wanted: ServiceNumber, against: Against
) -> tuple[ServiceNumber, tuple[Finding, ...]]:
    """As `life.put_into_service`; the number as it is kept, and what is odd about it.

    Raises Invalid also for a prompt that the account does not have.
    """
    kept = await life.put_into_service(connection, actor, wanted, against.now)
    findings = await check_rules(connection, kept.number, against)
    _refuse_missing_prompts(findings)
    return kept, findings


async def change_number(
    connection: AsyncConnection, actor: Actor, number: PhoneNumber, wanted: NumberChange, against: Against
) -> tuple[ServiceNumber, tuple[Finding, ...]]:
    """As `life.change`; the number as it is then, and what is odd about it that was not before.

    Raises Invalid also for a prompt that the account does not have.
    """
    before = await _line(connection, await find_locked(connection, number))
    changed = await life.change(connection, actor, number, wanted, against.now)
    known = _findings(before, against)
    new = tuple(one for one in _findings(dataclasses.replace(before, number=changed), against) if one not in known)
    _refuse_missing_prompts(new)
    return changed, new


def _refuse_missing_prompts(findings: Iterable[Finding]) -> None:
    for one in findings:
        if one.oddity is Oddity.NO_SUCH_PROMPT:
            raise Invalid(one.sentence)


async def remove_prompt(connection: AsyncConnection, account_id: UUID, name: str) -> None:
    """Removes a prompt that no number of the account plays. Raises NotFound, or Conflict naming those that do."""
    await library.find(connection, account_id, name)
    if users := await _numbers_playing(connection, account_id, name):
        named = ", ".join(map(written, users[:_MOST_NAMED])) + (" and more" if len(users) > _MOST_NAMED else "")
        raise Conflict(f"prompt {name}: it is played by {named}, or by their rules; set another sound there first")
    await library.remove(connection, account_id, name)


async def treatments(connection: AsyncConnection) -> AsyncIterator[Treatment]:
    """Every treatment that a number, suspended or not, or a rule has, with the sounds that its prompts are now."""
    prompts = await library.played_by_account(connection)
    of_number: dict[PhoneNumber, dict[str, str]] = {}
    async for numbers in in_service(connection):
        for number in numbers:
            if number.account_id in prompts:
                of_number[number.number] = prompts[number.account_id]
            for said in _treatments_of(number):
                yield with_sounds(said, prompts.get(number.account_id, {}))
    async for parts in store.all_rules(connection):
        for owner, rules in parts:
            for rule in rules:
                yield with_sounds(rule.treatment, of_number.get(owner, {}))


async def closed_days(connection: AsyncConnection, of: Owner) -> tuple[ClosedDay, ...]:
    """The days off of an account, or those of one number beside them. Raises NotFound."""
    await _check_there(connection, of)
    return await store.closed_days_of(connection, of)


async def close(connection: AsyncConnection, of: Owner, days: Sequence[ClosedDay]) -> int:
    """Closes on these days; how many are new. Raises NotFound or Invalid."""
    await _check_there(connection, of)
    for day in days:
        check_closed_day(day)
    new = await store.close(connection, of, [_in_order(day) for day in days])
    if len(await store.closed_days_of(connection, of)) > _MOST_CLOSED_DAYS:
        raise Invalid(f"closed days: at most {_MOST_CLOSED_DAYS} are kept; remove those that are past")
    return new


async def open_again(connection: AsyncConnection, of: Owner, days: Sequence[ClosedDay]) -> None:
    """Closes on these days no more. Raises NotFound, also when it was not closed on one of them."""
    await _check_there(connection, of)
    for day in days:
        if not await store.open_again(connection, of, _in_order(day)):
            raise NotFound("closed day: it is not in the list; `dari closed list` shows those that are")


async def group_members(connection: AsyncConnection, account_id: UUID, group: str | None = None) -> list[Member]:
    """Of one group, or of all of the account, by group and number."""
    return await store.members(connection, account_id, group)


async def add_to_group(
    connection: AsyncConnection, account_id: UUID, group: str, numbers: Collection[PhoneNumber], note: str = ""
) -> int:
    """Puts callers into a group, which is there as long as anybody is in it; how many are new. Raises Invalid."""
    group = group.strip()
    if not 0 < len(group) <= _LONGEST_GROUP or not group.isprintable() or "," in group or group == WITHHELD:
        raise Invalid(
            f"group: {group[:_LONGEST_GROUP]!r} must be 1 to {_LONGEST_GROUP} printable characters without a comma, "
            f"and not {WITHHELD}, which means callers without a number"
        )
    if len(note) > _LONGEST_NOTE or not note.isprintable():
        raise Invalid(f"note: it must be at most {_LONGEST_NOTE} printable characters")
    return await store.add_members(connection, account_id, group, numbers, note.strip())


async def remove_from_group(
    connection: AsyncConnection, account_id: UUID, group: str, numbers: Collection[PhoneNumber] | None = None
) -> int:
    """Takes callers out of a group; None: all. How many were in it. Raises NotFound when nobody was."""
    removed = await store.remove_members(connection, account_id, group, numbers)
    if not removed:
        raise NotFound(f"group {group!r}: nobody of these is in it; `dari group list` shows who is")
    return removed


async def holidays(connection: AsyncConnection, year: int | None = None) -> list[Holiday]:
    """By day, of one year or of all."""
    return await store.holidays(connection, year)


async def seed_holidays(connection: AsyncConnection, years: Collection[int]) -> tuple[int, int]:
    """Takes the calendar's public holidays of these years; temporary ones stay. How many are new, and how many gone.

    Raises Invalid.
    """
    for year in years:
        _check_year(year)
    return await store.keep_public_holidays(connection, years, public_holidays(years))


async def add_holiday(connection: AsyncConnection, day: date, name: str) -> None:
    """Enters a temporary public holiday. Raises Invalid, or Conflict when that day is one already."""
    _check_year(day.year)
    if not 0 < len(name.strip()) <= _LONGEST_GROUP or not name.isprintable():
        raise Invalid(f"holiday: its name must be 1 to {_LONGEST_GROUP} printable characters")
    if not await store.add_holiday(connection, day, name.strip()):
        raise Conflict(f"holiday: {day} is one already; remove it first to give it another name")


async def remove_holiday(connection: AsyncConnection, day: date) -> None:
    """Raises NotFound. One of the calendar comes back when that year is seeded again."""
    if not await store.remove_holiday(connection, day):
        raise NotFound(f"holiday: {day} is none; `dari holiday list` shows those that are")


async def account_routing(connection: AsyncConnection, account_id: UUID) -> AccountRouting:
    """What all numbers of the account have in common. Raises NotFound."""
    found = await store.account(connection, account_id)
    if found is None:
        raise NotFound(f"account {account_id}: there is none of that id")
    return with_prompts(found, await library.played(connection, account_id))


async def set_account(
    connection: AsyncConnection, account_id: UUID, *, zone: str | None = None, limits: Limits | None = None
) -> None:
    """Sets the account's time zone, or all of its limits anew; None stays. Raises NotFound or Invalid."""
    if zone is not None:
        check_zone(zone)
    if limits is not None:
        check_limits(limits)
    if not await store.set_account(connection, account_id, zone, limits):
        raise NotFound(f"account {account_id}: there is none of that id")


async def _line(connection: AsyncConnection, number: ServiceNumber) -> Line:
    return Line(
        number=number,
        rules=await store.rules_of(connection, number.number),
        account=await account_routing(connection, number.account_id),
        closed_days=await store.closed_days_of(connection, number.number),
        holidays=await store.holidays_by_day(connection),
    )


async def _numbers_playing(connection: AsyncConnection, account_id: UUID, prompt: str) -> list[PhoneNumber]:
    numbers = {number.number: number for number in await listing(connection, account_id)}
    ruled = await store.rules_of_several(connection, list(numbers))
    return [
        number
        for number, found in numbers.items()
        if any(
            prompt in prompts_of(said)
            for said in (*_treatments_of(found), *(rule.treatment for rule in ruled.get(number, ())))
        )
    ]


def _treatments_of(number: ServiceNumber) -> Iterable[Treatment]:
    """Its own, and what its callers hear while it is suspended."""
    yield number.treatment
    if number.suspended is not None:
        yield Treatment(announcement=number.suspended)


async def _change_rules(
    connection: AsyncConnection,
    number: PhoneNumber,
    against: Against,
    deed: Callable[[tuple[Rule, ...]], Iterable[Rule]],
) -> Kept:
    """Keeps the rules that `deed` makes of those there are, if they may be; two at once follow each other."""
    owner = await find_locked(connection, number)
    before = await _line(connection, owner)
    wanted = checked_rules(tuple(deed(before.rules)), number)
    _check_messages(owner, wanted)
    findings = _findings(dataclasses.replace(before, rules=wanted), against)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        known = _findings(before, against)  # what was wrong already must not keep anybody from mending the rest
        for error in errors:
            if error not in known:
                raise Invalid(error.sentence)
    await store.keep_rules(connection, number, wanted)
    return Kept(wanted, findings)


def _findings(line: Line, against: Against) -> tuple[Finding, ...]:
    return check(line, against.now, against.ring_seconds, against.sounds)


def _check_messages(number: ServiceNumber, wanted: Iterable[Rule]) -> None:
    """Their messages fit with the number's label in them, and there is a number that they can come from."""
    for rule in wanted:
        checked_treatment(rule.treatment, number.number, number.treatment.label)
        if number.sender is None and (rule.treatment.callback or texts_of(rule.treatment)):
            raise Invalid(
                f"rule {rule.name!r}: its message needs a sender; set one with "
                f"`dari number set {written(number.number)} --sender`"
            )


def _named(known: Iterable[Rule], number: PhoneNumber, name: str) -> Rule:
    for rule in known:
        if rule.name == name:
            return rule
    raise NotFound(f"rule {name!r}: {written(number)} has none of that name; `dari rule list` shows its rules")


def _changed(rule: Rule, wanted: RuleChange) -> Rule:
    parts = [name for name in wanted.clear if name in Condition.__struct_fields__]
    plain = Condition()
    condition = msgspec.structs.replace(rule.condition, **{name: getattr(plain, name) for name in parts})
    said = {name: value for name, value in msgspec.structs.asdict(wanted.condition).items() if value}
    treatment = without(rule.treatment, [name for name in wanted.clear if name not in parts])
    return msgspec.structs.replace(
        rule,
        name=rule.name if wanted.name is UNSET else wanted.name,
        condition=msgspec.structs.replace(condition, **said),
        treatment=laid_over(treatment, wanted.treatment),
    )


def _placed(known: Sequence[Rule], rule: Rule, position: int | None) -> list[Rule]:
    if position is None:
        place = next((place for place, other in enumerate(known) if _rank(other) > _rank(rule)), len(known))
    elif position < 1:
        raise Invalid(f"rule {rule.name!r}: its position must be 1 or more")
    else:
        place = position - 1
    return [*known[:place], rule, *known[place:]]


def _rank(rule: Rule) -> int:
    """How special a rule is by what it asks; the lowest is asked first where nobody says otherwise."""
    condition = rule.condition
    asked = (condition.callers, condition.dates, condition.days, condition.weekdays or condition.times)
    return next((rank for rank, part in enumerate(asked) if part), len(asked))


async def _check_there(connection: AsyncConnection, of: Owner) -> None:
    if isinstance(of, UUID):
        await account_routing(connection, of)
    else:
        await find(connection, of)


def _in_order(day: ClosedDay) -> ClosedDay:
    return msgspec.structs.replace(day, weeks=tuple(sorted(set(day.weeks))))


def _check_year(year: int) -> None:
    if not FIRST_YEAR <= year <= LAST_YEAR:
        raise Invalid(f"holiday: {year} must be a year from {FIRST_YEAR} to {LAST_YEAR}")
