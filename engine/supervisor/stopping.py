"""What the operator wants while Dari runs in the foreground: to stop in order, or at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_SECOND_SIGNAL = 0.5  # seconds; one Ctrl-C may come twice, from the terminal and through `make`


class Wish:
    """Something that may be wished for once; a block can be left as soon as it is."""

    def __init__(self) -> None:
        self.made = False
        self._limits: set[asyncio.Timeout] = set()

    def make(self) -> None:
        if not self.made:
            self.made = True
            for limit in self._limits:
                limit.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def leaves(self) -> AsyncIterator[None]:
        """The block ends quietly, at whatever it awaits, when the wish is made."""
        limit = asyncio.timeout(0 if self.made else None)
        try:
            async with limit:
                self._limits.add(limit)
                try:
                    yield
                finally:
                    self._limits.discard(limit)
        except TimeoutError:
            if not limit.expired():
                raise

    async def wait(self) -> None:
        async with self.leaves():
            await asyncio.get_running_loop().create_future()


class Stopping:
    """The wishes `stop` (in order) and `hurry` (at once)."""

    def __init__(self) -> None:
        self.stop = Wish()
        self.hurry = Wish()
        self._asked_at = 0.0

    def ask(self) -> None:
        """The first time means stop; again, a moment later, means at once."""
        now = asyncio.get_running_loop().time()
        if not self.stop.made:
            self._asked_at = now
            self.stop.make()
        elif now - self._asked_at > _SECOND_SIGNAL:
            self.hurry.make()


@asynccontextmanager
async def stop_signals() -> AsyncIterator[Stopping]:
    """Ctrl-C and SIGTERM are wishes to stop while the block runs, no exceptions."""
    loop = asyncio.get_running_loop()
    stopping = Stopping()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stopping.ask)
    try:
        yield stopping
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
