"""The trunks in memory: a call asks no database. They are few, so every change reads them all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.database import listen, transaction
from engine.foundation.errors import DariError, TryLater
from engine.foundation.snapshot import read_snapshot, write_snapshot
from engine.trunks.model import Trunk
from engine.trunks.registry import listing

log = structlog.get_logger(__name__)

REREAD_AFTER = 300.0
"""Seconds after which the trunks are read again, in case a notification was lost."""

_CHANNEL = "dari_trunks"
_WAIT_WHEN_REFUSED = 5.0


class TrunkCache:
    """All trunks. `find` never waits; run `keep_fresh` as a task beside it."""

    def __init__(self, snapshot: Path) -> None:
        """Starts with what `snapshot` holds."""
        self._snapshot = snapshot
        kept = read_snapshot(snapshot, Trunk)
        self._trunks = {trunk.name: trunk for trunk in kept or ()}
        self._known = kept is not None

    @property
    def known(self) -> bool:
        """Whether the trunks were ever read."""
        return self._known

    def all(self) -> list[Trunk]:
        """By name."""
        return list(self._trunks.values())

    def find(self, name: str) -> Trunk | None:
        """The trunk as last known; None: there is none of that name."""
        return self._trunks.get(name)

    async def load(self, engine: AsyncEngine) -> bool:
        """Reads all trunks. True when they are others than before. Raises TryLater and leaves what is known."""
        async with transaction(engine) as connection:
            trunks = {trunk.name: trunk for trunk in await listing(connection)}
        changed = not self._known or trunks != self._trunks
        self._trunks, self._known = trunks, True
        return changed

    async def keep_fresh(
        self, engine: AsyncEngine, url: str, changed: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Follows every change, keeps the snapshot, and awaits `changed` after each. Runs until cancelled."""
        async with aclosing(listen(url, [_CHANNEL], reread_after=REREAD_AFTER)) as changes:
            async for _ in changes:
                if await self._follow(engine):
                    await self._keep_snapshot()
                    if changed:
                        await changed()

    async def _follow(self, engine: AsyncEngine) -> bool:
        while True:
            try:
                return await self.load(engine)
            except DariError as error:
                log.warning("trunks cannot be read, going on with those known", reason=str(error))
                await asyncio.sleep(error.after if isinstance(error, TryLater) else _WAIT_WHEN_REFUSED)

    async def _keep_snapshot(self) -> None:
        try:
            await asyncio.to_thread(write_snapshot, self._snapshot, Trunk, self.all())
        except OSError as error:
            log.error("trunks cannot be kept on disk", file=str(self._snapshot), reason=error.strerror)
