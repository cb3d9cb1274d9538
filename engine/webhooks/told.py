"""What is changed of a webhook is written down in its own transaction: in the audit, and as an event of its account."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed
from engine.accounts.told import tell
from engine.webhooks.addresses import told_apart
from engine.webhooks.model import Webhook
from engine.webhooks.settings import WebhookSettings


async def tell_webhook(
    connection: AsyncConnection,
    actor: Actor,
    webhook: Webhook,
    now: datetime,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    """`before` and `after` hold only what changes."""
    await tell(
        connection,
        actor,
        Deed.CHANGE_WEBHOOKS,
        webhook.account_id,
        now,
        before=before,
        after=after,
        thing=("webhook", webhook.id),
    )


def settings_told(identifier: UUID, wanted: WebhookSettings) -> dict[str, object]:
    """What the audit keeps of its settings: of its addresses no path and no query, which may hold secrets."""
    salt = str(identifier)
    return {
        "url": told_apart(wanted.url, salt),
        "fallback_url": told_apart(wanted.fallback_url, salt) if wanted.fallback_url else None,
        "kinds": list(wanted.kinds),
        "batch": wanted.batch,
        "description": wanted.description,
    }
