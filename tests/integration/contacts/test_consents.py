"""Consents on the real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.contacts.consents import find_valid, record_consent, revoke
from engine.contacts.model import Consent, ConsentChannel, Covers, KeyPress
from engine.foundation.database import transaction
from engine.foundation.errors import NotFound
from engine.foundation.phone_number import PhoneNumber
from tests.opened_shop import VIRTUAL, open_shop

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
CALLER = PhoneNumber("01023456789")
change = msgspec.structs.replace


def consent(account: UUID, at: datetime = NOW) -> Consent:
    pressed = KeyPress(
        key="1", at=at, sound="ko/consent-offer", sound_version="5e" * 32, before_talk=False, text="찾아오시는 길"
    )
    return Consent(
        id=uuid4(),
        account_id=account,
        recipient=CALLER,
        service=VIRTUAL,
        channel=ConsentChannel.TEXT,
        covers=Covers.MESSAGE_ASKED_FOR,
        given_at=at,
        call_id=uuid4(),
        evidence=pressed,
    )


async def valid(
    database: AsyncEngine,
    account: UUID,
    recipient: PhoneNumber = CALLER,
    service: PhoneNumber = VIRTUAL,
    channel: ConsentChannel = ConsentChannel.TEXT,
) -> Consent | None:
    async with transaction(database) as connection:
        return await find_valid(connection, account, recipient, service, channel, Covers.MESSAGE_ASKED_FOR)


async def test_a_consent_is_found_with_its_proof_for_exactly_what_it_was_given_for(database: AsyncEngine) -> None:
    account, other = await open_shop(database), await open_shop(database, "other")
    assert await valid(database, account) is None
    given = consent(account)
    async with transaction(database) as connection:
        assert await record_consent(connection, given)
    assert await valid(database, account) == given
    assert await valid(database, other) is None
    assert await valid(database, account, recipient=PhoneNumber("01099998888")) is None
    assert await valid(database, account, service=PhoneNumber("0212345678")) is None
    for channel in (ConsentChannel.CALL, ConsentChannel.FAX):
        assert await valid(database, account, channel=channel) is None


async def test_of_one_call_the_first_consent_stays_also_when_several_are_written_at_once(
    database: AsyncEngine,
) -> None:
    given = consent(await open_shop(database))

    async def write(one: Consent) -> bool:
        async with transaction(database) as connection:
            return await record_consent(connection, one)

    assert await write(given)
    again = [change(given, id=uuid4(), given_at=NOW + timedelta(hours=1)) for _ in range(3)]
    assert await asyncio.gather(*map(write, again)) == [False] * 3
    assert await valid(database, given.account_id) == given
    new_call = uuid4()
    at_once = [change(given, id=uuid4(), call_id=new_call) for _ in range(4)]
    assert sorted(await asyncio.gather(*map(write, at_once))) == [False] * 3 + [True]


async def test_a_consent_that_was_taken_back_counts_no_longer_and_its_end_stays(database: AsyncEngine) -> None:
    account = await open_shop(database)
    older, newer = consent(account), consent(account, NOW + timedelta(hours=1))
    async with transaction(database) as connection:
        for given in (newer, older):
            await record_consent(connection, given)
    assert await valid(database, account) == newer
    async with transaction(database) as connection:
        await revoke(connection, newer.id, NOW + timedelta(hours=2))
        await revoke(connection, newer.id, NOW + timedelta(hours=3))
        ended = await connection.scalar(text("SELECT revoked_at FROM consents WHERE id = :id"), {"id": newer.id})
    assert ended == NOW + timedelta(hours=2)
    assert await valid(database, account) == older
    async with transaction(database) as connection:
        await revoke(connection, older.id, NOW + timedelta(hours=2))
    assert await valid(database, account) is None
    with pytest.raises(NotFound):
        async with transaction(database) as connection:
            await revoke(connection, uuid4(), NOW)


async def test_a_consent_is_undone_with_the_transaction_in_which_it_was_written(database: AsyncEngine) -> None:
    account = await open_shop(database)
    connection = await database.connect()
    await record_consent(connection, consent(account))
    await connection.rollback()
    await connection.close()
    assert await valid(database, account) is None
