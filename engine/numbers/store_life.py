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
from engine.numbers.states import Move, State, StockNumber
from engine.numbers.suspension import Suspension

_NAMES = (
    *("number", "kind", "state", "changed_at", "range_id", "held_by", "reserved_until", "order_id", "suspensions"),
    *("last_holder", "released_at", "quarantined_until", "version"),
)
_COLUMNS = ", ".join("CAST(suspensions AS text)" if name == "suspensions" else name for name in _NAMES)
_VALUE = {name: "CAST(:suspensions AS jsonb)" if name == "suspensions" else f":{name}" for name in _NAMES}
_CHANGED = [name for name in _NAMES if name != "number"]

# Locks leave the key alone, so that a stray call or an offer of the number does not wait for them.
_ONE = text(f"SELECT {_COLUMNS} FROM number_stock WHERE number = :number")  # noqa: S608 - fixed columns
_ONE_LOCKED = text(f"SELECT {_COLUMNS} FROM number_stock WHERE number = :number FOR NO KEY UPDATE")  # noqa: S608
_SEVERAL = text(f"SELECT {_COLUMNS} FROM number_stock WHERE number = ANY(CAST(:numbers AS text[])) ORDER BY number")  # noqa: S608
_INSERT = text(f"""
    INSERT INTO number_stock ({", ".join(_NAMES)}) VALUES ({", ".join(_VALUE.values())}) ON CONFLICT (number) DO NOTHING
""")  # noqa: S608
_MOVE = text(f"""
    UPDATE number_stock SET {", ".join(f"{name} = {_VALUE[name]}" for name in _CHANGED)}
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
# Many at once are taken by number, so that no two who move the same ones wait for each other in a ring.
_MOVE_MANY = f"""
    UPDATE number_stock AS stock SET {", ".join(f"{name} = new.{name}" for name in _CHANGED)}
    FROM jsonb_populate_recordset(CAST(NULL AS number_stock), CAST(:new AS jsonb)) AS new
        JOIN unnest(CAST(:numbers AS text[]), CAST(:states AS text[]), CAST(:versions AS integer[]))
            AS old (number, state, version) USING (number)
    WHERE stock.number = new.number AND stock.state = old.state AND stock.version = old.version
      AND stock.number IN (
          SELECT number FROM number_stock WHERE number = ANY(CAST(:numbers AS text[]))
          ORDER BY number LIMIT CAST(:limit AS integer) FOR NO KEY UPDATE {{others}}
      )
    RETURNING stock.number
"""  # noqa: S608
_MOVE_MANY_WAITING = text(_MOVE_MANY.format(others=""))
_MOVE_MANY_FREE = text(_MOVE_MANY.format(others="SKIP LOCKED"))
_LAPSED = text(f"""
    SELECT {_COLUMNS} FROM number_stock WHERE state = 'reserved' AND reserved_until <= :now
    ORDER BY number LIMIT :limit
""")  # noqa: S608
_QUARANTINE_OVER = text(f"""
    SELECT {_COLUMNS} FROM number_stock WHERE state = 'quarantined' AND quarantined_until <= :now
    ORDER BY number LIMIT :limit
""")  # noqa: S608
_AVAILABLE = text(f"""
    SELECT {_COLUMNS} FROM number_stock
    WHERE state = 'available' AND kind = :kind AND number ^@ :prefix AND number > :after
    ORDER BY number LIMIT :limit
""")  # noqa: S608
_OF_ORDER = text(f"SELECT {_COLUMNS} FROM number_stock WHERE order_id = :order ORDER BY number")  # noqa: S608
_HOLD_RESERVING = text("SELECT pg_advisory_xact_lock(hashtextextended('number reservations ' || :account, 0))")
_RESERVATIONS = text("""
    SELECT count(*) FROM number_stock
    WHERE held_by = :account AND state = 'reserved' AND order_id IS NULL AND reserved_until > :now
""")
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

_suspensions_in = msgspec.json.Decoder(tuple[Suspension, ...]).decode


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


async def move_many(
    connection: AsyncConnection,
    moves: Sequence[tuple[StockNumber, StockNumber]],
    *,
    waiting: bool,
    most: int | None = None,
) -> set[PhoneNumber]:
    """Makes each first one into the second, in one statement; those that are not as the first any more stay.

    With `waiting` whoever moves one of them now is waited for, else that one stays as well. Those that were moved, the
    first `most` by number.
    """
    if not moves:
        return set()
    values = {
        "new": msgspec.json.encode([_plain(new) for _, new in moves]).decode(),
        "numbers": [old.number for old, _ in moves],
        "states": [old.state.value for old, _ in moves],
        "versions": [old.version for old, _ in moves],
        "limit": most,
    }
    return set(await connection.scalars(_MOVE_MANY_WAITING if waiting else _MOVE_MANY_FREE, values))


async def several(connection: AsyncConnection, numbers: Sequence[PhoneNumber]) -> list[StockNumber]:
    """By number, of those that are there."""
    return await _stocks(connection, _SEVERAL, {"numbers": list(numbers)})


async def lapsed(connection: AsyncConnection, now: datetime, limit: int) -> list[StockNumber]:
    """Numbers whose reservation is over, by number."""
    return await _stocks(connection, _LAPSED, {"now": now, "limit": limit})


async def quarantine_over(connection: AsyncConnection, now: datetime, limit: int) -> list[StockNumber]:
    """Numbers whose quarantine is over, by number."""
    return await _stocks(connection, _QUARANTINE_OVER, {"now": now, "limit": limit})


async def available(
    connection: AsyncConnection, kind: NumberKind, prefix: str, after: str, limit: int
) -> list[StockNumber]:
    """Free numbers, by number, from behind `after`."""
    values = {"kind": kind.value, "prefix": prefix, "after": after, "limit": limit}
    return await _stocks(connection, _AVAILABLE, values)


async def of_order(connection: AsyncConnection, order: UUID) -> list[StockNumber]:
    """Those that are still of that order, by number."""
    return await _stocks(connection, _OF_ORDER, {"order": order})


async def reservations(connection: AsyncConnection, account: UUID, now: datetime) -> int:
    """How many numbers the account has reserved; nobody else reserves for it before this transaction ends."""
    await connection.execute(_HOLD_RESERVING, {"account": str(account)})
    return int(await connection.scalar(_RESERVATIONS, {"account": account, "now": now}) or 0)


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
    plain = {name: getattr(stock, name) for name in _NAMES}
    suspensions = msgspec.json.encode(stock.suspensions).decode()
    return plain | {"kind": stock.kind.value, "state": stock.state.value, "suspensions": suspensions}


def _plain(stock: StockNumber) -> dict[str, Any]:
    return {name: getattr(stock, name) for name in _NAMES}


async def _stocks(connection: AsyncConnection, statement: TextClause, values: dict[str, Any]) -> list[StockNumber]:
    return [_stock(row) for row in (await connection.execute(statement, values)).mappings()]


def _stock(row: RowMapping) -> StockNumber:
    changes = {
        "kind": NumberKind(row["kind"]),
        "state": State(row["state"]),
        "suspensions": _suspensions_in(row["suspensions"]),
    }
    return StockNumber(**{**row, **changes})


def _happened(row: RowMapping) -> Happened:
    return Happened(**{**row, "move": Move(row["move"]), "state": State(row["state"])})
