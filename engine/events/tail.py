"""The newest events of the streams that somebody follows, read once for all who follow and kept for a while.

Whoever is further behind reads the table. A follower that does not read holds nobody up and fills no memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.events import store
from engine.events.sequencer import NUMBERED
from engine.events.stream import StreamEvent, as_told, check_place
from engine.foundation.database import listen, transaction
from engine.foundation.errors import DariError
from engine.foundation.tasks import Tasks

KEPT = 1000
"""Events of one stream that are kept in memory, some kilobytes each at most."""
_AT_ONCE = 500
_LOOKS_ANYWAY = 5.0  # seconds; for a notification that was lost
_LISTENS_ON = 60.0
"""Seconds for which it listens after the last follower went: one that reads in turns is back at once."""
_AGAIN = 0.5

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Stream:
    """What is in memory of one stream: all events behind `base`, up to `head`."""

    base: int
    head: int
    events: deque[StreamEvent] = field(default_factory=deque)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, events: Iterable[StreamEvent]) -> None:
        for event in events:
            if event.seq != self.head + 1:  # what was between was deleted while nobody could read it
                self.events.clear()
                self.base = event.seq - 1
            self.events.append(event)
            self.head = event.seq
            if len(self.events) > KEPT:
                self.base = self.events.popleft().seq
        waiting, self.news = self.news, asyncio.Event()
        waiting.set()

    def after(self, place: int, limit: int) -> list[StreamEvent]:
        """There are no gaps in it."""
        skipped = max(place - self.base, 0)
        return list(islice(self.events, skipped, skipped + limit))


class Follower:
    """One who follows a stream, as long as `Tail.following` is open."""

    def __init__(self, tail: Tail, top: UUID, stream: _Stream) -> None:
        self._tail = tail
        self._top = top
        self._stream = stream

    @property
    def head(self) -> int:
        """The place of the newest event that is known."""
        return self._stream.head

    async def after(self, place: int, limit: int) -> list[StreamEvent]:
        """All events behind `place`, `limit` at most. Raises NotFound and Invalid as `stream.read`, and TryLater."""
        if place >= self._stream.base:
            return self._stream.after(place, limit)
        return await self._tail.read(self._top, place, limit)

    async def news(self, place: int, within: float) -> bool:
        """Waits until there is something behind `place`; False when there is nothing after so many seconds."""
        try:
            async with asyncio.timeout(within):
                while self._stream.head <= place:
                    await self._stream.news.wait()
        except TimeoutError:
            return False
        return True


class Tail:
    """Run it as a task, follow what is wanted."""

    def __init__(self, database: AsyncEngine, url: str) -> None:
        self._database = database
        self._url = url
        self._streams: dict[UUID, _Stream] = {}
        self._followed: Counter[UUID] = Counter()
        self._to_read: set[UUID] = set()
        self._called = asyncio.Event()
        self._wanted = asyncio.Event()
        self._left_at = 0.0

    async def run(self) -> None:
        """Keeps the followed streams at their newest, until cancelled, or an error that nobody foresaw.

        A database that is away is waited for.
        """
        tasks = Tasks("tail")
        tasks.start("news", self._hear())
        tasks.start("reading", self._read_what_is_new())
        try:
            await tasks.first_failure()
        finally:
            await tasks.close()

    @asynccontextmanager
    async def following(self, top: UUID) -> AsyncIterator[Follower]:
        """Follows the stream of `top` while the block is open. Raises TryLater."""
        self._followed[top] += 1
        self._wanted.set()
        try:
            if top not in self._streams:
                async with transaction(self._database) as connection:
                    ends = await store.ends(connection, top)
                self._streams.setdefault(top, _Stream(base=ends.last, head=ends.last))
                self._read_soon([top])  # what came meanwhile was notified to nobody
            yield Follower(self, top, self._streams[top])
        finally:
            self._followed[top] -= 1
            if not self._followed[top]:
                del self._followed[top]
                self._streams.pop(top, None)
                self._left_at = asyncio.get_running_loop().time()

    async def read(self, top: UUID, place: int, limit: int) -> list[StreamEvent]:
        """Out of the table; raises NotFound and Invalid as `stream.read`."""
        async with transaction(self._database) as connection:
            ends = await store.ends(connection, top)
            check_place(place, ends)
            rows = await store.read(connection, top, max(place, ends.kept_after), limit)
        return [as_told(row) for row in rows]

    async def _hear(self) -> None:
        """Only while somebody follows: PostgreSQL wakes everybody who listens, whatever is notified."""
        while True:
            await self._wanted.wait()
            async with aclosing(listen(self._url, [NUMBERED], reread_after=_LOOKS_ANYWAY)) as news:
                async for top in news:
                    self._read_soon([UUID(top)] if top else self._streams)
                    if self._is_left():
                        self._wanted.clear()
                        break

    def _is_left(self) -> bool:
        return not self._followed and asyncio.get_running_loop().time() > self._left_at + _LISTENS_ON

    def _read_soon(self, tops: Iterable[UUID]) -> None:
        self._to_read.update(tops)
        self._called.set()

    async def _read_what_is_new(self) -> None:
        while True:
            await self._called.wait()
            self._called.clear()
            wanted, self._to_read = self._to_read, set()
            for top in wanted & self._streams.keys():
                try:
                    await self._read_on(top)
                except (DariError, DBAPIError) as error:
                    log.debug("a stream cannot be read now", reason=str(error))
                    self._to_read.add(top)
                    self._called.set()
                    await asyncio.sleep(_AGAIN)

    async def _read_on(self, top: UUID) -> None:
        while (stream := self._streams.get(top)) is not None:
            async with transaction(self._database) as connection:
                rows = await store.read(connection, top, stream.head, _AT_ONCE)
            if rows:
                stream.add(map(as_told, rows))
            if len(rows) < _AT_ONCE:
                return
