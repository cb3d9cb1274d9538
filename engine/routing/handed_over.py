"""A number that goes to another account with its settings: what of its rules goes along, and the prompts they play.

What callers hear goes along: prompts are copied. Who callers are stays with the giver: groups of callers are lists of
the giver's own customers, so a rule that asks for one would ask the receiver's of that name, or none, and stays behind.
So does what needs a sender that the receiver has not registered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Module
from engine.accounts.permissions import check_on
from engine.accounts.tree import find as find_account
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import inventory, transfer
from engine.numbers.sound_names import prompts_of, with_prompts_named
from engine.numbers.told import tell_of
from engine.numbers.transfer_model import Transfer, without_texts
from engine.numbers.treatment import Treatment
from engine.prompts.handed_over import hand_over
from engine.routing import store
from engine.routing.functions import functions_of
from engine.routing.model import WITHHELD, Rule

LEFT_BEHIND = "rules left behind"
"""The change of the event that names rules which did not go along."""


async def accept(
    connection: AsyncConnection, actor: Actor, offer: UUID, now: datetime, target: PhoneNumber | None = None
) -> Transfer:
    """As `transfer.accept`, its rules and prompts with it where its settings go along. Raises also TryLater."""
    done = await transfer.accept(connection, actor, offer, now, target)
    if done.keep_settings:
        await _settle(connection, done, now)
    return done


def rules_after(rules: Iterable[Rule], *, with_sender: bool) -> tuple[Rule, ...]:
    """The rules that go along, as they are for the receiver. Pure."""
    return tuple(_rules_after(rules, with_sender=with_sender))


def _rules_after(rules: Iterable[Rule], *, with_sender: bool) -> Iterator[Rule]:
    for rule in rules:
        callers = tuple(name for name in rule.condition.callers if name == WITHHELD)
        if rule.condition.callers and not callers:
            continue
        said = rule.treatment
        if not with_sender:
            said = msgspec.structs.replace(without_texts(said), callback=None)
        if said == Treatment() != rule.treatment:
            continue
        condition = msgspec.structs.replace(rule.condition, callers=callers)
        yield msgspec.structs.replace(rule, condition=condition, treatment=said)


async def _settle(connection: AsyncConnection, done: Transfer, now: datetime) -> None:
    number = await inventory.find_locked(connection, done.number)
    known = await store.rules_of(connection, done.number)
    rules = rules_after(known, with_sender=number.sender is not None)
    await _check_functions(connection, done.to_account, rules)
    played = [name for said in (number.treatment, *(rule.treatment for rule in rules)) for name in prompts_of(said)]
    if played:
        called = await hand_over(connection, played, done.from_account, done.to_account)
        treatment = with_prompts_named(number.treatment, called)
        await inventory.replace(connection, msgspec.structs.replace(number, treatment=treatment))
        rules = tuple(
            msgspec.structs.replace(rule, treatment=with_prompts_named(rule.treatment, called)) for rule in rules
        )
    if rules != known:
        await store.keep_rules(connection, done.number, rules)
    kept = {rule.name for rule in rules}
    if left := [rule.name for rule in known if rule.name not in kept]:
        await tell_of(connection, done.to_account, done.number, LEFT_BEHIND, now, rules=left, transfer=str(done.id))


async def _check_functions(connection: AsyncConnection, receiver: UUID, rules: Sequence[Rule]) -> None:
    if any(Module.MOBILE_TARGETS in functions_of(rule.treatment) for rule in rules if rule.enabled):
        check_on(await find_account(connection, receiver), Module.MOBILE_TARGETS)
