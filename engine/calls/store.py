"""The SQL of the listening log. Every function works in the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.calls.listening_rules import Ended, Wish

_ASKED = text("""
    INSERT INTO listening_log (id, call_id, account_id, who, reason, mode, minutes, asked_at, refused)
    VALUES (:id, :call_id, :account_id, :who, :reason, :mode, :minutes, :now, :refused)
""")
_BEGAN = text("UPDATE listening_log SET began_at = :now, until_at = :until WHERE id = :id AND began_at IS NULL")
_ENDED = text("UPDATE listening_log SET ended_at = :now, ended = :ended WHERE id = :id AND ended_at IS NULL")
_FORGET = text("DELETE FROM listening_log WHERE asked_at < :before")


async def insert_asked(
    connection: AsyncConnection,
    identifier: UUID,
    wish: Wish,
    call: tuple[UUID, UUID | None],
    now: datetime,
    refused: str | None,
) -> None:
    """Somebody wants to listen to `call` (its id and its account); `refused` says why they may not."""
    call_id, account_id = call
    await connection.execute(
        _ASKED,
        {
            "id": identifier,
            "call_id": call_id,
            "account_id": account_id,
            "who": wish.who,
            "reason": wish.reason,
            "mode": wish.mode.value,
            "minutes": wish.minutes,
            "now": now,
            "refused": refused,
        },
    )


async def set_began(connection: AsyncConnection, identifier: UUID, now: datetime, until: datetime) -> None:
    await connection.execute(_BEGAN, {"id": identifier, "now": now, "until": until})


async def set_ended(connection: AsyncConnection, identifier: UUID, now: datetime, ended: Ended) -> None:
    """Done twice is done once."""
    await connection.execute(_ENDED, {"id": identifier, "now": now, "ended": ended.value})


async def forget(connection: AsyncConnection, before: datetime) -> int:
    """Deletes what was asked before; how many."""
    return (await connection.execute(_FORGET, {"before": before})).rowcount
