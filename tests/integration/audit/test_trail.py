"""What was done is written down with it, stays as it is, and is found again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.audit.chaining import chain_waiting
from engine.audit.model import PERSONAL, Entry, Wanted
from engine.audit.trail import entries, write
from engine.foundation.database import transaction

NOW = datetime(2026, 11, 22, 3, 4, 5, 678901, tzinfo=UTC)


class Colour(Enum):
    RED = "red"


async def written(database: AsyncEngine, **values: Any) -> Entry:
    told = {
        "who": "user:1",
        "deed": "issue numbers",
        "account_id": None,
        "object_kind": "number",
        "object_id": "05071234567",
        "now": NOW,
    }
    async with transaction(database) as connection:
        return await write(connection, **(told | values))


async def undone(database: AsyncEngine) -> None:
    """A deed that fails after it was written down."""
    async with transaction(database) as connection:
        await write(connection, who="x", deed="y", account_id=None, object_kind="z", object_id=1, now=NOW)
        raise ZeroDivisionError


async def found(database: AsyncEngine, limit: int = 100, before: UUID | None = None, **wanted: Any) -> list[Entry]:
    async with transaction(database) as connection:
        return await entries(connection, Wanted(**wanted), before=before, limit=limit)


async def test_an_entry_is_read_as_it_was_written(database: AsyncEngine) -> None:
    account = UUID(int=5)
    made = await written(
        database,
        account_id=account,
        object_id=account,
        before={"colour": Colour.RED, "when": NOW, "one": account},
        after={"names": {"b"}, PERSONAL: {"target": "01012345678"}, "none": None, "much": 10**20, "part": 1.25},
        peer="192.0.2.1",
    )
    assert await found(database) == [made]
    assert made.before == {"colour": "red", "when": "2026-11-22T03:04:05.678901Z", "one": str(account)}
    assert made.after is not None
    assert made.after[PERSONAL] == {"target": "01012345678"}
    assert made.object_id == str(account)


async def test_what_the_database_cannot_hold_does_not_stop_a_deed(database: AsyncEngine) -> None:
    await written(database, object_id="a\0b", who="x" * 300, after={"name": "a\0b"})
    [entry] = await found(database)
    assert entry.object_id == "a\N{REPLACEMENT CHARACTER}b"
    assert entry.after == {"name": "a\N{REPLACEMENT CHARACTER}b"}
    assert len(entry.who) == 200


async def test_an_entry_is_there_only_with_its_deed(database: AsyncEngine) -> None:
    with pytest.raises(ZeroDivisionError):
        await undone(database)
    assert await found(database) == []
    assert await chain_waiting(database) == 0


async def account(database: AsyncEngine, name: str) -> UUID:
    """One of whose opening nothing is written."""
    async with transaction(database) as connection:
        identifier: UUID = await connection.scalar(
            text("INSERT INTO accounts (id, name) VALUES (gen_random_uuid(), :name) RETURNING id"), {"name": name}
        )
        return identifier


async def test_entries_are_found_by_all_that_is_asked_for(database: AsyncEngine) -> None:
    shop, other = await account(database, "shop"), await account(database, "other")
    first = await written(database, account_id=shop, now=NOW)
    second = await written(database, account_id=shop, who="key:2", deed="sign in", now=NOW + timedelta(seconds=1))
    third = await written(database, account_id=other, object_kind="user", now=NOW + timedelta(seconds=2))
    assert await found(database) == [third, second, first]
    assert await found(database, within=shop) == [second, first]
    assert await found(database, within=UUID(int=1)) == [third, second, first]
    nobodys = await written(database, now=NOW + timedelta(seconds=3))
    assert await found(database, within=UUID(int=1), limit=1) == [nobodys]
    assert await found(database, within=shop, who="user:1", until=NOW + timedelta(days=1)) == [first]
    assert await found(database, who="key:2") == [second]
    assert await found(database, deed="sign in") == [second]
    assert await found(database, object_kind="user", object_id="05071234567") == [third]
    assert await found(database, since=NOW + timedelta(microseconds=1), within=shop) == [second]
    assert await found(database, until=NOW + timedelta(seconds=1)) == [first]
    assert await found(database, since=NOW, until=NOW + timedelta(microseconds=1)) == [first]
    assert await found(database, limit=2) == [nobodys, third]
    assert await found(database, before=third.id, limit=1) == [second]


@pytest.mark.parametrize("table", ["audit", "audit_chain", "audit_head"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {}", "UPDATE {} SET {}"])
async def test_the_database_refuses_to_change_what_was_written(
    database: AsyncEngine, table: str, statement: str
) -> None:
    change = {"audit": "who = 'me'", "audit_chain": "number = number + 1", "audit_head": "number = number - 1"}[table]
    await written(database)
    await chain_waiting(database)
    with pytest.raises(DBAPIError, match="the audit is only added to"):
        async with database.begin() as connection:
            await connection.execute(text(statement.format(table, change)))
    assert len(await found(database)) == 1
