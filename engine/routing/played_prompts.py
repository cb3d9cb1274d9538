"""Which prompts the numbers of an account and their rules play, and so which may go."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor
from engine.foundation.errors import Conflict
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers.inventory import in_service, listing
from engine.numbers.model import ServiceNumber
from engine.numbers.sound_names import prompts_of, with_sounds
from engine.numbers.treatment import Treatment
from engine.prompts import library
from engine.routing import store

_MOST_NAMED = 5


async def remove_prompt(connection: AsyncConnection, actor: Actor, account_id: UUID, name: str, now: datetime) -> None:
    """Removes a prompt that no number of the account plays. Raises NotFound, or Conflict naming those that do."""
    await library.find(connection, account_id, name)
    if users := await _numbers_playing(connection, account_id, name):
        named = ", ".join(map(written, users[:_MOST_NAMED])) + (" and more" if len(users) > _MOST_NAMED else "")
        raise Conflict(f"prompt {name}: it is played by {named}, or by their rules; set another sound there first")
    await library.remove(connection, actor, account_id, name, now)


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
