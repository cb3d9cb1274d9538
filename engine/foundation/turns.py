"""Long work that leaves the processor to others in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

_Part = TypeVar("_Part")


async def rested(parts: AsyncIterator[_Part], rest: float) -> AsyncIterator[_Part]:
    """The parts; after each a rest so many times as long as it took until the next is asked for, waiting included."""
    clock = asyncio.get_running_loop().time
    began = clock()
    async for part in parts:
        yield part
        await asyncio.sleep(rest * (clock() - began))
        began = clock()
