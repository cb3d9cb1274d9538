"""Passwords: which are taken, how they are kept (argon2id, RFC 9106), how one is compared.

Each comparison takes 64 MiB and some 0.2 seconds of a processor, on purpose, so a few at a time are done, in threads.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from engine.foundation.errors import Invalid, TryLater

SHORTEST = 10
LONGEST = 128

_AT_ONCE = 2
_MOST_WAITING = 50
"""Ten seconds of work; whoever comes then is sent away rather than left to wait."""

_HASHER = PasswordHasher()
_NOBODYS = "$argon2id$v=19$m=65536,t=3,p=4$ELiF3kJ5Iouz4womyW310w$QPmbGYPafpipi5APIO2gFWVSrSrfRcnDt6LPqG4rK0w"
"""The hash of a thrown-away secret: compared with where there is none, so that both take the same time."""

_COMMON = frozenset(
    {
        "1q2w3e4r5t",
        "1q2w3e4r5t6y",
        "password12",
        "password123",
        "password1234",
        "qwer1234!!",
        "qwerty1234",
        "qwerty12345",
        "q1w2e3r4t5",
        "asdf123456",
        "iloveyou12",
        "changeme123",
        "admin12345",
        "welcome123",
    }
)
_ROWS = (
    "01234567890123456789",
    "98765432109876543210",
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔㅁㄴㅇㄹㅎㅗㅓㅏㅣㅋㅌㅊㅍㅠㅜㅡ",
)

_T = TypeVar("_T")


def check_password(password: str, login: str) -> None:
    """Raises Invalid for a password that would be guessed. Length counts; kinds of letters do not (NIST SP 800-63B)."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise Invalid(f"password: it must have {SHORTEST} to {LONGEST} characters; a short sentence is good")
    small = password.casefold()
    if len(set(small)) < 5 or small in _COMMON or any(small in row for row in _ROWS):
        raise Invalid("password: it is one of those that are tried first; choose another, a short sentence is good")
    own = login.partition("@")[0]
    if len(own) >= 4 and own in small and len(small) < len(own) + SHORTEST:
        raise Invalid("password: it is little more than the login; choose another, a short sentence is good")


async def hashed(password: str) -> str:
    """What is kept of it. Raises TryLater when too many wait."""
    return await _in_thread(lambda: _HASHER.hash(_normal(password)))


async def matches(kept: str | None, password: str) -> bool:
    """Whether it is that password; None: there is none, which takes as long. Raises TryLater when too many wait."""
    right = await _in_thread(lambda: _verified(kept or _NOBODYS, _normal(password[: LONGEST * 4])))
    return right and kept is not None


def outdated(kept: str) -> bool:
    """Whether it was hashed with less work than today's."""
    return _HASHER.check_needs_rehash(kept)


def _verified(kept: str, password: bytes) -> bool:
    try:
        return _HASHER.verify(kept, password)
    except (VerificationError, InvalidHashError):
        return False


def _normal(password: str) -> bytes:
    """The same for the same letters, whichever keyboard composed them (Hangul from a Mac comes in parts)."""
    return unicodedata.normalize("NFKC", password).encode(errors="replace")


class _Threads:
    """A few threads, and how many wait for one."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="password")
        self._under_way = 0

    async def run(self, work: Callable[[], _T]) -> _T:
        if self._under_way >= _AT_ONCE + _MOST_WAITING:
            raise TryLater("too many sign-ins at once: try again in a few seconds", after=5.0)
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._under_way -= 1


@cache
def _threads() -> _Threads:
    return _Threads()


async def _in_thread(work: Callable[[], _T]) -> _T:
    return await _threads().run(work)
