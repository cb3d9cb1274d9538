"""The SQL of the API itself: answers kept for requests that come twice, and holding what is edited.

Works in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
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
_ACCOUNT = "FROM accounts WHERE id = CAST(:id AS uuid)"
_NUMBER = "FROM numbers WHERE number = :id"
# What a thing is made of. Who holds a row FOR UPDATE holds off whoever changes or removes it, and whoever adds a row
# that refers to it: so the owner comes first, then the rows that are there.
_ROWS: Mapping[str, tuple[str, ...]] = {
    "account": (_ACCOUNT,),
    "call settings": (_ACCOUNT,),
    "closed days of account": (_ACCOUNT, "FROM closed_days WHERE account_id = CAST(:id AS uuid)"),
    "closed days of number": (_NUMBER, "FROM closed_days WHERE number = :id"),
    "number": (_NUMBER,),
    "number range": ("FROM number_ranges WHERE name = :id",),
    "prompt": ("FROM prompts WHERE account_id = CAST(:owner AS uuid) AND name = :id",),
    "rules": (_NUMBER, "FROM number_rules WHERE number = :id"),
    "trunk": ("FROM trunks WHERE name = :id",),
    "user": ("FROM users WHERE id = CAST(:id AS uuid)",),
    "webhook": ("FROM webhooks WHERE id = CAST(:id AS uuid)",),
}
KINDS = frozenset(_ROWS)
"""Of things that are edited."""


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


async def hold(connection: AsyncConnection, kind: str, identifier: str, owner: str) -> None:
    """Waits until no other transaction edits that thing, by whichever door; held until this one ends."""
    await connection.execute(_LOCK, {"thing": f"{kind} {owner} {identifier}"})
    for rows in _ROWS[kind]:
        named = {"id": identifier} | ({"owner": owner} if ":owner" in rows else {})
        await connection.execute(text(f"SELECT {rows} FOR UPDATE"), named)
