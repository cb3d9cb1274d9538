"""Webhooks as requests and answers have them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Path
from pydantic import ConfigDict, Field

from engine.api.wire import Shape
from engine.events import stream
from engine.events.kinds import MOST_WISHES
from engine.webhooks import book
from engine.webhooks import settings as of
from engine.webhooks.addresses import LONGEST_URL
from engine.webhooks.model import MOST_BATCH, DeadLetter, Replay, Webhook, WebhookStatus

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
    "batch": 1,
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
    batch: Annotated[int, Field(strict=True, ge=1, le=MOST_BATCH)] = 1
    """Most events in one request. With 1 the body is an event; with more it is `{"type": "batch", "events": […]}`, also
    where one event waits. A request carries what waits, and never waits to fill up."""
    description: Annotated[str, Field(max_length=200)] = ""

    def as_said(self) -> of.WebhookSettings:
        return of.WebhookSettings(
            url=self.url,
            fallback_url=self.fallback_url,
            kinds=self.kinds,
            batch=self.batch,
            description=self.description,
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
    """A webhook. `status`: active; paused, by its owner; disabled, because the receiver answered 410.

    Whoever may not change it sees no more of its addresses than scheme, host and port.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [_SHOWN]})

    id: UUID
    account_id: UUID
    url: str
    fallback_url: str | None
    kinds: list[str]
    batch: int
    """Most events in one request."""
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
                    "stream": "800000000001",
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
    stream: str
    """In which stream it has its place, as cursors begin: an account that was moved had another one before."""
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
                    "stream": "800000000001",
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
    stream: str
    """Whose places are meant, as cursors begin."""
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


def shown(webhook: Webhook) -> WebhookShown:
    return WebhookShown(
        id=webhook.id,
        account_id=webhook.account_id,
        url=webhook.url,
        fallback_url=webhook.fallback_url,
        kinds=list(webhook.kinds),
        batch=webhook.batch,
        description=webhook.description,
        status=webhook.status,
        reason=webhook.reason,
        created_at=webhook.created_at,
        old_secret_until=webhook.old_secret_until,
    )


def progress_shown(webhook: Webhook, newest: int, dead: int) -> ProgressShown:
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


def dead_shown(letter: DeadLetter) -> DeadLetterShown:
    return DeadLetterShown(
        id=stream.event_id(letter.event_uid),
        stream=stream.stream_id(letter.top),
        sequence=letter.seq,
        type=letter.kind,
        timestamp=letter.at,
        reason=letter.reason,
        died_at=letter.died_at,
    )


def replays_shown(replays: Sequence[Replay]) -> list[ReplayShown]:
    return [
        ReplayShown(
            id=replay.id,
            stream=stream.stream_id(replay.top),
            first=replay.first_seq,
            last=replay.last_seq,
            only_dead_letters=replay.only_dead,
            sent_up_to=replay.position,
            asked_at=replay.asked_at,
        )
        for replay in replays
    ]
