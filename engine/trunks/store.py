"""The SQL of trunks. Every function works in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.trunks.model import NumberFormat, Trunk

_SELECT = """
    SELECT t.name, t.contact, t.number_format, t.trusted,
           (SELECT coalesce(array_agg(abbrev(n.network) ORDER BY n.network), '{}')
            FROM trunk_networks n WHERE n.trunk = t.name) AS match
    FROM trunks t
"""
_ALL = text(_SELECT + "ORDER BY t.name")
_ONE = text(_SELECT + "WHERE t.name = :name FOR UPDATE OF t")
_INSERT = text("""
    INSERT INTO trunks (name, contact, number_format, trusted) VALUES (:name, :contact, :number_format, :trusted)
    ON CONFLICT (name) DO NOTHING
""")
_UPDATE = text("""
    UPDATE trunks SET contact = :contact, number_format = :number_format, trusted = :trusted, updated_at = now()
    WHERE name = :name
""")
_DELETE = text("DELETE FROM trunks WHERE name = :name")
_FREE = text("DELETE FROM trunk_networks WHERE trunk = :name")
_CLAIM = text("INSERT INTO trunk_networks (network, trunk) VALUES (CAST(:network AS inet), :name)")
_CLAIMED = text("SELECT trunk FROM trunk_networks WHERE network && CAST(:network AS inet) AND trunk <> :name LIMIT 1")


async def all_trunks(connection: AsyncConnection) -> list[Trunk]:
    return [_trunk(row) for row in await connection.execute(_ALL)]


async def trunk(connection: AsyncConnection, name: str) -> Trunk | None:
    """The trunk of that name, locked until the transaction ends."""
    row = (await connection.execute(_ONE, {"name": name})).one_or_none()
    return _trunk(row) if row else None


async def insert(connection: AsyncConnection, new: Trunk) -> bool:
    """False when the name is taken."""
    return bool((await connection.execute(_INSERT, _fields(new))).rowcount)


async def update(connection: AsyncConnection, changed: Trunk) -> None:
    await connection.execute(_UPDATE, _fields(changed))


async def delete(connection: AsyncConnection, name: str) -> bool:
    """False when there is none."""
    return bool((await connection.execute(_DELETE, {"name": name})).rowcount)


async def claim_networks(connection: AsyncConnection, name: str, networks: Iterable[str]) -> tuple[str, str] | None:
    """Gives the trunk these networks instead of those it had; else a network that is taken, and by whom."""
    await connection.execute(_FREE, {"name": name})
    for network in networks:
        values = {"network": network, "name": name}
        try:
            async with connection.begin_nested():
                await connection.execute(_CLAIM, values)
        except IntegrityError:
            return network, await connection.scalar(_CLAIMED, values) or name
    return None


def _fields(trunk: Trunk) -> dict[str, Any]:
    return {
        "name": trunk.name,
        "contact": trunk.contact,
        "number_format": trunk.number_format.value,
        "trusted": trunk.trusted,
    }


def _trunk(row: Row[Any]) -> Trunk:
    return Trunk(
        name=row.name,
        match=tuple(row.match),
        contact=row.contact,
        number_format=NumberFormat(row.number_format),
        trusted=row.trusted,
    )
