"""Rows and files compared: each recording has its file, each file its row, and nothing of it stays elsewhere.

What can be put right without losing anything is put right; the rest is told.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from uuid import UUID

from engine.cdr.drain import KEEP_RECORDING, KEEP_VOICEMAIL
from engine.cdr.model import CallRecord, Result
from engine.cdr.search import find
from engine.foundation.database import transaction
from engine.foundation.errors import DariError, NotFound, TryLater
from engine.jobs.queue import enqueue
from engine.recordings import store
from engine.recordings.archive import PART, Archive, header_of, remove_file
from engine.recordings.finished import adopt
from engine.recordings.keep import digest_of
from engine.recordings.model import SEALED, Recording, RecordingKind, call_and_kind
from engine.recordings.retention import finish_deletions
from engine.recordings.sealed import Damaged
from engine.recordings.sound import TURNED

YOUNG_SECONDS = 3600.0
"""A file that was written to so lately may still be on its way to its row."""
_PAGE = 500
_OF_CHANNEL = re.compile(r"(?:[A-Za-z0-9_-]+-)?[0-9]{9,11}\.[0-9]+\.raw")


class Trouble(Enum):
    """What is not as it should be."""

    MISSING = "missing"
    """A recording whose file is gone."""
    DAMAGED = "damaged"
    """A file that is not what was kept."""
    UNKNOWN = "unknown"
    """A file that no recording knows."""
    UNFINISHED = "unfinished"
    """A file that a power cut left half written."""
    LEFT_BEHIND = "left behind"
    """A file of Asterisk's that nobody kept or removed."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is or was wrong; `mended` says what was done, empty when somebody has to look."""

    trouble: Trouble
    file: str
    detail: str
    mended: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison came to."""

    recordings: int
    findings: tuple[Finding, ...]

    @property
    def open(self) -> tuple[Finding, ...]:
        """What somebody has to look at."""
        return tuple(finding for finding in self.findings if not finding.mended)


async def compare(
    archive: Archive, *, deep: bool = False, mend: bool = True, told: Callable[[int], None] = lambda _: None
) -> Comparison:
    """Compares everything. `deep` reads every file whole; without `mend` nothing is changed; `told` counts recordings.

    Raises TryLater when database or disk are away.
    """
    try:
        if mend:
            await finish_deletions(archive)
        count, findings, known = await _rows(archive, deep, told)
        findings += await _files(archive, known, mend)
        findings += await _left_behind(archive, mend)
    except OSError as error:
        raise TryLater(f"recordings in {archive.folder} cannot be looked at: {error}", after=60.0) from None
    return Comparison(count, tuple(findings))


async def _rows(archive: Archive, deep: bool, told: Callable[[int], None]) -> tuple[int, list[Finding], set[str]]:
    count, after = 0, ""
    findings: list[Finding] = []
    known: set[str] = set()
    while True:
        async with transaction(archive.database) as connection:
            page = await store.page(connection, after, _PAGE)
        for recording in page:
            known.add(recording.file)
            if recording.deleted_at is None:
                count += 1
                findings += [finding] if (finding := await _looked_at(archive, recording, deep)) else []
        told(count)
        if len(page) < _PAGE:
            return count, findings, known
        after = page[-1].file


async def _looked_at(archive: Archive, recording: Recording, deep: bool) -> Finding | None:
    path = archive.path(recording.file)
    try:
        if path.stat().st_size != recording.size:
            return Finding(Trouble.DAMAGED, recording.file, "it has not the size that was written")
        if deep:
            await _read_whole(archive, recording, path)
    except FileNotFoundError:
        if await _was_deleted(archive, recording):
            return None
        return Finding(Trouble.MISSING, recording.file, "its file is gone")
    except TryLater:
        raise
    except DariError as error:
        return Finding(Trouble.DAMAGED, recording.file, str(error))
    return None


async def _read_whole(archive: Archive, recording: Recording, path: Path) -> None:
    header = await asyncio.to_thread(header_of, path)
    if (header.account_id, header.call_id, header.kind) != (recording.account_id, recording.call_id, recording.kind):
        raise Damaged("it is the file of another recording")
    key = await archive.key_for(recording.account_id, header.key_version)
    if await asyncio.to_thread(digest_of, path, header, key) != recording.sha256:
        raise Damaged("it is not the one that was kept")


async def _was_deleted(archive: Archive, recording: Recording) -> bool:
    """Whether it went since its row was read."""
    async with transaction(archive.database) as connection:
        found = await store.find(connection, recording.call_id, recording.kind)
    return found is None or found.deleted_at is not None


async def _files(archive: Archive, known: set[str], mend: bool) -> list[Finding]:
    """What lies in the recordings folder and belongs to no row."""
    findings = []
    for file in await asyncio.to_thread(lambda: sorted(set(_found(archive.folder)) - known)):
        path = archive.path(file)
        if not _is_old(path):
            continue
        if file.endswith(PART):
            mended = await _removed(path, mend, "removed: nobody waits for it any more")
            findings.append(Finding(Trouble.UNFINISHED, file, "it was never finished", mended))
        elif finding := await _unknown(archive, file, path, mend):
            findings.append(finding)
    return findings


async def _unknown(archive: Archive, file: str, path: Path, mend: bool) -> Finding | None:
    named = call_and_kind(file)
    if plain := call_and_kind(file + SEALED):
        if mend:
            await _enqueue(archive, *plain)
        return Finding(Trouble.UNKNOWN, file, "it is not encrypted", "its job was put in again" if mend else "")
    if named is None:
        return Finding(Trouble.UNKNOWN, file, "no recording is named so")
    async with transaction(archive.database) as connection:
        row = await store.find(connection, *named)
    if row and row.deleted_at is None and row.file == file:
        return None  # kept since the rows were read
    if row and row.deleted_at:
        mended = await _removed(path, mend, "removed: it was deleted before")
        return Finding(Trouble.UNKNOWN, file, "its recording was deleted", mended)
    try:
        record = await _record(archive, named[0])
        if mend and (made := await adopt(archive, record, named[1])) and made.file == file:
            return Finding(Trouble.UNKNOWN, file, "it had no row", "its row was made")
        return Finding(Trouble.UNKNOWN, file, "it has no row")
    except TryLater:
        raise
    except DariError as error:
        return Finding(Trouble.UNKNOWN, file, str(error))


async def _left_behind(archive: Archive, mend: bool) -> list[Finding]:
    """What lies in Asterisk's spool though its call is long over."""
    findings = [
        Finding(Trouble.LEFT_BEHIND, path.name, "its call went without an engine, and Asterisk died in it")
        for path in await asyncio.to_thread(lambda: list(_without_engine(archive.spool)))
    ]
    for path, call_id, kind in await asyncio.to_thread(lambda: list(_of_asterisk(archive.spool))):
        if not _is_old(path):
            continue
        try:
            record = await _record(archive, call_id)
        except NotFound:
            findings.append(Finding(Trouble.LEFT_BEHIND, path.name, "there is no record of its call"))
            continue
        if _may_be_kept(record, kind):
            if mend:
                await _enqueue(archive, call_id, kind)
            mended = "its job was put in again" if mend else ""
        else:
            mended = await _removed(path, mend, "removed: its call was not to be recorded")
        findings.append(Finding(Trouble.LEFT_BEHIND, path.name, "it lies in Asterisk's spool", mended))
    return findings


def _may_be_kept(record: CallRecord, kind: RecordingKind) -> bool:
    """Whether the record wants it, or its call was lost while it was recorded."""
    wanted = record.recording if kind is RecordingKind.TALK else record.voicemail
    return bool(wanted) or record.result is Result.LOST


async def _enqueue(archive: Archive, call_id: UUID, kind: RecordingKind) -> None:
    name = KEEP_RECORDING if kind is RecordingKind.TALK else KEEP_VOICEMAIL
    async with transaction(archive.database) as connection:
        await enqueue(connection, name, str(call_id).encode(), key=f"{name}:{call_id}")


async def _record(archive: Archive, call_id: UUID) -> CallRecord:
    async with transaction(archive.database) as connection:
        return await find(connection, str(call_id))


async def _removed(path: Path, mend: bool, word: str) -> str:
    if not mend:
        return ""
    await asyncio.to_thread(remove_file, path)
    return word


def _found(folder: Path) -> Iterator[str]:
    """Every file under the folder, by its name under it."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield str(path.relative_to(folder))


def _of_asterisk(spool: Path) -> Iterator[tuple[Path, UUID, RecordingKind]]:
    for folder, ending, kind in (
        ("monitor", ".raw", RecordingKind.TALK),
        ("monitor", TURNED, RecordingKind.TALK),
        ("monitor", ".voicemail.raw", RecordingKind.VOICEMAIL),
        ("recording", ".voicemail.wav", RecordingKind.VOICEMAIL),
    ):
        for path in (spool / folder).glob(f"*{ending}"):
            try:
                yield path, UUID(path.name.removesuffix(ending)), kind
            except ValueError:
                continue


def _without_engine(spool: Path) -> Iterator[Path]:
    """Old recordings under a channel's id: no row of Asterisk's call records came to tell whose they are."""
    for path in (spool / "monitor").glob("*.raw"):
        if _OF_CHANNEL.fullmatch(path.name) and _is_old(path):
            yield path


def _is_old(path: Path) -> bool:
    try:
        return time.time() - path.stat().st_mtime >= YOUNG_SECONDS
    except FileNotFoundError:
        return False
