"""A number is put into service or changed, and checked with its rules: what is odd about it then, its user is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor
from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import life
from engine.numbers.inventory import NumberChange, find_locked
from engine.numbers.model import ServiceNumber
from engine.routing import current_lines
from engine.routing.check import Against, check
from engine.routing.finding import Finding, Oddity


async def put_into_service(
    connection: AsyncConnection, actor: Actor, wanted: ServiceNumber, against: Against
) -> tuple[ServiceNumber, tuple[Finding, ...]]:
    """As `life.put_into_service`; the number as it is kept, and what is odd about it.

    Raises Invalid also for a prompt that the account does not have.
    """
    kept = await life.put_into_service(connection, actor, wanted, against.now)
    findings = check(await current_lines.find_as_set(connection, kept.number), against)
    _refuse_missing_prompts(findings)
    return kept, findings


async def change(
    connection: AsyncConnection, actor: Actor, number: PhoneNumber, wanted: NumberChange, against: Against
) -> tuple[ServiceNumber, tuple[Finding, ...]]:
    """As `life.change`; the number as it is then, and what is odd about it that was not before.

    Raises Invalid also for a prompt that the account does not have.
    """
    before = await current_lines.of_number(connection, await find_locked(connection, number))
    changed = await life.change(connection, actor, number, wanted, against.now)
    known = check(before, against)
    new = tuple(one for one in check(dataclasses.replace(before, number=changed), against) if one not in known)
    _refuse_missing_prompts(new)
    return changed, new


def _refuse_missing_prompts(findings: Iterable[Finding]) -> None:
    for one in findings:
        if one.oddity is Oddity.NO_SUCH_PROMPT:
            raise Invalid(one.sentence)
