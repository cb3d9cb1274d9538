"""What is known of a kept recording and of those who asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import NamedTuple
from uuid import UUID

import msgspec


class RecordingKind(Enum):
    """What of a call is in it."""

    TALK = "talk"
    """Both parties: left the caller, right the target."""
    VOICEMAIL = "voicemail"
    """What the caller left: one channel."""


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A recording that is or was kept. It belongs to the called party's organisation, `account_id`."""

    call_id: UUID
    kind: RecordingKind
    account_id: UUID
    file: str
    """Under the recordings folder, encrypted."""
    key_version: int
    seconds: float
    size: int
    """Size of the encrypted file."""
    sha256: bytes
    """Of the WAV file that is inside."""
    made_at: datetime
    """When its call ended; the time that it is kept counts from here."""
    delete_after: datetime
    held: str | None = None
    """Why it may not be deleted, whatever `delete_after` says (legal hold)."""
    deleted_at: datetime | None = None
    """Since when nobody can have it any more."""
    removed_at: datetime | None = None
    """Since when its file is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which recordings are looked for; None: whichever."""

    under: UUID | None = None
    """Of this account and all below it."""
    account: UUID | None = None
    """Of this very account."""
    since: datetime | None = None
    """Made at this instant or later."""
    until: datetime | None = None
    """Made before it."""


class RecordingPlace(NamedTuple):
    """Where a recording stands among all: they are in the order in which their calls ended."""

    made_at: datetime
    call_id: UUID
    kind: RecordingKind


class Deed(Enum):
    """What somebody did with a recording."""

    LISTEN = "listen"
    EXPORT = "export"
    HOLD = "hold"
    RELEASE = "release"


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the access log. `granted` is False for somebody who was turned away."""

    call_id: UUID
    kind: RecordingKind
    account_id: UUID
    at: datetime
    who: str
    deed: Deed
    reason: str
    granted: bool


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who wants a recording: who, for which organisation, and why."""

    who: str
    account_id: UUID
    """The organisation that they belong to; recordings of others are refused."""
    reason: str


SEALED = ".enc"
"""Ends the name of an encrypted file."""


def file_name(call_id: UUID, kind: RecordingKind, arrived_at: datetime) -> str:
    """Where a recording is kept under the recordings folder, by the UTC day of its call."""
    part = "" if kind is RecordingKind.TALK else f".{kind.value}"
    return f"{arrived_at.astimezone(UTC):%Y/%m/%d}/{call_id}{part}.wav{SEALED}"


def call_and_kind(file: str) -> tuple[UUID, RecordingKind] | None:
    """The call and the kind that `file_name` put into this name; None when it is no name of ours."""
    stem, dot, rest = file.rpartition("/")[2].partition(".")
    kinds = {"wav.enc": RecordingKind.TALK, "voicemail.wav.enc": RecordingKind.VOICEMAIL}
    try:
        return (UUID(stem), kinds[rest]) if dot else None
    except (ValueError, KeyError):
        return None
