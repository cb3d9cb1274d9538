"""Long work that leaves the processor to others in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from engine.foundation.turns import rested
from tests.virtual_time import run_virtual

MADE_IN, USED_IN = 2.0, 1.0


async def _three() -> AsyncIterator[int]:
    for part in range(3):
        await asyncio.sleep(MADE_IN)
        yield part


async def _took(rest: float) -> tuple[list[int], float]:
    clock = asyncio.get_running_loop().time
    began, found = clock(), []
    async for part in rested(_three(), rest):
        await asyncio.sleep(USED_IN)
        found.append(part)
    return found, clock() - began


def test_after_each_part_it_rests_by_what_making_and_using_it_took() -> None:
    assert run_virtual(_took(1.0)) == ([0, 1, 2], 2 * 3 * (MADE_IN + USED_IN))


def test_without_rest_it_takes_what_the_work_takes() -> None:
    assert run_virtual(_took(0.0)) == ([0, 1, 2], 3 * (MADE_IN + USED_IN))
