"""The book of rules: which rules a number has, in the order in which they are asked.

Each deed works in the caller's transaction (`engine.foundation.database.transaction`), so that nothing is half done,
and writes there what it changed (`engine.routing.told`); whether the actor may do it, the door has asked. The running
engines hear of it when that transaction commits.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Module
from engine.accounts.permissions import check_on
from engine.accounts.tree import find as find_account
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers.inventory import find, find_locked
from engine.numbers.model import ServiceNumber
from engine.numbers.rules import checked_treatment, texts_of
from engine.numbers.treatment import Treatment
from engine.routing import current_lines, store, told
from engine.routing.check import Against, check
from engine.routing.finding import Finding, Severity
from engine.routing.functions import functions_of
from engine.routing.model import Rule
from engine.routing.rule_change import RuleChange, with_added, with_changed, with_removed
from engine.routing.rules import checked_rules


@dataclass(frozen=True, slots=True)
class Kept:
    """A number's rules as they are now, and what is odd about them."""

    rules: tuple[Rule, ...]
    findings: tuple[Finding, ...]


async def rules(connection: AsyncConnection, number: PhoneNumber) -> tuple[Rule, ...]:
    """In the order in which they are asked. Raises NotFound."""
    await find(connection, number)
    return await store.rules_of(connection, number)


async def check_rules(connection: AsyncConnection, number: PhoneNumber, against: Against) -> tuple[Finding, ...]:
    """What is odd or wrong about the number's rules as they are. Raises NotFound."""
    return check(await current_lines.find_as_set(connection, number), against)


async def add_rule(
    connection: AsyncConnection,
    actor: Actor,
    number: PhoneNumber,
    rule: Rule,
    against: Against,
    position: int | None = None,
) -> Kept:
    """Adds a rule at `position`, counted from 1; None: behind those that are as special as it is, or more so.

    Raises NotFound, NotAllowed, Invalid, or Conflict when the number has a rule of that name.
    """
    return await _change_rules(
        connection, actor, number, against, lambda known: with_added(known, number, rule, position)
    )


async def change_rule(
    connection: AsyncConnection, actor: Actor, number: PhoneNumber, name: str, wanted: RuleChange, against: Against
) -> Kept:
    """Changes a rule, where it stands unless its place is to be another.

    Raises NotFound, NotAllowed, Invalid, or Conflict when the new name is taken.
    """
    return await _change_rules(
        connection, actor, number, against, lambda known: with_changed(known, number, name, wanted)
    )


async def move_rule(
    connection: AsyncConnection, actor: Actor, number: PhoneNumber, name: str, position: int, against: Against
) -> Kept:
    """Puts a rule at `position`, counted from 1; one behind the last is the last. Raises NotFound or Invalid."""
    return await change_rule(connection, actor, number, name, RuleChange(position=position), against)


async def enable_rule(
    connection: AsyncConnection, actor: Actor, number: PhoneNumber, name: str, against: Against, *, enabled: bool
) -> Kept:
    """Lets a rule be asked, or not, and keeps it either way. Raises NotFound, NotAllowed or Invalid."""
    return await change_rule(connection, actor, number, name, RuleChange(enabled=enabled), against)


async def remove_rule(
    connection: AsyncConnection, actor: Actor, number: PhoneNumber, name: str, against: Against
) -> Kept:
    """Raises NotFound."""
    return await _change_rules(connection, actor, number, against, lambda known: with_removed(known, number, name))


async def replace_rules(
    connection: AsyncConnection, actor: Actor, number: PhoneNumber, wanted: Sequence[Rule], against: Against
) -> Kept:
    """The number has these rules in this order, and no others. Raises NotFound, NotAllowed or Invalid."""
    return await _change_rules(connection, actor, number, against, lambda _: wanted)


async def _change_rules(
    connection: AsyncConnection,
    actor: Actor,
    number: PhoneNumber,
    against: Against,
    deed: Callable[[tuple[Rule, ...]], Iterable[Rule]],
) -> Kept:
    """Keeps the rules that `deed` makes of those there are, if they may be; two at once follow each other."""
    owner = await find_locked(connection, number)
    before = await current_lines.of_number(connection, owner)
    wanted = checked_rules(tuple(deed(before.rules)), number)
    _check_messages(owner, wanted)
    findings = check(dataclasses.replace(before, rules=wanted), against)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if errors:
        known = check(before, against)  # what was wrong already must not keep anybody from mending the rest
        for error in errors:
            if error not in known:
                raise Invalid(error.sentence)
    await _check_switched_on(connection, owner, before.rules, wanted)
    await store.keep_rules(connection, number, wanted)
    await told.tell_rules(connection, actor, owner, before.rules, wanted, against.now)
    return Kept(wanted, findings)


async def _check_switched_on(
    connection: AsyncConnection, owner: ServiceNumber, before: Sequence[Rule], wanted: Sequence[Rule]
) -> None:
    """Raises NotAllowed when a rule that is asked needs a function that it did not need before and that the account
    has not.
    """
    asked = {rule.name: rule.treatment for rule in before if rule.enabled}
    needed: set[Module] = set()
    for rule in wanted:
        if rule.enabled and rule.treatment not in asked.values():
            needed |= functions_of(rule.treatment) - functions_of(asked.get(rule.name, Treatment()))
    if needed:
        account = await find_account(connection, owner.account_id)
        for module in sorted(needed, key=lambda module: module.value):
            check_on(account, module)


def _check_messages(number: ServiceNumber, wanted: Iterable[Rule]) -> None:
    """Their messages fit with the number's label in them, and there is a number that they can come from."""
    for rule in wanted:
        checked_treatment(rule.treatment, number.number, number.treatment.label)
        if number.sender is None and (rule.treatment.callback or texts_of(rule.treatment)):
            raise Invalid(
                f"rule {rule.name!r}: its message needs a sender; name one in the settings of {written(number.number)}"
            )
