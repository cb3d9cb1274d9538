"""The table of recipients: who last got a message of which repeat window, and when."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.callbacks.rules import RepeatWindow
from engine.foundation.phone_number import PhoneNumber


async def last_message_at(
    connection: AsyncConnection, account_id: UUID, recipient: PhoneNumber, window: RepeatWindow
) -> datetime | None:
    """When the recipient last got a message that the window is about; None when it never did."""
    result = await connection.execute(
        text("""
            SELECT last_at FROM callback_recipients
            WHERE account_id = :account_id AND recipient = :recipient AND purpose = :purpose AND number = :number
        """),
        {"account_id": account_id, "recipient": recipient, **_of(window)},
    )
    return result.scalar_one_or_none()


async def sent_before(
    connection: AsyncConnection, account_id: UUID, recipient: PhoneNumber, window: RepeatWindow, instant: datetime
) -> datetime | None:
    """As `last_message_at`, at an earlier instant: of the messages decided before it that went out."""
    result = await connection.execute(
        text("""
            SELECT max(decided_at) FROM messages
            WHERE account_id = :account_id AND recipient = :recipient AND call_id IS NOT NULL AND purpose = :purpose
              AND (CAST(:number AS text) = '' OR number = :number)
              AND status NOT IN ('held', 'failed') AND decided_at < :instant
        """),
        {"account_id": account_id, "recipient": recipient, "instant": instant, **_of(window)},
    )
    return result.scalar_one_or_none()


async def claim_window(
    connection: AsyncConnection,
    account_id: UUID,
    recipient: PhoneNumber,
    message_id: UUID,
    now: datetime,
    window: RepeatWindow,
) -> bool:
    """Takes the recipient for this message, unless another one came inside `window`. Waits for a claim under way."""
    result = await connection.execute(
        text("""
            INSERT INTO callback_recipients AS kept (account_id, recipient, purpose, number, last_at, message_id)
            VALUES (:account_id, :recipient, :purpose, :number, :now, :message_id)
            ON CONFLICT (account_id, recipient, purpose, number) DO UPDATE
                SET last_at = GREATEST(kept.last_at, EXCLUDED.last_at), message_id = EXCLUDED.message_id
                WHERE CAST(:length AS interval) = interval '0'
                   OR kept.last_at <= EXCLUDED.last_at - CAST(:length AS interval)
            RETURNING message_id
        """),
        {
            "account_id": account_id,
            "recipient": recipient,
            "now": now,
            "message_id": message_id,
            "length": window.length,
            **_of(window),
        },
    )
    return result.first() is not None


async def release_window(connection: AsyncConnection, message_id: UUID) -> bool:
    """Gives back what a message had claimed: the recipient's last message is again the one before that went out.

    False when the message holds no window (any more).
    """
    result = await connection.execute(
        text("""
            DELETE FROM callback_recipients WHERE message_id = :id RETURNING account_id, recipient, purpose, number
        """),
        {"id": message_id},
    )
    row = result.first()
    if row is None:
        return False
    await connection.execute(
        text("""
            INSERT INTO callback_recipients (account_id, recipient, purpose, number, last_at, message_id)
            SELECT account_id, recipient, purpose, CAST(:number AS text), decided_at, id FROM messages
            WHERE account_id = :account_id AND recipient = :recipient AND call_id IS NOT NULL AND purpose = :purpose
              AND (CAST(:number AS text) = '' OR number = :number)
              AND status NOT IN ('held', 'failed') AND id <> :id
            ORDER BY decided_at DESC LIMIT 1
        """),
        {
            "account_id": row.account_id,
            "recipient": row.recipient,
            "purpose": row.purpose,
            "number": row.number,
            "id": message_id,
        },
    )
    return True


def _of(window: RepeatWindow) -> dict[str, str]:
    """Which row is meant; a window about all of an account's numbers names none."""
    return {"purpose": window.purpose.value, "number": window.number or ""}
