"""How fast routing knows its numbers: `python -m tests.bench.routing_cache [--numbers 200000] [--json]`.

200,000 numbers of 2,000 accounts, two rules each for a tenth of them, in an embedded PostgreSQL of its own. Every
figure is of a fresh process, as after a restart. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from sqlalchemy import text

from engine.foundation.database import open_database, transaction
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.schema import upgrade
from engine.routing.cache import RoutingCache
from tests.databases import MIGRATIONS
from tests.own_postgres import own_postgres

_FILL = (
    """
    INSERT INTO accounts (id, name)
    SELECT CAST(lpad(to_hex(i + 1), 32, '0') AS uuid), 'shop ' || i FROM generate_series(1, 2000) i
    """,
    """
    INSERT INTO numbers (number, kind, account_id, target, treatment)
    SELECT '0507' || lpad(i::text, 8, '0'), '050', CAST(lpad(to_hex(i % 2000 + 2), 32, '0') AS uuid), '0212345678',
           CASE i % 3 WHEN 0 THEN jsonb_build_object()
                      WHEN 1 THEN jsonb_build_object('ringback', jsonb_build_array('own/tune' || i % 5000))
                      ELSE jsonb_build_object('whisper', jsonb_build_object('text', 'shop ' || i % 2000 + 1),
                                              'recording', 'always', 'ring_seconds', 25) END
    FROM generate_series(1, :numbers) i
    """,
    """
    INSERT INTO number_rules (number, name, position, condition, treatment)
    SELECT '0507' || lpad(i::text, 8, '0'), 'rule ' || r, r,
           CASE r WHEN 1 THEN CAST('{"days": ["public holiday", "closed day"]}' AS jsonb)
                  ELSE jsonb_build_object('times', jsonb_build_array(jsonb_build_object(
                      'start', '18:00:00', 'end', '0' || i % 9 || ':30:00'))) END,
           '{"announcement": "ko/closed"}'
    FROM generate_series(10, :numbers, 10) i, generate_series(1, 2) r
    """,
    "INSERT INTO closed_days (account_id, weekday) SELECT id, 7 FROM accounts",
    "ANALYZE",
)


def main() -> None:
    """Fills a database, measures in fresh processes, prints a table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--numbers", type=int, default=200_000)
    options.add_argument("--json", action="store_true")
    options.add_argument("--load", nargs=2, metavar=("URL", "SNAPSHOT"), help=argparse.SUPPRESS)
    options.add_argument("--start", metavar="SNAPSHOT", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.load:
        print(json.dumps(asyncio.run(_load(given.load[0], Path(given.load[1])))))
    elif given.start:
        print(json.dumps(_start(Path(given.start))))
    else:
        _show(asyncio.run(_measure(given.numbers)), as_json=given.json)


async def _measure(numbers: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="dari-bench-") as folder:
        snapshot = Path(folder) / "routing.snapshot"
        async with own_postgres(Path(folder) / "server") as server:
            await server.start()
            url = server.embedded.url
            await upgrade(url, MIGRATIONS)
            await _fill(url, numbers)
            loaded = await asyncio.to_thread(_in_a_fresh_process, "--load", url, str(snapshot))
        # The database is away from here on.
        return loaded | await asyncio.to_thread(_in_a_fresh_process, "--start", str(snapshot))


async def _fill(url: str, numbers: int) -> None:
    database = open_database(url, command_timeout=600.0)
    try:
        async with transaction(database) as connection:
            for statement in _FILL:
                await connection.execute(text(statement), {"numbers": numbers} if ":numbers" in statement else {})
    finally:
        await database.dispose()


def _in_a_fresh_process(*arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.routing_cache", *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


async def _load(url: str, snapshot: Path) -> dict[str, float]:
    """From the database, with nothing on disk; again with all of it known; and the snapshot written."""
    database = open_database(url, command_timeout=60.0)
    cache = RoutingCache(snapshot)
    try:
        began = time.perf_counter()
        first_held_up = await _longest_hold_up(cache.load(database))
        loaded = time.perf_counter()
        again_held_up = await _longest_hold_up(cache.load(database))
        again = time.perf_counter()
        written_held_up = await _longest_hold_up(asyncio.to_thread(cache.write_snapshot))
        written = time.perf_counter()
    finally:
        await database.dispose()
    return {
        "load from the database, s": loaded - began,
        "longest hold-up of calls meanwhile, ms": first_held_up * 1e3,
        "load again, s": again - loaded,
        "longest hold-up of calls by loading again, ms": again_held_up * 1e3,
        "write the snapshot, s": written - again,
        "longest hold-up of calls by writing it, ms": written_held_up * 1e3,
        "snapshot, MB": snapshot.stat().st_size / 1e6,
        "memory after loading twice, MB": _memory(),
    }


async def _longest_hold_up(work: Coroutine[Any, Any, object]) -> float:
    """Seconds for which nothing else in the event loop had its turn while `work` ran."""
    task = asyncio.get_running_loop().create_task(work)
    longest = 0.0
    while not task.done():
        asked = time.perf_counter()
        await asyncio.sleep(0)
        longest = max(longest, time.perf_counter() - asked)
    await task
    return longest


def _start(snapshot: Path) -> dict[str, float]:
    """From disk, without a database: until the first call is routed, and every call after it."""
    before = _memory()
    began = time.perf_counter()
    cache = RoutingCache(snapshot)
    read = time.perf_counter()
    number = PhoneNumber("050700000010")
    assert cache.find(number) is not None
    found = time.perf_counter()
    numbers = [PhoneNumber(f"0507{random.randint(1, 2 * len(cache)):08}") for _ in range(100_000)]
    spans = sorted(_seconds_to_find(cache, number) for number in numbers)
    return {
        "process start to first call routed, s": found - began + _seconds_since_process_start(began),
        "read the snapshot, s": read - began,
        "first find, µs": (found - read) * 1e6,
        "find p50, µs": spans[len(spans) // 2] * 1e6,
        "find p99, µs": spans[len(spans) * 99 // 100] * 1e6,
        "memory before, MB": before,
        "memory with all numbers, MB": _memory(),
    }


def _seconds_to_find(cache: RoutingCache, number: PhoneNumber) -> float:
    began = time.perf_counter()
    cache.find(number)
    return time.perf_counter() - began


def _seconds_since_process_start(at: float) -> float:
    """From the kernel's start of this process to `at`, on the counter's clock."""
    ticks = float(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    up = float(Path("/proc/uptime").read_text().split()[0])
    return up - ticks / os.sysconf("SC_CLK_TCK") - (time.perf_counter() - at)


def _memory() -> float:
    """Resident, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _show(measured: dict[str, float], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(measured, ensure_ascii=False))
        return
    for name, value in measured.items():
        print(f"{name:<48}{value:>12.3f}")


if __name__ == "__main__":
    main()
