"""The numbers in memory: a call asks no database. Kept fresh by notifications, by disk when the database is away."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from pathlib import Path

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.database import listen, transaction
from engine.foundation.errors import DariError, TryLater
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.snapshot import read_snapshot, write_snapshot
from engine.foundation.tasks import Tasks
from engine.numbers.inventory import in_service, look_up
from engine.numbers.model import ServiceNumber

log = structlog.get_logger(__name__)

REREAD_AFTER = 300.0
"""Seconds after which all numbers are read again, in case a notification was lost."""

_CHANNEL = "dari_numbers"
_WAIT_WHEN_REFUSED = 5.0
_SNAPSHOT_DELAY = 2.0  # many changes, one snapshot


class NumberCache:
    """All numbers in service. `find` never waits; run `keep_fresh` as a task beside it."""

    def __init__(self, snapshot: Path) -> None:
        """Starts with what `snapshot` holds."""
        self._snapshot = snapshot
        kept = read_snapshot(snapshot, ServiceNumber)
        self._numbers = {number.number: number for number in kept or ()}
        self._known = kept is not None
        self._changed = asyncio.Event()
        self._writing = threading.Lock()

    @property
    def known(self) -> bool:
        """Whether the numbers were ever read: only then is one that is not here not in service."""
        return self._known

    def __len__(self) -> int:
        return len(self._numbers)

    def find(self, number: PhoneNumber) -> ServiceNumber | None:
        """The number as last known; None: not in service."""
        return self._numbers.get(number)

    async def load(self, engine: AsyncEngine) -> None:
        """Reads all numbers as of one instant. Raises TryLater and leaves what is known."""
        numbers: dict[PhoneNumber, ServiceNumber] = {}
        async with transaction(engine) as connection:
            async for part in in_service(connection):
                numbers.update((number.number, self._same(number)) for number in part)
        news = any(number is not self._numbers.get(key) for key, number in numbers.items())
        if news or not self._known or len(numbers) != len(self._numbers):
            self._changed.set()
        self._numbers, self._known = numbers, True

    async def keep_fresh(self, engine: AsyncEngine, url: str) -> None:
        """Follows every change, and writes the snapshot after it. Runs until cancelled."""
        tasks = Tasks("numbers")
        tasks.start("snapshot", self._keep_snapshot())
        try:
            async with aclosing(listen(url, [_CHANNEL], reread_after=REREAD_AFTER)) as changes:
                async for number in changes:
                    await self._follow(engine, PhoneNumber(number))
        finally:
            await tasks.close()
            if self._changed.is_set():
                self._write_snapshot()

    def _same(self, number: ServiceNumber) -> ServiceNumber:
        """The object that is here already when it is equal: replacing 200,000 of them would hold up calls."""
        known = self._numbers.get(number.number)
        return known if known == number else number

    async def _follow(self, engine: AsyncEngine, number: PhoneNumber) -> None:
        """Reads one number, or all for an empty one, until it succeeds. What changes meanwhile is told afterwards."""
        while True:
            try:
                await (self._load_one(engine, number) if number else self.load(engine))
            except DariError as error:
                log.warning("numbers cannot be read, going on with those known", reason=str(error))
                await asyncio.sleep(error.after if isinstance(error, TryLater) else _WAIT_WHEN_REFUSED)
            else:
                return

    async def _load_one(self, engine: AsyncEngine, number: PhoneNumber) -> None:
        async with transaction(engine) as connection:
            found = await look_up(connection, number)
        if found is None:
            self._numbers.pop(number, None)
        else:
            self._numbers[number] = found
        self._changed.set()

    async def _keep_snapshot(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(_SNAPSHOT_DELAY)
            self._changed.clear()
            try:
                await asyncio.to_thread(self._write_snapshot)
            except asyncio.CancelledError:
                self._changed.set()  # the thread may have failed unheard: written once more at the end
                raise

    def _write_snapshot(self) -> None:
        try:
            with self._writing:
                write_snapshot(self._snapshot, ServiceNumber, list(self._numbers.values()))
        except OSError as error:
            log.error("numbers cannot be kept on disk", file=str(self._snapshot), reason=error.strerror)
