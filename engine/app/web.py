"""HTTP for programs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.api.app import make_api, serving
from engine.api.health import health_router
from engine.api.listening import listening_router
from engine.api.receipts import receipts_router
from engine.app.opened import database_of
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.foundation.errors import DariError
from engine.foundation.tasks import Tasks
from engine.settings import Settings

_TELLS_WITHIN = 1.0


async def run(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        database = database_of(settings, stack, "dari web")
        asking = DatabaseAnswers(database, _TELLS_WITHIN)
        stack.push_async_callback(asking.close)
        routers = [
            health_router(settings.engine_sockets, asking.answers),
            listening_router(settings.engine_sockets),
            receipts_router(database, settings.gateway_key, SystemClock()),
        ]
        await stack.enter_async_context(serving(make_api(routers), settings.http_bind))
        await asyncio.Event().wait()


class DatabaseAnswers:
    """Whether the database answers, told in time however long it is silent. Close it at the end."""

    def __init__(self, database: AsyncEngine, within: float) -> None:
        self._database = database
        self._within = within
        self._tasks = Tasks("ready")
        self._asked: asyncio.Task[None] | None = None
        self._answered = False

    async def answers(self) -> bool:
        """False also while nobody knows: a question without an answer is waited for, not asked again."""
        if self._asked is None or self._asked.done():
            self._answered = False
            self._asked = self._tasks.start("database", self._ask())
        await asyncio.wait([self._asked], timeout=self._within)
        return self._answered

    async def close(self) -> None:
        """Gives up what is still asked."""
        await self._tasks.close()

    async def _ask(self) -> None:
        try:
            async with transaction(self._database) as connection:
                await connection.exec_driver_sql("SELECT 1")
        except DariError:
            return
        self._answered = True
