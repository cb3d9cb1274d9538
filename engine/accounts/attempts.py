"""Counts sign-ins before they are judged, and sends away whoever has to wait. In the caller's transaction.

Where a user has signed in before, their login is counted apart: a stranger who fails on purpose keeps them out
elsewhere only, and gets no more guesses by it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import store_sessions as store
from engine.accounts.lockout import (
    FREE_FOR_LOGIN,
    FREE_FOR_PEER,
    KNOWN_FOR,
    known_subject,
    login_subject,
    peer_subject,
    standing,
    wait,
)
from engine.accounts.user import is_login
from engine.foundation.errors import TryLater


class TooOften(TryLater):
    """Somebody failed so often that the next try comes too early."""


class Counted(NamedTuple):
    """Under what a try was counted."""

    login: bytes
    peer: bytes


async def admit(connection: AsyncConnection, login: str, peer: str, now: datetime) -> Counted:
    """Counts a try as failed until it is said otherwise. Raises TooOften, and counts nothing, when it comes too early.

    Commit before the password is compared. The login is always locked before the address, so nobody waits in a ring.
    """
    known = peer_subject(peer) in await _known_peers(connection, login, now)
    counted = Counted(known_subject(login, peer) if known else login_subject(login), peer_subject(peer))
    failures: list[int] = []
    longest = timedelta(0)
    for subject, free in zip(counted, (FREE_FOR_LOGIN, FREE_FOR_PEER), strict=True):
        attempts = await store.lock_attempts(connection, subject, now)
        longest = max(longest, wait(attempts, free, now))
        failures.append(standing(attempts, now) + 1)
    if longest:
        seconds = max(longest.total_seconds(), 1.0)
        raise TooOften(f"too many failed sign-ins: try again in {seconds:.0f} seconds", after=seconds)
    for subject, count in zip(counted, failures, strict=True):
        await store.count(connection, subject, count, now)
    return counted


async def succeeded(connection: AsyncConnection, counted: Counted) -> None:
    """The login begins anew; the address gets this try back, and keeps those that failed."""
    await store.forget(connection, counted.login)
    await store.give_back(connection, counted.peer)


async def not_failed(connection: AsyncConnection, counted: Counted) -> None:
    """The try was neither a success nor a failure, and is not counted."""
    await store.give_back(connection, counted.login)
    await store.give_back(connection, counted.peer)


async def forgive(connection: AsyncConnection, login: str, now: datetime) -> None:
    """Failures with that login count no more, wherever they were."""
    await store.forget(connection, login_subject(login))
    for peer in await store.peers_of(connection, login, now - KNOWN_FOR):
        await store.forget(connection, known_subject(login, peer))


async def _known_peers(connection: AsyncConnection, login: str, now: datetime) -> set[bytes]:
    if not is_login(login):
        return set()
    return {peer_subject(peer) for peer in await store.peers_of(connection, login, now - KNOWN_FOR)}
