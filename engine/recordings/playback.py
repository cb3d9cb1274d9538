"""Recordings for those who may hear them: the called party's organisation, with a reason, each time written down."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.foundation.database import transaction
from engine.foundation.errors import Invalid, NotAllowed, NotFound, TryLater
from engine.recordings import store
from engine.recordings.archive import PART, Archive
from engine.recordings.model import Access, Deed, Reader, Recording, RecordingKind, RecordingPlace, Wanted
from engine.recordings.sealed import CHUNK, Damaged, Header, SealedFile

LONGEST_REASON = 500
_LONGEST_WHO = 200
_AT_ONCE = 16
"""Chunks that are read in one go: 1 MiB."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Opened:
    """A recording that is being read."""

    recording: Recording
    size: int
    """Bytes of the whole WAV file."""
    pieces: AsyncIterator[bytes]
    """The part asked for. Raises Damaged, also after the last piece when the whole is not what was kept."""


async def recordings_of(archive: Archive, call_id: UUID) -> list[Recording]:
    """What was kept of a call, deleted ones included; the talk first."""
    async with transaction(archive.database) as connection:
        return await store.of_call(connection, call_id)


async def listing(
    archive: Archive, account_id: UUID | None = None, *, deleted: bool = False, limit: int = 100
) -> list[Recording]:
    """The newest first, of one owner or of all; with `deleted` those that were deleted too."""
    async with transaction(archive.database) as connection:
        return await store.listing(connection, account_id, deleted=deleted, limit=limit)


async def page(
    connection: AsyncConnection, wanted: Wanted, *, before: RecordingPlace | None = None, limit: int
) -> list[Recording]:
    """The newest such recordings first, `limit` at most, that stand before that place; None: from the newest on."""
    return await store.newest(connection, wanted, before, limit)


async def find(connection: AsyncConnection, call_id: UUID, kind: RecordingKind) -> Recording | None:
    """One that is kept; None when there is none, or none any more."""
    found = await store.find(connection, call_id, kind)
    return None if found is None or found.deleted_at else found


async def access_log(archive: Archive, call_id: UUID | None = None, *, limit: int = 100) -> list[Access]:
    """Who asked for recordings, the newest first."""
    async with transaction(archive.database) as connection:
        return await store.logged(connection, call_id, limit)


async def may(archive: Archive, reader: Reader, call_id: UUID, kind: RecordingKind, deed: Deed) -> Recording:
    """The recording, once it is written down who does what with it and why; those turned away are written down too.

    Raises Invalid for a reason that says nothing, NotFound, and NotAllowed for another organisation's recording.
    """
    check_reader(reader)
    async with transaction(archive.database) as connection:
        found = await store.find(connection, call_id, kind)
        granted = found is not None and found.account_id == reader.account_id and found.deleted_at is None
        if found:
            await store.log(connection, _access(archive, reader, call_id, kind, deed, granted=granted))
    if found is None:
        raise NotFound(f"call {call_id}: no {kind.value} of it is kept")
    if found.account_id != reader.account_id:
        log.warning("a recording was refused", call=str(call_id), who=reader.who)
        raise NotAllowed(f"call {call_id}: its recording belongs to another organisation")
    if found.deleted_at:
        raise NotFound(f"call {call_id}: its {kind.value} was deleted on {found.deleted_at:%Y-%m-%d}")
    return found


async def note_refusal(archive: Archive, reader: Reader, call_id: UUID, kind: RecordingKind, deed: Deed) -> None:
    """Writes down that somebody was turned away who may not have that recording."""
    async with transaction(archive.database) as connection:
        await store.log(connection, _access(archive, reader, call_id, kind, deed, granted=False))


@asynccontextmanager
async def open_recording(
    archive: Archive, reader: Reader, call_id: UUID, kind: RecordingKind, *, span: tuple[int, int | None] = (0, None)
) -> AsyncIterator[Opened]:
    """A WAV file, or its bytes `span[0]` up to `span[1]`, for a player. Raises as `may`, Damaged, GaveUp, TryLater."""
    recording = await may(archive, reader, call_id, kind, Deed.LISTEN)
    async with _opened(archive, recording, span) as opened:
        yield opened


async def export(
    archive: Archive,
    reader: Reader,
    call_id: UUID,
    kind: RecordingKind,
    target: Path,
    told: Callable[[int, int], None] = lambda _done, _size: None,
) -> Recording:
    """Writes the WAV file to `target`, whole or not at all, for its owner only; `told` gets bytes done and in all.

    Raises as `open_recording`, and Invalid when `target` cannot be written.
    """
    recording = await may(archive, reader, call_id, kind, Deed.EXPORT)
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}{PART}")
    try:
        async with _opened(archive, recording, (0, None)) as opened:
            await _write(opened, part, told)
        part.replace(target)
    except OSError as error:
        raise Invalid(f"{target}: it cannot be written ({error.strerror or error}); name another file") from None
    finally:
        part.unlink(missing_ok=True)
    return recording


async def _write(opened: Opened, part: Path, told: Callable[[int, int], None]) -> None:
    done = 0
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        async for piece in opened.pieces:
            done += await asyncio.to_thread(file.write, piece)
            told(done, opened.size)


@asynccontextmanager
async def _opened(archive: Archive, recording: Recording, span: tuple[int, int | None]) -> AsyncIterator[Opened]:
    with _errors_told(recording):
        file = archive.path(recording.file).open("rb")
    with file:
        with _errors_told(recording):
            sealed = await _sealed(archive, recording, file)
        start, stop = span[0], sealed.size if span[1] is None else min(span[1], sealed.size)
        if not 0 <= start <= stop:
            raise Invalid(f"recording {recording.file}: there are no bytes {start} to {stop} of {sealed.size}")
        pieces = _pieces(sealed, recording, start, stop)
        try:
            yield Opened(recording, sealed.size, pieces)
        finally:
            await pieces.aclose()


async def _sealed(archive: Archive, recording: Recording, file: BinaryIO) -> SealedFile:
    header = Header.read(file)
    if (header.account_id, header.call_id, header.kind) != (recording.account_id, recording.call_id, recording.kind):
        raise Damaged("it is the file of another recording")
    return SealedFile(file, header, await archive.key_for(recording.account_id, header.key_version))


async def _pieces(sealed: SealedFile, recording: Recording, start: int, stop: int) -> AsyncGenerator[bytes, None]:
    digest = hashlib.sha256()
    for begin in _steps(start, stop):
        with _errors_told(recording):
            piece = await asyncio.to_thread(_read, sealed, begin, min(begin + _until_next(begin), stop))
        digest.update(piece)
        yield piece
    with _errors_told(recording):
        if (start, stop) == (0, sealed.size) and digest.digest() != recording.sha256:
            raise Damaged("it is not the one that was kept")


@contextmanager
def _errors_told(recording: Recording) -> Iterator[None]:
    """Names the recording in what went wrong with its file."""
    try:
        yield
    except FileNotFoundError:
        raise Damaged(f"recording {recording.file}: the file is gone; see `dari recording check`") from None
    except OSError as error:
        raise TryLater(f"recording {recording.file}: it cannot be read ({error.strerror})", after=30.0) from None
    except Damaged as error:
        raise Damaged(f"recording {recording.file}: {error}; see `dari recording check`") from None


def _steps(start: int, stop: int) -> list[int]:
    """Where each reading begins; all but the first one at the edge of a chunk."""
    width = _AT_ONCE * CHUNK
    return [start, *range((start // width + 1) * width, stop, width)] if start < stop else []


def _until_next(begin: int) -> int:
    return _AT_ONCE * CHUNK - begin % (_AT_ONCE * CHUNK)


def _read(sealed: SealedFile, start: int, stop: int) -> bytes:
    return b"".join(sealed.pieces(start, stop))


def _access(
    archive: Archive, reader: Reader, call_id: UUID, kind: RecordingKind, deed: Deed, *, granted: bool
) -> Access:
    return Access(
        call_id=call_id,
        kind=kind,
        account_id=reader.account_id,
        at=archive.clock.now(),
        who=reader.who,
        deed=deed,
        reason=reader.reason,
        granted=granted,
    )


def check_reader(reader: Reader) -> None:
    """Raises Invalid for somebody who does not say who they are, or why they ask."""
    if not reader.reason.strip() or len(reader.reason) > LONGEST_REASON or not reader.reason.isprintable():
        raise Invalid(f"reason: say in 1 to {LONGEST_REASON} printable characters why the recording is needed")
    if not reader.who.strip() or len(reader.who) > _LONGEST_WHO:
        raise Invalid("who: nobody is named who asks for the recording")
