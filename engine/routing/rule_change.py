"""A number's rules with one added, changed, moved or taken away. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import UNSET, UnsetType

from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers.rules import laid_over, without
from engine.numbers.treatment import Treatment
from engine.routing.model import Condition, Rule


class RuleChange(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be different about a rule; what is left out stays."""

    name: str | UnsetType = UNSET
    condition: Condition = Condition()
    """Its parts that are said replace those of the rule."""
    treatment: Treatment = Treatment()
    """Laid over the rule's."""
    clear: tuple[str, ...] = ()
    """Names of parts of the condition, and of settings, that are no longer said; done before the others."""
    enabled: bool | UnsetType = UNSET
    position: int | UnsetType = UNSET
    """Its new place, counted from 1; one behind the last is the last."""


def with_added(known: Sequence[Rule], number: PhoneNumber, rule: Rule, position: int | None = None) -> list[Rule]:
    """The rules and this one at `position`, counted from 1; None: behind those that are as special, or more so.

    Raises Invalid, or Conflict when there is one of that name.
    """
    if any(rule.name == other.name for other in known):
        raise Conflict(f"rule {rule.name!r}: {written(number)} has one of that name; change that one")
    return _placed(known, rule, position)


def with_changed(known: Sequence[Rule], number: PhoneNumber, name: str, wanted: RuleChange) -> list[Rule]:
    """The rules, that one changed where it stands, unless its place is to be another.

    Raises NotFound, Invalid, or Conflict when the new name is taken.
    """
    old = _named(known, number, name)
    new = _changed(old, wanted)
    if new.name != old.name and any(rule.name == new.name for rule in known):
        raise Conflict(f"rule {new.name!r}: {written(number)} has one of that name; choose another")
    if wanted.position is UNSET:
        return [new if rule is old else rule for rule in known]
    return _placed([rule for rule in known if rule is not old], new, wanted.position)


def with_removed(known: Sequence[Rule], number: PhoneNumber, name: str) -> list[Rule]:
    """The rules without that one. Raises NotFound."""
    gone = _named(known, number, name)
    return [rule for rule in known if rule is not gone]


def _named(known: Iterable[Rule], number: PhoneNumber, name: str) -> Rule:
    for rule in known:
        if rule.name == name:
            return rule
    raise NotFound(f"rule {name!r}: {written(number)} has none of that name; look which rules it has")


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
        enabled=rule.enabled if wanted.enabled is UNSET else wanted.enabled,
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
