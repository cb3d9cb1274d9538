"""How long a sign-in waits after failed ones (pure). Counted for the login and for the address, whichever is longer.

Whoever counts does so before the password is compared, so that a hundred guesses at once are a hundred.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address

FREE_FOR_LOGIN = 5
FREE_FOR_PEER = 50
"""More: a whole office may come from one address."""

LONGEST = timedelta(minutes=15)
"""Also how long somebody is kept out each time that a stranger fails on purpose, where they never signed in before."""

FORGOTTEN_AFTER = timedelta(days=1)

KNOWN_FOR = timedelta(days=30)
"""How long an address counts as the user's own after they signed in from it."""

_IPV6_NETWORK_BITS = 64
"""Whoever has an IPv6 address has all of its network."""


@dataclass(frozen=True, slots=True)
class Attempts:
    """What is known of one login or address."""

    failures: int
    last_at: datetime


def standing(attempts: Attempts | None, now: datetime) -> int:
    """How many failures count now."""
    if attempts is None or now - attempts.last_at >= FORGOTTEN_AFTER:
        return 0
    return attempts.failures


def wait(attempts: Attempts | None, free: int, now: datetime) -> timedelta:
    """How long until the next try; nothing for the first `free` ones, then 1, 2, 4 … seconds, 15 minutes at most."""
    failures = standing(attempts, now)
    if attempts is None or failures < free:
        return timedelta(0)
    doublings = min(failures - free, LONGEST.seconds.bit_length())
    until = attempts.last_at + min(timedelta(seconds=2**doublings), LONGEST)
    return max(until - now, timedelta(0))


def login_subject(login: str) -> bytes:
    """By which a login is counted. Hashed: people type passwords into the wrong field."""
    return _subject("login", login)


def known_subject(login: str, peer: str) -> bytes:
    """By which a login is counted where that user has signed in before: strangers keep nobody out from there."""
    return _subject("known", f"{peer_subject(peer).hex()} {login}")


def peer_subject(peer: str) -> bytes:
    """By which an address is counted; an IPv6 one with its whole network."""
    try:
        address = ip_address(peer)
    except ValueError:
        return _subject("peer", peer)
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped:
            return _subject("peer", str(address.ipv4_mapped))
        return _subject("peer", str(int(address) >> _IPV6_NETWORK_BITS))
    return _subject("peer", str(address))


def _subject(kind: str, text: str) -> bytes:
    return hashlib.sha256(f"{kind} {text}".encode(errors="replace")).digest()
