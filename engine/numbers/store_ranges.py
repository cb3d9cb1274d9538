"""The SQL of number ranges, and of numbers that come into them by the thousand. Works in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind
from engine.numbers.number_range import NumberRange
from engine.numbers.quarantine_terms import QuarantineTerms
from engine.numbers.states import Move, State

_TERMS = "quarantine_days, longest_quarantine_days, quiet_days, quiet_calls"
_ALL = text(f"SELECT id, name, prefix, digits, {_TERMS}, added_by, added_at FROM number_ranges ORDER BY prefix, digits")  # noqa: S608
_TERMS_OF = text(f"SELECT {_TERMS} FROM number_ranges WHERE id = :id")  # noqa: S608
_RANGE_OF = text("SELECT id FROM number_ranges WHERE :number ^@ prefix AND length(:number) = digits")
_INSERT = text(f"""
    INSERT INTO number_ranges (id, name, prefix, digits, {_TERMS}, added_by, added_at)
    VALUES (:id, :name, :prefix, :digits, :days, :longest_days, :quiet_days, :quiet_calls, :added_by, :added_at)
    ON CONFLICT DO NOTHING
""")  # noqa: S608
_SET_TERMS = text("""
    UPDATE number_ranges SET quarantine_days = :days, longest_quarantine_days = :longest_days,
        quiet_days = :quiet_days, quiet_calls = :quiet_calls
    WHERE id = :id
""")
_TAKE_IN = text("""
    UPDATE number_stock SET range_id = :id, version = version + 1
    WHERE range_id IS NULL AND number ^@ :prefix AND length(number) = :digits
""")

_INCOMING = text("""
    CREATE TEMPORARY TABLE incoming_numbers (number text NOT NULL, range_id uuid NOT NULL) ON COMMIT DROP
""")
_EMPTY = text("TRUNCATE incoming_numbers")
_BRING_IN = text("""
    WITH new AS (
        INSERT INTO number_stock (number, kind, state, range_id, changed_at)
        SELECT number, :kind, :state, range_id, :now FROM incoming_numbers ORDER BY number
        ON CONFLICT (number) DO NOTHING RETURNING number
    ), noted AS (
        INSERT INTO number_history (number, at, move, state, who)
        SELECT number, :now, :move, :state, :who FROM new
    )
    SELECT incoming.number, stock.state FROM incoming_numbers AS incoming
    LEFT JOIN new USING (number) LEFT JOIN number_stock AS stock ON stock.number = incoming.number
    WHERE new.number IS NULL
""")


async def all_ranges(connection: AsyncConnection) -> list[NumberRange]:
    """By beginning."""
    return [_range(row) for row in (await connection.execute(_ALL)).mappings()]


async def terms_of(connection: AsyncConnection, range_id: UUID) -> QuarantineTerms | None:
    row = (await connection.execute(_TERMS_OF, {"id": range_id})).mappings().one_or_none()
    return _terms(row) if row else None


async def range_of(connection: AsyncConnection, number: PhoneNumber) -> UUID | None:
    """The range that the number lies in; None: in none of ours."""
    found: UUID | None = await connection.scalar(_RANGE_OF, {"number": number})
    return found


async def insert(connection: AsyncConnection, new: NumberRange) -> bool:
    """False when another has that name or some of its numbers."""
    values = {"id": new.id, "name": new.name, "prefix": new.prefix, "digits": new.digits}
    values |= {"added_by": new.added_by, "added_at": new.added_at} | _term_values(new.terms)
    return bool((await connection.execute(_INSERT, values)).rowcount)


async def set_terms(connection: AsyncConnection, changed: NumberRange) -> None:
    await connection.execute(_SET_TERMS, {"id": changed.id} | _term_values(changed.terms))


async def take_in(connection: AsyncConnection, new: NumberRange) -> int:
    """Numbers of the stock that lie in the range are of it from now on; how many."""
    values = {"id": new.id, "prefix": new.prefix, "digits": new.digits}
    return (await connection.execute(_TAKE_IN, values)).rowcount


async def prepare_import(connection: AsyncConnection) -> None:
    """Before the first `bring_in` of a transaction."""
    await connection.execute(_INCOMING)


async def bring_in(
    connection: AsyncConnection, numbers: Sequence[tuple[PhoneNumber, UUID]], who: str, now: datetime
) -> dict[PhoneNumber, State | None]:
    """Puts new 050 numbers, with their ranges, into the stock as available; those that were there, with their states.

    None: another import that is not over yet brought it in.
    """
    if not numbers:
        return {}
    await connection.execute(_EMPTY)
    driver = (await connection.get_raw_connection()).driver_connection
    assert isinstance(driver, asyncpg.Connection)  # noqa: S101 - the driver that `foundation.database` opens
    await driver.copy_records_to_table("incoming_numbers", records=numbers, columns=["number", "range_id"])
    values = {
        "kind": NumberKind.VIRTUAL.value,
        "state": State.AVAILABLE.value,
        "move": Move.ADDED.value,
        "who": who,
        "now": now,
    }
    rows = await connection.execute(_BRING_IN, values)
    return {row.number: State(row.state) if row.state else None for row in rows}


def _range(row: RowMapping) -> NumberRange:
    return NumberRange(
        id=row["id"],
        name=row["name"],
        prefix=row["prefix"],
        digits=row["digits"],
        terms=_terms(row),
        added_by=row["added_by"],
        added_at=row["added_at"],
    )


def _terms(row: RowMapping) -> QuarantineTerms:
    return QuarantineTerms(
        days=row["quarantine_days"],
        longest_days=row["longest_quarantine_days"],
        quiet_days=row["quiet_days"],
        quiet_calls=row["quiet_calls"],
    )


def _term_values(terms: QuarantineTerms) -> dict[str, Any]:
    return {
        "days": terms.days,
        "longest_days": terms.longest_days,
        "quiet_days": terms.quiet_days,
        "quiet_calls": terms.quiet_calls,
    }
