"""The database as a command reaches it: for one deed, and with a word of help when it is not there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.foundation.database import open_database, transaction
from engine.foundation.errors import TryLater
from engine.foundation.process import read_pid_file
from engine.settings import Settings
from engine.supervisor.wiring import connected

_T = TypeVar("_T")


def in_transaction(settings: Settings, deed: Callable[[AsyncConnection], Awaitable[_T]]) -> _T:
    """What `deed` gives, done as one transaction. Raises TryLater, saying what to start, when no database is there."""

    async def within(database: AsyncEngine) -> _T:
        async with transaction(database) as connection:
            return await deed(connection)

    return with_database(settings, within)


def with_database(settings: Settings, deed: Callable[[AsyncEngine], Awaitable[_T]]) -> _T:
    """As `in_transaction`, for a deed that makes its own transactions."""
    return asyncio.run(_with_database(settings, deed))


async def _with_database(settings: Settings, deed: Callable[[AsyncEngine], Awaitable[_T]]) -> _T:
    url = connected(settings).database_url
    database = open_database(url, settings.database_timeout, application_name="dari command", pool_size=1)
    try:
        return await deed(database)
    except TryLater as error:
        if not settings.database_url and read_pid_file(settings.paths.pid_file("postgres")) is None:
            raise TryLater(f"the database of {settings.home} does not run; start it with `dari up`") from None
        if settings.database_url:
            raise TryLater(f"{error}, or check DARI_DATABASE_URL and that server") from None
        raise
    finally:
        await database.dispose()
