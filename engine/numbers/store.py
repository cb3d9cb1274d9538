"""The SQL of numbers. Every function works in the caller's transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import Limits, Treatment

_JSON = ("treatment", "limits")
_NAMES = (
    *("number", "kind", "account_id", "target", *_JSON),
    *("callback", "sender", "repeat_window_days", "min_talk_seconds", "suspended"),
)
_VALUE = {name: f"CAST(:{name} AS jsonb)" if name in _JSON else f":{name}" for name in _NAMES}

_COLUMNS = ", ".join(f"CAST({name} AS text)" if name in _JSON else name for name in _NAMES)
_CHANGES = ", ".join(f"{name} = {value}" for name, value in _VALUE.items() if name != "number")

_ALL = text(f"SELECT {_COLUMNS} FROM numbers")  # noqa: S608 - fixed columns
_LISTING = text(f"""
    SELECT {_COLUMNS} FROM numbers WHERE CAST(:account AS uuid) IS NULL OR account_id = :account ORDER BY number
""")  # noqa: S608
_ONE = text(f"SELECT {_COLUMNS} FROM numbers WHERE number = :number")  # noqa: S608
_SOME = text(f"SELECT {_COLUMNS} FROM numbers WHERE number = ANY(:numbers)")  # noqa: S608
_ONE_LOCKED = text(f"SELECT {_COLUMNS} FROM numbers WHERE number = :number FOR UPDATE")  # noqa: S608
_INSERT = text(f"""
    INSERT INTO numbers ({", ".join(_NAMES)}) VALUES ({", ".join(_VALUE.values())}) ON CONFLICT (number) DO NOTHING
""")  # noqa: S608
_UPDATE = text(f"UPDATE numbers SET {_CHANGES}, updated_at = now() WHERE number = :number")  # noqa: S608
_SET_SUSPENDED = text("UPDATE numbers SET suspended = :suspended, updated_at = now() WHERE number = :number")
_DELETE = text("DELETE FROM numbers WHERE number = :number")

_ROWS_AT_ONCE = 200  # a millisecond of work: calls go on in between
_TREATMENTS_REMEMBERED = 20_000


async def one(connection: AsyncConnection, number: PhoneNumber) -> ServiceNumber | None:
    row = (await connection.execute(_ONE, {"number": number})).one_or_none()
    return _number(row) if row else None


async def some(connection: AsyncConnection, numbers: Collection[PhoneNumber]) -> list[ServiceNumber]:
    """Those of these that there are, in no order."""
    return [_number(row) for row in await connection.execute(_SOME, {"numbers": list(numbers)})]


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


async def set_suspended(connection: AsyncConnection, number: PhoneNumber, announcement: str | None) -> bool:
    """False when there is none."""
    return bool((await connection.execute(_SET_SUSPENDED, {"number": number, "suspended": announcement})).rowcount)


async def delete(connection: AsyncConnection, number: PhoneNumber) -> bool:
    """False when there is none."""
    return bool((await connection.execute(_DELETE, {"number": number})).rowcount)


def _fields(number: ServiceNumber) -> dict[str, Any]:
    plain: dict[str, Any] = {name: getattr(number, name) for name in _NAMES}
    in_json = {name: msgspec.json.encode(plain[name]).decode() for name in _JSON}
    return plain | in_json | {"kind": number.kind.value}


@lru_cache(_TREATMENTS_REMEMBERED)
def _treatment(raw: str) -> Treatment:
    """Equal texts give one object: most of 200,000 numbers are treated as many others are."""
    return msgspec.json.decode(raw, type=Treatment)


@lru_cache(_TREATMENTS_REMEMBERED)
def _limits(raw: str) -> Limits:
    return msgspec.json.decode(raw, type=Limits)


def _number(row: Sequence[Any], account: UUID | None = None) -> ServiceNumber:
    # By position: 200,000 rows take half as long as by name.
    return ServiceNumber(
        number=row[0],
        kind=NumberKind(row[1]),
        account_id=account or row[2],
        target=row[3],
        treatment=_treatment(row[4]),
        limits=_limits(row[5]),
        callback=row[6],
        sender=row[7],
        repeat_window_days=row[8],
        min_talk_seconds=row[9],
        suspended=row[10],
    )
