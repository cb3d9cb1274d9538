"""Sounds that are made for whoever asks: a few at once, so that they leave the process to everybody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engine.foundation.errors import TryLater

AT_ONCE = 2
"""Each keeps a core busy and takes up to some 60 MB."""
WAITS = 10.0
"""Seconds that whoever asks waits for a turn."""


class Renderings:
    """Those of one process."""

    def __init__(self, at_once: int = AT_ONCE, waits: float = WAITS) -> None:
        self.waits = waits
        self._free = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn to make one. Raises TryLater when none comes free in time."""
        try:
            async with asyncio.timeout(self.waits):
                await self._free.acquire()
        except TimeoutError:
            raise TryLater("too many sounds are being made at once; ask for it again", after=5.0) from None
        try:
            yield
        finally:
            self._free.release()
