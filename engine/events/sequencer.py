"""Gives every committed event its place in its stream: one at a time, whoever does it.

Ids of a database are handed out before commit, so that whoever reads by id misses what commits late. Places are given
after it. Several may run, on one machine or on many: a lock of the database lets one number at a time.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.events import store
from engine.foundation.database import listen, transaction
from engine.foundation.errors import DariError
from engine.foundation.tasks import Tasks

AT_ONCE = 1000
"""Events numbered in one transaction."""
WRITTEN = "dari_events"
"""Notified when events were written."""
NUMBERED = "dari_stream"
"""Notified with the top-level account when its stream has news."""
_LOOKS_ANYWAY = 1.0
"""Seconds: the one who was to number them may have died with the lock."""
_GATHER = 0.1  # seconds in which what is committed shares one numbering
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0

log = structlog.get_logger(__name__)


async def number_all(database: AsyncEngine) -> int:
    """Numbers all events that are committed, in transactions of its own; how many. Raises TryLater."""
    done = 0
    while True:
        async with transaction(database) as connection:
            some = await store.number(connection, AT_ONCE)
        done += some or 0
        if some is None or some < AT_ONCE:
            return done


class Sequencer:
    """Numbers events as they are committed."""

    def __init__(self, database: AsyncEngine, url: str) -> None:
        self.reason = ""
        """Why events are not numbered now; empty when they are."""
        self._database = database
        self._url = url
        self._written = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled, or an error that nobody foresaw. A database that is away is waited for."""
        tasks = Tasks("sequencer")
        tasks.start("news", self._hear())
        tasks.start("numbering", self._number())
        try:
            await tasks.first_failure()
        finally:
            await tasks.close()

    async def _number(self) -> None:
        wait = _FIRST_WAIT
        while True:
            await self._written.wait()
            await asyncio.sleep(_GATHER)
            self._written.clear()
            try:
                await number_all(self._database)
            except (DariError, DBAPIError) as error:
                self._note(str(error))
                self._written.set()
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
            else:
                self._note("")
                wait = _FIRST_WAIT

    async def _hear(self) -> None:
        """Many notifications, one look."""
        async with aclosing(listen(self._url, [WRITTEN], reread_after=_LOOKS_ANYWAY)) as news:
            async for _ in news:
                self._written.set()

    def _note(self, reason: str) -> None:
        if reason and not self.reason:
            log.warning("events are not numbered", reason=reason)
        elif self.reason and not reason:
            log.info("events are numbered again")
        self.reason = reason
