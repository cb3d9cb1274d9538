"""Seals a finished recording: waits for its end, checks it, and writes it encrypted, whole, once. Files only."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.foundation.errors import TryLater
from engine.foundation.files import sync_folder
from engine.foundation.locks import got_lock
from engine.recordings.archive import PART, make_folder
from engine.recordings.model import RecordingKind
from engine.recordings.sealed import Header, Sealed, SealedFile, seal
from engine.recordings.sound import NoSound, Sound, raw_stereo, wav

SETTLED_SECONDS = 1.0
"""A file that has not changed for so long is complete: while Asterisk records, it writes several times a second."""
GIVE_UP_SECONDS = 30.0
"""A file that has not changed for so long and has not the length expected will not get it any more."""
TOLERANCE_SECONDS = 1.0
SHORTEST_VOICEMAIL = 1.0
"""Seconds; who hangs up at the tone has left nothing."""
LEAST_SPEECH = 0.3
"""Seconds that something must be heard in a voicemail."""


@dataclass(frozen=True, slots=True)
class Left:
    """What Asterisk should have left of a call."""

    call: str
    kind: RecordingKind
    paths: tuple[Path, ...]
    """Where it may be."""
    expected_seconds: float | None
    """None: nobody knows."""

    @property
    def path(self) -> Path | None:
        """The file that is there."""
        return next((path for path in self.paths if path.exists()), None)


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Keeps other workers from the same file meanwhile; False when it is gone. Raises TryLater while another has it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        if not got_lock(descriptor):
            raise TryLater(f"another worker keeps {path.name} right now", after=1.0)
        yield os.fstat(descriptor).st_nlink > 0
    finally:
        os.close(descriptor)


def finished_sound(left: Left, path: Path) -> Sound:
    """The sound in a file that will not change any more. Raises TryLater, NoSound, OSError."""
    quiet = time.time() - path.stat().st_mtime
    if quiet < SETTLED_SECONDS:
        raise TryLater(f"call {left.call} is still being recorded", after=SETTLED_SECONDS)
    sound = _read(left.kind, path)
    if quiet < GIVE_UP_SECONDS and shortfall(sound.seconds, left.expected_seconds):
        raise TryLater(f"the recording of call {left.call} is not complete", after=5.0)
    if not sound.frames:
        raise NoSound("Asterisk recorded no sound")
    if left.kind is RecordingKind.VOICEMAIL:
        _check_message(sound)
    return sound


def shortfall(seconds: float, expected_seconds: float | None) -> str:
    """Why a recording is not as long as its call, in words for the record; empty when it is."""
    if expected_seconds is None or abs(seconds - expected_seconds) <= TOLERANCE_SECONDS:
        return ""
    return f"{seconds:.1f} s were recorded, {expected_seconds:.1f} s were expected"


def write_sealed(sound: Sound, header: Header, owner_key: bytes, path: Path) -> Sealed:
    """Puts the sealed file at `path` in one step, on disk and read back. Raises OSError, and leaves nothing."""
    make_folder(path.parent)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            sealed = seal(target, header, owner_key, sound.wav())
            target.flush()
            os.fsync(target.fileno())
        if digest_of(part, header, owner_key) != sealed.sha256:
            raise OSError("what was written cannot be read back")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    sync_folder(path.parent)
    return sealed


def digest_of(path: Path, header: Header, owner_key: bytes, read: Callable[[int], None] = lambda _: None) -> bytes:
    """SHA-256 of the plain file inside; `read` is told how many bytes come. Raises Damaged, OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for piece in SealedFile(file, header, owner_key).pieces():
            digest.update(piece)
            read(len(piece))
    return digest.digest()


def _read(kind: RecordingKind, path: Path) -> Sound:
    if path.suffix == ".wav":
        return wav(path, left_only=kind is RecordingKind.VOICEMAIL)
    return raw_stereo(path, left_only=kind is RecordingKind.VOICEMAIL)


def _check_message(sound: Sound) -> None:
    if sound.seconds < SHORTEST_VOICEMAIL:
        raise NoSound(f"the caller left no message: {sound.seconds:.1f} s were recorded")
    if sound.speech_seconds() < LEAST_SPEECH:
        raise NoSound("the caller left no message: only silence was recorded")
