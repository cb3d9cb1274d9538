"""Takes a finished recording from Asterisk's spool into the recordings folder, once and whole."""

from __future__ import annotations

import asyncio
import os
import time
import wave
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID
from zlib import crc32

import structlog

from engine.foundation.errors import GaveUp, TryLater
from engine.foundation.files import sync_folder

RATE = 8_000
_FRAME_BYTES = 4
"""Two samples of 16 bits: left the caller, right the target."""
SETTLED_SECONDS = 1.0
"""A file that has not changed for so long is complete: while Asterisk records, it writes several times a second."""
GIVE_UP_SECONDS = 30.0
"""A file that has not changed for so long and has not the length expected will not get it any more."""
_TOLERANCE_SECONDS = 1.0
_CHUNK = 1 << 20

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """A recording in its place."""

    name: str
    """Under the recordings folder, as `recording_name` gives it."""
    seconds: float
    reason: str
    """Why it is not as long as the call; empty when it is."""


class NotRecorded(GaveUp):
    """There is nothing to keep. `reason` says why, in words for the call's record."""

    def __init__(self, call_id: UUID, reason: str) -> None:
        super().__init__(f"call {call_id}: not recorded: {reason}")
        self.reason = reason


def recording_name(call_id: UUID, arrived_at: datetime) -> str:
    """Where the recording of a call is kept, under the recordings folder: YYYY/MM/DD/CALL.wav, by its UTC day."""
    return f"{arrived_at.astimezone(UTC):%Y/%m/%d}/{call_id}.wav"


async def keep(raw: Path, folder: Path, call_id: UUID, arrived_at: datetime, expected_seconds: float) -> Kept:
    """Makes `raw` (s16le, 8 kHz, left the caller, right the target) a WAV file under `folder` and removes it.

    May be run again at any time, also after it was cut off. Raises TryLater while Asterisk still writes or the
    disk takes nothing, NotRecorded when there is no sound.
    """
    return await asyncio.to_thread(_keep, raw, folder, call_id, arrived_at, expected_seconds)


def _keep(raw: Path, folder: Path, call_id: UUID, arrived_at: datetime, expected_seconds: float) -> Kept:
    name = recording_name(call_id, arrived_at)
    kept = folder / name
    try:
        if raw.exists():
            _await_end(raw, call_id, expected_seconds)
            _convert(raw, kept)
            _remove(raw)
        if not kept.exists():
            raise NotRecorded(call_id, "Asterisk left no recording")
        seconds = _seconds_of(kept)
    except (OSError, EOFError, wave.Error) as error:
        raise TryLater(f"the recording of call {call_id} cannot be kept in {folder}: {error}", after=30.0) from None
    return Kept(name, seconds, _shortfall(seconds, expected_seconds))


def _await_end(raw: Path, call_id: UUID, expected_seconds: float) -> None:
    """Returns when the file will not change any more. Raises TryLater, or NotRecorded for a file without sound."""
    found = raw.stat()
    quiet = time.time() - found.st_mtime
    seconds = found.st_size / _FRAME_BYTES / RATE
    if quiet < SETTLED_SECONDS:
        raise TryLater(f"call {call_id} is still being recorded", after=SETTLED_SECONDS)
    if quiet < GIVE_UP_SECONDS and _shortfall(seconds, expected_seconds):
        raise TryLater(f"the recording of call {call_id} is not complete", after=5.0)
    if found.st_size < _FRAME_BYTES:
        _remove(raw)
        raise NotRecorded(call_id, "Asterisk recorded no sound")


def _shortfall(seconds: float, expected_seconds: float) -> str:
    if abs(seconds - expected_seconds) <= _TOLERANCE_SECONDS:
        return ""
    return f"{seconds:.1f} s were recorded, {expected_seconds:.1f} s were expected"


def _convert(raw: Path, kept: Path) -> None:
    """Writes the WAV file beside its place, reads it back, and moves it there when it is on disk."""
    _make_folder(kept.parent)
    part = kept.with_name(f".{kept.name}.part")
    part.unlink(missing_ok=True)
    try:
        checksum = _write_wav(raw, part)
        if _checksum_of(part) != checksum:
            raise OSError("what was written cannot be read back")
        part.replace(kept)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(kept.parent)


def _write_wav(raw: Path, part: Path) -> int:
    """The checksum of the sound written."""
    checksum = 0
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with raw.open("rb") as source, os.fdopen(descriptor, "wb") as target:
        with wave.open(target, "wb") as sound:
            sound.setparams((2, 2, RATE, 0, "NONE", ""))
            while chunk := source.read(_CHUNK):
                whole = chunk[: len(chunk) - len(chunk) % _FRAME_BYTES]
                checksum = crc32(whole, checksum)
                sound.writeframesraw(whole)
        target.flush()
        os.fsync(target.fileno())
    return checksum


def _checksum_of(path: Path) -> int:
    checksum = 0
    with wave.open(str(path), "rb") as sound:
        while frames := sound.readframes(_CHUNK // _FRAME_BYTES):
            checksum = crc32(frames, checksum)
    return checksum


def _seconds_of(path: Path) -> float:
    with wave.open(str(path), "rb") as sound:
        return sound.getnframes() / RATE


def _remove(raw: Path) -> None:
    try:
        raw.unlink(missing_ok=True)
    except OSError as error:
        log.warning("a recording stays in Asterisk's spool too", file=str(raw), reason=error.strerror)


def _make_folder(folder: Path) -> None:
    """Makes the folder of a day and the ones above it, so that a power cut cannot take them away."""
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)
