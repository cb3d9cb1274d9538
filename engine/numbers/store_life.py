"""The SQL of the stock: states, history, transfers, stray calls. Every function works in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import RowMapping, TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.history import Happened
from engine.numbers.model import NumberKind
from engine.numbers.states import Move, State, StockNumber, SuspendedFor

_NAMES = (
    *("number", "kind", "state", "changed_at", "range_id", "held_by", "reserved_until", "order_id", "suspended_for"),
    *("last_holder", "released_at", "quarantined_until", "version"),
)
_COLUMNS = ", ".join(_NAMES)
_VALUES = ", ".join(f":{name}" for name in _NAMES)
_CHANGES = ", ".join(f"{name} = :{name}" for name in _NAMES if name != "number")

# Locks leave the key alone, so that a stray call or an offer of the number does not wait for them.
_ONE = text(f"SELECT {_COLUMNS} FROM number_stock WHERE number = :number")  # noqa: S608 - fixed columns
_ONE_LOCKED = text(f"SELECT {_COLUMNS} FROM number_stock WHERE number = :number FOR NO KEY UPDATE")  # noqa: S608
_INSERT = text(f"INSERT INTO number_stock ({_COLUMNS}) VALUES ({_VALUES}) ON CONFLICT (number) DO NOTHING")  # noqa: S608
_MOVE = text(f"""
    UPDATE number_stock SET {_CHANGES}
    WHERE number = :number AND state = :expected AND version = :expected_version RETURNING number
""")  # noqa: S608
_SUBTREE = "{column} IN (SELECT id FROM accounts WHERE path @> ARRAY[CAST(:within AS uuid)])"
_LISTING = f"""
    SELECT {_COLUMNS} FROM number_stock
    WHERE number > :after AND (CAST(:state AS text) IS NULL OR state = :state) AND number ^@ :prefix {{more}}
    ORDER BY number LIMIT :limit
"""  # noqa: S608
_LISTING_ALL = text(_LISTING.format(more=""))
_LISTING_OF = text(_LISTING.format(more="AND held_by = CAST(:account AS uuid)"))
_LISTING_WITHIN = text(_LISTING.format(more=f"AND {_SUBTREE.format(column='held_by')}"))
_QUARANTINED_OF = text(_LISTING.format(more="AND state = 'quarantined' AND last_holder = CAST(:account AS uuid)"))
_QUARANTINED_WITHIN = text(
    _LISTING.format(more=f"AND state = 'quarantined' AND {_SUBTREE.format(column='last_holder')}")
)
_MOVE_ALL = text(f"UPDATE number_stock SET {_CHANGES} WHERE number = :number")  # noqa: S608
_LAPSED = text(f"""
    SELECT {_COLUMNS} FROM number_stock WHERE state = 'reserved' AND reserved_until <= :now
    ORDER BY number LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
""")  # noqa: S608
_QUARANTINE_OVER = text(f"""
    SELECT {_COLUMNS} FROM number_stock WHERE state = 'quarantined' AND quarantined_until <= :now
    ORDER BY number LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
""")  # noqa: S608
_TAKE = text(f"""
    SELECT {_COLUMNS} FROM number_stock
    WHERE state = 'available' AND kind = :kind AND number ^@ :prefix
    ORDER BY number LIMIT :limit FOR NO KEY UPDATE SKIP LOCKED
""")  # noqa: S608
_OF_ORDER = text(f"""
    SELECT {_COLUMNS} FROM number_stock WHERE order_id = :order ORDER BY number FOR NO KEY UPDATE
""")  # noqa: S608
_COUNTS = text("""
    SELECT range_id, state, count(*) AS numbers FROM number_stock WHERE range_id IS NOT NULL GROUP BY range_id, state
""")

_NOTE = text("""
    INSERT INTO number_history (number, at, move, state, account_id, to_account, who, note)
    VALUES (:number, :at, :move, :state, :account_id, :to_account, :who, :note)
""")
_HISTORY = """
    SELECT number, at, move, state, account_id, to_account, who, note FROM number_history
    WHERE number = :number {more} ORDER BY id DESC LIMIT :limit
"""
_HISTORY_ALL = text(_HISTORY.format(more=""))
_HISTORY_WITHIN = text(
    _HISTORY.format(more=f"AND ({_SUBTREE.format(column='account_id')} OR {_SUBTREE.format(column='to_account')})")
)

_COUNT_STRAYS = text("""
    INSERT INTO stray_calls AS known (number, day, calls)
    SELECT given.number, given.day, count(*)
    FROM unnest(CAST(:numbers AS text[]), CAST(:days AS date[]), CAST(:instants AS timestamptz[]))
        AS given (number, day, at)
    JOIN number_stock USING (number)
    WHERE state = 'quarantined' AND released_at <= given.at
    GROUP BY given.number, given.day ORDER BY given.number, given.day
    ON CONFLICT (number, day) DO UPDATE SET calls = known.calls + EXCLUDED.calls
""")
_STRAYS = text(
    "SELECT number, day, calls FROM stray_calls WHERE number = ANY(CAST(:numbers AS text[])) AND day >= :since"
)
_FORGET_STRAYS = text("DELETE FROM stray_calls WHERE number = ANY(CAST(:numbers AS text[]))")


async def one(connection: AsyncConnection, number: PhoneNumber) -> StockNumber | None:
    row = (await connection.execute(_ONE, {"number": number})).mappings().one_or_none()
    return _stock(row) if row else None


async def lock(connection: AsyncConnection, number: PhoneNumber) -> None:
    """Nobody else moves the number before this transaction ends."""
    await connection.execute(_ONE_LOCKED, {"number": number})


async def insert(connection: AsyncConnection, stock: StockNumber) -> bool:
    """False when the number is there already."""
    return bool((await connection.execute(_INSERT, _fields(stock))).rowcount)


async def move(connection: AsyncConnection, old: StockNumber, new: StockNumber) -> bool:
    """Makes `old` into `new`; False when it is not as `old` any more."""
    values = _fields(new) | {"expected": old.state.value, "expected_version": old.version}
    return (await connection.execute(_MOVE, values)).one_or_none() is not None


async def listing(
    connection: AsyncConnection,
    *,
    within: UUID | None,
    account: UUID | None,
    state: State | None,
    prefix: str,
    after: str,
    limit: int,
) -> list[StockNumber]:
    """By number, those after `after`: held by `account`, or by anybody within the subtree of `within`, or all.

    Of those in quarantine it is who held them last that counts.
    """
    quarantined = state is State.QUARANTINED
    values: dict[str, Any] = {"state": state and state.value, "prefix": prefix, "after": after, "limit": limit}
    if account is not None:
        statement, values = (_QUARANTINED_OF if quarantined else _LISTING_OF), values | {"account": account}
    elif within is not None:
        statement, values = (_QUARANTINED_WITHIN if quarantined else _LISTING_WITHIN), values | {"within": within}
    else:
        statement = _LISTING_ALL
    return await _stocks(connection, statement, values)


async def move_all(connection: AsyncConnection, new: Sequence[StockNumber]) -> None:
    """Writes numbers that this transaction has locked."""
    if new:
        await connection.execute(_MOVE_ALL, [_fields(stock) for stock in new])


async def lapsed(connection: AsyncConnection, now: datetime, limit: int) -> list[StockNumber]:
    """Numbers whose reservation is over, locked."""
    return await _stocks(connection, _LAPSED, {"now": now, "limit": limit})


async def quarantine_over(connection: AsyncConnection, now: datetime, limit: int) -> list[StockNumber]:
    """Numbers whose quarantine is over, locked."""
    return await _stocks(connection, _QUARANTINE_OVER, {"now": now, "limit": limit})


async def take_available(connection: AsyncConnection, kind: NumberKind, prefix: str, limit: int) -> list[StockNumber]:
    """Free numbers that nobody else can take before this transaction ends, locked."""
    return await _stocks(connection, _TAKE, {"kind": kind.value, "prefix": prefix, "limit": limit})


async def of_order(connection: AsyncConnection, order: UUID) -> list[StockNumber]:
    """Those that are still of that order, locked."""
    return await _stocks(connection, _OF_ORDER, {"order": order})


async def counts(connection: AsyncConnection) -> dict[UUID, dict[State, int]]:
    """How many numbers of each range are in each state."""
    found: dict[UUID, dict[State, int]] = {}
    for row in await connection.execute(_COUNTS):
        found.setdefault(row.range_id, {})[State(row.state)] = row.numbers
    return found


async def note(connection: AsyncConnection, entries: Sequence[Happened]) -> None:
    """Into the history, in this order."""
    if entries:
        rows = [
            msgspec.structs.asdict(entry) | {"move": entry.move.value, "state": entry.state.value} for entry in entries
        ]
        await connection.execute(_NOTE, rows)


async def history(connection: AsyncConnection, number: PhoneNumber, within: UUID | None, limit: int) -> list[Happened]:
    """The newest first; only what concerns accounts within the subtree of `within`, or all."""
    values: dict[str, Any] = {"number": number, "limit": limit}
    if within is None:
        rows = await connection.execute(_HISTORY_ALL, values)
    else:
        rows = await connection.execute(_HISTORY_WITHIN, values | {"within": within})
    return [_happened(row) for row in rows.mappings()]


async def count_strays(connection: AsyncConnection, calls: Sequence[tuple[PhoneNumber, date, datetime]]) -> None:
    """Adds to the days those calls whose number is in quarantine and was so when they came."""
    numbers, days, instants = (list(column) for column in zip(*calls, strict=True))
    await connection.execute(_COUNT_STRAYS, {"numbers": numbers, "days": days, "instants": instants})


async def strays(
    connection: AsyncConnection, numbers: Sequence[PhoneNumber], since: date
) -> Mapping[PhoneNumber, dict[date, int]]:
    """Stray calls by number and day."""
    found: dict[PhoneNumber, dict[date, int]] = {}
    for row in await connection.execute(_STRAYS, {"numbers": list(numbers), "since": since}):
        found.setdefault(row.number, {})[row.day] = row.calls
    return found


async def forget_strays(connection: AsyncConnection, numbers: Sequence[PhoneNumber]) -> None:
    await connection.execute(_FORGET_STRAYS, {"numbers": list(numbers)})


def _fields(stock: StockNumber) -> dict[str, Any]:
    plain: dict[str, Any] = {name: getattr(stock, name) for name in _NAMES}
    why = stock.suspended_for and stock.suspended_for.value
    return plain | {"kind": stock.kind.value, "state": stock.state.value, "suspended_for": why}


async def _stocks(connection: AsyncConnection, statement: TextClause, values: dict[str, Any]) -> list[StockNumber]:
    return [_stock(row) for row in (await connection.execute(statement, values)).mappings()]


def _stock(row: RowMapping) -> StockNumber:
    why = row["suspended_for"]
    changes = {
        "kind": NumberKind(row["kind"]),
        "state": State(row["state"]),
        "suspended_for": None if why is None else SuspendedFor(why),
    }
    return StockNumber(**{**row, **changes})


def _happened(row: RowMapping) -> Happened:
    return Happened(**{**row, "move": Move(row["move"]), "state": State(row["state"])})
