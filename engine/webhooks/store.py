"""The SQL of webhooks: where they are, and what is set of them. Every function works in the caller's transaction.

How far each is, `store_sending` writes; what it did not take and is sent again, `store_dead_letters` and
`store_replays`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, RowMapping, Text, bindparam, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.webhooks.model import Progress, SealedSecrets, Webhook, WebhookStatus

CHANGED = "dari_webhooks"
"""Notified when a webhook was changed, for whoever sends."""

FIELDS = """id, account_id, top, url, fallback_url, kinds, batch, description, status, reason, version, created_at,
    old_secret_until, position, failures, failure, failing_seq, failing_since, next_at, fallback_until, delivered_at,
    (SELECT upto FROM webhook_moves WHERE webhook_id = webhooks.id ORDER BY id LIMIT 1) AS leaves_after"""
"""Its columns, as `webhook_in` reads them."""
PROGRESS = tuple(Progress.__dataclass_fields__)
"""The columns of its progress."""

_INSERT = text("""
    INSERT INTO webhooks (id, account_id, top, url, fallback_url, kinds, batch, description, secret, created_at,
                          position, next_at)
    VALUES (:id, :account_id, :top, :url, :fallback_url, :kinds, :batch, :description, :secret, :created_at,
            :position, :created_at)
""").bindparams(bindparam("kinds", type_=ARRAY(Text)))
_FIND = text(f"SELECT {FIELDS} FROM webhooks WHERE id = :id")  # noqa: S608 - our own words
_KEEP = text(f"SELECT {FIELDS} FROM webhooks WHERE id = :id FOR UPDATE")  # noqa: S608
_UNDER = text(f"""
    SELECT {FIELDS} FROM webhooks
    WHERE account_id IN (SELECT id FROM accounts WHERE path @> ARRAY[CAST(:root AS uuid)])
      AND (CAST(:after AS uuid) IS NULL OR id > :after)
    ORDER BY id LIMIT :limit
""")  # noqa: S608
_COUNT = text("SELECT count(*) FROM webhooks WHERE account_id = :account")
_REMOVE = text("DELETE FROM webhooks WHERE id = :id RETURNING id")
_SETTINGS = text("""
    UPDATE webhooks SET url = :url, fallback_url = :fallback_url, kinds = :kinds, batch = :batch,
        description = :description, fallback_until = NULL, version = version + 1, next_at = :now
    WHERE id = :id
""").bindparams(bindparam("kinds", type_=ARRAY(Text)))
_MOVE = text("""
    UPDATE webhooks SET status = :status, reason = :reason, version = version + 1, next_at = :now,
        failures = 0, failing_seq = NULL, failing_since = NULL
    WHERE id = :id AND status = ANY(:expected) RETURNING id
""")
_TRY_NOW = text("""
    UPDATE webhooks SET next_at = :now, version = version + 1 WHERE id = :id AND status = 'active' RETURNING id
""")
_SECRETS = text("SELECT secret, old_secret, old_secret_until FROM webhooks WHERE id = :id")
_ROTATE = text("""
    UPDATE webhooks SET old_secret = CASE WHEN CAST(:until AS timestamptz) IS NULL THEN NULL ELSE secret END,
        old_secret_until = :until, secret = :secret, version = version + 1
    WHERE id = :id
""")
_TELL = text("SELECT pg_notify(:channel, :id)")


async def insert(connection: AsyncConnection, webhook: Webhook, secret: bytes) -> None:
    await connection.execute(
        _INSERT,
        _settings(webhook)
        | {
            "account_id": webhook.account_id,
            "top": webhook.top,
            "secret": secret,
            "created_at": webhook.created_at,
            "position": webhook.progress.position,
        },
    )
    await tell(connection, webhook.id)


async def find(connection: AsyncConnection, identifier: UUID, *, keep: bool = False) -> Webhook | None:
    """With `keep` nobody else changes it before the transaction ends."""
    row = (await connection.execute(_KEEP if keep else _FIND, {"id": identifier})).mappings().one_or_none()
    return webhook_in(row) if row else None


async def under(connection: AsyncConnection, root: UUID, after: UUID | None, limit: int) -> list[Webhook]:
    """Those of `root` and of all accounts below it, by id."""
    rows = await connection.execute(_UNDER, {"root": root, "after": after, "limit": limit})
    return [webhook_in(row) for row in rows.mappings()]


async def count(connection: AsyncConnection, account: UUID) -> int:
    return int((await connection.execute(_COUNT, {"account": account})).scalar_one())


async def remove(connection: AsyncConnection, identifier: UUID) -> bool:
    gone = (await connection.execute(_REMOVE, {"id": identifier})).one_or_none() is not None
    await tell(connection, identifier)
    return gone


async def set_settings(connection: AsyncConnection, webhook: Webhook, now: datetime) -> None:
    await connection.execute(_SETTINGS, _settings(webhook) | {"now": now})
    await tell(connection, webhook.id)


async def move(
    connection: AsyncConnection,
    identifier: UUID,
    status: WebhookStatus,
    expected: Sequence[WebhookStatus],
    now: datetime,
    reason: str = "",
) -> bool:
    """Whether it was in one of the expected states and is in this one now."""
    values = {
        "id": identifier,
        "status": status.value,
        "reason": reason,
        "expected": [one.value for one in expected],
        "now": now,
    }
    moved = (await connection.execute(_MOVE, values)).one_or_none() is not None
    await tell(connection, identifier)
    return moved


async def try_now(connection: AsyncConnection, identifier: UUID, now: datetime) -> None:
    """Waits no longer for the next try."""
    await connection.execute(_TRY_NOW, {"id": identifier, "now": now})
    await tell(connection, identifier)


async def secrets_of(connection: AsyncConnection, identifier: UUID) -> SealedSecrets | None:
    row = (await connection.execute(_SECRETS, {"id": identifier})).one_or_none()
    return SealedSecrets(row.secret, row.old_secret, row.old_secret_until) if row else None


async def rotate(connection: AsyncConnection, identifier: UUID, secret: bytes, old_until: datetime | None) -> None:
    """The secret until now goes on to sign until `old_until`; None: not at all."""
    await connection.execute(_ROTATE, {"id": identifier, "secret": secret, "until": old_until})
    await tell(connection, identifier)


async def tell(connection: AsyncConnection, identifier: UUID) -> None:
    await connection.execute(_TELL, {"channel": CHANGED, "id": str(identifier)})


def webhook_in(row: RowMapping) -> Webhook:
    """The webhook in a row of FIELDS."""
    values = dict(row)
    progress = Progress(**{name: values.pop(name) for name in PROGRESS})
    values["kinds"] = tuple(values["kinds"])
    values["status"] = WebhookStatus(values["status"])
    return Webhook(**values, progress=progress)


def _settings(webhook: Webhook) -> dict[str, Any]:
    return {
        "id": webhook.id,
        "url": webhook.url,
        "fallback_url": webhook.fallback_url,
        "kinds": list(webhook.kinds),
        "batch": webhook.batch,
        "description": webhook.description,
    }
