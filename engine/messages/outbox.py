"""Sends queued messages, each at most once: the gateway's answer decides, and where there is none it is asked.

queued → sending → accepted → delivered or failed. Without an answer a message is `unknown`, and the gateway is
asked under the message's id before anything is sent again. A worker that stayed away too long finds its claim gone.
Many are kept, claimed, handed over and moved together; each comes to its own outcome all the same.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import compress
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.events import outbox as events
from engine.events.kinds import EventKind
from engine.events.outbox import Event
from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.foundation.errors import TryLater
from engine.foundation.gathering import Gathering, parts_of
from engine.jobs.queue import Wanted, enqueue_all, enqueue_each
from engine.messages import store
from engine.messages.gateways.gateway import Gateway, NeverSeen, Receipt
from engine.messages.model import Message, Status
from engine.messages.outcome import (
    DEFAULT_PACE,
    Move,
    Pace,
    after_look_up,
    after_submission,
    final,
    switched_off,
    too_late,
)
from engine.messages.store import Claimed, Moved, Step

SEND_MESSAGE = "send_message"
"""The job that sends queued messages, and finds out about those in doubt."""
LOOK_UP_MESSAGE = "look_up_message"
"""The job that asks what became of an accepted message."""
MESSAGE_FAILED = "message_failed"
"""The job that follows when it is certain that nobody got the messages."""

_OPEN = (Status.QUEUED, Status.SENDING, Status.UNKNOWN, Status.ACCEPTED)
_OVERDUE_AT_ONCE = 200
_ASKED_AT_ONCE = 10
"""Messages of one job that the gateway is asked about at the same time."""
_MOMENT = 0.05
"""Seconds in which answers of the gateway are gathered, to be written together."""
_Answer = tuple[Claimed, Move]
_KINDS = {
    Status.HELD: EventKind.MESSAGE_HELD,
    Status.QUEUED: EventKind.MESSAGE_QUEUED,
    Status.ACCEPTED: EventKind.MESSAGE_SENT,
    Status.DELIVERED: EventKind.MESSAGE_DELIVERED,
    Status.FAILED: EventKind.MESSAGE_FAILED,
}

log = structlog.get_logger(__name__)


async def keep_messages(
    connection: AsyncConnection, messages: Sequence[Message], pace: Pace = DEFAULT_PACE
) -> set[UUID]:
    """Keeps decided messages, tells of them, and has the queued ones sent; the ids of those kept.

    The call of any other already has one of its purpose, and nothing is changed.
    """
    kept = await store.insert_all(connection, messages, pace.overdue_after)
    new = [message for message in messages if message.id in kept]
    await events.append(connection, [_event(one, one.status, one.reason, one.decided_at) for one in new])
    await enqueue_each(connection, SEND_MESSAGE, [one.id for one in new if one.status is Status.QUEUED])
    return kept


async def take_receipts(
    database: AsyncEngine, receipts: Sequence[Receipt], gateway: str, now: datetime
) -> list[Receipt]:
    """Writes what a gateway's receipts say; those for messages that do not exist.

    The first receipt of a message counts: a second one changes nothing.
    """
    steps: dict[UUID, Step] = {}
    for one in receipts:
        steps.setdefault(one.message_id, Step(one.message_id, final(one.result)))
    async with transaction(database) as connection:
        rest = steps.keys() - await _move_all(connection, list(steps.values()), gateway, now, _OPEN)
        unknown = rest - await store.existing(connection, rest)
    return [receipt for receipt in receipts if receipt.message_id in unknown]


@dataclass(frozen=True, slots=True)
class _Lot:
    """Messages of one job on their way. What becomes of each is written as soon as it is known."""

    until: datetime
    """When the worker's claim on them ends."""
    answers: Gathering[_Answer, None]
    written: list[asyncio.Future[None]] = field(default_factory=list)

    def write(self, claimed: Claimed, move: Move) -> None:
        self.written.append(asyncio.ensure_future(self.answers.add((claimed, move))))


class Outbox:
    """The jobs that bring messages to one gateway and learn what became of them."""

    def __init__(self, database: AsyncEngine, gateway: Gateway, clock: Clock, pace: Pace = DEFAULT_PACE) -> None:
        self._database = database
        self._gateway = gateway
        self._clock = clock
        self._pace = pace

    async def send_all(self, message_ids: Sequence[UUID]) -> None:
        """Sends those of these messages that are queued, and finds out about those in doubt. Others are left alone.

        What the gateway did not take or left in doubt waits in that state, and is in the queue again for later. Raises
        TryLater when the database does not take what a gateway answered.
        """
        until = self._clock.now() + self._pace.lease
        async with transaction(self._database) as connection:
            claimed = await store.claim_all(connection, message_ids, until)
        if not claimed:
            return
        answers = Gathering("answers of a gateway", self._write, within=_MOMENT, at_most=len(claimed))
        lot = _Lot(until, answers)
        try:
            new, in_doubt = [one for one in claimed if not one.in_doubt], [one for one in claimed if one.in_doubt]
            sent = await asyncio.gather(self._send(new, lot), self._find_out(in_doubt, lot), return_exceptions=True)
            outcomes = [*sent, *await asyncio.gather(*lot.written, return_exceptions=True)]
        finally:
            await answers.close()
        failures = [outcome for outcome in outcomes if outcome is not None]
        if failures:
            raise min(failures, key=lambda failure: isinstance(failure, TryLater))

    async def _find_out(self, in_doubt: Sequence[Claimed], lot: _Lot) -> None:
        """Asks what became of these messages, and sends those that the gateway never saw."""
        free = asyncio.Semaphore(_ASKED_AT_ONCE)

        async def never_seen(claimed: Claimed) -> bool:
            async with free:
                finding = await self._gateway.look_up(claimed.outgoing.id)
            if isinstance(finding, NeverSeen):
                return True
            lot.write(claimed, after_submission(finding, claimed.attempt, self._age(claimed), self._pace))
            return False

        unseen = await asyncio.gather(*map(never_seen, in_doubt))
        await self._send(list(compress(in_doubt, unseen)), lot)

    async def _send(self, unsent: Sequence[Claimed], lot: _Lot) -> None:
        """Hands messages that the gateway surely does not have over to it, but for those that may not go any more."""
        going = list[Claimed]()
        for claimed in unsent:
            if kept_back := switched_off(claimed.off) or too_late(self._age(claimed), self._pace):
                lot.write(claimed, kept_back)
            else:
                going.append(claimed)
        for part in parts_of(going, self._gateway.at_once):
            if self._clock.now() >= lot.until:  # whoever has them now sends them
                left = [str(claimed.outgoing.id) for claimed in part]
                log.warning("a worker was away until its claim ran out, and sends nothing", messages=left)
                continue
            answers = await self._gateway.submit([claimed.outgoing for claimed in part])
            for claimed, answer in zip(part, answers, strict=True):
                lot.write(claimed, after_submission(answer, claimed.attempt, self._age(claimed), self._pace))

    async def _write(self, answers: Sequence[_Answer]) -> Sequence[None]:
        """Moves the messages to what became of them, as far as they still are this worker's."""
        steps = [Step(claimed.outgoing.id, move, claimed.attempt) for claimed, move in answers]
        now = self._clock.now()
        async with transaction(self._database) as connection:
            mine = await _move_all(connection, steps, self._gateway.name, now, (Status.SENDING,))
        for step in steps:
            told = {"message": str(step.message_id), "attempt": step.attempt, "status": step.move.status.value}
            if step.message_id in mine:
                log.info("a message moved", reason=step.move.reason, **told)
            else:
                log.warning("a worker came too late with what a gateway answered", **told)
        return [None] * len(answers)

    def _age(self, claimed: Claimed) -> timedelta:
        return self._clock.now() - claimed.decided_at

    async def look_up(self, message_id: UUID) -> None:
        """Asks what became of an accepted message whose receipt is missing."""
        async with transaction(self._database) as connection:
            message = await store.find(connection, message_id)
        if message is None or message.status is not Status.ACCEPTED:
            return
        finding = await self._gateway.look_up(message_id)
        now = self._clock.now()
        if move := after_look_up(finding, now - message.decided_at, self._pace):
            async with transaction(self._database) as connection:
                await _move_all(connection, [Step(message_id, move)], self._gateway.name, now, (Status.ACCEPTED,))

    async def look_after(self) -> None:
        """Puts in jobs for what a dead worker, a lost job or a missing receipt left behind. To be called often."""
        async with transaction(self._database) as connection:
            overdue = await store.take_overdue(
                connection, self._clock.now(), self._pace.overdue_after, _OVERDUE_AT_ONCE
            )
            await enqueue_all(connection, [_job(_next_job(message.status), message.id) for message in overdue])
        if overdue:
            log.info("messages were overdue", count=len(overdue))


async def _move_all(
    connection: AsyncConnection, steps: Sequence[Step], gateway: str, now: datetime, expected: Collection[Status]
) -> set[UUID]:
    """Moves those messages that are as expected, tells of them, and queues what follows; the ids of those moved."""
    found = {one.id: one for one in await store.move_all(connection, steps, gateway, now, expected=expected)}
    told, failed = list[Event](), list[UUID]()
    again = defaultdict[timedelta, list[UUID]](list)
    for step in steps:
        if moved := found.get(step.message_id):
            if step.move.status not in (Status.QUEUED, Status.UNKNOWN):
                told.append(_event(moved, step.move.status, step.move.reason, now))
            if step.move.nobody_got_it:
                failed.append(moved.id)
            if step.move.try_after is not None:
                again[step.move.try_after].append(moved.id)
    await events.append(connection, told)
    await enqueue_each(connection, MESSAGE_FAILED, failed)
    for pause, ids in again.items():
        await enqueue_each(connection, SEND_MESSAGE, ids, after=pause)
    return set(found)


def _event(message: Message | Moved, status: Status, reason: str, at: datetime) -> Event:
    """What is told of a message's new state."""
    return Event(
        kind=_KINDS[status].value,
        account_id=message.account_id,
        call_id=message.call_id,
        at=at,
        body={
            "message_id": str(message.id),
            "purpose": message.purpose.value,
            "status": status.value,
            "reason": reason,
        },
    )


def _next_job(status: Status) -> str:
    return LOOK_UP_MESSAGE if status is Status.ACCEPTED else SEND_MESSAGE


def _job(name: str, message_id: UUID) -> Wanted:
    return Wanted(name=name, payload=str(message_id).encode(), key=f"{name}:{message_id}")
