"""The loop whose time jumps."""

from __future__ import annotations

import asyncio

import pytest

from engine.foundation.tasks import Tasks
from tests.virtual_time import run_virtual


def test_time_passes_by_jumps_in_the_right_order() -> None:
    async def work() -> list[tuple[str, float]]:
        happened: list[tuple[str, float]] = []

        async def after(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            happened.append((name, asyncio.get_running_loop().time()))

        await asyncio.gather(after("hour", 3600), after("second", 1), after("minute", 60))
        return happened

    assert run_virtual(work()) == [("second", 1.0), ("minute", 60.0), ("hour", 3600.0)]


def test_time_limit_of_a_day_passes_at_once() -> None:
    async def work() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(86400):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(work()) == pytest.approx(86400)


def test_threads_are_done_at_once() -> None:
    async def work() -> int:
        return await asyncio.to_thread(len, "four")

    assert run_virtual(work()) == 4


def test_waiting_for_nobody_fails_instead_of_hanging() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    with pytest.raises(AssertionError, match="no timer is set"):
        run_virtual(work())


def test_task_left_running_fails() -> None:
    async def work() -> None:
        Tasks("test").start("forgotten", asyncio.sleep(1))

    with pytest.raises(AssertionError, match="test:forgotten"):
        run_virtual(work())
