"""The step to the tree, up and down, over accounts that are there already."""

from __future__ import annotations

from uuid import uuid4

import asyncpg
import pytest

from engine.accounts.model import OPERATOR_ID
from engine.accounts.store import TREE_LOCK
from engine.foundation.schema import downgrade, upgrade
from tests.databases import MIGRATIONS, at_step


async def test_accounts_become_shops_under_the_operator_and_plain_accounts_again(empty_url: str) -> None:
    first, second, agency = uuid4(), uuid4(), uuid4()
    async with at_step(empty_url, "0009") as connection:
        await connection.execute("INSERT INTO accounts (id, name) VALUES ($1, '가게'), ($2, 'operator')", first, second)
        await upgrade(empty_url, MIGRATIONS, "0010")
        rows = await connection.fetch("SELECT id, kind, parent_id, path, status FROM accounts ORDER BY kind, name")
        assert {row["id"]: (row["kind"], row["parent_id"], row["path"]) for row in rows} == {
            OPERATOR_ID: ("operator", None, [OPERATOR_ID]),
            first: ("shop", OPERATOR_ID, [OPERATOR_ID, first]),
            second: ("shop", OPERATOR_ID, [OPERATOR_ID, second]),
        }
        await connection.execute("INSERT INTO accounts (id, name, kind) VALUES ($1, 'agency', 'agency')", agency)
        await connection.execute("INSERT INTO accounts (id, name, parent_id) VALUES ($1, '가게', $2)", uuid4(), agency)
        assert await connection.fetchval("SELECT path[2] FROM accounts WHERE parent_id = $1", agency) == agency
        await downgrade(empty_url, MIGRATIONS, "0009")
        names = [row["name"] for row in await connection.fetch("SELECT name FROM accounts ORDER BY name")]
        assert len(names) == 4
        assert {"가게", "agency", "operator"} < set(names)
        await upgrade(empty_url, MIGRATIONS, "0010")


async def test_the_database_refuses_a_tree_that_is_none(empty_url: str) -> None:
    async with at_step(empty_url, "0010") as connection:
        await connection.execute(
            "INSERT INTO accounts (id, name) VALUES (gen_random_uuid(), 'shop'), (gen_random_uuid(), 'other')"
        )
        for wrong in (
            "INSERT INTO accounts (id, name, kind, parent_id) VALUES (gen_random_uuid(), 'second', 'operator', NULL)",
            "INSERT INTO accounts (id, name, parent_id) VALUES (gen_random_uuid(), 'x', gen_random_uuid())",
            "UPDATE accounts SET parent_id = (SELECT id FROM accounts WHERE name = 'other') WHERE name = 'shop'",
            "UPDATE accounts SET path = ARRAY[id] WHERE name = 'shop'",
            "INSERT INTO accounts (id, name) VALUES (gen_random_uuid(), 'shop')",
        ):
            with pytest.raises(asyncpg.IntegrityConstraintViolationError):
                await connection.execute(wrong)
        function = await connection.fetchval("SELECT prosrc FROM pg_proc WHERE proname = 'place_account'")
        assert f"pg_advisory_xact_lock_shared({TREE_LOCK})" in function
