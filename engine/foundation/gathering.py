"""What many ask for one by one, done for many at a time: whatever comes within a moment, in one go."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from engine.foundation.errors import TryLater
from engine.foundation.tasks import Tasks

_Item = TypeVar("_Item")
_Outcome = TypeVar("_Outcome")


def parts_of(items: Sequence[_Item], at_most: int) -> list[Sequence[_Item]]:
    """`items` in their order, in parts of `at_most` of them."""
    return [items[start : start + at_most] for start in range(0, len(items), at_most)]


class Gathering(Generic[_Item, _Outcome]):
    """Does what comes within a moment together, one lot after another, and tells each the outcome of its own.

    A lot that fails is halved and done anew until only those fail that are at fault; so what is done must be harmless
    when it is tried again. Whoever stops waiting for an outcome disturbs nobody: what it gave is done all the same.
    """

    def __init__(
        self,
        name: str,
        do: Callable[[Sequence[_Item]], Awaitable[Sequence[_Outcome]]],
        *,
        within: float,
        at_most: int,
    ) -> None:
        """`do` returns an outcome for each item. A lot waits `within` seconds for more, but not beyond `at_most`."""
        self._do = do
        self._within = within
        self._at_most = at_most
        self._waiting: list[tuple[_Item, asyncio.Future[_Outcome]]] = []
        self._full = asyncio.Event()
        self._at_work = False
        self._tasks = Tasks(name)

    async def add(self, item: _Item) -> _Outcome:
        """The outcome of `item`, once its lot is done; raises what it failed with."""
        asked: asyncio.Future[_Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, asked))
        if len(self._waiting) >= self._at_most:
            self._full.set()
        if not self._at_work:
            self._at_work = True
            self._tasks.start("lots", self._work())
        return await asked

    async def close(self) -> None:
        """Gives up what is not done; whoever waits for it is cancelled."""
        await self._tasks.close()
        for _, asked in self._waiting:
            asked.cancel()

    async def _work(self) -> None:
        """Until nothing waits any more."""
        try:
            while self._waiting:
                await self._settle(await self._next_lot())
        finally:
            self._at_work = False

    async def _next_lot(self) -> Sequence[tuple[_Item, asyncio.Future[_Outcome]]]:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._within):
                await self._full.wait()
        lot, self._waiting = self._waiting[: self._at_most], self._waiting[self._at_most :]
        if len(self._waiting) < self._at_most:
            self._full.clear()
        return lot

    async def _settle(self, lot: Sequence[tuple[_Item, asyncio.Future[_Outcome]]]) -> None:
        try:
            outcomes = await self._outcomes([item for item, _ in lot])
            for (_, asked), outcome in zip(lot, outcomes, strict=True):
                if asked.done():
                    continue
                if isinstance(outcome, BaseException):
                    asked.set_exception(outcome)
                else:
                    asked.set_result(outcome)
        finally:
            for _, asked in lot:
                asked.cancel()

    async def _outcomes(self, items: Sequence[_Item]) -> Sequence[_Outcome | BaseException]:
        """TryLater is nobody's fault: all are told so at once."""
        [done] = await asyncio.gather(self._do(items), return_exceptions=True)
        if not isinstance(done, BaseException):
            return done
        if len(items) == 1 or isinstance(done, TryLater):
            return [done] * len(items)
        half = len(items) // 2
        return [*await self._outcomes(items[:half]), *await self._outcomes(items[half:])]
