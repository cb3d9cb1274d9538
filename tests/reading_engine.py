"""As much of an engine as reads back calls that went without one, on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.calls.read_back import ReadBack, Sources
from engine.cdr.call_file import CallFile
from engine.cdr.drain import Drain
from engine.cdr.model import CallRecord
from engine.cdr.search import recent
from engine.cdr.spool import Spool
from engine.events.call_log_writer import CallLog
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.numbers.model import ServiceNumber
from tests.eventually import eventually
from tests.planning import HandPlanner


class ReadingEngine:
    """A spool, numbers, a call log, and what reads Asterisk's file: `folder`/log/calls.csv unless `file` is given."""

    def __init__(
        self, folder: Path, database: AsyncEngine, *shops: ServiceNumber, name: str = "n1", file: Path | None = None
    ) -> None:
        self.file = file or folder / "log" / "calls.csv"
        self.monitor = folder / "monitor"
        self.monitor.mkdir(exist_ok=True)
        self.spool = Spool.open(folder / name, name, SystemClock())
        self.planner = HandPlanner({shop.number: shop for shop in shops}, 30)
        self.counted: list[CallRecord] = []
        sources = Sources(
            file=CallFile(self.file),
            kept=folder / f"{name}.read-back.json",
            spools=lambda: [path for path in folder.iterdir() if (path / "lock").exists()],
            database=database,
            monitor=self.monitor,
        )
        self.log = CallLog(folder / "logs", name, mask=True, max_bytes=1_000_000, files=1)
        self.read_back = ReadBack(sources, self.spool, self.planner, self.log, SystemClock(), self.counted.append)

    async def look(self, times: int = 1) -> None:
        """Takes in all that is there, and looks so many times more."""
        while await self.read_back.look():
            pass
        for _ in range(times - 1):
            await self.read_back.look()

    async def die(self) -> None:
        self.read_back.close()
        self.log.close()
        await self.spool.close()


@asynccontextmanager
async def reading(
    folder: Path,
    database: AsyncEngine,
    *shops: ServiceNumber,
    name: str = "n1",
    file: Path | None = None,
    drains: bool = True,
) -> AsyncIterator[ReadingEngine]:
    """An engine whose spool is drained; closed as one is that dies."""
    engine = ReadingEngine(folder, database, *shops, name=name, file=file)
    drain = Drain(engine.spool, database, folder / "refused.jsonl")
    running = asyncio.ensure_future(drain.run()) if drains else None
    try:
        yield engine
        assert running is None or not running.done(), running
    finally:
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await engine.die()


async def records_in(database: AsyncEngine, count: int) -> list[CallRecord]:
    """All records, oldest first, once there are `count`, and no more."""
    found: list[CallRecord] = []

    async def there() -> bool:
        nonlocal found
        async with transaction(database) as connection:
            found = await recent(connection, limit=10_000)
        return len(found) >= count

    await eventually(there)
    assert len(found) == count, found
    return found[::-1]
