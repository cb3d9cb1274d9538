"""A shop in service, and rules for its number."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.database import transaction
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.inventory import add
from engine.numbers.treatment import Treatment
from engine.routing import book
from engine.routing.book import Kept
from engine.routing.check import Against
from engine.routing.model import Condition, Rule
from tests.opened_shop import VIRTUAL, number_of, open_shop

AGAINST = Against(now=datetime(2026, 11, 21, tzinfo=UTC))
ACCEPT = Treatment(accept=True)
CALLER = PhoneNumber("01099998888")


def rule(name: str, treatment: Treatment = ACCEPT, **parts: object) -> Rule:
    return Rule(name=name, condition=msgspec.structs.replace(Condition(), **parts), treatment=treatment)


@pytest.fixture
async def shop(database: AsyncEngine) -> UUID:
    """The account of VIRTUAL, which is in service."""
    account = await open_shop(database)
    async with transaction(database) as connection:
        await add(connection, number_of(account))
    return account


async def added(database: AsyncEngine, *rules: Rule, position: int | None = None) -> Kept:
    async with transaction(database) as connection:
        for one in rules:
            kept = await book.add_rule(connection, LOCAL_OPERATOR, VIRTUAL, one, AGAINST, position)
    return kept
