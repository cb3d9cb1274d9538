"""Webhooks: what is sent to a receiver, how far it is, what it did not take, and what is sent again."""

from __future__ import annotations

from http import HTTPStatus
from uuid import UUID

from fastapi import APIRouter

from engine.api.door import ActorDep, Database, Now, Rows, door_router, never_kept
from engine.api.event_desk import EventDeskDep
from engine.api.pages import Page, PageOf
from engine.api.webhook_shapes import (
    DeadLetterShown,
    ProgressShown,
    Replays,
    ReplayShown,
    ReplayWanted,
    TrialAnswer,
    TrialShown,
    WebhookInPath,
    WebhookShown,
    dead_shown,
    progress_shown,
    replays_shown,
    shown,
)
from engine.events import stream
from engine.foundation.database import transaction
from engine.webhooks import book, replays, trials


def webhook_sending_router() -> APIRouter:
    """/webhooks: what is sent, what could not be, and what is sent again."""
    router = door_router("webhooks")

    @router.get("/webhooks/{webhook}/progress")
    async def webhook_progress(webhook: WebhookInPath, actor: ActorDep, rows: Rows) -> ProgressShown:
        """How far the receiver is, and how it goes."""
        found = await book.find(rows, actor, webhook)
        dead = await replays.dead_counts(rows, [found])
        return progress_shown(found, await stream.head(rows, found.top), dead.get(found.id, 0))

    @router.post("/webhooks/{webhook}/pause")
    async def pause_webhook(webhook: WebhookInPath, actor: ActorDep, rows: Rows, now: Now) -> WebhookShown:
        """Sends nothing until it is resumed; its place is kept."""
        return shown(await book.pause(rows, actor, webhook, now))

    @router.post("/webhooks/{webhook}/resume")
    async def resume_webhook(webhook: WebhookInPath, actor: ActorDep, rows: Rows, now: Now) -> WebhookShown:
        """Goes on where it stopped, at once; of an active one what waits is tried at once."""
        return shown(await book.resume(rows, actor, webhook, now))

    @router.post("/webhooks/{webhook}/test")
    @never_kept
    async def try_webhook(
        webhook: WebhookInPath, actor: ActorDep, database: Database, now: Now, desk: EventDeskDep
    ) -> TrialShown:
        """Sends a test event to each address, and tells what they answered."""
        async with transaction(database) as connection:  # not `Rows`: nothing is held while a stranger's server thinks
            trial = await trials.trial(connection, desk.rules, actor, webhook, now)
        answers = await trial.send(desk.egress)
        return TrialShown(
            answers=[
                TrialAnswer(url=url, status=answer.status, reason=answer.reason, seconds=answer.seconds)
                for url, answer in answers
            ]
        )

    @router.get("/webhooks/{webhook}/dead-letters")
    async def list_dead_letters(
        webhook: WebhookInPath, actor: ActorDep, rows: Rows, page: PageOf
    ) -> Page[DeadLetterShown]:
        """What the receiver did not take in time, by place."""
        after = page.after(int, UUID)
        found = await replays.dead_letters(
            rows, actor, webhook, after=(after[0], after[1]) if after else None, limit=page.rows
        )
        return page.page(found, dead_shown, lambda letter: (letter.seq, letter.top))

    @router.get("/webhooks/{webhook}/replays")
    async def list_replays(webhook: WebhookInPath, actor: ActorDep, rows: Rows) -> Replays:
        """The ranges that are still to be sent again."""
        return Replays(items=replays_shown(await replays.listing(rows, actor, webhook)))

    @router.post("/webhooks/{webhook}/replays", status_code=HTTPStatus.CREATED)
    async def replay_events(
        webhook: WebhookInPath, wanted: ReplayWanted, actor: ActorDep, rows: Rows, now: Now
    ) -> ReplayShown:
        """Sends a range, or dead letters, once more, beside what is new. The events' ids are the same as before.

        What the receiver has not come to yet comes once, as new. Dead letters of several streams, of an account that
        was moved, are sent in a range for each; this answer shows the first of them, the list shows all.
        """
        if wanted.only_dead_letters:
            made = await replays.replay_dead(rows, actor, webhook, now, first=wanted.first, last=wanted.last)
        else:
            made = [await replays.replay(rows, actor, webhook, wanted.first, wanted.last, now)]
        return replays_shown(made)[0]

    return router
