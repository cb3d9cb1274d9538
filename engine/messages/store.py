"""The table of messages. A state moves by one conditional UPDATE, or it does not move.

`lease_until` is when somebody has to look at an open message again: a worker's claim has run out (sending), a retry
is overdue (queued, unknown), or a receipt is missing (accepted).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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
class Step:
    """A message and what it becomes, if it is still at `attempt`; None: whichever it is at."""

    message_id: UUID
    move: Move
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """A message that has moved: whose it is and what it is about."""

    id: UUID
    account_id: UUID
    call_id: UUID | None
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Overdue:
    """An open message that nobody has looked at in time."""

    id: UUID
    status: Status


_COLUMNS = """id, account_id, call_id, number, purpose, recipient, sender, channel, category, text, status, reason,
    needs, certificate::text AS certificate, decided_at, attempt, gateway, gateway_reference, accepted_at,
    finished_at"""

_INSERT = text("""
    INSERT INTO messages (id, account_id, call_id, number, purpose, recipient, sender, channel, category,
                          text, status, reason, certificate, needs, decided_at, lease_until)
    SELECT id, account_id, call_id, number, purpose, recipient, sender, channel, category,
           text, status, reason, certificate, needs, decided_at, look_at
    FROM json_to_recordset(CAST(:messages AS json)) AS new (
        id uuid, account_id uuid, call_id uuid, number text, purpose text, recipient text, sender text,
        channel text, category text, text text, status text, reason text, certificate jsonb, needs text[],
        decided_at timestamptz, look_at timestamptz)
    ON CONFLICT (call_id, purpose) DO NOTHING
    RETURNING id
""")

# Rows are locked in the order of their ids, here and in _MOVE, so that no two ever wait for each other.
_CLAIM = text("""
    WITH before AS (
        SELECT id, status FROM messages WHERE id = ANY(:ids) ORDER BY id FOR UPDATE
    )
    UPDATE messages SET status = 'sending', attempt = attempt + 1, lease_until = :lease_until
    FROM before WHERE messages.id = before.id AND before.status IN ('queued', 'unknown')
    RETURNING messages.id, recipient, sender, text, attempt, before.status AS status_before, decided_at,
        ARRAY(SELECT DISTINCT switch.key FROM accounts a
              JOIN accounts up ON up.id = ANY(a.path), jsonb_each(up.modules) switch
              WHERE a.id = messages.account_id AND switch.value = 'false'
                AND switch.key = ANY(messages.needs) ORDER BY 1) AS off
""")

_MOVE = text("""
    WITH before AS (
        SELECT id, status, attempt FROM messages WHERE id = ANY(:ids) ORDER BY id FOR UPDATE
    )
    UPDATE messages SET
        status = step.status,
        reason = step.reason,
        gateway = :gateway,
        gateway_reference = COALESCE(step.reference, gateway_reference),
        accepted_at = CASE WHEN step.reference IS NULL THEN accepted_at
                           ELSE COALESCE(accepted_at, CAST(:now AS timestamptz)) END,
        finished_at = CASE WHEN step.finished THEN CAST(:now AS timestamptz) END,
        lease_until = step.look_at
    FROM before JOIN json_to_recordset(CAST(:steps AS json)) AS step (
        id uuid, attempt integer, status text, reason text, reference text, finished boolean, look_at timestamptz)
        USING (id)
    WHERE messages.id = before.id AND before.status = ANY(:expected)
      AND before.attempt = COALESCE(step.attempt, before.attempt)
    RETURNING messages.id, account_id, call_id, purpose
""")


async def insert_all(connection: AsyncConnection, messages: Sequence[Message], overdue_after: timedelta) -> set[UUID]:
    """Keeps new messages, and has queued ones looked at when they are overdue; the ids of those kept.

    One whose call already has another of its purpose changes nothing.
    """
    # Always in the same order, so that two who keep messages of the same calls never wait for each other.
    ordered = sorted(messages, key=lambda message: (str(message.call_id), message.purpose.value))
    rows = [_row(message, overdue_after) for message in ordered]
    kept = await connection.execute(_INSERT, {"messages": msgspec.json.encode(rows).decode()})
    return set(kept.scalars())


async def claim_all(connection: AsyncConnection, message_ids: Sequence[UUID], lease_until: datetime) -> list[Claimed]:
    """Takes those of these messages that are queued or in doubt for one worker until `lease_until`."""
    return [
        Claimed(
            outgoing=Outgoing(row.id, PhoneNumber(row.recipient), PhoneNumber(row.sender), row.text),
            attempt=row.attempt,
            in_doubt=row.status_before == Status.UNKNOWN.value,
            decided_at=row.decided_at,
            off=tuple(row.off),
        )
        for row in await connection.execute(_CLAIM, {"ids": list(message_ids), "lease_until": lease_until})
    ]


async def move_all(
    connection: AsyncConnection, steps: Sequence[Step], gateway: str, now: datetime, *, expected: Collection[Status]
) -> list[Moved]:
    """Moves those of these messages, each named once, that are in an `expected` state and at their step's attempt."""
    rows = [
        {
            "id": step.message_id,
            "attempt": step.attempt,
            "status": step.move.status,
            "reason": step.move.reason,
            "reference": step.move.reference,
            "finished": step.move.status in (Status.DELIVERED, Status.FAILED),
            "look_at": step.move.look_after and now + step.move.look_after,
        }
        for step in steps
    ]
    moved = await connection.execute(
        _MOVE,
        {
            "ids": [step.message_id for step in steps],
            "steps": msgspec.json.encode(rows).decode(),
            "gateway": gateway,
            "now": now,
            "expected": [status.value for status in expected],
        },
    )
    return [Moved(row.id, row.account_id, row.call_id, Purpose(row.purpose)) for row in moved]


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


async def existing(connection: AsyncConnection, message_ids: Collection[UUID]) -> set[UUID]:
    """Those of these messages that there are."""
    if not message_ids:
        return set()
    found = await connection.execute(text("SELECT id FROM messages WHERE id = ANY(:ids)"), {"ids": list(message_ids)})
    return set(found.scalars())


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


def _row(message: Message, overdue_after: timedelta) -> dict[str, object]:
    return {
        "id": message.id,
        "account_id": message.account_id,
        "call_id": message.call_id,
        "number": message.number,
        "purpose": message.purpose,
        "recipient": message.recipient,
        "sender": message.sender,
        "channel": message.channel,
        "category": message.category,
        "text": message.text,
        "status": message.status,
        "reason": message.reason,
        "certificate": message.certificate,
        "needs": message.needs,
        "decided_at": message.decided_at,
        "look_at": message.decided_at + overdue_after if message.status is Status.QUEUED else None,
    }


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
