"""Accounts and senders on the real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import account_named, accounts, is_sender, register_sender, senders_among
from engine.accounts.model import LOCAL_OPERATOR, Account
from engine.foundation.database import transaction
from engine.foundation.errors import DariError, Invalid, NotAllowed
from engine.foundation.ids import instant_of
from engine.foundation.phone_number import PhoneNumber
from tests.opened_shop import SENDER, VIRTUAL, open_shop

NOW = datetime(2026, 11, 21, 3, tzinfo=UTC)


async def named(database: AsyncEngine, name: str) -> Account:
    async with transaction(database) as connection:
        return await account_named(connection, LOCAL_OPERATOR, name, NOW)


async def test_an_account_is_opened_once_and_found_again(database: AsyncEngine) -> None:
    first = await named(database, "가게")
    assert await named(database, " 가게 ") == first
    assert instant_of(first.id) == NOW
    assert first.zone == "Asia/Seoul"
    other = await named(database, "another")
    async with transaction(database) as connection:
        assert await accounts(connection) == [other, first]


async def test_two_that_open_the_same_account_at_once_get_one(database: AsyncEngine) -> None:
    found = await asyncio.gather(*(named(database, "shop") for _ in range(5)))
    assert len({account.id for account in found}) == 1


@pytest.mark.parametrize("name", ["", "  ", "a" * 101, "a\nb", "a\0b"])
async def test_a_name_that_cannot_be_one_is_refused(database: AsyncEngine, name: str) -> None:
    with pytest.raises(Invalid, match="account"):
        await named(database, name)


async def test_a_sender_belongs_to_the_account_that_registered_it(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    other = await named(database, "another")
    async with transaction(database) as connection:
        assert await is_sender(connection, shop, SENDER)
        assert not await is_sender(connection, other.id, SENDER)


async def test_of_many_senders_those_are_told_that_their_account_registered(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    other = await named(database, "another")
    async with transaction(database) as connection:
        asked = {(shop, SENDER), (other.id, SENDER), (shop, PhoneNumber("0311112222"))}
        assert await senders_among(connection, asked) == {(shop, SENDER)}
        assert await senders_among(connection, []) == set()


async def test_registering_again_keeps_the_first_evidence(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    async with transaction(database) as connection:
        await register_sender(connection, LOCAL_OPERATOR, shop, SENDER, "another paper", NOW)
        assert await connection.scalar(text("SELECT evidence FROM senders")) == "contract of 2026-11-02"


@pytest.mark.parametrize(("number", "evidence"), [(VIRTUAL, "x"), (SENDER, " "), (SENDER, "x" * 1001), ("112", "x")])
async def test_a_sender_without_right_or_evidence_is_refused(database: AsyncEngine, number: str, evidence: str) -> None:
    shop = await named(database, "shop")
    with pytest.raises(DariError) as told:
        async with transaction(database) as connection:
            await register_sender(connection, LOCAL_OPERATOR, shop.id, PhoneNumber(number), evidence, NOW)
    assert isinstance(told.value, Invalid | NotAllowed)
