"""The SQL that puts a made-up past into empty tables. Every function but `vacuum` works in the caller's transaction."""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.foundation.database import database_errors
from engine.rehearsal.rows import COLUMNS

_HELD = text("""
    SELECT (SELECT count(*) FROM (SELECT FROM calls LIMIT 1) AS any_call),
           (SELECT count(*) FROM (SELECT FROM number_stock LIMIT 1) AS any_number)
""")
_EXISTS = text("SELECT EXISTS (SELECT FROM pg_class WHERE relname = :name AND relkind = 'r')")
_VACUUM = text("VACUUM (FREEZE, ANALYZE) accounts, number_stock, numbers, number_rules, calls")
_ACCOUNTS = text("INSERT INTO accounts (id, name) SELECT * FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[]))")
_STOCK = ("number", "kind", "state", "held_by", "changed_at")
_NUMBERS = ("number", "kind", "account_id", "target", "treatment")
_RULES = ("number", "name", "position", "condition", "treatment")


async def holds_anything(connection: AsyncConnection) -> bool:
    """Whether there is a call or a number."""
    return any((await connection.execute(_HELD)).one())


async def add_accounts(connection: AsyncConnection, accounts: Sequence[tuple[UUID, str]]) -> None:
    """Shops by id and name."""
    ids, names = zip(*accounts, strict=True)
    await connection.execute(_ACCOUNTS, {"ids": list(ids), "names": list(names)})


async def add_numbers(
    connection: AsyncConnection, numbers: Sequence[tuple[str, UUID, str, str]], since: datetime
) -> None:
    """050 numbers in service: number, owner, target, treatment as JSON."""
    driver = await _driver(connection)
    stock = ((number, "050", "in service", owner, since) for number, owner, _, _ in numbers)
    await driver.copy_records_to_table("number_stock", records=stock, columns=_STOCK)
    rows = ((number, "050", owner, target, treatment) for number, owner, target, treatment in numbers)
    await driver.copy_records_to_table("numbers", records=rows, columns=_NUMBERS)


async def add_rules(connection: AsyncConnection, rules: Sequence[tuple[str, str, int, str, str]]) -> None:
    """Number, name, position, condition and treatment as JSON."""
    driver = await _driver(connection)
    await driver.copy_records_to_table("number_rules", records=rules, columns=_RULES)


async def add_month(connection: AsyncConnection, month: date, rows: AsyncIterable[bytes]) -> None:
    """The calls of a month (UTC), in binary COPY. A month's new table is filled before it becomes a part of `calls`:
    its indexes are then built at once, in a fraction of the time."""
    driver = await _driver(connection)
    part = f"calls_{month:%Y_%m}"
    if (await connection.execute(_EXISTS, {"name": part})).scalar_one():
        await driver.copy_to_table(part, source=rows, columns=COLUMNS, format="binary")
        return
    begin, end = month, date(month.year + month.month // 12, month.month % 12 + 1, 1)
    await connection.execute(text(f"CREATE TABLE {part} (LIKE calls INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
    await driver.copy_to_table(part, source=rows, columns=COLUMNS, format="binary", freeze=True)
    bounds = f"FROM ('{begin} 00:00:00+00') TO ('{end} 00:00:00+00')"
    await connection.execute(text(f"ALTER TABLE calls ATTACH PARTITION {part} FOR VALUES {bounds}"))


async def vacuum(database: AsyncEngine) -> None:
    """Leaves nothing to autovacuum, which would go slowly through all of it beside the first calls."""
    with database_errors():
        async with database.connect() as connection:
            alone = await connection.execution_options(isolation_level="AUTOCOMMIT")  # VACUUM stands in no transaction
            await alone.execute(_VACUUM)


async def _driver(connection: AsyncConnection) -> Any:
    """asyncpg's own connection: only that one has COPY."""
    return (await connection.get_raw_connection()).driver_connection
