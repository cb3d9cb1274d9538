"""The SQL of orders. Every function works in the caller's transaction."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import RowMapping, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.numbers.order_model import Order, OrderStatus

_NAMES = Order.__struct_fields__
_COLUMNS = ", ".join(_NAMES)
_VALUES = ", ".join(f":{name}" for name in _NAMES)

_INSERT = text(f"INSERT INTO number_orders ({_COLUMNS}) VALUES ({_VALUES})")  # noqa: S608 - fixed columns
_ONE = text(f"SELECT {_COLUMNS} FROM number_orders WHERE id = :id")  # noqa: S608
_ONE_LOCKED = text(f"SELECT {_COLUMNS} FROM number_orders WHERE id = :id FOR UPDATE")  # noqa: S608
_LISTING = text(f"""
    SELECT {_COLUMNS} FROM number_orders
    WHERE account_id IN (SELECT id FROM accounts WHERE path @> ARRAY[CAST(:within AS uuid)])
      AND (CAST(:before AS uuid) IS NULL OR id < :before)
    ORDER BY id DESC LIMIT :limit
""")  # noqa: S608
_UPDATE = text("""
    UPDATE number_orders SET status = :status, ends_at = :ends_at, warned_at = :warned_at WHERE id = :id
""")
_NEXT = f"SELECT {_COLUMNS} FROM number_orders WHERE {{when}} ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED"  # noqa: S608
_TO_BEGIN = text(_NEXT.format(when="status = 'placed' AND starts_at <= :now AND coalesce(ends_at > :now, true)"))
_TO_WARN = text(_NEXT.format(when="status = 'begun' AND warned_at IS NULL AND ends_at <= :now AND ends_at > :instant"))
_TO_END = text(_NEXT.format(when="status IN ('placed', 'begun') AND ends_at <= :now"))
_HAS_NUMBERS = "EXISTS (SELECT FROM number_stock WHERE order_id = number_orders.id)"
_TO_RELEASE = text(_NEXT.format(when=f"status = 'ended' AND ends_at <= :now AND {_HAS_NUMBERS}"))


async def insert(connection: AsyncConnection, order: Order) -> None:
    values = msgspec.structs.asdict(order) | {"status": order.status.value}
    await connection.execute(_INSERT, values)


async def one(connection: AsyncConnection, identifier: UUID) -> Order | None:
    return await _one(connection, _ONE, {"id": identifier})


async def one_locked(connection: AsyncConnection, identifier: UUID) -> Order | None:
    """As `one`; nobody else can change it before this transaction ends."""
    return await _one(connection, _ONE_LOCKED, {"id": identifier})


async def listing(connection: AsyncConnection, within: UUID, before: UUID | None, limit: int) -> list[Order]:
    """Of the subtree of `within`, the newest first, older than `before`."""
    rows = await connection.execute(_LISTING, {"within": within, "before": before, "limit": limit})
    return [_order(row) for row in rows.mappings()]


async def update(connection: AsyncConnection, order: Order) -> None:
    values = {
        "id": order.id,
        "status": order.status.value,
        "ends_at": order.ends_at,
        "warned_at": order.warned_at,
    }
    await connection.execute(_UPDATE, values)


async def next_to_begin(connection: AsyncConnection, now: datetime) -> Order | None:
    """An order whose period begins, locked."""
    return await _one(connection, _TO_BEGIN, {"now": now})


async def next_to_warn(connection: AsyncConnection, now: datetime, before: timedelta) -> Order | None:
    """An order whose period ends within `before` and whose holder was not told, locked."""
    return await _one(connection, _TO_WARN, {"now": now + before, "instant": now})


async def next_to_end(connection: AsyncConnection, now: datetime) -> Order | None:
    """An order whose period is over, locked."""
    return await _one(connection, _TO_END, {"now": now})


async def next_to_release(connection: AsyncConnection, now: datetime, grace: timedelta) -> Order | None:
    """An order whose period has been over for `grace` and that still has numbers, locked."""
    return await _one(connection, _TO_RELEASE, {"now": now - grace})


async def _one(connection: AsyncConnection, statement: TextClause, values: dict[str, Any]) -> Order | None:
    row = (await connection.execute(statement, values)).mappings().one_or_none()
    return _order(row) if row else None


def _order(row: RowMapping) -> Order:
    return Order(**{**row, "status": OrderStatus(row["status"])})
