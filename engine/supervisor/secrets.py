"""The keys by which the parts of one home know each other: made once, readable by their owner only."""

from __future__ import annotations

import base64
import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec

from engine.foundation.errors import Invalid
from engine.foundation.written_key import KEY_BYTES, is_key


class Secrets(msgspec.Struct, frozen=True):
    """Passwords of Dari's own Asterisk and the key of its sandbox gateway; 32 random bytes each."""

    ari: str
    ami: str
    gateway: str

    def __repr__(self) -> str:
        return "Secrets(…)"


def load_secrets(path: Path) -> Secrets:
    """The secrets in `path`, made now if there are none yet. Raises Invalid when the file cannot be used."""
    with suppress(FileNotFoundError):
        return _read(path)
    _make(path)
    return _read(path)


def load_recording_key(path: Path, recordings: Path) -> str:
    """The master key of recordings in `path`, 32 bytes in base64, made now if there is none yet.

    Not among the other secrets: those are made anew when their file is damaged or lost, this one must not be. Raises
    Invalid for a damaged key, and for a lost one while there are `recordings` that only it opens.
    """
    try:
        return _read_key(path)
    except FileNotFoundError:
        if next(recordings.rglob("*.enc"), None) is not None:
            raise Invalid(
                f"{path} is missing, and {recordings} holds recordings that nothing else opens; put it back from your "
                "copy, or move those recordings away"
            ) from None
        _put(path, base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
    return _read_key(path)


def load_secret_key(path: Path, documents: Path) -> str:
    """The key of other secrets in `path`, 32 bytes in base64, made now if there is none yet.

    Raises Invalid for a damaged one, and for a lost one while there are sealed `documents` that only it opens.
    """
    mend = "put your copy of it back: without it documents of sign-ups, one-time codes and webhooks are lost"
    with suppress(FileNotFoundError):
        return _read_key(path, mend)
    if documents.is_dir() and any(documents.iterdir()):
        raise Invalid(f"{path} is missing, and {documents} holds what nothing else opens; {mend}")
    _put(path, base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
    return _read_key(path, mend)


def _read(path: Path) -> Secrets:
    try:
        return msgspec.json.decode(_content(path), type=Secrets)
    except msgspec.DecodeError:
        raise Invalid(f"{path} is damaged; run `dari down`, delete the file and run `dari up` again") from None


def _read_key(path: Path, mend: str = "put your copy of it back: without it no recording can be heard") -> str:
    key = _content(path).strip()
    if not is_key(key):
        raise Invalid(f"{path} is damaged; {mend}")
    return key.decode()


def _content(path: Path) -> bytes:
    """Of a file that is for its owner only. Raises FileNotFoundError, Invalid."""
    try:
        content = path.read_bytes()
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return content
    except PermissionError:
        raise Invalid(f"{path} cannot be read by this user; run dari as the user who made it") from None
    except NotADirectoryError:
        raise Invalid(f"{path} cannot be: {path.parent} is a file; set DARI_HOME to a folder") from None


def _make(path: Path) -> None:
    _put(path, msgspec.json.encode(Secrets(*(secrets.token_urlsafe(32) for _ in range(3)))))


def _put(path: Path, content: bytes) -> None:
    """Writes aside and links into place: of two who start at once one wins whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=".secrets-") as aside:  # mode 0600
            aside.write(content)
            aside.flush()
            os.fsync(aside.fileno())
            with suppress(FileExistsError):
                os.link(aside.name, path)
    except OSError as error:
        raise Invalid(f"{path} cannot be written ({error.strerror}); set DARI_HOME to a folder you own") from None
