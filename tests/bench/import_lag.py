"""How long an import holds up everything else in its process: `python -m tests.bench.import_lag [--numbers 100000]`.

A file of so many numbers over the API, in this process, and beside it a task that wakes every millisecond: how late it
wakes is what every other request waits. Also of a file in which every line is refused. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from engine.foundation.database import open_database
from engine.foundation.schema import upgrade
from tests.databases import MIGRATIONS
from tests.own_postgres import own_postgres
from tests.trade_desk import TradeDesk, trade_desk

_EVERY = 0.001


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--numbers", type=int, default=100_000)
    asyncio.run(_measure(options.parse_args().numbers))


async def _measure(count: int) -> None:
    with tempfile.TemporaryDirectory(prefix="dari-bench-") as folder:
        async with own_postgres(Path(folder) / "server") as server:
            await server.start()
            await upgrade(server.embedded.url, MIGRATIONS)
            database = open_database(server.embedded.url, command_timeout=60.0)
            try:
                async with trade_desk(database, Path(folder)) as desk:
                    await _imports(desk, count)
            finally:
                await database.dispose()


async def _imports(desk: TradeDesk, count: int) -> None:
    operator = await desk.key()
    await desk.stock("050710000000", prefix="05071")
    await desk.ask("GET", "/number-ranges", operator)  # the first request makes what all routes need
    good = "\n".join(f"050711{place:06}" for place in range(count)).encode()
    bad = "\n".join(f"050611{place:06}" for place in range(count)).encode()
    for what, file in (("taken in", good), ("refused, for all are there", good), ("refused, for none is of ours", bad)):
        late: list[float] = []
        began = time.perf_counter()
        async with _watched(late):
            answer = await desk.ask(
                "POST", "/number-ranges/import", operator, raw=file, headers={"Content-Type": "text/csv"}
            )
        took = time.perf_counter() - began
        late.sort()
        print(
            f"{count:,} lines {what:<30} {answer.status}  {took:6.2f} s  late by: "
            f"p50 {late[len(late) // 2] * 1e3:6.1f} ms  p99 {late[len(late) * 99 // 100] * 1e3:6.1f} ms  "
            f"longest {late[-1] * 1e3:6.1f} ms"
        )


@asynccontextmanager
async def _watched(late: list[float]) -> AsyncIterator[None]:
    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_EVERY)
            late.append(time.perf_counter() - began - _EVERY)

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch())
        yield
        watching.cancel()


if __name__ == "__main__":
    main()
