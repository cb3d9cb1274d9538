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
from engine.accounts.model import LOCAL_OPERATOR
from engine.callbacks.call_ended import call_ended, message_failed
from engine.callbacks.rules import LATEST, SAID_IN_CALL_ONCE_IN
from engine.cdr.model import CallRecord, Result
from engine.contacts.consents import find_valid
from engine.contacts.model import Consent, ConsentChannel, Covers
from engine.foundation.database import transaction
from engine.foundation.errors import NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Category, Message, Purpose, Status
from engine.messages.search import message, messages
from engine.numbers.model import NumberKind, ServiceNumber
from tests.answered_call import CALLER, SENDER, TEXT, answered_call, asked_for, number_with_text, promised
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
    assert kept.purpose is Purpose.CALLBACK
    assert len(kept.certificate) == 12
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
        old_owner = await account_named(connection, LOCAL_OPERATOR, "옛 주인", NOW)
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


async def by_purpose(database: AsyncEngine, call: CallRecord) -> dict[Purpose, Message]:
    """What was decided after a call; fails when one purpose has two."""
    kept = await messages(database, call_id=call.call_id)
    found = {one.purpose: one for one in kept}
    assert len(found) == len(kept)
    return found


async def consent_of(database: AsyncEngine, shop: ServiceNumber) -> Consent | None:
    async with transaction(database) as connection:
        return await find_valid(
            connection, shop.account_id, CALLER, shop.number, ConsentChannel.TEXT, Covers.MESSAGE_ASKED_FOR
        )


async def test_a_rule_replaces_the_numbers_text_or_takes_it_away(database: AsyncEngine) -> None:
    shop = await open_shop(database, number_with_text(repeat_window_days=0))
    other = await keep_call(database, replace(answered_call(NOW), callback="{number} 밤 안내"), shop)
    none = await keep_call(database, replace(answered_call(NOW), callback=""), shop)
    for call in (other, none):
        await call_ended(database, call.call_id, NOW)
    [sent] = await messages(database, call_id=other.call_id)
    assert (sent.status, sent.text) == (Status.QUEUED, "0507-1234-5678 밤 안내")
    [held] = await messages(database, call_id=none.call_id)
    assert (held.status, held.text) == (Status.HELD, "")
    assert held.reason == "the number sends no message after this call: a rule says that none is sent"


async def test_what_the_caller_asked_for_goes_beside_the_callback_and_its_consent_is_kept(
    database: AsyncEngine,
) -> None:
    shop = await open_shop(database)
    call = await keep_call(database, asked_for(answered_call(NOW)), shop)
    await call_ended(database, call.call_id, NOW)
    kept = await by_purpose(database, call)
    assert {purpose: one.status for purpose, one in kept.items()} == {
        Purpose.CONSENT: Status.QUEUED,
        Purpose.CALLBACK: Status.QUEUED,
    }
    asked = kept[Purpose.CONSENT]
    assert (asked.text, asked.category, asked.recipient) == ("찾아오시는 길: 종로 1길 1", Category.INFORMATION, CALLER)
    assert asked.certificate[0].rule == "the caller asked for it in the call"
    assert await events_of(database, call) == ["message.queued"] * 2
    assert await jobs_in_queue(database) == ["send_message"] * 2
    given = await consent_of(database, shop)
    assert given
    assert call.consent
    assert (given.call_id, given.given_at, given.evidence.key) == (call.call_id, call.consent.at, "1")
    assert (given.evidence.sound_version, given.evidence.text) == (call.consent.sound_version, call.consent.text)


async def test_who_asks_again_gets_it_once_in_ten_minutes_and_holds_no_callback_window(database: AsyncEngine) -> None:
    shop = await open_shop(database, number_with_text(text=None))
    async with transaction(database) as connection:
        await connection.execute(
            text("INSERT INTO senders (account_id, number, evidence) VALUES (:account, :number, 'its own line')"),
            {"account": shop.account_id, "number": SENDER},
        )
        await connection.execute(text("UPDATE numbers SET sender = :number"), {"number": SENDER})
    decided = []
    for after in (timedelta(0), SAID_IN_CALL_ONCE_IN - timedelta(seconds=1), SAID_IN_CALL_ONCE_IN):
        call = await keep_call(database, asked_for(replace(answered_call(NOW + after), talk_seconds=1.0)), shop)
        await call_ended(database, call.call_id, call.ended_at)
        decided.append((await by_purpose(database, call))[Purpose.CONSENT])
    assert [one.status for one in decided] == [Status.QUEUED, Status.HELD, Status.QUEUED]
    assert decided[1].reason.startswith("the caller already got the message asked for a short while ago: ")
    assert await window_of(database, shop, CALLER) is None
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM consents")) == 3


async def test_a_number_that_keeps_pressing_1_at_many_calls_at_once_brings_one_message(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    calls = [await keep_call(database, asked_for(answered_call(NOW)), shop) for _ in range(6)]
    await asyncio.gather(*(call_ended(database, call.call_id, NOW) for call in calls))
    asked = [one for one in await messages(database) if one.purpose is Purpose.CONSENT]
    assert sorted(one.status.value for one in asked) == ["held"] * 5 + ["queued"]


async def test_the_same_words_go_once(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    call = await keep_call(database, asked_for(answered_call(NOW), TEXT), shop)
    await call_ended(database, call.call_id, NOW)
    kept = await by_purpose(database, call)
    assert kept[Purpose.CONSENT].status is Status.QUEUED
    assert kept[Purpose.CALLBACK].reason == (
        "another message of this call says the same: the text goes to the caller already"
    )
    assert await window_of(database, shop, CALLER) is None
    assert await jobs_in_queue(database) == ["send_message"]


async def test_a_promised_text_goes_inside_the_repeat_window_and_once_in_ten_minutes(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    before = await keep_call(database, answered_call(NOW - timedelta(hours=1)), shop)
    await call_ended(database, before.call_id, before.ended_at)
    statuses = []
    for after in (timedelta(0), SAID_IN_CALL_ONCE_IN - timedelta(seconds=1), SAID_IN_CALL_ONCE_IN):
        call = await keep_call(database, promised(answered_call(NOW + after)), shop)
        await call_ended(database, call.call_id, call.ended_at)
        kept = await by_purpose(database, call)
        assert kept[Purpose.CALLBACK].reason.startswith("the call was not answered")
        statuses.append(kept[Purpose.TEXT_ONLY].status)
    assert statuses == [Status.QUEUED, Status.HELD, Status.QUEUED]
    assert await window_of(database, shop, CALLER) == before.ended_at


@pytest.mark.parametrize(("promise", "purpose"), [(asked_for, Purpose.CONSENT), (promised, Purpose.TEXT_ONLY)])
async def test_another_number_of_the_account_keeps_its_own_promise(promise, purpose, database) -> None:  # type: ignore[no-untyped-def]
    first = await open_shop(database)
    second = await open_shop(database, replace(number_with_text(), number=PhoneNumber("05071234567")))
    for shop in (first, second):
        call = await keep_call(database, promise(answered_call(NOW)), shop)
        await call_ended(database, call.call_id, NOW)
        assert (await by_purpose(database, call))[purpose].status is Status.QUEUED


@pytest.mark.parametrize(("promise", "purpose"), [(asked_for, Purpose.CONSENT), (promised, Purpose.TEXT_ONLY)])
async def test_a_promised_text_that_nobody_got_frees_its_window_and_no_other(promise, purpose, database) -> None:  # type: ignore[no-untyped-def]
    shop = await open_shop(database)
    answered = await keep_call(database, answered_call(NOW), shop)
    await call_ended(database, answered.call_id, NOW)

    async def another_call() -> Message:
        call = await keep_call(database, promise(answered_call(NOW)), shop)
        await call_ended(database, call.call_id, NOW)
        return (await by_purpose(database, call))[purpose]

    first, second = await another_call(), await another_call()
    await message_failed(database, first.id)
    third = await another_call()
    assert [one.status for one in (first, second, third)] == [Status.QUEUED, Status.HELD, Status.QUEUED]
    assert await window_of(database, shop, CALLER) == NOW


async def test_a_callback_that_nobody_got_frees_its_window_back_to_the_callback_before(database: AsyncEngine) -> None:
    shop = await open_shop(database, number_with_text(repeat_window_days=0))
    before = await keep_call(database, answered_call(NOW), shop)
    later = await keep_call(database, asked_for(answered_call(NOW + timedelta(hours=1))), shop)
    for call in (before, later):
        await call_ended(database, call.call_id, call.ended_at)
    kept = await by_purpose(database, later)
    await message_failed(database, kept[Purpose.CONSENT].id)
    assert await window_of(database, shop, CALLER) == later.ended_at
    await message_failed(database, kept[Purpose.CALLBACK].id)
    assert await window_of(database, shop, CALLER) == before.ended_at


@pytest.mark.parametrize("promise", [asked_for, promised])
async def test_a_promise_of_a_number_that_changed_hands_is_held_where_its_owner_sees_it(promise, database) -> None:  # type: ignore[no-untyped-def]
    shop = await open_shop(database)
    async with transaction(database) as connection:
        old_owner = await account_named(connection, LOCAL_OPERATOR, "옛 주인", NOW)
    call = await keep_call(database, promise(answered_call(NOW)), replace(shop, account_id=old_owner.id))
    await call_ended(database, call.call_id, NOW)
    [kept] = await messages(database)
    assert (kept.status, kept.account_id, kept.sender) == (Status.HELD, old_owner.id, None)
    assert kept.reason.startswith("the number is not its owner's any more")


async def test_a_key_pressed_by_a_withheld_caller_is_held_and_no_consent(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    call = await keep_call(database, asked_for(answered_call(NOW, caller=None)), shop)
    await call_ended(database, call.call_id, NOW)
    assert (await by_purpose(database, call))[Purpose.CONSENT].reason == "the caller's number is not known: withheld"
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM consents")) == 0


async def test_a_consent_whose_message_comes_too_late_is_kept_all_the_same(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    call = await keep_call(database, asked_for(answered_call(NOW - LATEST - timedelta(seconds=1))), shop)
    await call_ended(database, call.call_id, NOW)
    assert {one.status for one in await messages(database)} == {Status.HELD}
    assert await consent_of(database, shop)


@pytest.mark.parametrize("promise", [asked_for, promised])
async def test_runs_at_once_keep_one_message_of_each_purpose(promise, database) -> None:  # type: ignore[no-untyped-def]
    shop = await open_shop(database)
    calls = [await keep_call(database, promise(answered_call(NOW)), shop) for _ in range(4)]
    await asyncio.gather(*(call_ended(database, call.call_id, NOW) for call in calls * 3))
    for call in calls:
        assert len(await by_purpose(database, call)) == 2
        assert len(await events_of(database, call)) == 2
    queued = [one.purpose for one in await messages(database) if one.status is Status.QUEUED]
    expected = {Purpose.CONSENT: 1, Purpose.CALLBACK: 1} if promise is asked_for else {Purpose.TEXT_ONLY: 1}
    assert {purpose: queued.count(purpose) for purpose in set(queued)} == expected
    assert await jobs_in_queue(database) == ["send_message"] * sum(expected.values())
    async with transaction(database) as connection:
        consents = await connection.scalar(text("SELECT count(*) FROM consents"))
    assert consents == (4 if promise is asked_for else 0)


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (NumberKind.OWN, "0312345678"),
        (NumberKind.OWN, "15881234"),
        (NumberKind.MESSAGE_RECEIVING, "0312345678"),
        (NumberKind.OPT_OUT, "0801234567"),
    ],
)
async def test_numbers_of_other_kinds_bring_messages_too_and_may_be_their_sender(
    kind: NumberKind, number: str, database: AsyncEngine
) -> None:
    own = PhoneNumber(number)
    shop = await open_shop(database, replace(number_with_text(), number=own, kind=kind, sender=own))
    call = await keep_call(database, asked_for(answered_call(NOW)), shop)
    await call_ended(database, call.call_id, NOW)
    kept = await by_purpose(database, call)
    assert {one.status for one in kept.values()} == {Status.QUEUED}
    assert {one.sender for one in kept.values()} == {own}
    missed = await keep_call(database, promised(answered_call(NOW)), shop)
    await call_ended(database, missed.call_id, NOW)
    assert (await by_purpose(database, missed))[Purpose.TEXT_ONLY].status is Status.QUEUED


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
