"""Many messages at a time, against a real database: each comes to its own outcome, whatever becomes of the others."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.database import transaction
from engine.foundation.ids import new_id
from engine.foundation.phone_number import PhoneNumber
from engine.jobs.queue import ids_of
from engine.messages.gateways.gateway import (
    Accepted,
    Answer,
    Away,
    Delivered,
    Finding,
    NeverSeen,
    Outgoing,
    Receipt,
    Rejected,
    Undelivered,
    Unknown,
)
from engine.messages.model import Message, Purpose, Status
from engine.messages.outbox import MESSAGE_FAILED, SEND_MESSAGE, Outbox, keep_messages, take_receipts
from engine.messages.outcome import DEFAULT_PACE
from engine.messages.search import message, messages
from engine.sandbox.gateway_faults import Fault
from tests.eventually import eventually
from tests.hand_clock import HandClock
from tests.message_system import System, claimed_by_a_dying_worker, system, waiting_for_a_lock, waiting_to_be_sent
from tests.shop import jobs_in_queue

NOBODYS = UUID("0190a8a0-0000-7000-8000-00000000dead")


class Scripted:
    """A gateway that answers each message as it is told to; submissions with some of them wait until they may `go_on`,
    and so do questions for them."""

    name = "sandbox"
    at_once = 10

    def __init__(self, answers: Mapping[UUID, Answer] | None = None, *, slow: set[UUID] | None = None) -> None:
        self.submitted: Counter[UUID] = Counter()
        self.submissions: list[int] = []
        """How many messages came with each."""
        self.go_on = asyncio.Event()
        self._answers = answers or {}
        self._slow = slow or set()

    async def submit(self, messages: Sequence[Outgoing]) -> Sequence[Answer]:
        self.submitted.update(message.id for message in messages)
        self.submissions.append(len(messages))
        await self._wait_for({message.id for message in messages})
        return [self._answers.get(message.id, Accepted("r")) for message in messages]

    async def look_up(self, message_id: UUID) -> Finding:
        await self._wait_for({message_id})
        return Accepted("r") if self.submitted[message_id] else NeverSeen()

    async def _wait_for(self, message_ids: set[UUID]) -> None:
        await asyncio.sleep(0.01)
        if message_ids & self._slow:
            await self.go_on.wait()


async def queued(s: System, count: int, first: int = 1) -> list[Message]:
    """Messages to callers of which each has a number of its own, from the `first` on."""
    return [await s.queued(PhoneNumber(f"0102000{number:04}")) for number in range(first, first + count)]


async def statuses(s: System, kept: list[Message]) -> list[Status]:
    return [await s.status(one) for one in kept]


async def jobs(database: AsyncEngine, name: str) -> list[list[UUID]]:
    """The ids in each job of that name."""
    async with transaction(database) as connection:
        rows = await connection.execute(
            text("SELECT payload FROM pgqueuer WHERE entrypoint = :name ORDER BY id"), {"name": name}
        )
        return [ids_of(payload) for payload in rows.scalars()]


async def without_jobs(database: AsyncEngine) -> None:
    async with transaction(database) as connection:
        await connection.execute(text("DELETE FROM pgqueuer"))


@contextmanager
def counted(database: AsyncEngine) -> Iterator[Counter[str]]:
    """How often each table's rows were changed or added to, by statements."""
    many = Counter[str]()

    def executes(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        for table in ("messages", "events", "pgqueuer"):
            many[table] += f"UPDATE {table} " in statement or f"INSERT INTO {table} " in statement

    event.listen(database.sync_engine, "before_cursor_execute", executes)
    try:
        yield many
    finally:
        event.remove(database.sync_engine, "before_cursor_execute", executes)


async def test_a_lot_is_kept_at_once_and_what_is_there_already_is_left_alone(
    database: AsyncEngine, tmp_path: Path
) -> None:
    async with system(database, tmp_path) as s:
        before = await s.queued()
        again = msgspec.structs.replace(before, id=new_id(s.clock.now()), text="something else")
        held = msgspec.structs.replace(
            again, id=new_id(s.clock.now()), purpose=Purpose.CONSENT, status=Status.HELD, reason="no"
        )
        others = [
            msgspec.structs.replace(before, id=new_id(s.clock.now()), call_id=new_id(s.clock.now())) for _ in range(3)
        ]
        await without_jobs(database)
        with counted(database) as changes:
            async with transaction(database) as connection:
                kept = await keep_messages(connection, [*others, again, held])
        assert kept == {one.id for one in (*others, held)}
        assert changes == {"messages": 1, "events": 1, "pgqueuer": 1}
        assert await message(database, before.id) == before
        for one in (*others, held):
            assert await message(database, one.id) == one
        assert await jobs(database, SEND_MESSAGE) == [[one.id for one in others]]
        async with transaction(database) as connection:
            query = text("SELECT body->>'message_id', kind FROM events WHERE kind LIKE 'message%' ORDER BY id")
            told = await connection.execute(query)
        queued_ = [(str(one.id), "message.queued") for one in (before, *others)]
        assert [tuple(row) for row in told] == [*queued_, (str(held.id), "message.held")]


async def test_each_message_of_a_lot_comes_to_its_own_outcome_with_one_claim_and_one_move(
    database: AsyncEngine, tmp_path: Path
) -> None:
    async with system(database, tmp_path) as s:
        taken, refused, away, doubtful, never, late = kept = await queued(s, 6)
        async with transaction(database) as connection:
            query = text("UPDATE messages SET decided_at = :then WHERE id = :id")
            long_ago = s.clock.now() - DEFAULT_PACE.send_within - timedelta(seconds=1)
            await connection.execute(query, {"id": late.id, "then": long_ago})
            query = text("UPDATE messages SET attempt = :attempt WHERE id = :id")
            await connection.execute(query, {"id": never.id, "attempt": DEFAULT_PACE.attempts - 1})
        gateway = Scripted(
            {refused.id: Rejected("no"), away.id: Away("busy"), doubtful.id: Unknown("lost"), never.id: Away("busy")}
        )
        await without_jobs(database)
        with counted(database) as changes:
            await Outbox(database, gateway, s.clock).send_all([*(one.id for one in kept), NOBODYS])
        assert changes["messages"] == 2
        assert await statuses(s, kept) == [
            Status.ACCEPTED,
            Status.FAILED,
            Status.QUEUED,
            Status.UNKNOWN,
            Status.FAILED,
            Status.FAILED,
        ]
        assert gateway.submitted == Counter(one.id for one in kept if one is not late)
        assert [set(ids) for ids in await jobs(database, MESSAGE_FAILED)] == [{refused.id, never.id, late.id}]
        assert await waiting_to_be_sent(database) == [({away.id, doubtful.id}, DEFAULT_PACE.first_pause)]
        async with transaction(database) as connection:
            query = text("""
                SELECT CAST(body->>'message_id' AS uuid), kind FROM events
                WHERE kind LIKE 'message.%' AND kind <> 'message.queued'
            """)
            told = await connection.execute(query)
        assert {row[0]: row[1] for row in told} == {
            taken.id: "message.sent",
            **{one.id: "message.failed" for one in (refused, never, late)},
        }


async def in_doubt(s: System, kept: list[Message]) -> None:
    """Has these been sent, and nobody know whether they were taken."""
    async with transaction(s.database) as connection:
        query = text("UPDATE messages SET status = 'unknown', attempt = 1 WHERE id = ANY(:ids)")
        await connection.execute(query, {"ids": [one.id for one in kept]})


async def test_a_gateway_on_a_bad_day_gets_the_rest_later(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path, Fault.BUSY, Fault.CUT_AFTER, Fault.CUT_BEFORE) as s:
        kept = await queued(s, 12)
        for status in (Status.QUEUED, Status.UNKNOWN, Status.ACCEPTED):
            await s.send(*kept)
            assert set(await statuses(s, kept)) == {status}
        assert s.faults.happened == [Fault.BUSY, Fault.CUT_AFTER]
        more = await queued(s, 3, first=13)
        await s.send(*more)
        assert s.faults.happened[2:] == [Fault.CUT_BEFORE]
        await s.send(*more)
        assert [s.acceptances(one) for one in (*kept, *more)] == [1] * (len(kept) + len(more))


async def test_one_that_is_in_doubt_holds_up_no_other(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path) as s:
        slow, *others = await queued(s, 5)
        await in_doubt(s, [slow])
        gateway = Scripted(slow={slow.id})
        sending = asyncio.ensure_future(Outbox(database, gateway, s.clock).send_all([slow.id, *(o.id for o in others)]))

        async def others_are_through() -> bool:
            return set(await statuses(s, others)) == {Status.ACCEPTED}

        await eventually(others_are_through)
        assert await s.status(slow) is Status.SENDING
        assert not sending.done()
        gateway.go_on.set()
        await sending
        assert await s.status(slow) is Status.ACCEPTED


async def test_what_a_gateway_does_not_take_at_once_goes_out_in_parts(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path) as s:
        kept = await queued(s, 2 * Scripted.at_once + 3)
        gateway = Scripted()
        await Outbox(database, gateway, s.clock).send_all([one.id for one in kept])
        assert set(await statuses(s, kept)) == {Status.ACCEPTED}
        assert gateway.submitted == Counter(one.id for one in kept)
        assert gateway.submissions == [Scripted.at_once, Scripted.at_once, 3]


async def test_those_of_a_lot_that_the_gateway_never_saw_are_sent_and_those_that_it_has_are_not(
    database: AsyncEngine, tmp_path: Path
) -> None:
    async with system(database, tmp_path) as s:
        kept = await queued(s, 5)
        seen, unseen = kept[:2], kept[2:]
        gateway = Scripted()
        await Outbox(database, gateway, s.clock).send_all([one.id for one in seen])
        await in_doubt(s, kept)
        await Outbox(database, gateway, s.clock).send_all([one.id for one in kept])
        assert set(await statuses(s, kept)) == {Status.ACCEPTED}
        assert gateway.submitted == Counter(one.id for one in kept)
        assert gateway.submissions == [len(seen), len(unseen)]


async def test_lots_that_overlap_send_each_message_once(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path) as s:
        kept = await queued(s, 8)
        lots = [kept, kept[::-1], kept[2:6], kept[5:1:-1]]
        async with transaction(database) as connection:
            await connection.execute(text("SELECT FROM messages FOR UPDATE"))
            workers = [asyncio.ensure_future(s.send(*lot)) for lot in lots]
            await eventually(lambda: waiting_for_a_lock(database, len(workers)))
        await asyncio.gather(*workers)
        assert [(await message(database, one.id)).attempt for one in kept] == [1] * 8
        assert [s.acceptances(one) for one in kept] == [1] * 8


async def test_after_a_worker_was_killed_between_its_claim_and_the_move_all_are_looked_up(
    database: AsyncEngine, tmp_path: Path
) -> None:
    async with system(database, tmp_path) as s:
        kept = await queued(s, 6)
        await claimed_by_a_dying_worker(s, *kept)
        for one in kept[:3]:  # these it had sent
            assert one.recipient
            assert one.sender
            await s.gateway.submit([Outgoing(one.id, one.recipient, one.sender, one.text)])
        await s.send(*kept)
        assert set(await statuses(s, kept)) == {Status.SENDING}, "its claim holds"
        s.clock.advance(DEFAULT_PACE.lease + timedelta(seconds=1))
        await s.outbox.look_after()
        assert set(await statuses(s, kept)) == {Status.UNKNOWN}
        await s.send(*kept)
        assert set(await statuses(s, kept)) == {Status.ACCEPTED}
        assert [s.acceptances(one) for one in kept] == [1] * 6


class _Tiring(Scripted):
    """With the first messages handed over, so much time passes that the claim has run out."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__()
        self._clock = clock

    async def submit(self, messages: Sequence[Outgoing]) -> Sequence[Answer]:
        answers = await super().submit(messages)
        if not self.go_on.is_set():
            self.go_on.set()
            self._clock.advance(DEFAULT_PACE.lease + timedelta(seconds=1))
        return answers


async def test_once_a_claim_has_run_out_nothing_more_of_its_lot_is_sent(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path) as s:
        kept = await queued(s, Scripted.at_once + 5)
        gateway = _Tiring(s.clock)
        outbox = Outbox(database, gateway, s.clock)
        await outbox.send_all([one.id for one in kept])
        assert gateway.submitted.total() == Scripted.at_once
        sent = [one for one in kept if gateway.submitted[one.id]]
        rest = [one for one in kept if not gateway.submitted[one.id]]
        assert set(await statuses(s, sent)) == {Status.ACCEPTED}, "nobody else had them meanwhile"
        assert set(await statuses(s, rest)) == {Status.SENDING}
        await outbox.look_after()
        assert set(await statuses(s, rest)) == {Status.UNKNOWN}
        await outbox.send_all([one.id for one in kept])
        assert set(await statuses(s, kept)) == {Status.ACCEPTED}
        assert gateway.submitted == Counter(one.id for one in kept)


async def test_of_a_lot_a_worker_writes_only_what_nobody_has_taken_over(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path) as s:
        lost, own = kept = await queued(s, 2)
        gateway = Scripted({one.id: Rejected("no") for one in kept}, slow={one.id for one in kept})
        stale = asyncio.ensure_future(Outbox(database, gateway, s.clock).send_all([one.id for one in kept]))
        await eventually(lambda: gateway.submitted.total() == 2)
        async with transaction(database) as connection:
            query = text("UPDATE messages SET lease_until = :past WHERE id = :id")
            await connection.execute(query, {"id": lost.id, "past": s.clock.now() - timedelta(seconds=1)})
        await s.outbox.look_after()
        await s.send(lost)
        current = await message(database, lost.id)
        assert (current.status, current.attempt) == (Status.ACCEPTED, 2)
        gateway.go_on.set()
        await stale
        assert await message(database, lost.id) == current
        assert await s.status(own) is Status.FAILED
        assert await jobs(database, MESSAGE_FAILED) == [[own.id]]


async def _refuses(database: AsyncEngine, kept: Message, status: Status) -> None:
    """The table takes `kept` in every state but this one."""
    async with transaction(database) as connection:
        rule = f"CHECK (id <> '{kept.id}' OR status <> '{status.value}')"
        await connection.execute(text(f"ALTER TABLE messages ADD CONSTRAINT not_so {rule}"))


async def test_an_answer_that_cannot_be_written_costs_no_other_its_own(database: AsyncEngine, tmp_path: Path) -> None:
    async with system(database, tmp_path) as s:
        bad, *others = await queued(s, 5)
        await _refuses(database, bad, Status.ACCEPTED)
        with pytest.raises(IntegrityError):
            await s.send(bad, *others)
        assert await s.status(bad) is Status.SENDING
        assert set(await statuses(s, others)) == {Status.ACCEPTED}
        async with transaction(database) as connection:
            told = await connection.scalar(text("SELECT count(*) FROM events WHERE kind = 'message.sent'"))
        assert told == len(others)


async def test_receipts_of_a_lot_are_written_once_each_and_strangers_are_named(
    database: AsyncEngine, tmp_path: Path
) -> None:
    async with system(database, tmp_path) as s:
        one, two, three = kept = await queued(s, 3)
        await s.send(*kept)
        await without_jobs(database)
        receipts = [
            Receipt(two.id, Undelivered("r-2", "switched off")),
            Receipt(NOBODYS, Delivered("r")),
            Receipt(one.id, Delivered("r-1")),
            Receipt(two.id, Delivered("r-2")),
            Receipt(one.id, Delivered("r-1")),
            Receipt(NOBODYS, Undelivered("r", "no")),
        ]
        with counted(database) as changes:
            unknown = await take_receipts(database, receipts, "sandbox", s.clock.now())
        assert unknown == [receipts[1], receipts[5]]
        assert changes == {"messages": 1, "events": 1, "pgqueuer": 1}
        assert await statuses(s, kept) == [Status.DELIVERED, Status.FAILED, Status.ACCEPTED]
        assert await jobs(database, MESSAGE_FAILED) == [[two.id]]
        after = {kept.id: kept for kept in await messages(database)}
        assert await take_receipts(database, receipts, "sandbox", s.clock.now()) == unknown
        assert {kept.id: kept for kept in await messages(database)} == after
        async with transaction(database) as connection:
            told = await connection.execute(text("SELECT kind FROM events ORDER BY id DESC LIMIT 3"))
        assert list(told.scalars()) == ["message.delivered", "message.failed", "message.sent"]
        assert await jobs_in_queue(database) == [MESSAGE_FAILED]
        assert await s.status(three) is Status.ACCEPTED
