"""What several roles open, each for itself."""

from __future__ import annotations

from contextlib import AsyncExitStack

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.events.call_log import CallLog
from engine.foundation.database import open_database
from engine.settings import Settings


def database_of(settings: Settings, stack: AsyncExitStack, name: str) -> AsyncEngine:
    database = open_database(settings.database_url, settings.database_timeout, application_name=name)
    stack.push_async_callback(database.dispose)
    return database


def call_log_of(settings: Settings, name: str, stack: AsyncExitStack) -> CallLog:
    call_log = CallLog(
        settings.paths.log,
        name,
        mask=settings.mask_numbers,
        max_bytes=settings.call_log_bytes,
        files=settings.call_log_files,
    )
    stack.callback(call_log.close)
    return call_log
