"""The SQL of the API's own table: answers kept for requests that come twice. Works in the caller's transaction."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# One that is over is taken as if it were not there. One that another transaction is making is waited for.
_CLAIM = text("""
    INSERT INTO api_answers AS kept (slot, kept_until) VALUES (:slot, :kept_until)
    ON CONFLICT (slot) DO UPDATE SET sealed = NULL, kept_until = excluded.kept_until WHERE kept.kept_until <= :now
    RETURNING slot
""")
_READ = text("SELECT sealed FROM api_answers WHERE slot = :slot")
_KEEP = text("UPDATE api_answers SET sealed = :sealed WHERE slot = :slot")
_FREE = text("DELETE FROM api_answers WHERE slot = :slot")
_FORGET = text("DELETE FROM api_answers WHERE kept_until <= :now")
_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended('api thing ' || :thing, 0))")


async def claim(connection: AsyncConnection, slot: bytes, *, now: datetime, kept_until: datetime) -> bool:
    """Whether this transaction is the one that fills the slot; False: it is filled."""
    row = await connection.execute(_CLAIM, {"slot": slot, "now": now, "kept_until": kept_until})
    return row.one_or_none() is not None


async def kept(connection: AsyncConnection, slot: bytes) -> bytes | None:
    """What a filled slot holds."""
    sealed: bytes | None = await connection.scalar(_READ, {"slot": slot})
    return sealed


async def keep(connection: AsyncConnection, slot: bytes, sealed: bytes) -> None:
    await connection.execute(_KEEP, {"slot": slot, "sealed": sealed})


async def free(connection: AsyncConnection, slot: bytes) -> None:
    """Gives a slot back that was claimed and is not filled."""
    await connection.execute(_FREE, {"slot": slot})


async def forget(connection: AsyncConnection, now: datetime) -> int:
    """Removes what is over; how many."""
    return (await connection.execute(_FORGET, {"now": now})).rowcount


async def lock_thing(connection: AsyncConnection, thing: str) -> None:
    """Waits until no other transaction edits that thing; held until this one ends."""
    await connection.execute(_LOCK, {"thing": thing})
