"""What is shown once and known again by its hash: tokens of sessions, keys of programs, invitations."""

from __future__ import annotations

import hashlib
import re
import secrets
import string

from engine.foundation.errors import NotAllowed

_LETTERS = string.digits + string.ascii_uppercase + string.ascii_lowercase
SECRET_LETTERS = 43
"""Of 62 each: 256 bits, so that a plain hash is enough and no list helps."""
PREFIX_LETTERS = 8

_SESSION = re.compile(rf"dari_session_[0-9A-Za-z]{{{SECRET_LETTERS}}}")
_KEY = re.compile(rf"dari_([0-9A-Za-z]{{{PREFIX_LETTERS}}})_[0-9A-Za-z]{{{SECRET_LETTERS}}}")


class Expired(NotAllowed):
    """It was good once; its time is over."""


def new_session_token() -> str:
    return f"dari_session_{letters(SECRET_LETTERS)}"


def new_key(prefix: str) -> str:
    return f"dari_{prefix}_{letters(SECRET_LETTERS)}"


def new_token() -> str:
    """For an invitation or a new password: part of an address that somebody opens."""
    return letters(SECRET_LETTERS)


def letters(count: int) -> str:
    """Random letters and digits."""
    return "".join(secrets.choice(_LETTERS) for _ in range(count))


def hash_of(token: str) -> bytes:
    """What is kept of it."""
    return hashlib.sha256(token.encode(errors="replace")).digest()


def is_session_token(token: str) -> bool:
    """By its shape."""
    return _SESSION.fullmatch(token) is not None


def prefix_of(key: str) -> str | None:
    """The part of a key by which it is found; None for what has not the shape of one."""
    found = _KEY.fullmatch(key)
    return found[1] if found else None
