"""Calls that ended together are decided together, as if each had been decided alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import account_named
from engine.accounts.model import LOCAL_OPERATOR, Module
from engine.accounts.modules import switch
from engine.callbacks.call_ended import call_ended, calls_ended
from engine.callbacks.rules import SAID_IN_CALL_ONCE_IN, RepeatWindow
from engine.callbacks.store import Claim, claim_windows, last_messages_at, place_of
from engine.cdr.drain import CALL_ENDED
from engine.cdr.model import CallRecord, Direction, Result
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.foundation.errors import NotFound
from engine.foundation.ids import new_id
from engine.foundation.phone_number import PhoneNumber
from engine.jobs.queue import enqueue, enqueue_each, ids_of
from engine.jobs.worker import Job, Worker
from engine.messages.model import Message, Purpose, Status
from engine.messages.search import messages
from engine.numbers.model import ServiceNumber
from tests.answered_call import CALLER, SENDER, answered_call, asked_for, number_with_text, promised
from tests.eventually import eventually
from tests.shop import events_of, jobs_in_queue, keep_call, open_shop, window_of

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
replace = msgspec.structs.replace


def _caller(number: int) -> PhoneNumber:
    return PhoneNumber(f"0105555{number:04}")


async def _calls(database: AsyncEngine, shop: ServiceNumber, *callers: PhoneNumber | None) -> list[CallRecord]:
    """A call of each of these, one after the other."""
    return [
        await keep_call(database, answered_call(NOW + timedelta(seconds=turn), caller=caller), shop)
        for turn, caller in enumerate(callers)
    ]


def _ids(calls: Sequence[CallRecord]) -> list[UUID]:
    return [call.call_id for call in calls]


async def _of(database: AsyncEngine, call: CallRecord) -> dict[Purpose, Message]:
    kept = await messages(database, call_id=call.call_id)
    found = {one.purpose: one for one in kept}
    assert len(found) == len(kept)
    return found


async def _statuses(database: AsyncEngine, calls: Sequence[CallRecord]) -> list[str]:
    """Of each call's callback."""
    return [(await _of(database, call))[Purpose.CALLBACK].status.value for call in calls]


@asynccontextmanager
async def _counted(database: AsyncEngine) -> AsyncIterator[list[str]]:
    """The statements that the database is told inside."""
    told: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        told.append(" ".join(statement.split()))

    event.listen(database.sync_engine, "before_cursor_execute", note)
    try:
        yield told
    finally:
        event.remove(database.sync_engine, "before_cursor_execute", note)


async def test_what_is_decided_by_is_asked_once_for_all(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    calls = await _calls(database, shop, *map(_caller, range(8)))
    async with _counted(database) as told:
        await calls_ended(database, _ids(calls), NOW)
    reads = [statement for statement in told if statement.startswith("SELECT")]
    assert len(reads) == 5, reads
    assert sum("INSERT INTO callback_recipients" in statement for statement in told) == 1
    assert await _statuses(database, calls) == ["queued"] * 8
    for call in calls:
        assert await events_of(database, call) == ["message.queued"]
        assert await window_of(database, shop, call.caller or CALLER) == NOW


async def test_each_is_decided_by_its_own_number_account_and_caller(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    silent = await open_shop(database, replace(number_with_text(text=None), number=PhoneNumber("05071112222")))
    async with transaction(database) as connection:
        other = await account_named(connection, LOCAL_OPERATOR, "다른 가게", NOW)
        await switch(connection, LOCAL_OPERATOR, shop.account_id, Module.CALLBACK, False, NOW)
    fine, hidden = answered_call(NOW, caller=_caller(1)), answered_call(NOW, caller=None)
    calls = [
        off := await keep_call(database, fine, shop),
        unknown := await keep_call(database, asked_for(hidden), shop),
        late := await keep_call(database, answered_call(NOW - timedelta(hours=1), caller=_caller(2)), shop),
        busy := await keep_call(database, replace(answered_call(NOW, caller=_caller(3)), result=Result.BUSY), shop),
        nothing := await keep_call(database, answered_call(NOW, caller=_caller(4)), silent),
        placed := await keep_call(
            database, replace(answered_call(NOW, caller=_caller(5)), direction=Direction.OUTGOING), shop
        ),
        foreign := await keep_call(
            database, promised(answered_call(NOW, caller=_caller(6))), replace(shop, account_id=other.id)
        ),
    ]
    await calls_ended(database, _ids(calls), NOW)
    assert (await _of(database, off))[Purpose.CALLBACK].reason.startswith("a function that the message needs")
    for call in (late, busy):
        assert (await _of(database, call))[Purpose.CALLBACK].status is Status.HELD
    assert {one.status for one in (await _of(database, unknown)).values()} == {Status.HELD}
    assert await _of(database, nothing) == await _of(database, placed) == {}
    assert (await _of(database, foreign))[Purpose.TEXT_ONLY].reason.startswith("the number is not its owner's any more")
    assert await jobs_in_queue(database) == []


async def test_one_sender_of_two_accounts_counts_for_the_one_that_registered_it(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    async with transaction(database) as connection:
        other = await account_named(connection, LOCAL_OPERATOR, "다른 가게", NOW)
        await connection.execute(text("ALTER TABLE numbers DROP CONSTRAINT numbers_account_id_sender_fkey"))
        await connection.execute(
            text("""
                INSERT INTO numbers (number, kind, account_id, target, callback, sender)
                VALUES ('05079998888', '050', :account, '0298765432', 'text', :sender)
            """),
            {"account": other.id, "sender": SENDER},
        )
    stranger = replace(shop, account_id=other.id, number=PhoneNumber("05079998888"))
    own = await keep_call(database, answered_call(NOW, caller=_caller(1)), shop)
    strange = await keep_call(database, answered_call(NOW, caller=_caller(2)), stranger)
    await calls_ended(database, _ids([own, strange]), NOW)
    assert await _statuses(database, [own, strange]) == ["queued", "held"]
    assert (await _of(database, strange))[Purpose.CALLBACK].reason.startswith("the sender number may not be used")


@pytest.mark.parametrize(("window", "expected"), [(7, ["queued", "held", "held"]), (0, ["queued"] * 3)])
async def test_calls_of_one_caller_are_decided_one_after_the_other(
    database: AsyncEngine, window: int, expected: list[str]
) -> None:
    shop = await open_shop(database, number_with_text(repeat_window_days=window))
    calls = await _calls(database, shop, CALLER, _caller(1), CALLER, _caller(2), CALLER)
    await calls_ended(database, list(reversed(_ids(calls))), NOW)
    same = [call for call in calls if call.caller == CALLER]
    others = [call for call in calls if call.caller != CALLER]
    assert await _statuses(database, same) == expected
    assert await _statuses(database, others) == ["queued", "queued"]
    for call in calls:
        assert len(await events_of(database, call)) == 1


async def test_a_held_call_is_in_nobodys_way(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    busy = await keep_call(database, replace(answered_call(NOW), result=Result.BUSY, talk_seconds=0.0), shop)
    fine = await keep_call(database, answered_call(NOW + timedelta(seconds=1)), shop)
    async with _counted(database) as told:
        await calls_ended(database, _ids([busy, fine]), NOW)
    assert await _statuses(database, [busy, fine]) == ["held", "queued"]
    assert sum("FROM unnest" in statement and "JOIN calls" in statement for statement in told) == 1


async def test_two_numbers_of_an_account_share_a_caller_and_keep_their_own_promises(database: AsyncEngine) -> None:
    first = await open_shop(database)
    second = await open_shop(
        database, replace(number_with_text(repeat_window_days=0), number=PhoneNumber("05071234567"))
    )
    calls = [
        await keep_call(database, asked_for(answered_call(NOW + timedelta(seconds=turn))), shop)
        for turn, shop in enumerate((first, second, first))
    ]
    await calls_ended(database, _ids(calls), NOW)
    # The second number's window has no length; the first's is of 7 days, and counts the second's messages too.
    assert await _statuses(database, calls) == ["queued", "queued", "held"]
    asked = [(await _of(database, call))[Purpose.CONSENT].status.value for call in calls]
    assert asked == ["queued", "queued", "held"]
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM consents")) == 3


async def test_a_batch_done_twice_changes_nothing(database: AsyncEngine) -> None:
    shop = await open_shop(database, number_with_text(repeat_window_days=0))
    calls = await _calls(database, shop, *map(_caller, range(4)))
    for _ in range(2):
        await calls_ended(database, _ids(calls), NOW)
        await calls_ended(database, _ids(calls) * 2, NOW + timedelta(minutes=1))
    for call in calls:
        [kept] = (await _of(database, call)).values()
        assert (kept.status, kept.decided_at) == (Status.QUEUED, NOW)
        assert await events_of(database, call) == ["message.queued"]
        assert await window_of(database, shop, call.caller or CALLER) == NOW
    assert await jobs_in_queue(database) == ["send_message"] * 4


async def test_calls_decided_before_do_not_undo_the_others(database: AsyncEngine) -> None:
    shop = await open_shop(database, number_with_text(repeat_window_days=0))
    calls = await _calls(database, shop, *map(_caller, range(5)))
    for call in calls[1:4:2]:
        await call_ended(database, call.call_id, NOW)
    later = NOW + timedelta(minutes=1)
    await calls_ended(database, _ids(calls), later)
    kept = [(await _of(database, call))[Purpose.CALLBACK] for call in calls]
    assert [one.decided_at for one in kept] == [later, NOW, later, NOW, later]
    assert [await window_of(database, shop, call.caller or CALLER) for call in calls] == [
        later, NOW, later, NOW, later
    ]  # fmt: skip


async def test_the_same_batch_at_several_workers_at_once_is_decided_once(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    calls = [
        await keep_call(database, (asked_for if turn % 2 else promised)(answered_call(NOW, caller=_caller(turn))), shop)
        for turn in range(12)
    ]
    ids = _ids(calls)
    await asyncio.gather(*(calls_ended(database, order, NOW) for order in (ids, ids[::-1], ids[6:] + ids[:6])))
    for call in calls:
        assert len(await _of(database, call)) == 2
        assert len(await events_of(database, call)) == 2
    queued = [one for one in await messages(database) if one.status is Status.QUEUED]
    assert len(queued) == 6 * 2 + 6
    assert len(await jobs_in_queue(database)) == len(queued)


async def test_batches_at_once_with_the_same_callers_bring_each_one_message(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    batches = [
        [await keep_call(database, asked_for(answered_call(NOW, caller=_caller(number))), shop) for number in order]
        for order in (range(10), reversed(range(10)), [*range(5, 10), *range(5)])
    ]
    await asyncio.gather(*(calls_ended(database, _ids(batch), NOW) for batch in batches))
    for number in range(10):
        same = [call for batch in batches for call in batch if call.caller == _caller(number)]
        for purpose in (Purpose.CALLBACK, Purpose.CONSENT):
            decided = [(await _of(database, call))[purpose].status.value for call in same]
            assert sorted(decided) == ["held", "held", "queued"]


async def test_a_window_lost_to_another_transaction_leaves_the_others_as_they_are(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    calls = [
        await keep_call(database, asked_for(answered_call(NOW, caller=_caller(number))), shop) for number in range(3)
    ]
    before = await keep_call(database, answered_call(NOW - timedelta(days=8), caller=_caller(1)), shop)
    await call_ended(database, before.call_id, before.ended_at)
    async with transaction(database) as connection:
        await connection.execute(text("UPDATE callback_recipients SET last_at = :now"), {"now": NOW})
        deciding = asyncio.ensure_future(calls_ended(database, _ids(calls), NOW))
        await eventually(lambda: _waits_for_a_lock(database))
    await deciding
    assert await _statuses(database, calls) == ["queued", "held", "queued"]
    # What the caller asked for is not held by a claim that the first try had made for it.
    assert [(await _of(database, call))[Purpose.CONSENT].status.value for call in calls] == ["queued"] * 3


async def _waits_for_a_lock(database: AsyncEngine) -> bool:
    async with transaction(database) as connection:
        waiting = await connection.scalar(
            text(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            )
        )
        return bool(waiting)


async def test_of_several_claims_of_one_time_each_place_goes_by_its_own_length(database: AsyncEngine) -> None:
    shop = await open_shop(database)

    def claim(number: int, length: timedelta) -> Claim:
        window = RepeatWindow(Purpose.CALLBACK, length)
        return Claim(place_of(shop.account_id, _caller(number), window), length, new_id(NOW))

    async with transaction(database) as connection:
        first = [claim(number, timedelta(days=1)) for number in range(3)]
        assert await claim_windows(connection, first, NOW) == {one.message_id for one in first}
        soon = NOW + timedelta(minutes=11)
        again = [claim(0, timedelta(days=1)), claim(1, timedelta(0)), claim(2, SAID_IN_CALL_ONCE_IN)]
        assert await claim_windows(connection, again, soon) == {one.message_id for one in again[1:]}
        last = await last_messages_at(connection, [one.place for one in first])
        await connection.rollback()  # of messages that there are not
    assert [last[one.place] for one in first] == [NOW, soon, soon]


async def test_a_batch_with_a_call_that_has_no_record_is_not_begun(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    calls = await _calls(database, shop, _caller(1), _caller(2))
    for missing in (answered_call().call_id, uuid4()):
        with pytest.raises(NotFound):
            await calls_ended(database, [*_ids(calls), missing], NOW)
    assert await messages(database) == []


async def test_broken_calls_are_held_alone_and_the_others_are_decided_also_of_a_job_as_it_was_before(
    database: AsyncEngine, database_url: str
) -> None:
    now = datetime.now(UTC)
    shop = await open_shop(database)
    calls = [await keep_call(database, answered_call(now, caller=_caller(number)), shop) for number in range(5)]
    async with transaction(database) as connection:
        await connection.execute(text("UPDATE calls SET steps = '[5]' WHERE call_id = :id"), {"id": calls[2].call_id})
        unknown = answered_call(now).call_id
        await enqueue_each(connection, CALL_ENDED, [*_ids(calls[:4]), unknown])
        as_before = str(calls[4].call_id)
        await enqueue(connection, CALL_ENDED, as_before.encode(), key=f"{CALL_ENDED}:{as_before}")

    async def decide(payload: bytes) -> None:
        await calls_ended(database, ids_of(payload), SystemClock().now())

    worker = Worker(database_url, {CALL_ENDED: Job(decide, many=True)})
    running = asyncio.ensure_future(worker.run())

    async def held() -> set[UUID]:
        async with transaction(database) as connection:
            rows = await connection.execute(
                text("SELECT payload FROM pgqueuer WHERE status = 'failed' AND entrypoint = :name"),
                {"name": CALL_ENDED},
            )
            return {one for payload in rows.scalars() for one in ids_of(payload)}

    async def both_are() -> bool:
        return await held() == {calls[2].call_id, unknown}

    try:
        await eventually(both_are)
        await eventually(lambda: worker.done.total() == 4)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    fine = [call for call in calls if call is not calls[2]]
    assert await _statuses(database, fine) == ["queued"] * 4
