"""The outbox against a real database and the real sandbox gateway. The gateway's own journal is the judge."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from engine.accounts import tree
from engine.accounts.model import LOCAL_OPERATOR, OPERATOR_ID, AccountKind, Module
from engine.accounts.modules import switch
from engine.callbacks.call_ended import call_ended, calls_ended, message_failed
from engine.cdr.drain import CALL_ENDED
from engine.cdr.model import CallRecord
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.foundation.phone_number import PhoneNumber
from engine.jobs.queue import enqueue_each, ids_of
from engine.jobs.worker import Job, Worker
from engine.messages.gateways.gateway import NeverSeen, Outgoing
from engine.messages.model import Purpose, Status
from engine.messages.outbox import LOOK_UP_MESSAGE, MESSAGE_FAILED, SEND_MESSAGE
from engine.messages.outcome import DEFAULT_PACE
from engine.messages.search import message
from engine.messages.search import messages as all_messages
from engine.numbers import inventory
from engine.numbers.inventory import NumberChange
from engine.numbers.treatment import Treatment
from engine.sandbox.gateway_faults import Fault
from tests.answered_call import CALLER, NUMBER, SENDER, TEXT, answered_call, asked_for
from tests.eventually import eventually
from tests.message_system import (
    KEY,
    SWITCHED_OFF,
    System,
    claimed_by_a_dying_worker,
    system,
    waiting_for_a_lock,
    waiting_to_be_sent,
)
from tests.shop import events_of, jobs_in_queue, keep_call, window_of


async def test_a_message_is_accepted_and_its_receipt_makes_it_delivered(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path, delivery_seconds=0.05) as s:
        kept = await s.queued()
        await s.send(kept)

        async def delivered() -> bool:
            return await s.status(kept) is Status.DELIVERED

        await eventually(delivered)
    done = await message(database, kept.id)
    assert done.gateway == "sandbox"
    assert done.gateway_reference is not None
    assert done.accepted_at is not None
    assert done.finished_at is not None
    assert s.acceptances(kept) == 1
    async with transaction(database) as connection:
        kinds = await connection.execute(text("SELECT kind FROM events WHERE kind LIKE 'message%' ORDER BY id"))
    assert list(kinds.scalars()) == ["message.queued", "message.sent", "message.delivered"]


async def test_a_message_is_sent_once_however_often_the_job_is_done(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path) as s:
        kept = await s.queued()
        await asyncio.gather(*(s.send(kept) for _ in range(5)))
        await s.send(kept)
        done = await message(database, kept.id)
    assert (done.status, done.attempt, s.acceptances(kept)) == (Status.ACCEPTED, 1, 1)


async def test_workers_that_claim_at_the_same_instant_get_one_claim(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path) as s:
        kept = await s.queued()
        async with transaction(database) as connection:
            await connection.execute(text("SELECT FROM messages FOR UPDATE"))
            workers = [asyncio.ensure_future(s.send(kept)) for _ in range(3)]
            await eventually(lambda: waiting_for_a_lock(database, len(workers)))
        await asyncio.gather(*workers)
        done = await message(database, kept.id)
    assert (done.status, done.attempt, s.acceptances(kept)) == (Status.ACCEPTED, 1, 1)


@pytest.mark.parametrize("fault", [Fault.LATE, Fault.CUT_AFTER, Fault.BROKEN, Fault.GARBAGE])
async def test_a_message_taken_without_an_answer_is_looked_up_and_not_doubled(
    database: AsyncEngine, tmp_path: Path, fault: Fault
) -> None:
    async with system(database, tmp_path, fault, timeout=0.3) as s:
        kept = await s.queued()
        await s.send(kept)
        assert s.faults.happened == [fault]
        assert await s.status(kept) is Status.UNKNOWN
        s.faults.posts.append(Fault.BROKEN)  # a second submission would show
        await s.send(kept)
        done = await message(database, kept.id)
    assert (done.status, done.attempt, s.acceptances(kept)) == (Status.ACCEPTED, 2, 1)
    assert s.faults.happened == [fault]


async def test_a_message_lost_before_it_was_taken_is_sent_again_after_asking(
    database: AsyncEngine, tmp_path: Path
) -> None:
    async with system(database, tmp_path, Fault.CUT_BEFORE) as s:
        kept = await s.queued()
        await s.send(kept)
        assert (await s.status(kept), s.acceptances(kept)) == (Status.UNKNOWN, 0)
        await s.send(kept)
    assert (await s.status(kept), s.acceptances(kept)) == (Status.ACCEPTED, 1)


async def _switched(s: System, on: bool, *modules: Module) -> None:
    async with transaction(s.database) as connection:
        for module in modules:
            await switch(connection, LOCAL_OPERATOR, s.shop.account_id, module, on, s.clock.now())


async def test_what_waits_is_held_when_its_function_is_switched_off_and_stays_so(
    database: AsyncEngine, tmp_path: Path
) -> None:
    async with system(database, tmp_path, Fault.BUSY) as s:
        kept = await s.queued()
        await s.send(kept)
        await _switched(s, False, Module.CALLBACK, Module.RECORDING)
        await s.send(kept)
        held = await message(database, kept.id)
        reason = "callback was switched off for the account before it was sent"
        assert (held.status, held.reason, held.finished_at) == (Status.HELD, reason, None)
        assert (await jobs_in_queue(database)).count(MESSAGE_FAILED) == 1, "its repeat window is free again"
        await _switched(s, True, Module.CALLBACK)
        await s.send(kept)
        await s.outbox.look_after()
    assert (await s.status(kept), s.acceptances(kept)) == (Status.HELD, 0)
    async with transaction(database) as connection:
        kinds = await connection.execute(text("SELECT kind FROM events WHERE kind LIKE 'message%' ORDER BY id"))
    assert list(kinds.scalars()) == ["message.queued", "message.held"]


async def test_what_the_gateway_may_have_is_asked_after_before_it_is_held(
    database: AsyncEngine, tmp_path: Path
) -> None:
    async with system(database, tmp_path, Fault.CUT_AFTER, Fault.CUT_BEFORE) as s:
        taken, lost = await s.queued(), await s.queued(PhoneNumber("01055556666"))
        for kept in (taken, lost):
            await s.send(kept)
        await _switched(s, False, Module.CALLBACK)
        for kept in (taken, lost):
            await s.send(kept)
        assert (await s.status(taken), s.acceptances(taken)) == (Status.ACCEPTED, 1)
        assert (await s.status(lost), s.acceptances(lost)) == (Status.HELD, 0)


async def test_a_store_message_waits_on_its_own_function_too(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path) as s:
        plain = await s.queued()
        async with transaction(database) as connection:
            wanted = NumberChange(treatment=Treatment(store_notice=True))
            await inventory.change(connection, s.shop.number, wanted)
        stores = await s.queued(PhoneNumber("01055556666"))
        assert (plain.needs, stores.needs) == ((Module.CALLBACK,), (Module.CALLBACK, Module.STORE_MESSAGE))
        await _switched(s, False, Module.STORE_MESSAGE)
        for kept in (plain, stores):
            await s.send(kept)
        assert (await s.status(plain), await s.status(stores)) == (Status.ACCEPTED, Status.HELD)


async def test_after_a_call_nothing_is_queued_that_needs_a_function_that_is_off(
    database: AsyncEngine, tmp_path: Path
) -> None:
    async with system(database, tmp_path) as s:
        async with transaction(database) as connection:
            agency = await tree.open_account(
                connection, LOCAL_OPERATOR, OPERATOR_ID, AccountKind.AGENCY, "agency", s.clock.now()
            )
            await tree.move(connection, LOCAL_OPERATOR, s.shop.account_id, agency.id, s.clock.now())
            await switch(connection, LOCAL_OPERATOR, agency.id, Module.CALLBACK, False, s.clock.now())
        call = await keep_call(database, asked_for(answered_call(s.clock.now())), s.shop)
        await call_ended(database, call.call_id, s.clock.now())
        kept = await all_messages(database, call_id=call.call_id)
        assert {one.purpose for one in kept} == {Purpose.CALLBACK, Purpose.CONSENT}
        for one in kept:
            assert one.status is Status.HELD
            assert [check.evidence for check in one.certificate if not check.passed] == ["callback is off"]
        assert SEND_MESSAGE not in await jobs_in_queue(database)


async def test_a_busy_gateway_is_tried_again(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path, Fault.BUSY) as s:
        kept = await s.queued()
        await s.send(kept)
        assert await waiting_to_be_sent(database) == [({kept.id}, DEFAULT_PACE.first_pause)]
        waiting = await message(database, kept.id)
        assert (waiting.status, waiting.reason) == (Status.QUEUED, "the gateway is busy")
        await s.send(kept)
    done = await message(database, kept.id)
    assert (done.status, done.reason, s.acceptances(kept)) == (Status.ACCEPTED, "", 1)


async def test_a_gateway_that_never_takes_it_is_given_up_and_frees_the_window(
    database: AsyncEngine, tmp_path: Path
) -> None:
    attempts = DEFAULT_PACE.attempts
    async with system(database, tmp_path, *[Fault.BUSY] * attempts) as s:
        kept = await s.queued()
        for _ in range(attempts - 1):
            await s.send(kept)
        await s.send(kept)
    done = await message(database, kept.id)
    assert (done.status, done.reason) == (Status.FAILED, "the gateway is busy; given up after 10 attempts")
    assert len(s.faults.happened) == attempts
    pauses = [DEFAULT_PACE.pause(attempt) for attempt in range(1, attempts)]
    assert await waiting_to_be_sent(database) == [({kept.id}, pause) for pause in pauses]
    assert (await jobs_in_queue(database)).count(MESSAGE_FAILED) == 1


@pytest.mark.parametrize("first_fault", [Fault.BUSY, Fault.CUT_BEFORE])
async def test_a_message_that_was_held_up_too_long_is_not_sent_and_frees_the_window(
    database: AsyncEngine, tmp_path: Path, first_fault: Fault
) -> None:
    async with system(database, tmp_path, first_fault) as s:
        kept = await s.queued()
        await s.send(kept)
        s.clock.advance(DEFAULT_PACE.send_within + timedelta(seconds=1))
        await s.send(kept)
        assert (await s.status(kept), s.acceptances(kept)) == (Status.FAILED, 0)
    assert MESSAGE_FAILED in await jobs_in_queue(database)


async def test_a_message_that_the_gateway_has_is_not_given_up_however_late_it_is_asked(
    database: AsyncEngine, tmp_path: Path
) -> None:
    async with system(database, tmp_path, Fault.CUT_AFTER) as s:
        kept = await s.queued()
        await s.send(kept)
        s.clock.advance(DEFAULT_PACE.send_within + timedelta(seconds=1))
        await s.send(kept)
        assert (await s.status(kept), s.acceptances(kept)) == (Status.ACCEPTED, 1)


async def test_a_refused_message_has_failed_with_the_gateways_code(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path) as s:
        kept = await s.queued()
        async with transaction(database) as connection:
            await connection.execute(text("UPDATE messages SET sender = '0212'"))
        await s.send(kept)
    done = await message(database, kept.id)
    assert (done.status, done.reason) == (Status.FAILED, "the gateway refused it: sender-not-registered")
    assert await jobs_in_queue(database) == [SEND_MESSAGE, MESSAGE_FAILED]
    assert s.acceptances(kept) == 0


async def test_a_worker_killed_before_or_after_sending_leaves_a_message_that_is_looked_up(
    database: AsyncEngine, tmp_path: Path
) -> None:
    async with system(database, tmp_path) as s:
        before, after = await s.queued(), await s.queued(PhoneNumber("01055556666"))
        for kept in (before, after):
            await claimed_by_a_dying_worker(s, kept)
        await s.gateway.submit([Outgoing(after.id, PhoneNumber("01055556666"), s.shop.sender or CALLER, after.text)])
        await s.outbox.look_after()
        assert await s.status(after) is Status.SENDING
        await s.send(after)
        assert await s.status(after) is Status.SENDING
        s.clock.advance(DEFAULT_PACE.lease + timedelta(seconds=1))
        await s.outbox.look_after()
        assert await s.status(before) is Status.UNKNOWN
        for kept in (before, after):
            await s.send(kept)
            assert await s.status(kept) is Status.ACCEPTED
            assert s.acceptances(kept) == 1


async def test_a_worker_that_comes_back_after_its_claim_ran_out_writes_nothing(
    database: AsyncEngine, tmp_path: Path
) -> None:
    async with system(database, tmp_path, Fault.LATE, timeout=30.0) as s:
        kept = await s.queued()
        stale = asyncio.ensure_future(s.send(kept))
        await eventually(lambda: s.faults.happened == [Fault.LATE])
        s.clock.advance(DEFAULT_PACE.lease + timedelta(seconds=1))
        await s.outbox.look_after()
        await s.send(kept)
        current = await message(database, kept.id)
        assert (current.status, current.attempt) == (Status.ACCEPTED, 2)
        s.faults.go_on.set()  # the stale worker's connection is cut: unknown, it would say
        await stale
    assert await message(database, kept.id) == current
    assert s.acceptances(kept) == 1


async def test_a_worker_with_an_older_claim_writes_nothing_while_a_newer_one_is_at_work(
    database: AsyncEngine, tmp_path: Path
) -> None:
    async with system(database, tmp_path, Fault.LATE, timeout=30.0) as s:
        kept = await s.queued()
        stale = asyncio.ensure_future(s.send(kept))
        await eventually(lambda: s.faults.happened == [Fault.LATE])
        s.clock.advance(DEFAULT_PACE.lease + timedelta(seconds=1))
        await s.outbox.look_after()
        await claimed_by_a_dying_worker(s, kept)
        current = await message(database, kept.id)
        assert (current.status, current.attempt) == (Status.SENDING, 2)
        s.faults.go_on.set()
        await stale
    assert await message(database, kept.id) == current


async def test_a_missing_receipt_is_asked_for(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path, delivery_seconds=0.0) as s:
        s.faults.receipt_copies = 0
        kept, lost = await s.queued(), await s.queued(SWITCHED_OFF)
        for one in (kept, lost):
            await s.send(one)
        await s.outbox.look_after()
        assert LOOK_UP_MESSAGE not in await jobs_in_queue(database)
        s.clock.advance(DEFAULT_PACE.receipt_after + timedelta(seconds=1))
        await s.outbox.look_after()
        assert (await jobs_in_queue(database)).count(LOOK_UP_MESSAGE) == 2
        for one in (kept, lost):
            await s.outbox.look_up(one.id)
    assert await s.status(kept) is Status.DELIVERED
    failed = await message(database, lost.id)
    assert (failed.status, failed.reason) == (Status.FAILED, "not delivered: recipient-switched-off")


async def test_an_accepted_message_without_a_result_is_asked_for_ever_more_rarely(
    database: AsyncEngine, tmp_path: Path
) -> None:
    async with system(database, tmp_path, delivery_seconds=1e9) as s:
        kept = await s.queued()
        await s.send(kept)
        asked = []
        for minute in range(60):
            s.clock.advance(timedelta(minutes=1))
            async with transaction(database) as connection:
                await connection.execute(text("DELETE FROM pgqueuer"))
            await s.outbox.look_after()
            if await jobs_in_queue(database):
                asked.append(minute + 1)
                await s.outbox.look_up(kept.id)
        assert await s.status(kept) is Status.ACCEPTED
        s.clock.advance(DEFAULT_PACE.give_up_after)
        await s.outbox.look_up(kept.id)
    assert asked == [1, 3, 7, 15, 31]
    failed = await message(database, kept.id)
    assert (failed.status, failed.reason) == (Status.FAILED, "the gateway never told whether it was delivered")
    assert MESSAGE_FAILED not in await jobs_in_queue(database)


async def test_a_lost_job_is_put_in_anew_once(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path) as s:
        await s.queued()
        async with transaction(database) as connection:
            await connection.execute(text("DELETE FROM pgqueuer"))
        await s.outbox.look_after()
        assert await jobs_in_queue(database) == []
        s.clock.advance(DEFAULT_PACE.overdue_after + timedelta(seconds=1))
        await asyncio.gather(*(s.outbox.look_after() for _ in range(3)))
        assert await jobs_in_queue(database) == [SEND_MESSAGE]


async def test_an_unknown_message_job_does_nothing(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path) as s:
        await s.outbox.send_all([s.shop.account_id])
        await s.outbox.look_up(s.shop.account_id)
        assert await s.gateway.look_up(s.shop.account_id) == NeverSeen()


async def test_the_whole_way_by_the_workers_hand_through_a_bad_day_tells_no_number_and_no_text(
    database: AsyncEngine, database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    faults = (Fault.CUT_AFTER, Fault.BUSY)
    async with system(database, tmp_path, *faults, delivery_seconds=0.05) as s:
        s.faults.receipt_copies = 2
        calls = [
            await keep_call(database, answered_call(s.clock.now(), caller=caller), s.shop)
            for caller in (CALLER, SWITCHED_OFF, CALLER)
        ]

        async def settled() -> bool:
            kept = await all_messages(database)
            closed = {Status.HELD, Status.DELIVERED, Status.FAILED}
            return len(kept) == 3 and all(one.status in closed for one in kept)

        async def freed() -> bool:
            return await window_of(database, s.shop, SWITCHED_OFF) is None

        with capture_logs() as own:
            async with _working(database_url, s):
                for call in calls:
                    await _ended(database, [call])  # submissions of their own: each fault meets one
                await eventually(settled)
                await eventually(freed)
    results = sorted(one.status.value for one in await all_messages(database))
    assert results == ["delivered", "failed", "held"]
    assert s.faults.happened == list(faults)
    for one in await all_messages(database):
        assert s.acceptances(one) == (0 if one.status is Status.HELD else 1)
    for call in calls:
        kinds = await events_of(database, call)
        assert len(kinds) == len(set(kinds))
    told = f"{own} {caplog.text}"
    assert "a message moved" in told
    for secret in (CALLER, SWITCHED_OFF, NUMBER, SENDER, TEXT, "2345-6789", KEY):
        assert secret not in told


@asynccontextmanager
async def _working(url: str, s: System) -> AsyncIterator[None]:
    """A worker that does all the jobs of messages, as the jobs role does."""

    async def decide(payload: bytes) -> None:
        await calls_ended(s.database, ids_of(payload), SystemClock().now())

    async def send(payload: bytes) -> None:
        await s.outbox.send_all(ids_of(payload))

    async def free(payload: bytes) -> None:
        for message_id in ids_of(payload):
            await message_failed(s.database, message_id)

    worker = Worker(url, {CALL_ENDED: Job(decide, many=True), SEND_MESSAGE: Job(send), MESSAGE_FAILED: Job(free)})
    running = asyncio.ensure_future(worker.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert not worker.held


async def _ended(database: AsyncEngine, calls: list[CallRecord]) -> None:
    async with transaction(database) as connection:
        await enqueue_each(connection, CALL_ENDED, [call.call_id for call in calls])
