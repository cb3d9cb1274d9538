"""The SQL of numbers. Every function works in the caller's transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind, ServiceNumber

_COLUMNS = (
    "number, kind, account_id, target, ring_seconds, ringback, whisper, record, "
    "callback, sender, repeat_window_days, min_talk_seconds"
)
_VALUES = ", ".join(f":{column}" for column in _COLUMNS.split(", "))
_CHANGES = ", ".join(f"{column} = :{column}" for column in _COLUMNS.split(", ") if column != "number")

_ALL = text(f"SELECT {_COLUMNS} FROM numbers")  # noqa: S608 - fixed columns
_LISTING = text(f"""
    SELECT {_COLUMNS} FROM numbers WHERE CAST(:account AS uuid) IS NULL OR account_id = :account ORDER BY number
""")  # noqa: S608
_ONE = text(f"SELECT {_COLUMNS} FROM numbers WHERE number = :number")  # noqa: S608
_ONE_LOCKED = text(f"SELECT {_COLUMNS} FROM numbers WHERE number = :number FOR UPDATE")  # noqa: S608
_INSERT = text(f"INSERT INTO numbers ({_COLUMNS}) VALUES ({_VALUES}) ON CONFLICT (number) DO NOTHING")  # noqa: S608
_UPDATE = text(f"UPDATE numbers SET {_CHANGES}, updated_at = now() WHERE number = :number")  # noqa: S608
_DELETE = text("DELETE FROM numbers WHERE number = :number")

_ROWS_AT_ONCE = 2000  # some milliseconds of work: calls go on in between


async def one(connection: AsyncConnection, number: PhoneNumber) -> ServiceNumber | None:
    row = (await connection.execute(_ONE, {"number": number})).one_or_none()
    return _number(row) if row else None


async def one_locked(connection: AsyncConnection, number: PhoneNumber) -> ServiceNumber | None:
    """As `one`; nobody else can change it before this transaction ends."""
    row = (await connection.execute(_ONE_LOCKED, {"number": number})).one_or_none()
    return _number(row) if row else None


async def of_account(connection: AsyncConnection, account: UUID | None) -> list[ServiceNumber]:
    """By number; None: of all accounts."""
    return [_number(row) for row in await connection.execute(_LISTING, {"account": account})]


async def in_parts(connection: AsyncConnection) -> AsyncIterator[list[ServiceNumber]]:
    """All numbers as of one instant, in no order, so many at a time that nothing else waits long."""
    accounts: dict[UUID, UUID] = {}  # one object per account: 200,000 would slow down every garbage collection
    async with connection.stream(_ALL) as result:
        async for rows in result.partitions(_ROWS_AT_ONCE):
            yield [_number(row, accounts.setdefault(row.account_id, row.account_id)) for row in rows]


async def insert(connection: AsyncConnection, number: ServiceNumber) -> bool:
    """False when the number is there already."""
    return bool((await connection.execute(_INSERT, _fields(number))).rowcount)


async def update(connection: AsyncConnection, number: ServiceNumber) -> None:
    await connection.execute(_UPDATE, _fields(number))


async def delete(connection: AsyncConnection, number: PhoneNumber) -> bool:
    """False when there is none."""
    return bool((await connection.execute(_DELETE, {"number": number})).rowcount)


def _fields(number: ServiceNumber) -> dict[str, Any]:
    return {column: getattr(number, column) for column in _COLUMNS.split(", ")} | {"kind": number.kind.value}


def _number(row: Sequence[Any], account: UUID | None = None) -> ServiceNumber:
    # By position: 200,000 rows take half as long as by name.
    return ServiceNumber(
        number=row[0],
        kind=NumberKind(row[1]),
        account_id=account or row[2],
        target=row[3],
        ring_seconds=row[4],
        ringback=row[5],
        whisper=row[6],
        record=row[7],
        callback=row[8],
        sender=row[9],
        repeat_window_days=row[10],
        min_talk_seconds=row[11],
    )
