"""HTTP for programs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from engine.api.app import make_api, serving
from engine.api.health import health_router
from engine.api.listening import listening_router
from engine.api.receipts import receipts_router
from engine.app.opened import database_of
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.foundation.errors import DariError
from engine.settings import Settings


async def run(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        database = database_of(settings, stack, "dari web")

        async def database_answers() -> bool:
            try:
                async with transaction(database) as connection:
                    await connection.exec_driver_sql("SELECT 1")
            except DariError:
                return False
            return True

        routers = [
            health_router(settings.paths.engine_socket, database_answers),
            listening_router(settings.paths.engine_socket),
            receipts_router(database, settings.gateway_key, SystemClock()),
        ]
        await stack.enter_async_context(serving(make_api(routers), settings.http_bind))
        await asyncio.Event().wait()
