"""The role that serves HTTP: everything of it stands together, on the settings of a home."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts import keys
from engine.accounts.model import LOCAL_OPERATOR, OPERATOR_ID, Deed
from engine.app import web
from engine.foundation.database import transaction
from engine.foundation.tasks import Tasks
from engine.settings import Settings
from tests.eventually import eventually
from tests.loopback import HOST, free_port


def settings_of(home: Path, database_url: str) -> Settings:
    key = b64encode(secrets.token_bytes(32)).decode()
    return Settings(
        home=home,
        database_url=database_url,
        http_bind=f"{HOST}:{free_port()}",
        secret_key=key,
        recording_key=key,
        gateway_key="key",
    )


@pytest.fixture
async def url(tmp_path: Path, database_url: str) -> AsyncIterator[str]:
    settings = settings_of(tmp_path, database_url)
    tasks = Tasks("test")
    tasks.start("web", web.run(settings))
    base = f"http://{settings.http_bind}"

    async def up() -> bool:
        async with aiohttp.ClientSession() as session:
            with suppress(aiohttp.ClientConnectorError):
                async with session.get(f"{base}/health") as answer:
                    return answer.status == 200
        return False

    try:
        await eventually(up)
        yield base
    finally:
        await tasks.close()


async def test_the_api_stands_beside_what_was_there(url: str, database: AsyncEngine) -> None:
    now = datetime.now(UTC)
    async with transaction(database) as connection:
        scopes = frozenset({Deed.SEE_ACCOUNTS, Deed.SEE_NUMBERS, Deed.SEE_TRUNKS, Deed.READ_EVENTS})
        _, secret = await keys.make(connection, LOCAL_OPERATOR, OPERATOR_ID, "test", scopes, now)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {secret}"}) as session:
        for path in ("accounts", "numbers", "trunks", "events", "openapi.json"):
            async with session.get(f"{url}/api/v1/{path}") as answer:
                assert answer.status == 200, (path, await answer.text())
        async with session.get(f"{url}/ready") as answer:
            assert (answer.status, (await answer.json())["reasons"]) == (503, ["the engine does not answer"])
        async with session.get(f"{url}/listen") as answer:
            assert answer.status == 200


async def test_old_answers_are_forgotten(tmp_path: Path, database_url: str, database: AsyncEngine) -> None:
    now = datetime.now(UTC)
    kept = text("INSERT INTO api_answers (slot, sealed, kept_until) VALUES (:slot, '', :until)")
    async with transaction(database) as connection:
        await connection.execute(kept, {"slot": b"a" * 32, "until": now - timedelta(minutes=1)})
        await connection.execute(kept, {"slot": b"b" * 32, "until": now + timedelta(hours=1)})
    tasks = Tasks("test")
    tasks.start("web", web.run(settings_of(tmp_path, database_url)))

    async def slots() -> list[bytes]:
        async with transaction(database) as connection:
            return [bytes(row.slot) for row in await connection.execute(text("SELECT slot FROM api_answers"))]

    async def forgotten() -> bool:
        return await slots() == [b"b" * 32]

    try:
        await eventually(forgotten)
    finally:
        await tasks.close()
