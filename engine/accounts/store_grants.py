"""The SQL of listening grants. Every function works in the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import ListeningGrant

_FIELDS = "id, shop_id, to_account, by, reason, evidence, begins, until, taken_back_at"
_INSERT = text(f"""
    INSERT INTO listening_grants ({_FIELDS})
    VALUES (:id, :shop, :to_account, :by, :reason, :evidence, :begins, :until, NULL)
""")  # noqa: S608
_BY_ID = text(f"SELECT {_FIELDS} FROM listening_grants WHERE id = :id")  # noqa: S608
_TAKE_BACK = text("""
    UPDATE listening_grants SET taken_back_at = :now, taken_back_by = :by
    WHERE id = :id AND taken_back_at IS NULL AND until > :now RETURNING id
""")
_RUNNING = text(f"""
    SELECT {_FIELDS} FROM listening_grants
    WHERE shop_id = :shop AND begins <= :now AND until > :now AND taken_back_at IS NULL
""")  # noqa: S608
_OF_SHOP = text(f"SELECT {_FIELDS} FROM listening_grants WHERE shop_id = :shop ORDER BY id DESC LIMIT :limit")  # noqa: S608


async def insert(connection: AsyncConnection, grant: ListeningGrant) -> None:
    values = {
        "id": grant.id,
        "shop": grant.shop,
        "to_account": grant.to_account,
        "by": grant.by,
        "reason": grant.reason,
        "evidence": grant.evidence,
        "begins": grant.begins,
        "until": grant.until,
    }
    await connection.execute(_INSERT, values)


async def by_id(connection: AsyncConnection, identifier: UUID) -> ListeningGrant | None:
    row = (await connection.execute(_BY_ID, {"id": identifier})).one_or_none()
    return _grant(row) if row else None


async def take_back(connection: AsyncConnection, identifier: UUID, by: str, now: datetime) -> bool:
    """False when it did not run any more."""
    return (await connection.execute(_TAKE_BACK, {"id": identifier, "by": by, "now": now})).one_or_none() is not None


async def running(connection: AsyncConnection, shop: UUID, now: datetime) -> list[ListeningGrant]:
    return [_grant(row) for row in await connection.execute(_RUNNING, {"shop": shop, "now": now})]


async def of_shop(connection: AsyncConnection, shop: UUID, limit: int) -> list[ListeningGrant]:
    """The newest first, over ones too."""
    return [_grant(row) for row in await connection.execute(_OF_SHOP, {"shop": shop, "limit": limit})]


def _grant(row: Row[Any]) -> ListeningGrant:
    return ListeningGrant(
        id=row.id,
        shop=row.shop_id,
        to_account=row.to_account,
        by=row.by,
        reason=row.reason,
        evidence=row.evidence,
        begins=row.begins,
        until=row.until,
        taken_back_at=row.taken_back_at,
    )
