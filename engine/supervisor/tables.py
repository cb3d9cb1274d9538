"""The database's tables: up to date before anything starts that needs them, or as soon as a late database is there."""

from __future__ import annotations

import asyncio

from engine.foundation.database import connect, database_errors
from engine.foundation.errors import DariError, TryLater
from engine.foundation.schema import upgrade
from engine.settings import PRODUCT_FILES, Settings
from engine.supervisor.parts import Say

ANSWERS_WITHIN = 10.0
"""Seconds after which a database counts as away."""
_STATEMENT_WITHIN = 2.0
_TRIED_EVERY = 0.5


class Tables:
    """Those of one home's database. `up_to_date` once, then `keep_trying` beside everything else."""

    def __init__(self, whole: Settings) -> None:
        self._url = whole.database_url
        self._can_wait = all(
            engine.numbers_kept.exists() and engine.trunks_kept.exists() for engine in whole.all_engines
        )
        self._owed = asyncio.Event()

    @property
    def can_wait(self) -> bool:
        """Whether calls can go without the database, by what every engine has kept."""
        return self._can_wait

    async def up_to_date(self, say: Say) -> bool:
        """Whether they are now; False when the database is away and calls can go without it.

        Raises TryLater when it is away and nothing was ever read from it, Invalid when it is none of ours.
        """
        try:
            await self._answered()
            await upgrade(self._url, PRODUCT_FILES / "migrations")
        except TryLater:
            if not self._can_wait:
                raise TryLater(
                    "the database does not answer, and no engine has ever read the numbers from it; "
                    "start it, or check DARI_DATABASE_URL"
                ) from None
            say("database: away; calls go by what was last read from it, their records wait")
            self._owed.set()
            return False
        say("database: up to date")
        return True

    async def keep_trying(self, say: Say) -> None:
        """Brings them up to date once the database is there, where `up_to_date` could not; then returns."""
        await self._owed.wait()
        told = ""
        while True:
            try:
                await self._ask()
                await upgrade(self._url, PRODUCT_FILES / "migrations")
            except DariError as error:
                if not isinstance(error, TryLater) and str(error) != told:
                    told = str(error)
                    say(f"database: {told}")
            else:
                say("database: up to date")
                return
            await asyncio.sleep(_TRIED_EVERY)

    async def _answered(self) -> None:
        """Returns once it answers; asked again for a while only where calls cannot go without it."""
        loop = asyncio.get_running_loop()
        until = loop.time() + (0.0 if self._can_wait else ANSWERS_WITHIN)
        while True:
            try:
                await self._ask()
            except TryLater:
                if loop.time() > until:
                    raise
            else:
                return
            await asyncio.sleep(_TRIED_EVERY)

    async def _ask(self) -> None:
        """A statement, so that a server that only takes connections is known before a migration waits for it."""
        connection = await connect(self._url, _STATEMENT_WITHIN, application_name="dari up")
        try:
            with database_errors():
                await connection.fetchval("SELECT 1")
        finally:
            connection.terminate()
