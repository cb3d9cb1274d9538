"""How fast the best free numbers are found: `python -m tests.bench.number_choice [--numbers 1000000] [--json]`.

So many free numbers, and a tenth as many that are not, in an embedded PostgreSQL of its own. Every figure is of the
whole deed in milliseconds, connection, permission, ranking and SQL; every wish is a new one, so that nothing is
remembered. A busy machine shows in the wall's figures only, not in the processor's (this process's and the server's
together). Nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR, OPERATOR_ID, AccountKind
from engine.accounts.tree import open_account
from engine.foundation.database import connect, open_database, transaction
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.schema import upgrade
from engine.numbers import store_choice
from engine.numbers.choice import choose, reserve_best
from engine.numbers.easy_patterns import Easy, easy_endings
from engine.numbers.model import NumberKind
from engine.numbers.similar import Wish, spans
from tests.databases import MIGRATIONS
from tests.own_postgres import OwnPostgres, own_postgres

_EXCHANGES = [f"050{last}" for last in range(2, 9)]
_LIMIT = 20
_AT_ONCE = 50
_Row = dict[str, Any]


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--numbers", type=int, default=1_000_000, help="free numbers")
    options.add_argument("--rounds", type=int, default=500, help="wishes of each sort, warm")
    options.add_argument("--cold", type=int, default=15, help="restarts of the server")
    options.add_argument("--explain", action="store_true", help="how PostgreSQL goes about it")
    options.add_argument("--json", action="store_true")
    given = options.parse_args()
    rows, plans = asyncio.run(_measure(given))
    if given.json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for plan in plans:
        print(plan, end="\n\n")
    for row in rows:
        print(
            f"{row['what']:<62}"
            + "".join(
                f"{name} {value:>7.{0 if isinstance(value, int) else 2}f}  "
                for name, value in row.items()
                if name != "what"
            )
        )


async def _measure(given: argparse.Namespace) -> tuple[list[_Row], list[str]]:
    lots = random.Random(1)
    with tempfile.TemporaryDirectory(prefix="dari-bench-") as folder:
        async with own_postgres(Path(folder) / "server") as server:
            await server.start()
            await upgrade(server.embedded.url, MIGRATIONS)
            filled = await _fill(server.embedded.url, given.numbers, lots)
            rows: list[_Row] = [filled]
            plans = []
            rows += [await _warm(server, what, lots, given.rounds) for what in _SORTS]
            async with _opened(server) as database:
                if given.explain:
                    plans = [await _explained(database, wished) for wished in _examples()]
                rows.append(await _many_at_once(database, lots))
                rows.append(await _reserved_at_once(database, lots))
            data = Path(folder) / "server/postgres"
            rows += await _cold(server, None, given.cold, lots)
            rows += await _cold(server, data, given.cold, lots)
            return rows, plans


def _stock(count: int, lots: random.Random) -> Iterator[tuple[str, str]]:
    """Numbers without order: nine of ten with twelve digits; every eleventh is quarantined."""
    seen: set[str] = set()
    while len(seen) < count * 11 // 10:
        digits = 7 if lots.random() < 0.1 else 8
        number = lots.choice(_EXCHANGES) + f"{lots.randrange(10**digits):0{digits}}"
        if number not in seen:
            seen.add(number)
            yield number, "quarantined" if len(seen) % 11 == 0 else "available"


async def _fill(url: str, count: int, lots: random.Random) -> _Row:
    connection = await connect(url, command_timeout=600.0)
    now = datetime.now(UTC)
    try:
        began = time.perf_counter()
        await connection.copy_records_to_table(
            "number_stock",
            records=(
                (number, "050", state, *((now, OPERATOR_ID, now) if state == "quarantined" else (None,) * 3), now)
                for number, state in _stock(count, lots)
            ),
            columns=["number", "kind", "state", "released_at", "last_holder", "quarantined_until", "changed_at"],
        )
        took = time.perf_counter() - began
        await connection.execute("VACUUM ANALYZE number_stock")
        sizes = await connection.fetchrow(
            """
            SELECT pg_table_size('number_stock') / 1e6 AS table_mb,
                   pg_relation_size('number_stock_free') / 1e6 AS free_mb,
                   pg_relation_size('number_stock_free_by_exchange') / 1e6 AS by_exchange_mb
            """
        )
        assert sizes is not None
        return {"what": f"{count:,} free numbers put in", "s": took, **{k: float(v) for k, v in sizes.items()}}
    finally:
        await connection.close()


@asynccontextmanager
async def _opened(server: OwnPostgres, connections: int = _AT_ONCE) -> AsyncIterator[AsyncEngine]:
    database = open_database(server.embedded.url, command_timeout=60.0, pool_size=connections)
    try:
        async with transaction(database) as connection:
            await connection.execute(text("SELECT 1"))
        yield database
    finally:
        await database.dispose()


def _shop(lots: random.Random) -> str:
    """A landline of Seoul or of a province, a mobile, or a 15xx number."""
    shape = lots.choice(["02#######", "02########", "031#######", "051########", "010########", "15######"])
    return "".join(str(lots.randrange(2, 10) if sign == "#" else sign) for sign in shape)


_SORTS = {
    "like a shop's number": lambda lots: Wish(like=_shop(lots)),
    "like four digits": lambda lots: Wish(like=f"{lots.randrange(10_000):04}"),
    "like a shop's number, of one exchange": lambda lots: Wish(like=_shop(lots), exchange=lots.choice(_EXCHANGES)),
    "like a shop's number, easy in one way": lambda lots: Wish(like=_shop(lots), easy=lots.choice(list(Easy))),
    "of an exchange that has none": lambda lots: Wish(like=_shop(lots), exchange="0509"),
    "a page in the middle": lambda lots: Wish(like=_shop(lots)),
    "a page far behind": lambda lots: Wish(like=_shop(lots)),
}
_BEHIND = {"a page in the middle": "05050000{like}", "a page far behind": "050899990579"}


async def _warm(server: OwnPostgres, what: str, lots: random.Random, rounds: int) -> _Row:
    wall, processor = [], []
    async with _opened(server, connections=1) as database:
        async with transaction(database) as connection:
            backend = int(await connection.scalar(text("SELECT pg_backend_pid()")) or 0)
        for turn in range(rounds + 20):
            wished = _SORTS[what](lots)
            behind = _BEHIND.get(what)
            after = PhoneNumber(behind.format(like=lots.choice(easy_endings()))) if behind else None
            worked = _processor(backend)
            spent = await _one(database, wished, after)
            if turn >= 20:
                wall.append(spent)
                processor.append(_processor(backend) - worked)
    return {**_row(f"{what}, warm", wall), "processor p50": _share(processor, 50), "p99 ": _share(processor, 99)}


def _processor(backend: int) -> float:
    """Milliseconds that this process and the server's have worked."""
    theirs = int(Path(f"/proc/{backend}/schedstat").read_text().split()[0])
    return (theirs + time.process_time_ns()) / 1e6


async def _one(database: AsyncEngine, wished: Wish, after: PhoneNumber | None = None) -> float:
    """Milliseconds for one page, connection included."""
    began = time.perf_counter()
    async with transaction(database) as connection:
        await choose(connection, LOCAL_OPERATOR, OPERATOR_ID, wished, after=after, limit=_LIMIT)
    return (time.perf_counter() - began) * 1e3


async def _many_at_once(database: AsyncEngine, lots: random.Random) -> _Row:
    took: list[float] = []
    for turn in range(21):  # the first makes the connections
        spent = await asyncio.gather(*(_one(database, Wish(like=_shop(lots))) for _ in range(10)))
        took += spent if turn else []
    return _row("like a shop's number, ten people at once", took)


async def _reserved_at_once(database: AsyncEngine, lots: random.Random) -> _Row:
    """Fifty shops that wish for the same, at once, again and again."""
    took: list[float] = []
    held: list[PhoneNumber] = []
    now = datetime.now(UTC)
    async with transaction(database) as connection:
        shops = [
            (await open_account(connection, LOCAL_OPERATOR, OPERATOR_ID, AccountKind.SHOP, f"shop {place}", now)).id
            for place in range(_AT_ONCE)
        ]

    async def one(shop: UUID, wished: Wish) -> None:
        began = time.perf_counter()
        async with transaction(database) as connection:
            kept = await reserve_best(connection, LOCAL_OPERATOR, shop, wished, 1, datetime.now(UTC))
        held.extend(reservation.number for reservation in kept)
        took.append((time.perf_counter() - began) * 1e3)

    for _ in range(5):
        wished = Wish(like=_shop(lots))
        await asyncio.gather(*(one(shop, wished) for shop in shops))
    doubled = len(held) - len(set(held))
    return {**_row(f"reserving, {_AT_ONCE} people at once", took), "given twice": doubled}


async def _cold(server: OwnPostgres, forgotten: Path | None, rounds: int, lots: random.Random) -> list[_Row]:
    """After a start of the server, with or without its files in memory: the first wish, and the ten behind it."""
    first, then = [], []
    for _ in range(rounds):
        await server.stop()
        if forgotten:
            _forget(forgotten)
        await server.start()
        async with _opened(server) as database:
            first.append(await _one(database, Wish(like=_shop(lots))))
            then += [await _one(database, Wish(like=_shop(lots))) for _ in range(10)]
    what = "files out of memory" if forgotten else "server started again"
    return [_row(f"like a shop's number, {what}: the first", first), _row(f"{what}: the ten next", then)]


def _forget(folder: Path) -> None:
    """Throws the files out of the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            try:
                os.fsync(file)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)


def _examples() -> list[Wish]:
    return [Wish(like="0315551234"), Wish(like="0315551234", exchange="0507")]


async def _explained(database: AsyncEngine, wished: Wish) -> str:
    async with transaction(database) as connection:
        asked, values = store_choice.statement(NumberKind.VIRTUAL, wished, list(spans(wished)), _LIMIT)
        lines = await connection.scalars(text(f"EXPLAIN (ANALYZE, BUFFERS) {asked.text}"), values)
        return "\n".join(lines)


def _row(what: str, took: list[float]) -> _Row:
    return {"what": what, "p50": _share(took, 50), "p99": _share(took, 99), "longest": max(took), "n": len(took)}


def _share(took: list[float], share: float) -> float:
    """What so many percent did not exceed."""
    return sorted(took)[int(len(took) * share / 100)]


if __name__ == "__main__":
    main()
