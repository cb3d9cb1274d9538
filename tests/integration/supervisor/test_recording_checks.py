"""The doctor before the wrapped keys of recordings in a real database."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import account_named
from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.database import transaction
from engine.foundation.schema import newest
from engine.recordings.keys import MasterKey, destroy_keys, new_key
from engine.settings import PRODUCT_FILES, read_settings
from engine.supervisor.check import Check, State
from engine.supervisor.recording_checks import recording_checks
from engine.supervisor.report import DatabaseReport

MASTER, ANOTHER = b"m" * 32, b"a" * 32
NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


async def looked_at(url: str, home: Path, master: bytes) -> Check:
    chosen = read_settings(home=home, database_url=url, recording_key=base64.b64encode(master).decode())
    found = DatabaseReport(answers=True, version="18.1", step=newest(PRODUCT_FILES / "migrations"))
    [check] = await recording_checks(chosen, found)
    return check


async def owner_with_key(database: AsyncEngine, name: str, master: bytes) -> UUID:
    async with transaction(database) as connection:
        account = await account_named(connection, LOCAL_OPERATOR, name, NOW)
        await new_key(connection, MasterKey(master), account.id, NOW)
    return account.id


async def test_without_any_key_everything_opens(database_url: str, tmp_path: Path) -> None:
    assert (await looked_at(database_url, tmp_path, MASTER)).state is State.OK


async def test_the_master_key_that_they_are_under_opens_all(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    for name in ("one", "two", "two"):
        await owner_with_key(database, name, MASTER)
    check = await looked_at(database_url, tmp_path, MASTER)
    assert (check.state, check.found) == (State.OK, "opens all 3 keys of owners")


async def test_another_master_key_is_bad_and_the_old_one_is_to_be_put_back(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    await owner_with_key(database, "one", MASTER)
    await owner_with_key(database, "two", ANOTHER)
    check = await looked_at(database_url, tmp_path, ANOTHER)
    assert check.state is State.BAD
    assert check.found.startswith("1 of 2 owners' keys do not open")
    assert f"put the old recording.key back as {tmp_path / 'recording.key'}" in check.mend


async def test_a_destroyed_key_needs_no_master_key(database: AsyncEngine, database_url: str, tmp_path: Path) -> None:
    owner = await owner_with_key(database, "one", MASTER)
    async with transaction(database) as connection:
        assert await destroy_keys(connection, owner, NOW) == 1
    assert (await looked_at(database_url, tmp_path, ANOTHER)).state is State.OK


async def test_no_master_key_at_all_is_bad_where_owners_have_keys(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    await owner_with_key(database, "one", MASTER)
    chosen = read_settings(home=tmp_path, database_url=database_url, recording_key="")
    found = DatabaseReport(answers=True, version="18.1", step=newest(PRODUCT_FILES / "migrations"))
    [check] = await recording_checks(chosen, found)
    assert check.state is State.BAD
    assert check.mend
