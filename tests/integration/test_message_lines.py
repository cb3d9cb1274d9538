"""The lines of the live call log about messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from structlog.testing import capture_logs

from engine.callbacks.call_ended import call_ended
from engine.events.call_log_reader import read
from engine.events.call_log_writer import CallLog
from engine.foundation.database import open_database
from engine.foundation.schema import upgrade
from engine.foundation.tasks import Tasks
from engine.messages import live_lines
from engine.messages.live_lines import tell_messages
from engine.settings import PRODUCT_FILES
from tests.answered_call import answered_call
from tests.eventually import eventually
from tests.shop import keep_call, open_shop


@asynccontextmanager
async def telling(database: AsyncEngine, folder: Path) -> AsyncIterator[None]:
    call_log = CallLog(folder, "messages", mask=False, max_bytes=100_000, files=2)
    tasks = Tasks("test")
    tasks.start("lines", tell_messages(database, call_log))
    try:
        yield
    finally:
        await tasks.close()
        call_log.close()


async def test_a_database_that_refuses_us_at_first_is_told_of_all_the_same(
    empty_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_lines, "_EVERY", 0.02)
    database = open_database(empty_url, 10.0)
    try:
        with capture_logs() as lines:
            async with telling(database, tmp_path):
                await eventually(lambda: any("dari migrate" in str(line.get("reason")) for line in lines))
                await upgrade(empty_url, PRODUCT_FILES / "migrations")
                shop = await open_shop(database)
                calls: set[UUID] = set()

                async def another_call_is_told_of() -> bool:
                    """Lines begin with what comes after the first look at the tables: one call may be too early."""
                    now = datetime.now(UTC)
                    call = await keep_call(database, answered_call(now), shop)
                    await call_ended(database, call.call_id, now)
                    calls.add(call.call_id)
                    return bool(read(tmp_path))

                await eventually(another_call_is_told_of)
        assert {event.call_id for event in read(tmp_path)} <= calls
    finally:
        await database.dispose()
