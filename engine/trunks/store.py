"""The SQL of trunks. Every function works in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.trunks.model import Login, NumberFormat, Trunk

_COLUMNS = (
    "name",
    "contact",
    "number_format",
    "trusted",
    "caller_format",
    "prefix",
    "login_user",
    "login_password",
    "login_realm",
    "register",
    "registered_as",
    "outgoing",
    "priority",
    "max_calls",
    "calls_per_second",
    "longest_ringing",
    "provisional_seconds",
    "early_dtmf",
    "options_seconds",
)
_SELECT = f"""
    SELECT {", ".join(f"t.{name}" for name in _COLUMNS)},
           (SELECT coalesce(array_agg(abbrev(n.network) ORDER BY n.network), '{{}}')
            FROM trunk_networks n WHERE n.trunk = t.name) AS match
    FROM trunks t
"""  # noqa: S608 - names of ours
_ALL = text(_SELECT + "ORDER BY t.name")
_ONE = text(_SELECT + "WHERE t.name = :name FOR UPDATE OF t")
_INSERT = text(f"""
    INSERT INTO trunks ({", ".join(_COLUMNS)}) VALUES ({", ".join(f":{name}" for name in _COLUMNS)})
    ON CONFLICT (name) DO NOTHING
""")  # noqa: S608
_UPDATE = text(f"""
    UPDATE trunks SET {", ".join(f"{name} = :{name}" for name in _COLUMNS[1:])}, updated_at = now()
    WHERE name = :name
""")  # noqa: S608
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
    login = trunk.login
    values = {name: getattr(trunk, name) for name in _COLUMNS if not name.startswith("login_")}
    return values | {
        "number_format": trunk.number_format.value,
        "caller_format": trunk.caller_format.value if trunk.caller_format else None,
        "login_user": login.user if login else None,
        "login_password": login.password if login else None,
        "login_realm": login.realm if login else "",
    }


def _trunk(row: Row[Any]) -> Trunk:
    values = {name: value for name, value in row._asdict().items() if not name.startswith("login_")}
    return Trunk(
        **values
        | {
            "match": tuple(row.match),
            "number_format": NumberFormat(row.number_format),
            "caller_format": NumberFormat(row.caller_format) if row.caller_format else None,
            "login": _login(row),
        }
    )


def _login(row: Row[Any]) -> Login | None:
    if row.login_user is None:
        return None
    return Login(user=row.login_user, password=row.login_password, realm=row.login_realm)
