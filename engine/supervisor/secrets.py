"""The keys by which the parts of one home know each other: made once, readable by their owner only."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import msgspec

from engine.foundation.errors import Invalid


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


def _read(path: Path) -> Secrets:
    try:
        content = path.read_bytes()
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        return msgspec.json.decode(content, type=Secrets)
    except PermissionError:
        raise Invalid(f"{path} cannot be read by this user; run dari as the user who made it") from None
    except NotADirectoryError:
        raise Invalid(f"{path} cannot be: {path.parent} is a file; set DARI_HOME to a folder") from None
    except msgspec.DecodeError:
        raise Invalid(f"{path} is damaged; run `dari down`, delete the file and run `dari up` again") from None


def _make(path: Path) -> None:
    """Writes fresh secrets aside and links them into place: of two who start at once one wins whole."""
    fresh = Secrets(*(secrets.token_urlsafe(32) for _ in range(3)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=path.parent, prefix=".secrets-") as aside:  # mode 0600
            aside.write(msgspec.json.encode(fresh))
            aside.flush()
            os.fsync(aside.fileno())
            with suppress(FileExistsError):
                os.link(aside.name, path)
    except OSError as error:
        raise Invalid(f"{path} cannot be written ({error.strerror}); set DARI_HOME to a folder you own") from None
