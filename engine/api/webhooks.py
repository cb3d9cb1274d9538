"""Webhooks: receivers of events, how far each is, what lies among its dead letters, and what is sent again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Query, Response
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor
from engine.api.door import ActorDep, Database, Now, Rows, door_router, never_kept
from engine.api.etag import IfMatch, tagged, unchanged
from engine.api.event_desk import EventDeskDep
from engine.api.pages import Page, PageOf
from engine.api.wire import Shape
from engine.events import stream
from engine.events.kinds import MOST_WISHES
from engine.foundation.database import transaction
from engine.webhooks import book
from engine.webhooks.addresses import LONGEST_URL
from engine.webhooks.model import DeadLetter, Replay, Webhook, WebhookStatus

WebhookInPath = Annotated[UUID, Path(alias="webhook", description="Id of the webhook.")]
Address = Annotated[str, Field(min_length=1, max_length=LONGEST_URL, examples=["https://example.com/dari-events"])]
Kinds = Annotated[tuple[Annotated[str, Field(max_length=60)], ...], Field(max_length=MOST_WISHES)]
Secret = Annotated[str, Field(min_length=1, max_length=200)]
Sequence_ = Annotated[int, Field(strict=True, ge=1, lt=10**18)]

_ID, _ACCOUNT = "019abf5e-0c00-7000-8000-00000000000a", "019abf5e-0c00-7000-8000-000000000001"
_SETTINGS: dict[str, Any] = {
    "url": "https://example.com/dari-events",
    "fallback_url": "https://backup.example.com/dari-events",
    "kinds": ["call.*", "message.failed"],
    "description": "CRM",
}
_SHOWN: dict[str, Any] = {
    "id": _ID,
    "account_id": _ACCOUNT,
    **_SETTINGS,
    "status": "active",
    "reason": "",
    "created_at": "2026-11-22T03:00:00Z",
    "old_secret_until": None,
}


class WebhookSettings(Shape):
    """What is set of a webhook."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SETTINGS]})

    url: Address
    """https only, a public address, no redirects."""
    fallback_url: Address | None = None
    """Tried when the first address fails."""
    kinds: Kinds = ()
    """Which events, like call.ended or message.*; none: all."""
    description: Annotated[str, Field(max_length=200)] = ""

    def as_said(self) -> book.Settings:
        return book.Settings(
            url=self.url, fallback_url=self.fallback_url, kinds=self.kinds, description=self.description
        )


class NewWebhook(WebhookSettings):
    """A receiver to add."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"account": _ACCOUNT, **_SETTINGS}]})

    account: UUID
    """Whose events, and those of all accounts below it."""
    secret: Secret | None = None
    """`whsec_` and 24 to 64 random bytes in base64; left away: one is made."""
    after: Annotated[int, Field(strict=True, ge=0, lt=10**18)] | None = None
    """The place in the stream after which it begins; left away: from now on."""


class WebhookShown(Shape):
    """A webhook. `status`: active; paused, by its owner; disabled, because the receiver answered 410."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SHOWN]})

    id: UUID
    account_id: UUID
    url: str
    fallback_url: str | None
    kinds: list[str]
    description: str
    status: WebhookStatus
    reason: str
    """Why it is disabled."""
    created_at: datetime
    old_secret_until: datetime | None
    """Until then the secret before the newest one signs as well."""


class WebhookMade(Shape):
    """A webhook that was added, and its secret, which is not shown again."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"webhook": _SHOWN, "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}]}
    )

    webhook: WebhookShown
    secret: str


class SecretShown(Shape):
    """A new secret, which is not shown again."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}]})

    secret: str


class Rotation(Shape):
    """How the secret is changed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"both_valid_hours": 24}]})

    secret: Secret | None = None
    """Left away: one is made."""
    both_valid_hours: Annotated[int, Field(strict=True, ge=0, le=book.LONGEST_OVERLAP.days * 24)] = 24
    """So long everything is signed with the old secret as well."""


class ProgressShown(Shape):
    """How far a receiver is, and how it goes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sequence": 4700,
                    "newest": 4711,
                    "delivered_at": "2026-11-22T02:59:00Z",
                    "failures": 2,
                    "failure": "it answered 503",
                    "failing_sequence": 4701,
                    "failing_since": "2026-11-22T03:00:00Z",
                    "next_at": "2026-11-22T03:02:00Z",
                    "dead_letters": 0,
                }
            ]
        }
    )

    sequence: int
    """Everything up to this place was sent, was not wanted, or lies among the dead letters."""
    newest: int
    """The place of the stream's newest event."""
    delivered_at: datetime | None
    """When it last took an event."""
    failures: int
    """Failed tries in a row."""
    failure: str
    """Why the last one failed."""
    failing_sequence: int | None
    failing_since: datetime | None
    next_at: datetime
    """Nothing is sent before that instant."""
    dead_letters: int


class DeadLetterShown(Shape):
    """An event that the receiver did not take in time."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "evt_0b0fca2b3d3e4a7c9f3e0d6b8a1c2d3e",
                    "sequence": 4711,
                    "type": "call.ended",
                    "timestamp": "2026-11-22T03:00:00Z",
                    "reason": "it answered 503",
                    "died_at": "2026-11-25T03:00:00Z",
                }
            ]
        }
    )

    id: str
    sequence: int
    type: str
    timestamp: datetime
    reason: str
    died_at: datetime


class ReplayWanted(Shape):
    """What is sent again, beside what is new: the events of a range, or only the dead letters in it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"first": 4000, "last": 4711}, {"only_dead_letters": True}]}
    )

    first: Sequence_ = 1
    last: Sequence_ = 10**18 - 1
    only_dead_letters: Annotated[bool, Field(strict=True)] = False


class ReplayShown(Shape):
    """A range that is still to be sent again."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _ID,
                    "first": 4000,
                    "last": 4711,
                    "only_dead_letters": False,
                    "sent_up_to": 4100,
                    "asked_at": "2026-11-22T03:00:00Z",
                }
            ]
        }
    )

    id: UUID
    first: int
    last: int
    only_dead_letters: bool
    sent_up_to: int
    asked_at: datetime


class Replays(Shape):
    """All that are still to be sent, the oldest first."""

    items: list[ReplayShown]


class TrialAnswer(Shape):
    """What came of a test event at one address."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"url": "https://example.com/dari-events", "status": 204, "reason": "", "seconds": 0.081}]
        }
    )

    url: str
    status: int | None
    """Null: there was no answer."""
    reason: str
    """Why it does not count as taken; empty when it does."""
    seconds: float


class TrialShown(Shape):
    """What came of a test event at each address."""

    answers: list[TrialAnswer]


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
        await unchanged(rows, webhook, if_match, lambda: _read(rows, actor, webhook))
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


def webhook_sending_router() -> APIRouter:
    """/webhooks: what is sent, what could not be, and what is sent again."""
    router = door_router("webhooks")

    @router.get("/webhooks/{webhook}/progress")
    async def webhook_progress(webhook: WebhookInPath, actor: ActorDep, rows: Rows) -> ProgressShown:
        """How far the receiver is, and how it goes."""
        found = await book.find(rows, actor, webhook)
        dead = await book.dead_counts(rows, [found])
        return _progress(found, await stream.head(rows, found.top), dead.get(found.id, 0))

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
            trial = await book.trial(connection, desk.rules, actor, webhook, now)
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
        after = page.after(int)
        found = await book.dead_letters(rows, actor, webhook, after=after[0] if after else 0, limit=page.rows)
        return page.page(found, _dead, lambda letter: (letter.seq,))

    @router.get("/webhooks/{webhook}/replays")
    async def list_replays(webhook: WebhookInPath, actor: ActorDep, rows: Rows) -> Replays:
        """The ranges that are still to be sent again."""
        return Replays(items=_replays(await book.replays(rows, actor, webhook)))

    @router.post("/webhooks/{webhook}/replays", status_code=HTTPStatus.CREATED)
    async def replay_events(
        webhook: WebhookInPath, wanted: ReplayWanted, actor: ActorDep, rows: Rows, now: Now
    ) -> ReplayShown:
        """Sends a range, or dead letters, once more, beside what is new. The events' ids are the same as before."""
        if wanted.only_dead_letters:
            made = await book.replay_dead(rows, actor, webhook, now, first=wanted.first, last=wanted.last)
        else:
            made = await book.replay(rows, actor, webhook, wanted.first, wanted.last, now)
        return _replays([made])[0]

    return router


async def _read(rows: AsyncConnection, actor: Actor, webhook: UUID) -> WebhookShown:
    return shown(await book.find(rows, actor, webhook))


def shown(webhook: Webhook) -> WebhookShown:
    return WebhookShown(
        id=webhook.id,
        account_id=webhook.account_id,
        url=webhook.url,
        fallback_url=webhook.fallback_url,
        kinds=list(webhook.kinds),
        description=webhook.description,
        status=webhook.status,
        reason=webhook.reason,
        created_at=webhook.created_at,
        old_secret_until=webhook.old_secret_until,
    )


def _progress(webhook: Webhook, newest: int, dead: int) -> ProgressShown:
    progress = webhook.progress
    return ProgressShown(
        sequence=progress.position,
        newest=newest,
        delivered_at=progress.delivered_at,
        failures=progress.failures,
        failure=progress.failure,
        failing_sequence=progress.failing_seq,
        failing_since=progress.failing_since,
        next_at=progress.next_at,
        dead_letters=dead,
    )


def _dead(letter: DeadLetter) -> DeadLetterShown:
    return DeadLetterShown(
        id=stream.event_id(letter.event_uid),
        sequence=letter.seq,
        type=letter.kind,
        timestamp=letter.at,
        reason=letter.reason,
        died_at=letter.died_at,
    )


def _replays(replays: Sequence[Replay]) -> list[ReplayShown]:
    return [
        ReplayShown(
            id=replay.id,
            first=replay.first_seq,
            last=replay.last_seq,
            only_dead_letters=replay.only_dead,
            sent_up_to=replay.position,
            asked_at=replay.asked_at,
        )
        for replay in replays
    ]
