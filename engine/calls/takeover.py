"""Several engines of one home, and what becomes of the calls of one that dies.

The rule: whoever gets the kernel's lock of a dead engine's spool adopts its calls, be it that engine's own next life or
a sibling. The kernel frees a lock when its process ends and never before: an engine that only lost Asterisk keeps its
calls, a frozen one too until the watchdog has killed it, and no two ever have the same.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from engine.cdr.dead_spool import Packed, locked, open_calls, pack
from engine.cdr.model import OpenCall
from engine.cdr.spool import Spool, Taken, take
from engine.foundation.clock import Clock
from engine.foundation.errors import Conflict
from engine.foundation.locks import got_lock

log = structlog.get_logger(__name__)

_TRIED_EVERY = 0.5
"""Seconds between two tries of the siblings' locks; a try costs some microseconds."""
_AFTER_TROUBLE = 10.0
"""Seconds until a folder is tried again that could not be read or written."""
_TAKER_IS_DONE = 10.0
"""Seconds for which a new life waits for the lock of its own spool: a sibling may be taking what is in it."""
_ASKED_EVERY = 0.05


async def open_own(folder: Path, node: str, clock: Clock) -> Spool:
    """This engine's spool, once a sibling that takes what is in it has done so. Never keeps the loop waiting.

    Raises Conflict when another process keeps the folder, Invalid when it cannot be used.
    """
    until = clock.monotonic() + _TAKER_IS_DONE
    while True:
        try:
            return Spool.of(folder, clock, await _taken(folder, node))
        except Conflict:
            if clock.monotonic() > until:
                raise
        await asyncio.sleep(_ASKED_EVERY)


class Sibling(NamedTuple):
    """Another engine of this home, living or not."""

    spool: Path
    app: str
    """Its ARI application."""


Siblings = Callable[[], Iterable[Sibling]]
Adopt = Callable[[Sequence[OpenCall], str], Awaitable[None]]
"""Goes on with calls that are in our spool now, and takes on the callers whom the dead engine, of that application, had
claimed and not written down yet. Returns once those are ours: until then the lock is kept, so that no new life of that
engine takes them on as well."""


class Takeover:
    """Takes over what dead siblings left."""

    def __init__(
        self, spool: Spool, siblings: Siblings, adopt: Adopt, able: Callable[[], bool], now: Callable[[], float]
    ) -> None:
        """An engine that is not `able` to go on with calls leaves them to one that is. `now` is a monotonic clock."""
        self._spool = spool
        self._siblings = siblings
        self._adopt = adopt
        self._able = able
        self._now = now
        self._settled: set[Path] = set()
        """Of dead engines of which there is nothing left to take."""
        self._not_before: dict[Path, float] = {}

    async def keep_trying(self) -> None:
        """Until cancelled."""
        while True:
            for sibling in self._siblings():
                if self._able() and self._spool.healthy and self._is_due(sibling):
                    await self._try(sibling)
            await asyncio.sleep(_TRIED_EVERY)

    async def _try(self, sibling: Sibling) -> None:
        try:
            await self.take(sibling)
        except OSError as error:
            reason = error.strerror
            log.error("a dead engine's calls cannot be taken over yet", app=sibling.app, reason=reason)
            self._not_before[sibling.spool] = self._now() + _AFTER_TROUBLE

    async def take(self, sibling: Sibling) -> None:
        """Takes over what a sibling left, if it is dead. Raises OSError: then it is all still there."""
        with locked(sibling.spool) as dead:
            if not dead:
                self._settled.discard(sibling.spool)
                return
            packed = await _packed(sibling.spool)
            if packed is None and sibling.spool in self._settled:
                return
            calls = await self._spool.take_in(packed) if packed else []
            records = len(packed.closed) if packed else 0
            tell = log.warning if packed else log.info
            tell(
                "an engine is not there: what it left goes on here", app=sibling.app, calls=len(calls), records=records
            )
            self._settled.add(sibling.spool)
            await self._adopt(calls, sibling.app)

    def _is_due(self, sibling: Sibling) -> bool:
        return self._now() >= self._not_before.get(sibling.spool, 0.0)


async def _taken(folder: Path, node: str) -> Taken:
    """In a thread: after hours without a database a spool is large. Who gives up waiting gives the folder back."""
    taking = asyncio.get_running_loop().run_in_executor(None, take, folder, node)
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        await asyncio.wait([taking])
        if taking.exception() is None:
            os.close(taking.result().lock)
        raise


async def _packed(folder: Path) -> Packed | None:
    """In a thread, for a spool may be large. The lock is kept until the thread has done, whoever gives up waiting."""
    packing = asyncio.get_running_loop().run_in_executor(None, pack, folder)
    try:
        return await asyncio.shield(packing)
    except asyncio.CancelledError:
        await asyncio.wait([packing])
        raise


class Elsewhere:
    """The calls that siblings have: no stray ones, whatever they are named."""

    def __init__(self, siblings: Siblings) -> None:
        self._siblings = siblings

    async def calls(self) -> list[OpenCall]:
        """Those that are open in the spools of siblings, dead ones included, just now."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> list[OpenCall]:
        found: list[OpenCall] = []
        for sibling in self._siblings():
            try:
                found += open_calls(sibling.spool).values()
            except OSError as error:
                log.error("a sibling's calls cannot be read", spool=str(sibling.spool), reason=error.strerror)
        return found


async def on_duty(lock: Path, work: Callable[[], Awaitable[None]]) -> None:
    """Does what only one engine of a home does, for as long as this one lives; the next one follows when it dies.

    Raises what `work` raises; returns when it returns.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        while not got_lock(descriptor):  # noqa: ASYNC110 - the kernel tells nobody
            await asyncio.sleep(_TRIED_EVERY)
        await work()
    finally:
        os.close(descriptor)
