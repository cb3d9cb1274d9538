"""Files whose time moves on while an engine does what it is there for."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from engine.foundation.errors import DariError

_ANSWERED_WITHIN = 2.0
"""Seconds. Longer than the watchdog itself waits for Asterisk: one that is slow for all is no engine's fault."""
_SAME_INSTANT = 0.01
"""Seconds by which one and the same instant, as told by a clock and an age, may differ."""


def _always() -> bool:
    return True


def writes_of(beat: Path) -> Path:
    """Where the same engine tells that Asterisk does what it asks."""
    return beat.with_suffix(".writes")


class Moving:
    """Whether what waits in a queue moves on: asked again, it is false when the same one is still the first."""

    def __init__(self, waits: Callable[[], float], now: Callable[[], float]) -> None:
        """`waits`: for how many seconds the first has waited, 0 when none waits; `now` in seconds of the same clock."""
        self._waits = waits
        self._now = now
        self._first_since: float | None = None

    def __call__(self) -> bool:
        before, waits = self._first_since, self._waits()
        self._first_since = self._now() - waits if waits else None
        if before is None or self._first_since is None:
            return True
        return self._first_since - before > _SAME_INSTANT


async def beat(path: Path, lives: Callable[[], bool] = _always, every: float = 1.0) -> None:
    """Touches `path` every so many seconds in which `lives()`, until cancelled; a blocked loop does not.

    Nothing that `lives` asks for may depend on Asterisk or on the database: an engine without them is no dead engine.
    """
    _make(path)
    while True:
        if lives():
            os.utime(path)
        await asyncio.sleep(every)


async def beat_when(
    path: Path, done: Callable[[], Awaitable[None]], deeds: Callable[[], int] = int, every: float = 1.0
) -> None:
    """Touches `path` each time that `done()` was done in good time, and waits so many seconds; until cancelled.

    So it does when `deeds()`, a count of the like, has grown meanwhile: with more calls than the machine can take,
    everything is late, and an engine that is heard all the same must not be ended for it.
    """
    _make(path)
    while True:
        before = deeds()
        if await _in_good_time(done) or deeds() > before:
            os.utime(path)
        await asyncio.sleep(every)


async def _in_good_time(done: Callable[[], Awaitable[None]]) -> bool:
    try:
        async with asyncio.timeout(_ANSWERED_WITHIN):
            await done()
    except (DariError, TimeoutError):
        return False
    return True


def last_beat(path: Path) -> int | None:
    """A figure that is another one after every beat; None when there was none yet."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
