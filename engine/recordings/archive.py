"""Where recordings are kept and what it takes to keep them; every deed of this folder works on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.foundation.errors import Invalid
from engine.foundation.files import sync_folder
from engine.recordings import store
from engine.recordings.keys import MasterKey, key_of
from engine.recordings.model import Recording
from engine.recordings.sealed import Damaged, Header, SealedFile

PART = ".part"
"""Ends the name of a file that is being written; such a one is nobody's after an hour."""


@dataclass(frozen=True, slots=True)
class Archive:
    """The recordings of all owners on this machine."""

    database: AsyncEngine
    clock: Clock
    master: MasterKey
    folder: Path
    """YYYY/MM/DD/CALL.wav.enc"""
    spool: Path
    """Asterisk's: monitor/CALL.raw, recording/CALL.voicemail.wav."""
    days: int
    """How long recordings are kept whose owner has no term of its own."""

    def path(self, file: str) -> Path:
        """Raises Invalid for a name that leads out of the folder."""
        path = self.folder / file
        if ".." in path.parts or not path.is_relative_to(self.folder):
            raise Invalid(f"recording file {file!r}: it is outside of {self.folder}")
        return path

    async def term(self, connection: AsyncConnection, account_id: UUID) -> timedelta:
        """How long a recording of this owner is kept."""
        own = await store.days(connection, account_id)
        return timedelta(days=self.days if own is None else own)

    async def key_for(self, account_id: UUID, version: int) -> bytes:
        """An owner's key. Raises as `key_of`, and TryLater."""
        async with transaction(self.database) as connection:
            return (await key_of(connection, self.master, account_id, version)).secret


def header_of(path: Path) -> Header:
    """Raises OSError, Damaged."""
    with path.open("rb") as file:
        return Header.read(file)


@contextmanager
def opened(path: Path, recording: Recording, owner_key: bytes) -> Iterator[SealedFile]:
    """The file of a recording. Raises Damaged when it is another's, OSError."""
    with path.open("rb") as file:
        header = Header.read(file)
        if (header.account_id, header.call_id, header.kind) != (
            recording.account_id,
            recording.call_id,
            recording.kind,
        ):
            raise Damaged("it is the file of another recording")
        yield SealedFile(file, header, owner_key)


def make_folder(folder: Path) -> None:
    """Makes the folder of a day and the ones above it, so that a power cut cannot take them away."""
    if not folder.exists():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def remove_file(path: Path) -> None:
    """The file is gone afterwards, also after a power cut. Raises OSError."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync_folder(path.parent)
