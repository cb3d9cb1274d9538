"""The table of recipients: who got an account's last message after a call, and when. It is the repeat window."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.foundation.phone_number import PhoneNumber


async def last_message_at(connection: AsyncConnection, account_id: UUID, recipient: PhoneNumber) -> datetime | None:
    """When the account last sent this recipient a message after a call; None when it never did."""
    result = await connection.execute(
        text("SELECT last_at FROM callback_recipients WHERE account_id = :account_id AND recipient = :recipient"),
        {"account_id": account_id, "recipient": recipient},
    )
    return result.scalar_one_or_none()


async def claim_window(
    connection: AsyncConnection,
    account_id: UUID,
    recipient: PhoneNumber,
    message_id: UUID,
    now: datetime,
    window: timedelta,
) -> bool:
    """Takes the recipient for this message, unless another one came inside `window`. Waits for a claim under way."""
    result = await connection.execute(
        text("""
            INSERT INTO callback_recipients AS kept (account_id, recipient, last_at, message_id)
            VALUES (:account_id, :recipient, :now, :message_id)
            ON CONFLICT (account_id, recipient) DO UPDATE
                SET last_at = GREATEST(kept.last_at, EXCLUDED.last_at), message_id = EXCLUDED.message_id
                WHERE CAST(:window AS interval) = interval '0'
                   OR kept.last_at <= EXCLUDED.last_at - CAST(:window AS interval)
            RETURNING message_id
        """),
        {
            "account_id": account_id,
            "recipient": recipient,
            "now": now,
            "message_id": message_id,
            "window": window,
        },
    )
    return result.first() is not None


async def release_window(connection: AsyncConnection, message_id: UUID) -> bool:
    """Gives back what a message had claimed: the recipient's last message is again the one before that went out.

    False when the message holds no window (any more).
    """
    result = await connection.execute(
        text("DELETE FROM callback_recipients WHERE message_id = :id RETURNING account_id, recipient"),
        {"id": message_id},
    )
    row = result.first()
    if row is None:
        return False
    await connection.execute(
        text("""
            INSERT INTO callback_recipients (account_id, recipient, last_at, message_id)
            SELECT account_id, recipient, decided_at, id FROM messages
            WHERE account_id = :account_id AND recipient = :recipient AND call_id IS NOT NULL
              AND status NOT IN ('held', 'failed') AND id <> :id
            ORDER BY decided_at DESC LIMIT 1
        """),
        {"account_id": row.account_id, "recipient": row.recipient, "id": message_id},
    )
    return True
