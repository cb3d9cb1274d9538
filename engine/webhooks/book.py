"""The book of webhooks: which receivers of events there are, and what is set of each.

Each deed works in the caller's transaction, asks `permissions`, and writes the audit's entry and the event with the
change. Deeds raise NotFound, NotAllowed, Invalid or Conflict. A secret is shown by the deed that makes it, and never
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed, Module, Place
from engine.accounts.permissions import check, check_on, may, reach
from engine.accounts.tree import account_places, kept_open, place_of
from engine.events import stream
from engine.foundation.errors import Conflict, Invalid
from engine.foundation.ids import new_id
from engine.webhooks import signature, store
from engine.webhooks.addresses import shown_url
from engine.webhooks.allowed import allowed, there
from engine.webhooks.model import Progress, Webhook, WebhookStatus
from engine.webhooks.sending import whose
from engine.webhooks.settings import Rules, WebhookSettings, checked, settings_of
from engine.webhooks.told import settings_told, tell_webhook

MOST = 20
"""Webhooks of one account."""
BOTH_VALID_FOR = timedelta(hours=24)
"""How long the secret before a new one goes on to sign, unless said otherwise."""
LONGEST_OVERLAP = timedelta(days=7)


async def add(
    connection: AsyncConnection,
    rules: Rules,
    actor: Actor,
    account: UUID,
    wanted: WebhookSettings,
    now: datetime,
    *,
    secret: str | None = None,
    after: int | None = None,
) -> tuple[Webhook, str]:
    """A new receiver of the account's events, and its secret.

    It gets what happens from now on, or what is behind the place `after`.
    """
    found = await kept_open(connection, account)
    check(actor, Deed.CHANGE_WEBHOOKS, found.place)
    check_on(found, Module.WEBHOOKS)
    if await store.count(connection, account) >= MOST:
        raise Conflict(f"webhooks: {found.name} has {MOST} already; remove one that is not needed any more")
    wanted = checked(wanted, rules)
    raw = _secret(secret)
    top = stream.top_of(found.place.path)
    position = await _place(connection, top, after)
    identifier = new_id(now)
    webhook = Webhook(
        id=identifier,
        account_id=account,
        top=top,
        url=wanted.url,
        fallback_url=wanted.fallback_url,
        kinds=wanted.kinds,
        batch=wanted.batch,
        description=wanted.description,
        created_at=now,
        progress=Progress(position=position, next_at=now),
    )
    await store.insert(connection, webhook, rules.key.seal(raw, whose(identifier)))
    await tell_webhook(connection, actor, webhook, now, after=settings_told(identifier, wanted))
    return webhook, signature.written(raw)


async def find(connection: AsyncConnection, actor: Actor, identifier: UUID) -> Webhook:
    """The webhook, as the actor may see it: whoever may not change it sees no path and no query of its addresses."""
    found = await allowed(connection, actor, Deed.SEE_WEBHOOKS, identifier)
    return _as_seen(actor, found, await place_of(connection, found.account_id))


async def listing(
    connection: AsyncConnection,
    actor: Actor,
    *,
    account: UUID | None = None,
    after: UUID | None = None,
    limit: int = 100,
) -> list[Webhook]:
    """Those of the account and of all below it, as `find` shows them, by id; `after` the last id before.

    None: the actor's own account.
    """
    if account is None:
        root = reach(actor, Deed.SEE_WEBHOOKS)
    else:
        root = account
        check(actor, Deed.SEE_WEBHOOKS, await place_of(connection, account))
    found = await store.under(connection, root, after, limit)
    places = await account_places(connection, [webhook.account_id for webhook in found])
    return [_as_seen(actor, webhook, places[webhook.account_id]) for webhook in found]


async def change(
    connection: AsyncConnection, rules: Rules, actor: Actor, identifier: UUID, wanted: WebhookSettings, now: datetime
) -> Webhook:
    """Sets all of its settings; what waits is tried at once."""
    before = await allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier, keep=True)
    wanted = checked(wanted, rules)
    changed = replace(
        before,
        url=wanted.url,
        fallback_url=wanted.fallback_url,
        kinds=wanted.kinds,
        batch=wanted.batch,
        description=wanted.description,
    )
    await store.set_settings(connection, changed, now)
    await tell_webhook(
        connection,
        actor,
        changed,
        now,
        before=settings_told(identifier, settings_of(before)),
        after=settings_told(identifier, wanted),
    )
    return await there(connection, identifier)


async def pause(connection: AsyncConnection, actor: Actor, identifier: UUID, now: datetime) -> Webhook:
    """Sends nothing until it is resumed; its place is kept."""
    return await _moved(connection, actor, identifier, WebhookStatus.PAUSED, (WebhookStatus.ACTIVE,), now)


async def resume(connection: AsyncConnection, actor: Actor, identifier: UUID, now: datetime) -> Webhook:
    """Goes on where it stopped, at once; an active one whose receiver failed is tried at once."""
    found = await allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier, keep=True)
    if found.status is WebhookStatus.ACTIVE:
        await store.try_now(connection, identifier, now)
        return await there(connection, identifier)
    stopped = (WebhookStatus.PAUSED, WebhookStatus.DISABLED)
    return await _moved(connection, actor, identifier, WebhookStatus.ACTIVE, stopped, now)


async def rotate(
    connection: AsyncConnection,
    rules: Rules,
    actor: Actor,
    identifier: UUID,
    now: datetime,
    *,
    secret: str | None = None,
    both_valid_for: timedelta = BOTH_VALID_FOR,
) -> str:
    """A new secret. For a time everything is signed with the one before as well, so that receivers change in peace."""
    found = await allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier, keep=True)
    if not timedelta(0) <= both_valid_for <= LONGEST_OVERLAP:
        raise Invalid(f"both_valid_for: it must be 0 to {LONGEST_OVERLAP.days * 24} hours")
    raw = _secret(secret)
    until = now + both_valid_for if both_valid_for else None
    await store.rotate(connection, identifier, rules.key.seal(raw, whose(identifier)), until)
    await tell_webhook(
        connection, actor, found, now, before={"secret": "old"}, after={"secret": "new", "old_until": until}
    )
    return signature.written(raw)


async def remove(connection: AsyncConnection, actor: Actor, identifier: UUID, now: datetime) -> None:
    """It gets nothing any more, and its dead letters go with it."""
    found = await allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier, keep=True)
    await store.remove(connection, identifier)
    await tell_webhook(connection, actor, found, now, before=settings_told(identifier, settings_of(found)))


def _as_seen(actor: Actor, webhook: Webhook, place: Place) -> Webhook:
    if may(actor, Deed.CHANGE_WEBHOOKS, place):
        return webhook
    second = webhook.fallback_url
    return replace(webhook, url=shown_url(webhook.url), fallback_url=shown_url(second) if second else None)


async def _moved(
    connection: AsyncConnection,
    actor: Actor,
    identifier: UUID,
    status: WebhookStatus,
    expected: Sequence[WebhookStatus],
    now: datetime,
) -> Webhook:
    before = await allowed(connection, actor, Deed.CHANGE_WEBHOOKS, identifier)
    if not await store.move(connection, identifier, status, expected, now):
        raise Conflict(f"webhook {identifier}: it is {before.status.value}; nothing was changed")
    shown = {"status": before.status.value}, {"status": status.value}
    await tell_webhook(connection, actor, before, now, before=shown[0], after=shown[1])
    return await there(connection, identifier)


def _secret(given: str | None) -> bytes:
    return signature.new_secret() if given is None else signature.read_secret(given)


async def _place(connection: AsyncConnection, top: UUID, after: int | None) -> int:
    head = await stream.head(connection, top)
    if after is None:
        return head
    if not 0 <= after <= head:
        raise Invalid(f"after: place {after} is none of the stream, which is at {head}")
    return await stream.check_kept(connection, top, after)
