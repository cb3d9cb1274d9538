"""Background tasks: one that fails harms no other, unless its process cannot do without it."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from engine.foundation.tasks import Tasks


async def fails() -> None:
    raise ValueError("broken")


async def goes_on() -> None:
    await asyncio.Event().wait()


async def test_a_task_that_fails_is_logged_and_the_others_go_on() -> None:
    tasks = Tasks("test")
    other = tasks.start("other", goes_on())
    with structlog.testing.capture_logs() as logs:
        await asyncio.wait([tasks.start("broken", fails())])
        await asyncio.sleep(0)
    assert [line["task"] for line in logs] == ["test:broken"]
    assert not other.done()
    await tasks.close()
    assert other.cancelled()


async def test_whoever_waits_for_the_first_failure_gets_its_error() -> None:
    tasks = Tasks("test")
    tasks.start("other", goes_on())
    asyncio.get_running_loop().call_later(0.01, lambda: tasks.start("broken", fails()))
    with pytest.raises(ValueError, match="broken"):
        await tasks.first_failure()
    await tasks.close()
    assert len(tasks) == 0


async def test_a_task_that_was_cancelled_is_no_failure() -> None:
    tasks = Tasks("test")
    tasks.start("cancelled", goes_on()).cancel()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(tasks.first_failure(), 0.05)
    await tasks.close()
