"""The SQL of sending: who sends to a webhook, and how far it is. Every function works in the caller's transaction.

Only whoever holds a webhook's lease writes how far it is.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Module
from engine.webhooks.model import Progress, Webhook
from engine.webhooks.store import FIELDS, PROGRESS, webhook_in

# A receiver whose account has moved goes on in its new stream, once it has all that it was to get of the old one.
_SETTLE = text("""
    WITH first AS (
        SELECT DISTINCT ON (webhook_id) id, webhook_id, left_top, upto, top, after
        FROM webhook_moves ORDER BY webhook_id, id
    ), settled AS (
        UPDATE webhooks w SET top = first.top, position = first.after FROM first
        WHERE first.webhook_id = w.id AND w.top = first.left_top AND w.position >= first.upto RETURNING first.id
    )
    DELETE FROM webhook_moves USING settled WHERE webhook_moves.id = settled.id
""")
_IS_OFF = """EXISTS (
        SELECT FROM accounts own JOIN accounts up ON up.id = ANY(own.path)
        WHERE own.id = webhooks.account_id AND up.modules ->> :module = 'false')"""
# While the function is off nothing is tried, and no time counts against what waits.
_REST = text(f"""
    UPDATE webhooks SET failures = 0, failing_seq = NULL, failing_since = NULL, next_at = now()
    WHERE failing_since IS NOT NULL AND {_IS_OFF}
""")  # noqa: S608 - our own words
_TAKE = text(f"""
    UPDATE webhooks SET lease_by = :me, lease_until = now() + make_interval(secs => :seconds)
    WHERE status = 'active' AND (lease_by = :me OR lease_until IS NULL OR lease_until < now()) AND NOT {_IS_OFF}
    RETURNING {FIELDS}
""")  # noqa: S608
_RELEASE = text("UPDATE webhooks SET lease_by = NULL, lease_until = NULL WHERE lease_by = :me")
_SAVE = text(f"""
    UPDATE webhooks SET {", ".join(f"{name} = :{name}" for name in PROGRESS)}
    WHERE id = :id AND lease_by = :me AND top = :top RETURNING id
""")  # noqa: S608
_DISABLE = text("""
    UPDATE webhooks SET status = 'disabled', reason = :reason, version = version + 1,
        lease_by = NULL, lease_until = NULL
    WHERE id = :id AND lease_by = :me AND status = 'active' RETURNING id
""")


async def take(connection: AsyncConnection, me: UUID, seconds: float) -> list[Webhook]:
    """Every active receiver that nobody else sends to is `me`'s for so many seconds, those that were already too.

    None of an account for which webhooks are switched off: their places are kept.
    """
    while (await connection.execute(_SETTLE)).rowcount:
        pass  # nothing may have happened in the next one either
    off = {"module": Module.WEBHOOKS.value}
    await connection.execute(_REST, off)
    rows = await connection.execute(_TAKE, off | {"me": me, "seconds": seconds})
    return [webhook_in(row) for row in rows.mappings()]


async def release(connection: AsyncConnection, me: UUID) -> None:
    await connection.execute(_RELEASE, {"me": me})


async def save(connection: AsyncConnection, webhook: Webhook, progress: Progress, me: UUID) -> bool:
    """False: it is not `me`'s any more, or not active, and nothing was written."""
    values: dict[str, Any] = {name: getattr(progress, name) for name in PROGRESS}
    values |= {"id": webhook.id, "top": webhook.top, "me": me}
    return (await connection.execute(_SAVE, values)).one_or_none() is not None


async def disable(connection: AsyncConnection, identifier: UUID, me: UUID, reason: str) -> bool:
    values = {"id": identifier, "me": me, "reason": reason}
    return (await connection.execute(_DISABLE, values)).one_or_none() is not None
