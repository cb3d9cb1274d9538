"""What a number's rules and closed days may be set to at all. What is allowed and yet odd, `check` finds. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import msgspec

from engine.foundation.errors import DariError, Invalid
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers.rules import checked_treatment
from engine.numbers.treatment import Treatment
from engine.routing.model import ClosedDay, Condition, Rule

MOST_RULES = 50
LONGEST_NAME = 60
MOST_PARTS = 50
"""Weekdays, times, dates or callers in one condition."""
LONGEST_MEMORY = 90 * 24
"""In hours: as far back as a call's history goes."""


def checked_rules(rules: Sequence[Rule], number: PhoneNumber) -> tuple[Rule, ...]:
    """The rules of `number` as they are to be kept. Raises Invalid or NotAllowed, naming the rule."""
    if len(rules) > MOST_RULES:
        raise Invalid(f"rules: a number has at most {MOST_RULES}, not {len(rules)}; join or remove some")
    checked = tuple(checked_rule(rule, number) for rule in rules)
    names = [rule.name for rule in checked]
    for name in names:
        if names.count(name) > 1:
            raise Invalid(f"rule {name!r}: two rules of the number have this name; give one another")
    return checked


def checked_rule(rule: Rule, number: PhoneNumber) -> Rule:
    """The rule as it is to be kept. Raises Invalid or NotAllowed for the first part that cannot be."""
    name = unicodedata.normalize("NFC", rule.name).strip()
    if not (0 < len(name) <= LONGEST_NAME and name.isprintable()):
        raise Invalid(f"rule {rule.name[:LONGEST_NAME]!r}: a name has 1 to {LONGEST_NAME} printable characters")
    try:
        _check_condition(rule.condition)
        treatment = checked_treatment(rule.treatment, number)
        _check_store_notice(treatment, number)
    except DariError as error:
        raise type(error)(f"rule {name!r}: {error}") from None
    return msgspec.structs.replace(rule, name=name, treatment=treatment)


def check_closed_day(closed: ClosedDay) -> None:
    """Raises Invalid for a closed day that is no day."""
    if (closed.day is None) == (closed.weekday is None):
        raise Invalid("closed day: give either a date or a weekday")
    if closed.weekday is not None:
        _check_weekdays((closed.weekday,))
    if closed.weeks and closed.weekday is None:
        raise Invalid("closed day: weeks of the month go with a weekday, not with a date")
    for week in closed.weeks:
        if not 1 <= week <= 5:
            raise Invalid(f"closed day: {week} is no week of a month; give 1 to 5")


def _check_store_notice(treatment: Treatment, number: PhoneNumber) -> None:
    if treatment.store_notice is False:
        raise Invalid(
            "the store notice cannot be switched off by a rule while the service is on; switch the service off in "
            f"the settings of {written(number)} itself"
        )


def _check_condition(condition: Condition) -> None:
    _check_weekdays(condition.weekdays)
    for field in ("weekdays", "times", "dates", "days", "callers"):
        if len(getattr(condition, field)) > MOST_PARTS:
            raise Invalid(f"{field}: at most {MOST_PARTS} go into one rule; make it two rules")
    for span in condition.times:
        if span.start.tzinfo is not None or span.end.tzinfo is not None:
            raise Invalid("times: they are on the account's own clock; leave the zone out")
    for dates in condition.dates:
        if dates.last < dates.first:
            raise Invalid(f"dates: {dates.first} to {dates.last} ends before it begins; exchange the two")
    for caller in condition.callers:
        if not (0 < len(caller) <= LONGEST_NAME and caller.isprintable()):
            raise Invalid(f"callers: {caller[:LONGEST_NAME]!r} is no name of a group; name one of the account's")
    _check_last_call(condition)


def _check_last_call(condition: Condition) -> None:
    wanted = condition.last_call
    if wanted is None:
        return
    if not wanted.results:
        raise Invalid("last call: say how it ended, like busy or no answer")
    if not 1 <= wanted.within_hours <= LONGEST_MEMORY:
        raise Invalid(f"last call: {wanted.within_hours} h ago must be 1 to {LONGEST_MEMORY} hours")


def _check_weekdays(weekdays: tuple[int, ...]) -> None:
    for weekday in weekdays:
        if not 1 <= weekday <= 7:
            raise Invalid(f"weekdays: {weekday} is none; give 1 for Monday to 7 for Sunday")
