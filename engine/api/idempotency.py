"""A request that comes twice is done once: the answer to a POST with an Idempotency-Key is kept for a day.

The answer is written in the transaction of the deed, so that neither is there without the other. Of equal requests that
come at once one does the deed; the others wait, those of this process without a connection, and get the same answer. A
problem is not kept: it changed nothing, and the same request is judged anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from fastapi import Response
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.api import store
from engine.api.problems import Code, Refused
from engine.foundation.errors import GaveUp, TryLater
from engine.foundation.sealing import seal, unseal

HEADER = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
KEPT_FOR = timedelta(hours=24)

_LONGEST_KEY = 255
_WAITS = 30.0
_KEPT_HEADERS = ("content-type", "etag", "location")


class _Kept(msgspec.Struct, frozen=True):
    """What a slot holds, before it is sealed."""

    fingerprint: bytes
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Slot:
    """Where the answer to a request is kept, with what it is sealed, and which request it answers."""

    id: bytes
    key: bytes
    fingerprint: bytes


def slot_of(who: str, key: str, request: bytes) -> Slot:
    """The slot for the key that `who` sent with that request. Raises Refused for what cannot be a key.

    Neither who asked nor the key can be read from the id, and without the key nobody opens the answer: it may hold
    what is shown once, such as an API key.
    """
    if not 0 < len(key) <= _LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise Refused(
            Code.BAD_REQUEST, f"{HEADER}: it must be 1 to {_LONGEST_KEY} printable ASCII characters; send a UUID"
        )
    base = f"{who}\n{key}".encode()
    return Slot(
        id=HKDF(SHA256(), 32, None, b"dari api slot").derive(base),
        key=HKDF(SHA256(), 32, None, b"dari api answer").derive(base),
        fingerprint=sha256(request).digest(),
    )


async def claim(connection: AsyncConnection, slot: Slot, now: datetime) -> Response | None:
    """The answer kept for that very request; None: there is none, and the caller's transaction may make it now.

    Raises Refused when the key came with another request.
    """
    if await store.claim(connection, slot.id, now=now, kept_until=now + KEPT_FOR):
        return None
    kept = _opened(slot, await store.kept(connection, slot.id))
    if kept.fingerprint != slot.fingerprint:
        raise Refused(
            Code.KEY_REUSED, f"{HEADER}: another request came with this key; send a new key with each new request"
        )
    return Response(kept.body, status_code=kept.status, headers=kept.headers | {REPLAYED: "true"})


async def keep(connection: AsyncConnection, slot: Slot, response: Response) -> None:
    """Keeps what was answered; an answer that cannot be kept frees the slot."""
    body = getattr(response, "body", None)
    if not isinstance(body, bytes) or not 200 <= response.status_code < 300:
        await store.free(connection, slot.id)
        return
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    kept = msgspec.msgpack.encode(_Kept(slot.fingerprint, response.status_code, headers, body))
    await store.keep(connection, slot.id, seal(slot.key, kept, slot.id))


async def forget(connection: AsyncConnection, now: datetime) -> int:
    """Removes the answers whose day is over; how many."""
    return await store.forget(connection, now)


class Turns:
    """Equal requests of this process go one after the other."""

    def __init__(self) -> None:
        self._locks: dict[bytes, asyncio.Lock] = {}
        self._waiting: dict[bytes, int] = {}

    @property
    def idle(self) -> bool:
        """Whether nobody has a turn or waits for one."""
        return not self._locks

    @asynccontextmanager
    async def turn(self, slot: Slot) -> AsyncIterator[None]:
        """Alone with that slot. Raises TryLater when those before take too long."""
        lock = self._locks.setdefault(slot.id, asyncio.Lock())
        self._waiting[slot.id] = self._waiting.get(slot.id, 0) + 1
        try:
            try:
                async with asyncio.timeout(_WAITS):
                    await lock.acquire()
            except TimeoutError:
                raise TryLater("the same request is still being done; send it again", after=5.0) from None
            try:
                yield
            finally:
                lock.release()
        finally:
            self._waiting[slot.id] -= 1
            if not self._waiting[slot.id]:
                del self._waiting[slot.id], self._locks[slot.id]


def _opened(slot: Slot, sealed: bytes | None) -> _Kept:
    try:
        return msgspec.msgpack.decode(unseal(slot.key, sealed or b"", slot.id), type=_Kept)
    except (ValueError, msgspec.DecodeError):
        raise GaveUp(
            f"{HEADER}: the answer kept for this key cannot be read; send the request with a new key"
        ) from None
