"""The SQL of API keys. Every function works in the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.store_users import deeds_of, place_of
from engine.accounts.user import ApiKey

_FIELDS = """
    k.id, k.account_id, k.name, k.prefix, k.scopes::text AS scopes, k.created_at, k.created_by, k.expires_at,
    k.used_at, k.revoked_at, a.path, a.kind
"""
_FROM = "api_keys k JOIN accounts a ON a.id = k.account_id"
# The names below are our own field names; values are always parameters.
_INSERT = text("""
    INSERT INTO api_keys (id, account_id, name, prefix, hash, scopes, created_at, created_by, expires_at)
    VALUES (:id, :account, :name, :prefix, :hash, CAST(CAST(:scopes AS text) AS jsonb), :now, :by, :until)
    ON CONFLICT (prefix) DO NOTHING RETURNING id
""")
_BY_ID = text(f"SELECT {_FIELDS} FROM {_FROM} WHERE k.id = :id")  # noqa: S608
_BY_PREFIX = text(f"""
    SELECT {_FIELDS}, k.hash, a.status = 'closed' AS closed,
        EXISTS (SELECT FROM accounts up WHERE up.id = ANY(a.path) AND up.modules ->> 'api' = 'false') AS switched_off
    FROM {_FROM} WHERE k.prefix = :prefix
""")  # noqa: S608
_LIST = text(f"""
    SELECT {_FIELDS} FROM {_FROM}
    WHERE a.path @> ARRAY[CAST(:within AS uuid)] AND (CAST(:account AS uuid) IS NULL OR k.account_id = :account)
      AND (:revoked OR k.revoked_at IS NULL) AND (CAST(:after AS uuid) IS NULL OR k.id > :after)
    ORDER BY k.id LIMIT :limit
""")  # noqa: S608
_REVOKE = text("UPDATE api_keys SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL RETURNING id")
_TOUCH = text("""
    UPDATE api_keys SET used_at = :now
    WHERE id = (SELECT id FROM api_keys WHERE id = :id AND (used_at IS NULL OR used_at < :stale)
                FOR UPDATE SKIP LOCKED)
""")


class KnownKey(NamedTuple):
    """What a prefix stands for."""

    key: ApiKey
    hash: bytes
    account_closed: bool
    switched_off: bool
    """The account, or one above it, is without the API."""


async def insert(connection: AsyncConnection, key: ApiKey, secret: bytes) -> bool:
    """False: another key has that prefix."""
    values = {
        "id": key.id,
        "account": key.place.account,
        "name": key.name,
        "prefix": key.prefix,
        "hash": secret,
        "scopes": msgspec.json.encode(sorted(deed.value for deed in key.scopes)).decode(),
        "now": key.created_at,
        "by": key.created_by,
        "until": key.expires_at,
    }
    return (await connection.execute(_INSERT, values)).one_or_none() is not None


async def find(connection: AsyncConnection, key: UUID) -> ApiKey | None:
    row = (await connection.execute(_BY_ID, {"id": key})).one_or_none()
    return _key(row) if row else None


async def by_prefix(connection: AsyncConnection, prefix: str) -> KnownKey | None:
    row = (await connection.execute(_BY_PREFIX, {"prefix": prefix})).one_or_none()
    return KnownKey(_key(row), row.hash, row.closed, row.switched_off) if row else None


async def listing(
    connection: AsyncConnection, *, within: UUID, account: UUID | None, revoked: bool, after: UUID | None, limit: int
) -> list[ApiKey]:
    values = {"within": within, "account": account, "revoked": revoked, "after": after, "limit": limit}
    return [_key(row) for row in await connection.execute(_LIST, values)]


async def revoke(connection: AsyncConnection, key: UUID, now: datetime) -> bool:
    """False: it was revoked before."""
    return (await connection.execute(_REVOKE, {"id": key, "now": now})).one_or_none() is not None


async def touch(connection: AsyncConnection, key: UUID, now: datetime, stale: datetime) -> None:
    """Notes that it was used, unless that was noted since `stale` or somebody is just doing so."""
    await connection.execute(_TOUCH, {"id": key, "now": now, "stale": stale})


def _key(row: Row[Any]) -> ApiKey:
    return ApiKey(
        id=row.id,
        place=place_of(row),
        name=row.name,
        prefix=row.prefix,
        scopes=deeds_of(row.scopes),
        created_at=row.created_at,
        created_by=row.created_by,
        expires_at=row.expires_at,
        used_at=row.used_at,
        revoked_at=row.revoked_at,
    )
