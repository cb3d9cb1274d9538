"""How fast numbers are brought into the stock: `python -m tests.bench.number_import [--numbers 100000] [--json]`.

A CSV file of so many numbers, into a stock that holds `--before` numbers already, in an embedded PostgreSQL of its own
that syncs to disk: the whole deed, from the bytes of the file to the commit. Then the same file again, of which every
line is refused, and one good file with one bad line. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import tempfile
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.database import open_database, transaction
from engine.foundation.schema import upgrade
from engine.numbers import ranges
from engine.numbers.range_import import ImportReport, import_numbers
from tests.databases import MIGRATIONS
from tests.own_postgres import own_postgres

_PREFIX = "0507"
_Row = dict[str, Any]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--numbers", type=int, default=100_000, help="lines of the file")
    options.add_argument("--before", type=int, default=1_000_000, help="numbers that are in the stock before")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    rows = asyncio.run(_measure(given.numbers, given.before))
    if given.json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        print(
            f"{row['what']:<48} {row['seconds']:>7.2f} s   taken {row['taken']:>8}   refused {row['refused']:>8}"
            f"   longest part {row['longest part']:>6.2f} s   memory {row['megabytes']:>4} MB"
        )


async def _measure(count: int, before: int) -> list[_Row]:
    with tempfile.TemporaryDirectory(prefix="dari-bench-") as folder:
        async with own_postgres(Path(folder)) as server:
            await server.start()
            url = server.embedded.url
            await upgrade(url, MIGRATIONS)
            database = open_database(url, command_timeout=60.0, application_name="dari bench")
            try:
                return await _rounds(database, count, before)
            finally:
                await database.dispose()


async def _rounds(database: AsyncEngine, count: int, before: int) -> list[_Row]:
    async with transaction(database) as connection:
        await ranges.add(connection, LOCAL_OPERATOR, "main", _PREFIX, 12, datetime.now(UTC))
    numbers = [f"{_PREFIX}{place:08}" for place in random.Random(1).sample(range(100_000_000), count + before + 1)]
    rows = []
    if before:
        rows.append(await _timed(database, f"{before} numbers into an empty stock", numbers[count + 1 :]))
    rows.append(await _timed(database, f"{count} numbers into {before}", numbers[:count]))
    rows.append(await _timed(database, "the same again: every line refused", numbers[:count]))
    rows.append(await _timed(database, "one good line and one bad", [numbers[count], "hello"]))
    return rows


async def _timed(database: AsyncEngine, what: str, numbers: list[str]) -> _Row:
    content = ("number\n" + "\n".join(f"{one[:4]}-{one[4:8]}-{one[8:]}" for one in numbers)).encode()
    parts: list[float] = []

    def told(_lines: int) -> None:
        parts.append(time.perf_counter())

    began = time.perf_counter()
    async with transaction(database) as connection:
        report: ImportReport = await import_numbers(
            connection, LOCAL_OPERATOR, content, datetime.now(UTC), progress=told
        )
    seconds = time.perf_counter() - began
    return {
        "what": what,
        "seconds": round(seconds, 3),
        "taken": report.taken,
        "refused": len(report.refused),
        "longest part": round(max((after - before for before, after in pairwise(parts)), default=0.0), 3),
        "megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


if __name__ == "__main__":
    main()
