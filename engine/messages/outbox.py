"""Sends queued messages, each at most once: the gateway's answer decides, and where there is none it is asked.

queued → sending → accepted → delivered or failed. Without an answer a message is `unknown`, and the gateway is
asked under the message's id before anything is sent again. A worker that stayed away too long finds its claim gone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.events import outbox as events
from engine.events.kinds import EventKind
from engine.events.outbox import Event
from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.foundation.errors import NotFound, TryLater
from engine.jobs.queue import Wanted, enqueue_all
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
from engine.messages.store import Claimed

SEND_MESSAGE = "send_message"
"""The job that sends a queued message, and finds out about one in doubt."""
LOOK_UP_MESSAGE = "look_up_message"
"""The job that asks what became of an accepted message."""
MESSAGE_FAILED = "message_failed"
"""The job that follows when it is certain that nobody got the message. The payload of each is the message's id."""

_OPEN = (Status.QUEUED, Status.SENDING, Status.UNKNOWN, Status.ACCEPTED)
_OVERDUE_AT_ONCE = 200
_KINDS = {
    Status.HELD: EventKind.MESSAGE_HELD,
    Status.QUEUED: EventKind.MESSAGE_QUEUED,
    Status.ACCEPTED: EventKind.MESSAGE_SENT,
    Status.DELIVERED: EventKind.MESSAGE_DELIVERED,
    Status.FAILED: EventKind.MESSAGE_FAILED,
}

log = structlog.get_logger(__name__)


async def keep_message(connection: AsyncConnection, message: Message, pace: Pace = DEFAULT_PACE) -> bool:
    """Keeps a decided message, tells of it, and has it sent if it is queued.

    False: its call already has one of that purpose, and nothing is changed.
    """
    queued = message.status is Status.QUEUED
    look_at = message.decided_at + pace.overdue_after if queued else None
    if not await store.insert(connection, message, look_at):
        return False
    await _tell(connection, message, message.reason, message.decided_at)
    if queued:
        await enqueue_all(connection, [_job(SEND_MESSAGE, message.id)])
    return True


async def keep_messages(
    connection: AsyncConnection, messages: Sequence[Message], pace: Pace = DEFAULT_PACE
) -> set[UUID]:
    """As `keep_message`, many; the ids of those that are kept."""
    return {message.id for message in messages if await keep_message(connection, message, pace)}


async def take_receipt(database: AsyncEngine, receipt: Receipt, gateway: str, now: datetime) -> None:
    """Writes what a gateway's receipt says. A second receipt changes nothing. Raises NotFound for no message."""
    async with transaction(database) as connection:
        moved = await _move(connection, receipt.message_id, final(receipt.result), gateway, now, _OPEN)
        if not moved and await store.find(connection, receipt.message_id) is None:
            raise NotFound(f"message {receipt.message_id}: there is none; the receipt was for another system")


class Outbox:
    """The jobs that bring messages to one gateway and learn what became of them."""

    def __init__(self, database: AsyncEngine, gateway: Gateway, clock: Clock, pace: Pace = DEFAULT_PACE) -> None:
        self._database = database
        self._gateway = gateway
        self._clock = clock
        self._pace = pace

    async def send(self, message_id: UUID) -> None:
        """Sends a queued message. Does nothing when another worker has it or when it is through.

        Raises TryLater when the gateway did not take it or left it in doubt; the message waits in that state.
        """
        until = self._clock.now() + self._pace.lease
        async with transaction(self._database) as connection:
            claimed = await store.claim(connection, message_id, until)
        if claimed is None:
            return
        move = await self._attempt(claimed, until)
        if move is None:
            log.warning("a worker was away until its claim ran out, and sends nothing", message=str(message_id))
            return
        now = self._clock.now()
        async with transaction(self._database) as connection:
            mine = await _move(
                connection,
                message_id,
                move,
                self._gateway.name,
                now,
                (Status.SENDING,),
                attempt=claimed.attempt,
            )
        told = {"message": str(message_id), "attempt": claimed.attempt, "status": move.status.value}
        if not mine:
            log.warning("a worker came too late with what a gateway answered", **told)
            return
        log.info("a message moved", reason=move.reason, **told)
        if move.try_after is not None:
            raise TryLater(move.reason, after=move.try_after.total_seconds())

    async def _attempt(self, claimed: Claimed, until: datetime) -> Move | None:
        """Hands a claimed message over, unless the gateway has it or it may not go any more; what it becomes.

        None: the claim has run out meanwhile, and whoever has the message now sends it.
        """
        finding = await self._gateway.look_up(claimed.outgoing.id) if claimed.in_doubt else NeverSeen()
        kept_back = switched_off(claimed.off) or too_late(self._age(claimed), self._pace)
        if isinstance(finding, NeverSeen) and kept_back:
            return kept_back
        if isinstance(finding, NeverSeen) and self._clock.now() >= until:
            return None
        answer = await self._gateway.submit(claimed.outgoing) if isinstance(finding, NeverSeen) else finding
        return after_submission(answer, claimed.attempt, self._age(claimed), self._pace)

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
                await _move(connection, message_id, move, self._gateway.name, now, (Status.ACCEPTED,))

    async def look_after(self) -> None:
        """Puts in jobs for what a dead worker, a lost job or a missing receipt left behind. To be called often."""
        async with transaction(self._database) as connection:
            overdue = await store.take_overdue(
                connection, self._clock.now(), self._pace.overdue_after, _OVERDUE_AT_ONCE
            )
            await enqueue_all(connection, [_job(_next_job(message.status), message.id) for message in overdue])
        if overdue:
            log.info("messages were overdue", count=len(overdue))


async def _move(
    connection: AsyncConnection,
    message_id: UUID,
    move: Move,
    gateway: str,
    now: datetime,
    expected: Collection[Status],
    *,
    attempt: int | None = None,
) -> bool:
    """Changes an expected message, tells of it, and has the failure of one that nobody got followed up."""
    moved = await store.move(connection, message_id, move, gateway, now, expected=expected, attempt=attempt)
    if moved is None:
        return False
    if move.status not in (Status.QUEUED, Status.UNKNOWN):
        await _tell(connection, moved, move.reason, now)
    if move.nobody_got_it:
        await enqueue_all(connection, [_job(MESSAGE_FAILED, message_id)])
    return True


async def _tell(connection: AsyncConnection, message: Message, reason: str, at: datetime) -> None:
    """The event about a message's new state."""
    event = Event(
        kind=_KINDS[message.status].value,
        account_id=message.account_id,
        call_id=message.call_id,
        at=at,
        body={
            "message_id": str(message.id),
            "purpose": message.purpose.value,
            "status": message.status.value,
            "reason": reason,
        },
    )
    await events.append(connection, [event])


def _next_job(status: Status) -> str:
    return LOOK_UP_MESSAGE if status is Status.ACCEPTED else SEND_MESSAGE


def _job(name: str, message_id: UUID) -> Wanted:
    return Wanted(name=name, payload=str(message_id).encode(), key=f"{name}:{message_id}")
