"""What a message is, and the states it moves through."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NamedTuple
from uuid import UUID

import msgspec

from engine.accounts.model import Module
from engine.foundation.phone_number import PhoneNumber


class Status(Enum):
    """queued -> sending -> accepted -> delivered | failed; held: decided against, never sent.

    sending -> unknown when nobody can tell whether the gateway took it; -> queued when it surely did not; -> held when
    a function that it needs was switched off before anybody sent it.
    """

    HELD = "held"
    QUEUED = "queued"
    SENDING = "sending"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    FAILED = "failed"


class Channel(Enum):
    SMS = "sms"


class Purpose(Enum):
    """Why a call brings a message: it brings one at most for each."""

    CALLBACK = "callback"
    """The number's message after an answered call."""
    CONSENT = "consent"
    """The caller asked for it in the call, by key press."""
    TEXT_ONLY = "text-only"
    """Nobody was reached, and the caller was told that a message comes."""


class Category(Enum):
    """What the law sees in it. Advertising needs a label, an opt-out, consent and daytime."""

    INFORMATION = "information"
    ADVERTISING = "advertising"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One rule that was asked about a message: in which version, what it said and on what evidence (X4)."""

    rule: str
    version: str
    passed: bool
    evidence: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message to one recipient. `id` is also the key under which a gateway knows it: never sent twice."""

    id: UUID
    account_id: UUID
    call_id: UUID | None
    number: PhoneNumber | None
    """The number whose call brought it about."""
    purpose: Purpose = Purpose.CALLBACK
    recipient: PhoneNumber | None
    sender: PhoneNumber | None
    channel: Channel
    category: Category
    text: str
    status: Status
    reason: str
    """Why it was held, failed or still waits; empty otherwise."""
    certificate: tuple[Check, ...]
    needs: tuple[Module, ...] = (Module.CALLBACK,)
    """The account's functions without which it is not sent: asked when it is decided, and again before it goes out."""
    decided_at: datetime
    attempt: int = 0
    """Fencing token: an outbox worker with an older attempt may not write."""
    gateway: str | None = None
    gateway_reference: str | None = None
    accepted_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which messages are looked for; None: whichever."""

    under: UUID | None = None
    """Of this account and all below it."""
    account: UUID | None = None
    """Of this very account."""
    number: PhoneNumber | None = None
    """Whose call brought it about."""
    call_id: UUID | None = None
    status: Status | None = None
    since: datetime | None = None
    """Decided at this instant or later."""
    until: datetime | None = None
    """Decided before it."""


class MessagePlace(NamedTuple):
    """Where a message stands among all: they are in the order of their decisions."""

    decided_at: datetime
    id: UUID
