"""The table of messages. A state moves by one conditional UPDATE, or it does not move.

`lease_until` is when somebody has to look at an open message again: a worker's claim has run out (sending), a retry
is overdue (queued, unknown), or a receipt is missing (accepted).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Module
from engine.foundation.phone_number import PhoneNumber
from engine.messages.gateways.gateway import Outgoing
from engine.messages.model import Category, Channel, Check, Message, MessagePlace, Purpose, Status, Wanted
from engine.messages.outcome import Move


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that one worker has to itself. Later changes carry `attempt`: an older claim may not write."""

    outgoing: Outgoing
    attempt: int
    in_doubt: bool
    """Whether the gateway may already have it."""
    decided_at: datetime
    off: tuple[str, ...] = ()
    """The functions that it needs and that are switched off for its account now."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """An open message that nobody has looked at in time."""

    id: UUID
    status: Status


_COLUMNS = """id, account_id, call_id, number, purpose, recipient, sender, channel, category, text, status, reason,
    needs, certificate::text AS certificate, decided_at, attempt, gateway, gateway_reference, accepted_at,
    finished_at"""


async def insert(connection: AsyncConnection, message: Message, look_at: datetime | None) -> bool:
    """Keeps a new message. False when its call already has one of that purpose: nothing is changed then."""
    row = await connection.execute(
        text("""
            INSERT INTO messages (id, account_id, call_id, number, purpose, recipient, sender, channel, category,
                                  text, status, reason, certificate, needs, decided_at, lease_until)
            VALUES (:id, :account_id, :call_id, :number, :purpose, :recipient, :sender, :channel, :category,
                    :text, :status, :reason, CAST(:certificate AS jsonb), :needs, :decided_at, :look_at)
            ON CONFLICT (call_id, purpose) DO NOTHING
            RETURNING id
        """),
        {
            "id": message.id,
            "account_id": message.account_id,
            "call_id": message.call_id,
            "number": message.number,
            "purpose": message.purpose.value,
            "recipient": message.recipient,
            "sender": message.sender,
            "channel": message.channel.value,
            "category": message.category.value,
            "text": message.text,
            "status": message.status.value,
            "reason": message.reason,
            "certificate": msgspec.json.encode(message.certificate).decode(),
            "needs": [module.value for module in message.needs],
            "decided_at": message.decided_at,
            "look_at": look_at,
        },
    )
    return row.first() is not None


async def claim(connection: AsyncConnection, message_id: UUID, lease_until: datetime) -> Claimed | None:
    """Takes a queued or doubtful message for one worker until `lease_until`; None when it is in another state."""
    result = await connection.execute(
        text("""
            WITH before AS (
                SELECT id, status FROM messages WHERE id = :id AND status IN ('queued', 'unknown') FOR UPDATE
            )
            UPDATE messages SET status = 'sending', attempt = attempt + 1, lease_until = :lease_until
            FROM before WHERE messages.id = before.id
            RETURNING recipient, sender, text, attempt, before.status AS status_before, decided_at,
                ARRAY(SELECT DISTINCT switch.key FROM accounts a
                      JOIN accounts up ON up.id = ANY(a.path), jsonb_each(up.modules) switch
                      WHERE a.id = messages.account_id AND switch.value = 'false'
                        AND switch.key = ANY(messages.needs) ORDER BY 1) AS off
        """),
        {"id": message_id, "lease_until": lease_until},
    )
    row = result.first()
    if row is None:
        return None
    return Claimed(
        outgoing=Outgoing(message_id, PhoneNumber(row.recipient), PhoneNumber(row.sender), row.text),
        attempt=row.attempt,
        in_doubt=row.status_before == Status.UNKNOWN.value,
        decided_at=row.decided_at,
        off=tuple(row.off),
    )


async def move(
    connection: AsyncConnection,
    message_id: UUID,
    move: Move,
    gateway: str,
    now: datetime,
    *,
    expected: Collection[Status],
    attempt: int | None = None,
) -> Message | None:
    """The message, moved; None when it is in no `expected` state, or not at `attempt` where one is given."""
    result = await connection.execute(
        text(f"""
            UPDATE messages SET
                status = :status,
                reason = :reason,
                gateway = :gateway,
                gateway_reference = COALESCE(:reference, gateway_reference),
                accepted_at = CASE WHEN CAST(:reference AS text) IS NULL THEN accepted_at
                                   ELSE COALESCE(accepted_at, :now) END,
                finished_at = CASE WHEN :finished THEN CAST(:now AS timestamptz) END,
                lease_until = CAST(:now AS timestamptz) + CAST(:look_after AS interval)
            WHERE id = :id AND status = ANY(:expected) AND attempt = COALESCE(CAST(:attempt AS integer), attempt)
            RETURNING {_COLUMNS}
        """),  # noqa: S608 - our own column names
        {
            "id": message_id,
            "status": move.status.value,
            "reason": move.reason,
            "gateway": gateway,
            "reference": move.reference,
            "now": now,
            "finished": move.status in (Status.DELIVERED, Status.FAILED),
            "look_after": move.look_after,
            "expected": [status.value for status in expected],
            "attempt": attempt,
        },
    )
    row = result.first()
    return _message(row) if row else None


async def take_overdue(connection: AsyncConnection, now: datetime, pause: timedelta, limit: int) -> list[Overdue]:
    """Open messages that are overdue at `now`, which become due again after `pause`, or after their age if longer.

    A claim that has run out leaves its message in doubt. Two callers never get the same message.
    """
    result = await connection.execute(
        text("""
            UPDATE messages SET
                status = CASE WHEN status = 'sending' THEN 'unknown' ELSE status END,
                lease_until = CAST(:now AS timestamptz)
                    + GREATEST(CAST(:pause AS interval), CAST(:now AS timestamptz) - COALESCE(accepted_at, :now))
            WHERE id IN (
                SELECT id FROM messages
                WHERE status IN ('queued', 'sending', 'unknown', 'accepted') AND lease_until < :now
                ORDER BY lease_until LIMIT :limit FOR UPDATE SKIP LOCKED
            )
            RETURNING id, status
        """),
        {"now": now, "pause": pause, "limit": limit},
    )
    return [Overdue(row.id, Status(row.status)) for row in result]


async def find(connection: AsyncConnection, message_id: UUID) -> Message | None:
    result = await connection.execute(
        text(f"SELECT {_COLUMNS} FROM messages WHERE id = :id"),  # noqa: S608 - our own column names
        {"id": message_id},
    )
    row = result.first()
    return _message(row) if row else None


async def find_all(connection: AsyncConnection, message_ids: Collection[UUID]) -> dict[UUID, Message]:
    """Those of these messages that there are, by id."""
    if not message_ids:
        return {}
    result = await connection.execute(
        text(f"SELECT {_COLUMNS} FROM messages WHERE id = ANY(:ids)"),  # noqa: S608 - our own column names
        {"ids": list(message_ids)},
    )
    return {message.id: message for message in map(_message, result)}


async def newest(
    connection: AsyncConnection, *, limit: int, number: PhoneNumber | None, call_id: UUID | None
) -> list[Message]:
    """The newest messages, the latest decision first; of one number or one call where given."""
    result = await connection.execute(
        text(f"""
            SELECT {_COLUMNS} FROM messages
            WHERE number IS NOT DISTINCT FROM COALESCE(CAST(:number AS text), number)
              AND call_id IS NOT DISTINCT FROM COALESCE(CAST(:call_id AS uuid), call_id)
            ORDER BY decided_at DESC, id DESC LIMIT :limit
        """),  # noqa: S608 - our own column names
        {"limit": limit, "number": number, "call_id": call_id},
    )
    return [_message(row) for row in result]


async def page(connection: AsyncConnection, wanted: Wanted, before: MessagePlace | None, limit: int) -> list[Message]:
    """The latest decision first."""
    result = await connection.execute(
        text(f"""
            SELECT {_COLUMNS} FROM messages
            WHERE (CAST(:under AS uuid) IS NULL OR EXISTS (
                    SELECT FROM accounts a
                    WHERE a.id = messages.account_id AND a.path @> ARRAY[CAST(:under AS uuid)]))
              AND (CAST(:account AS uuid) IS NULL OR account_id = :account)
              AND (CAST(:number AS text) IS NULL OR number = :number)
              AND (CAST(:call_id AS uuid) IS NULL OR call_id = :call_id)
              AND (CAST(:status AS text) IS NULL OR status = :status)
              AND (CAST(:since AS timestamptz) IS NULL OR decided_at >= :since)
              AND (CAST(:until AS timestamptz) IS NULL OR decided_at < :until)
              AND (CAST(:before AS timestamptz) IS NULL OR (decided_at, id) < (:before, CAST(:before_id AS uuid)))
            ORDER BY decided_at DESC, id DESC LIMIT :limit
        """),  # noqa: S608 - our own column names
        {
            "under": wanted.under,
            "account": wanted.account,
            "number": wanted.number,
            "call_id": wanted.call_id,
            "status": wanted.status and wanted.status.value,
            "since": wanted.since,
            "until": wanted.until,
            "before": before and before.decided_at,
            "before_id": before and before.id,
            "limit": limit,
        },
    )
    return [_message(row) for row in result]


def _message(row: Row[Any]) -> Message:
    return Message(
        id=row.id,
        account_id=row.account_id,
        call_id=row.call_id,
        number=row.number,
        purpose=Purpose(row.purpose),
        recipient=row.recipient,
        sender=row.sender,
        channel=Channel(row.channel),
        category=Category(row.category),
        text=row.text,
        status=Status(row.status),
        reason=row.reason,
        certificate=msgspec.json.decode(row.certificate, type=tuple[Check, ...]),
        needs=tuple(Module(module) for module in row.needs),
        decided_at=row.decided_at,
        attempt=row.attempt,
        gateway=row.gateway,
        gateway_reference=row.gateway_reference,
        accepted_at=row.accepted_at,
        finished_at=row.finished_at,
    )
