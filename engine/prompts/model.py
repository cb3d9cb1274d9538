"""What an account's prompt is: a name, and versions of a sound."""

from __future__ import annotations

from datetime import datetime
from enum import Enum

import msgspec


class Origin(Enum):
    """Where a version's sound came from."""

    FILE = "file"
    SPEECH = "speech"
    MIX = "mix"


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a prompt; versions are never changed."""

    version: int
    sound: str
    """Name under the sounds folder, named after its content."""
    origin: Origin
    source: str
    """The uploaded file's name, or the text that is spoken."""
    voice: str | None = None
    """Who speaks the text; None: a recording."""
    music: str | None = None
    """Under a mix: the uploaded music's name."""
    seconds: float
    created_at: datetime


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """A named prompt of an account, as its current version is."""

    name: str
    current: Version
    versions: int
    """How many are kept."""
