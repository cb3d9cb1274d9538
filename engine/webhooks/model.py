"""What a webhook is: a receiver of events, and how far it is. Values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from uuid import UUID

MOST_BATCH = 100
"""Events in one request."""
DELETED = "events.deleted"
"""The kind of a dead letter that stands for events which were deleted before their receiver took them."""


class WebhookStatus(Enum):
    """Whether events are sent."""

    ACTIVE = "active"
    PAUSED = "paused"
    """By its owner; its place is kept."""
    DISABLED = "disabled"
    """The receiver said that it is gone (410); its place is kept until somebody resumes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a receiver is in its stream, and how it goes."""

    position: int
    """Everything up to this place was sent, was not wanted, or lies among the dead letters."""
    failures: int = 0
    """Failed tries in a row."""
    failure: str = ""
    """Why the last one failed."""
    failing_seq: int | None = None
    """The event that could not be sent yet."""
    failing_since: datetime | None = None
    next_at: datetime
    """Nothing is sent before that instant."""
    fallback_until: datetime | None = None
    """Until then the second address is tried first."""
    delivered_at: datetime | None = None
    """When it last took an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A receiver. It gets the events of its account and of those below it."""

    id: UUID
    account_id: UUID
    top: UUID
    """Whose stream it reads."""
    leaves_after: int | None = None
    """Up to which place it reads that stream: its account was moved, and goes on in another one."""
    url: str = field(repr=False)
    """Its path and its query may hold a secret: shown to whoever may change it, written down nowhere else."""
    fallback_url: str | None = field(default=None, repr=False)
    """Tried when the first address fails."""
    kinds: tuple[str, ...] = ()
    """Which events; none: all (`engine.events.kinds.is_wanted`)."""
    batch: int = 1
    """Most events in one request; 1: each is sent alone, without an envelope."""
    description: str = ""
    status: WebhookStatus = WebhookStatus.ACTIVE
    reason: str = ""
    """Why it is disabled."""
    version: int = 1
    """Counts the changes of its settings."""
    created_at: datetime
    old_secret_until: datetime | None = None
    """Until then the secret before the newest one signs as well."""
    progress: Progress


@dataclass(frozen=True, slots=True)
class SealedSecrets:
    """What a receiver's signatures are made with, as the database has it."""

    current: bytes = field(repr=False)
    old: bytes | None = field(default=None, repr=False)
    old_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Places of one stream: behind `after`, up to `upto`."""

    top: UUID
    after: int
    upto: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An event that a receiver did not take in time."""

    top: UUID
    """In whose stream it has its place."""
    seq: int
    event_uid: UUID
    kind: str
    at: datetime
    reason: str
    died_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A range that is sent once more, beside what is new."""

    id: UUID
    top: UUID
    """The stream whose places are meant."""
    first_seq: int
    last_seq: int
    only_dead: bool
    """Only those of the range that lie among the dead letters."""
    position: int
    asked_at: datetime
