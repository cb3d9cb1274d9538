"""Accounts that hold numbers, the people in them, and a stock to hold numbers of: for tests of the life of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts.book import register_sender
from engine.accounts.model import LOCAL_OPERATOR, OPERATOR_ID, AccountKind, Actor, Role
from engine.accounts.tree import open_account, place_of
from engine.foundation.database import transaction
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import ranges
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.quarantine_terms import STANDARD_TERMS, QuarantineTerms
from engine.numbers.range_import import import_numbers
from engine.numbers.states import StockNumber
from engine.numbers.store_life import one

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
TARGET = PhoneNumber("0298765432")
SENDER = PhoneNumber("0212345678")
FIRST = PhoneNumber("050710000000")


@dataclass(frozen=True, slots=True)
class World:
    """Two agencies with a shop under each, and who answers for each of the four."""

    agency: UUID
    shop: UUID
    other_agency: UUID
    other_shop: UUID
    manager: Actor
    owner: Actor
    other_manager: Actor
    other_owner: Actor


async def make_world(database: AsyncEngine) -> World:
    async with transaction(database) as connection:
        made: list[UUID] = []
        people: list[Actor] = []
        for name in ("one", "other"):
            agency = await open_account(connection, LOCAL_OPERATOR, OPERATOR_ID, AccountKind.AGENCY, name, NOW)
            shop = await open_account(connection, LOCAL_OPERATOR, agency.id, AccountKind.SHOP, f"{name} shop", NOW)
            await register_sender(connection, LOCAL_OPERATOR, shop.id, SENDER, "contract", NOW)
            made += [agency.id, shop.id]
            for account, role in ((agency.id, Role.AGENCY), (shop.id, Role.OWNER)):
                place = await place_of(connection, account)
                people.append(Actor(who=f"user:{account}", place=place, role=role))
    one, its_shop, other, others_shop = made
    return World(one, its_shop, other, others_shop, *people)


async def fill(
    database: AsyncEngine, count: int, *, terms: QuarantineTerms = STANDARD_TERMS, first: PhoneNumber = FIRST
) -> list[PhoneNumber]:
    """That many available numbers from `first` on, of a range of their own."""
    numbers = following(first, count)
    async with transaction(database) as connection:
        await ranges.add(connection, LOCAL_OPERATOR, first[:6], first[:6], 12, NOW, terms)
        report = await import_numbers(connection, LOCAL_OPERATOR, "\n".join(numbers).encode(), NOW)
    assert report.taken == count
    return numbers


def following(first: str, count: int) -> list[PhoneNumber]:
    """So many numbers, one after the other."""
    return [PhoneNumber(f"{int(first) + place:012}") for place in range(count)]


def wanted(number: PhoneNumber, account: UUID, **settings: Any) -> ServiceNumber:
    """A 050 number as it is to be in service."""
    values: dict[str, Any] = {"kind": NumberKind.VIRTUAL, "target": TARGET} | settings
    return ServiceNumber(number=number, account_id=account, **values)


async def stock_of(database: AsyncEngine, number: PhoneNumber) -> StockNumber:
    async with transaction(database) as connection:
        found = await one(connection, number)
    assert found is not None
    return found


async def events(database: AsyncEngine, kind: str = "number.changed") -> list[tuple[UUID | None, dict[str, Any]]]:
    """Whose, and what they say, in order."""
    async with transaction(database) as connection:
        rows = await connection.execute(
            text("SELECT account_id, body FROM events WHERE kind = :kind ORDER BY id"), {"kind": kind}
        )
        return [(row.account_id, row.body) for row in rows]


async def audited(database: AsyncEngine) -> list[tuple[str, str, str]]:
    """Who did which deed to what; without the accounts and their senders."""
    async with transaction(database) as connection:
        rows = await connection.execute(
            text("SELECT who, deed, object_id FROM audit WHERE object_kind NOT IN ('account', 'sender') ORDER BY id")
        )
        return [(row.who, row.deed, row.object_id) for row in rows]


async def moves_of(connection: AsyncConnection, numbers: Iterable[PhoneNumber]) -> Sequence[str]:
    """The moves of these numbers, in order."""
    rows = await connection.execute(
        text("SELECT move FROM number_history WHERE number = ANY(:numbers) ORDER BY id"), {"numbers": list(numbers)}
    )
    return [row.move for row in rows]
