"""Webhooks: receivers of events, and what is set of each."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.etag import IfMatch, tagged, unchanged
from engine.api.event_desk import EventDeskDep
from engine.api.pages import Page, PageOf
from engine.api.webhook_shapes import (
    NewWebhook,
    Rotation,
    SecretShown,
    WebhookInPath,
    WebhookMade,
    WebhookSettings,
    WebhookShown,
    shown,
)
from engine.webhooks import book


def webhooks_router() -> APIRouter:
    """/webhooks: what is set."""
    router = door_router("webhooks")

    @router.get("/webhooks")
    async def list_webhooks(
        actor: ActorDep,
        rows: Rows,
        page: PageOf,
        account: Annotated[
            UUID | None, Query(description="Of this account and of all below it; left away: of your own.")
        ] = None,
    ) -> Page[WebhookShown]:
        """The webhooks that you may see, by id."""
        found = await book.listing(rows, actor, account=account, after=page.behind(UUID), limit=page.rows)
        return page.page(found, shown, lambda webhook: (webhook.id,))

    @router.post("/webhooks", status_code=HTTPStatus.CREATED)
    async def add_webhook(
        wanted: NewWebhook, actor: ActorDep, rows: Rows, now: Now, desk: EventDeskDep, response: Response
    ) -> WebhookMade:
        """Adds a receiver. Its secret is in this answer and never again."""
        made, secret = await book.add(
            rows, desk.rules, actor, wanted.account, wanted.as_said(), now, secret=wanted.secret, after=wanted.after
        )
        tagged(response, shown(made))
        return WebhookMade(webhook=shown(made), secret=secret)

    @router.get("/webhooks/{webhook}")
    async def read_webhook(webhook: WebhookInPath, actor: ActorDep, rows: Rows, response: Response) -> WebhookShown:
        """One webhook."""
        return tagged(response, await _read(rows, actor, webhook))

    @router.put("/webhooks/{webhook}")
    async def change_webhook(
        webhook: WebhookInPath,
        wanted: WebhookSettings,
        if_match: IfMatch,
        actor: ActorDep,
        rows: Rows,
        now: Now,
        desk: EventDeskDep,
        response: Response,
    ) -> WebhookShown:
        """Sets all of its settings. What waits is tried at once."""
        await unchanged(rows, "webhook", webhook, if_match, lambda: _read(rows, actor, webhook))
        return tagged(response, shown(await book.change(rows, desk.rules, actor, webhook, wanted.as_said(), now)))

    @router.delete("/webhooks/{webhook}", status_code=HTTPStatus.NO_CONTENT)
    async def remove_webhook(webhook: WebhookInPath, actor: ActorDep, rows: Rows, now: Now) -> None:
        """It gets nothing any more; its dead letters go with it."""
        await book.remove(rows, actor, webhook, now)

    @router.post("/webhooks/{webhook}/rotate")
    async def rotate_secret(
        webhook: WebhookInPath, wanted: Rotation, actor: ActorDep, rows: Rows, now: Now, desk: EventDeskDep
    ) -> SecretShown:
        """Gives it a new secret. For a time everything is signed with the old one as well."""
        hours = timedelta(hours=wanted.both_valid_hours)
        secret = await book.rotate(rows, desk.rules, actor, webhook, now, secret=wanted.secret, both_valid_for=hours)
        return SecretShown(secret=secret)

    return router


async def _read(rows: AsyncConnection, actor: Actor, webhook: UUID) -> WebhookShown:
    return shown(await book.find(rows, actor, webhook))
