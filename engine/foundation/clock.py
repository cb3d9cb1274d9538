"""Time as an argument: instants are aware UTC, durations come from the monotonic clock."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the effects at the edge ask for time; decisions get `now` as a plain argument."""

    def now(self) -> datetime:
        """The instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump; only differences mean something."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class LoopClock:
    """The running event loop's own time, counted from `start`: virtual in tests whose loop jumps."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._zero = asyncio.get_running_loop().time()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._start.timestamp() + self.monotonic() - self._zero, UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()
