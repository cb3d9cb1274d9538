"""A file whose time moves on while the event loop turns."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path


async def beat(path: Path, every: float = 1.0) -> None:
    """Touches `path` every so many seconds until cancelled; a blocked loop does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    while True:
        os.utime(path)
        await asyncio.sleep(every)


def last_beat(path: Path) -> int | None:
    """A figure that is another one after every beat; None when there was none yet."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
