"""What a consent is, and what proves it."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from uuid import UUID

import msgspec

from engine.foundation.phone_number import PhoneNumber


class ConsentChannel(Enum):
    """By which way somebody may be reached: each is agreed to by itself."""

    TEXT = "text"
    CALL = "call"
    FAX = "fax"


class Covers(Enum):
    """What a consent is for."""

    MESSAGE_ASKED_FOR = "message asked for"
    """The one message with information that a caller asked for by key press (X5). Never advertising, nor a second
    message: who asked for the way to the shop has agreed to nothing else."""


class KeyPress(msgspec.Struct, frozen=True, kw_only=True):
    """The proof of a consent given in a call."""

    key: str
    at: datetime
    sound: str
    sound_version: str
    """SHA-256 of the sound that asked for the key."""
    before_talk: bool
    text: str
    """The message asked for, as it was set."""


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """One person's agreement with one account, for one service and one channel. There are no blanket ones."""

    id: UUID
    account_id: UUID
    recipient: PhoneNumber
    service: PhoneNumber
    """The account's number whose messages are meant."""
    channel: ConsentChannel
    covers: Covers
    given_at: datetime
    call_id: UUID
    """The call in which it was given."""
    evidence: KeyPress
    revoked_at: datetime | None = None
