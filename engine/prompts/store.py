"""The SQL of prompts. Every function works in the caller's transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.prompts.model import Origin, Prompt, Version

_FIELDS = "version, sound, origin, source, voice, music, seconds, created_at"
_OF_V = ", ".join(f"v.{field}" for field in _FIELDS.split(", "))

_NEXT = text("""
    INSERT INTO prompts (account_id, name, current_version, last_version) VALUES (:account, :name, 1, 1)
    ON CONFLICT (account_id, name) DO UPDATE SET
        last_version = prompts.last_version + 1, current_version = prompts.last_version + 1, updated_at = now()
    RETURNING id, last_version
""")
_ADD = text(f"""
    INSERT INTO prompt_versions (prompt_id, {_FIELDS})
    VALUES (:prompt, {", ".join(f":{field}" for field in _FIELDS.split(", "))})
""")  # noqa: S608 - fixed columns
_USE = text("""
    UPDATE prompts SET current_version = :version, updated_at = now()
    WHERE account_id = :account AND name = :name
      AND EXISTS (SELECT FROM prompt_versions v WHERE v.prompt_id = prompts.id AND v.version = :version)
""")
_LISTING = text(f"""
    SELECT p.name, (SELECT count(*) FROM prompt_versions o WHERE o.prompt_id = p.id), {_OF_V}
    FROM prompts p JOIN prompt_versions v ON v.prompt_id = p.id AND v.version = p.current_version
    WHERE p.account_id = :account AND (CAST(:name AS text) IS NULL OR p.name = :name) ORDER BY p.name
""")  # noqa: S608
_VERSIONS = text(f"""
    SELECT {_OF_V} FROM prompt_versions v JOIN prompts p ON p.id = v.prompt_id
    WHERE p.account_id = :account AND p.name = :name ORDER BY v.version
""")  # noqa: S608
_DELETE = text("DELETE FROM prompts WHERE account_id = :account AND name = :name")
_DELETE_VERSION = text("""
    DELETE FROM prompt_versions v USING prompts p
    WHERE p.id = v.prompt_id AND p.account_id = :account AND p.name = :name AND v.version = :version
      AND v.version <> p.current_version
""")
_PLAYED = text("""
    SELECT p.account_id, p.name, v.sound
    FROM prompts p JOIN prompt_versions v ON v.prompt_id = p.id AND v.version = p.current_version
    WHERE CAST(:account AS uuid) IS NULL OR p.account_id = :account
""")
_SOUNDS = text("SELECT DISTINCT sound FROM prompt_versions")

_ROWS_AT_ONCE = 200  # a millisecond of work: calls go on in between


async def add_version(connection: AsyncConnection, account: UUID, name: str, made: Version) -> Version:
    """Puts a version after the last one and makes it the current one; the prompt is made if need be.

    It comes back with its number; numbers are never given twice.
    """
    row = (await connection.execute(_NEXT, {"account": account, "name": name})).one()
    version = msgspec.structs.replace(made, version=row[1])
    fields = msgspec.structs.asdict(version) | {"origin": version.origin.value, "prompt": row[0]}
    await connection.execute(_ADD, fields)
    return version


async def use(connection: AsyncConnection, account: UUID, name: str, version: int) -> bool:
    """False when there is no such version."""
    return bool((await connection.execute(_USE, {"account": account, "name": name, "version": version})).rowcount)


async def of_account(connection: AsyncConnection, account: UUID, name: str | None = None) -> list[Prompt]:
    """By name; with `name` only that one."""
    rows = await connection.execute(_LISTING, {"account": account, "name": name})
    return [Prompt(name=row[0], versions=row[1], current=_version(row[2:])) for row in rows]


async def versions(connection: AsyncConnection, account: UUID, name: str) -> list[Version]:
    """Oldest first."""
    return [_version(row) for row in await connection.execute(_VERSIONS, {"account": account, "name": name})]


async def delete(connection: AsyncConnection, account: UUID, name: str) -> bool:
    """False when there is none."""
    return bool((await connection.execute(_DELETE, {"account": account, "name": name})).rowcount)


async def delete_version(connection: AsyncConnection, account: UUID, name: str, version: int) -> bool:
    """False when there is none, or it is the current one."""
    fields = {"account": account, "name": name, "version": version}
    return bool((await connection.execute(_DELETE_VERSION, fields)).rowcount)


async def played(connection: AsyncConnection, account: UUID | None) -> AsyncIterator[list[tuple[UUID, str, str]]]:
    """The account, the name and the sound of each prompt's current version, part by part; None: of all accounts."""
    async with connection.stream(_PLAYED, {"account": account}) as result:
        async for rows in result.partitions(_ROWS_AT_ONCE):
            yield [(row[0], row[1], row[2]) for row in rows]


async def sounds(connection: AsyncConnection) -> set[str]:
    return {row[0] for row in await connection.execute(_SOUNDS)}


def _version(row: Sequence[Any]) -> Version:
    return Version(
        version=row[0],
        sound=row[1],
        origin=Origin(row[2]),
        source=row[3],
        voice=row[4],
        music=row[5],
        seconds=row[6],
        created_at=row[7],
    )
