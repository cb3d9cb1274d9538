"""Every background task has an owner, a name and an end: the only place that calls `create_task`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn

import structlog

log = structlog.get_logger(__name__)


class Tasks:
    """The tasks of one owner. A task that fails is logged and forgotten; `close` ends the rest and waits for them.

    Tasks here do not fail together: one call's failure must not cancel another call.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: asyncio.Future[NoReturn] | None = None

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs `work` in the background as `owner:name`."""
        task = asyncio.create_task(work, name=f"{self._owner}:{name}")
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def first_failure(self) -> NoReturn:
        """Waits until one of the tasks fails, and raises its error: for what a process cannot do without."""
        self._failure = asyncio.get_running_loop().create_future()
        try:
            await self._failure
        finally:
            self._failure = None
        raise AssertionError("only an error ends this wait")

    async def close(self) -> None:
        """Cancels what still runs and waits until it has ended."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if self._failure is not None and not self._failure.done():
            self._failure.set_exception(error)
        else:
            log.error("task failed", task=task.get_name(), exc_info=error)
