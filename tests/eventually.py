"""Waiting, in real time, for what other processes bring about."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

PATIENCE = 30.0
"""Seconds after which what did not happen counts as a failure."""


async def eventually(condition: Callable[[], Awaitable[bool]] | Callable[[], bool]) -> None:
    """Returns when `condition` holds. Raises TimeoutError when it never does."""
    async with asyncio.timeout(PATIENCE):
        while True:
            holds = condition()
            if await holds if isinstance(holds, Awaitable) else holds:
                return
            await asyncio.sleep(0.02)
