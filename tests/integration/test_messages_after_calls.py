"""From a call's end to a decided message, on a real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import account_named
from engine.callbacks.call_ended import call_ended, message_failed
from engine.callbacks.decision import LATEST
from engine.cdr.model import Result
from engine.foundation.database import transaction
from engine.foundation.errors import NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Category, Status
from engine.messages.search import message, messages
from tests.answered_call import CALLER, SENDER, TEXT, answered_call, number_with_text
from tests.shop import events_of, jobs_in_queue, keep_call, open_shop, window_of

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
replace = msgspec.structs.replace


async def test_an_answered_call_brings_one_queued_message_with_its_certificate_event_and_job(
    database: AsyncEngine,
) -> None:
    shop = await open_shop(database)
    call = await keep_call(database, answered_call(NOW), shop)
    await call_ended(database, call.call_id, NOW)
    [kept] = await messages(database)
    assert (kept.status, kept.recipient, kept.sender, kept.text) == (Status.QUEUED, CALLER, SENDER, TEXT)
    assert (kept.call_id, kept.number, kept.account_id) == (call.call_id, shop.number, shop.account_id)
    assert (kept.category, kept.reason, kept.decided_at) == (Category.INFORMATION, "", NOW)
    assert len(kept.certificate) == 10
    assert all(check.passed for check in kept.certificate)
    assert await events_of(database, call) == ["message.queued"]
    assert await jobs_in_queue(database) == ["send_message"]
    assert await window_of(database, shop, CALLER) == NOW
    assert await message(database, kept.id) == kept


@pytest.mark.parametrize("window", [7, 0])
async def test_the_job_done_twice_also_at_once_is_one_message(database: AsyncEngine, window: int) -> None:
    shop = await open_shop(database, number_with_text(repeat_window_days=window))
    call = await keep_call(database, answered_call(NOW), shop)
    await asyncio.gather(*(call_ended(database, call.call_id, NOW) for _ in range(4)))
    later = NOW + timedelta(minutes=1)
    await call_ended(database, call.call_id, later)
    [kept] = await messages(database)
    assert kept.status is Status.QUEUED
    assert await events_of(database, call) == ["message.queued"]
    assert await jobs_in_queue(database) == ["send_message"]
    assert await window_of(database, shop, CALLER) == NOW


async def test_calls_of_one_caller_that_end_together_bring_one_message(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    calls = [await keep_call(database, answered_call(NOW), shop) for _ in range(5)]
    await asyncio.gather(*(call_ended(database, call.call_id, NOW) for call in calls))
    kept = await messages(database)
    held = [message for message in kept if message.status is Status.HELD]
    assert (len(kept), len(held)) == (5, 4)
    for one in held:
        assert one.reason.startswith("the caller already got a message within the repeat window")
        assert [check.rule for check in one.certificate if not check.passed] == ["no message within the repeat window"]
    assert await jobs_in_queue(database) == ["send_message"]


async def test_the_window_is_per_recipient_and_ends(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    other = PhoneNumber("01055556666")
    for call in (answered_call(NOW), answered_call(NOW, caller=other), answered_call(NOW + timedelta(days=7))):
        await keep_call(database, call, shop)
        await call_ended(database, call.call_id, call.ended_at)
    assert [message.status for message in await messages(database)] == [Status.QUEUED] * 3


async def test_a_held_message_is_kept_with_its_reason_and_holds_no_window(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    call = await keep_call(database, replace(answered_call(NOW), result=Result.BUSY, talk_seconds=0.0), shop)
    await call_ended(database, call.call_id, NOW)
    [kept] = await messages(database, call_id=call.call_id)
    assert (kept.status, kept.reason) == (
        Status.HELD,
        "the call was not answered: the result is “busy”",
    )
    assert await events_of(database, call) == ["message.held"]
    assert await jobs_in_queue(database) == []
    assert await window_of(database, shop, CALLER) is None


async def test_a_withheld_caller_and_a_late_job_are_held(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    hidden = await keep_call(database, answered_call(NOW, caller=None), shop)
    late = await keep_call(database, answered_call(NOW - LATEST - timedelta(seconds=1)), shop)
    for call in (hidden, late):
        await call_ended(database, call.call_id, NOW)
    [reason] = [message.reason for message in await messages(database, call_id=hidden.call_id)]
    assert reason == "the caller's number is not known: withheld"
    [reason] = [message.reason for message in await messages(database, call_id=late.call_id)]
    assert reason.startswith("it is too late for a message about the call")


async def test_a_number_without_a_text_and_one_of_nobody_leave_nothing(database: AsyncEngine) -> None:
    shop = await open_shop(database, number_with_text(text=None))
    silent = await keep_call(database, answered_call(NOW), shop)
    unknown = await keep_call(database, answered_call(NOW), replace(shop, number=PhoneNumber("050799998888")))
    for call in (silent, unknown):
        await call_ended(database, call.call_id, NOW)
        assert await events_of(database, call) == []
    assert await messages(database) == []
    assert await jobs_in_queue(database) == []


async def test_a_number_that_changed_hands_sends_nothing_to_the_old_owners_caller(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    async with transaction(database) as connection:
        old_owner = await account_named(connection, "옛 주인", NOW)
    call = await keep_call(database, answered_call(NOW), replace(shop, account_id=old_owner.id))
    await call_ended(database, call.call_id, NOW)
    assert await messages(database) == []


async def test_a_sender_that_is_no_longer_registered_is_not_used(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    call = await keep_call(database, answered_call(NOW), shop)
    async with transaction(database) as connection:
        await connection.execute(text("ALTER TABLE numbers DROP CONSTRAINT numbers_account_id_sender_fkey"))
        await connection.execute(text("DELETE FROM senders"))
    await call_ended(database, call.call_id, NOW)
    [kept] = await messages(database)
    assert kept.reason.startswith("the sender number may not be used")


async def test_a_call_without_a_record_is_not_found(database: AsyncEngine) -> None:
    with pytest.raises(NotFound):
        await call_ended(database, answered_call().call_id, NOW)


async def test_a_message_that_nobody_got_frees_the_window_back_to_the_one_before(database: AsyncEngine) -> None:
    shop = await open_shop(database, number_with_text(repeat_window_days=0))
    for hour in (0, 1):
        call = await keep_call(database, answered_call(NOW + timedelta(hours=hour)), shop)
        await call_ended(database, call.call_id, call.ended_at)
    second, first = await messages(database)
    await message_failed(database, second.id)
    assert await window_of(database, shop, CALLER) == first.decided_at == NOW
    await message_failed(database, second.id)
    assert await window_of(database, shop, CALLER) == NOW
    async with transaction(database) as connection:
        await connection.execute(text("UPDATE messages SET status = 'failed', reason = 'refused'"))
    await message_failed(database, first.id)
    assert await window_of(database, shop, CALLER) is None


async def test_messages_are_found_by_number_and_by_call(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    call = await keep_call(database, answered_call(NOW), shop)
    await call_ended(database, call.call_id, NOW)
    assert len(await messages(database, number=shop.number)) == 1
    assert await messages(database, number=PhoneNumber("0507")) == []
    assert await messages(database, call_id=uuid4()) == []
    assert await messages(database, limit=0) == []
    with pytest.raises(NotFound):
        await message(database, uuid4())
