"""How far one receiver is and how it goes, and the writing down of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict
from engine.webhooks import store_sending
from engine.webhooks.model import Progress, Webhook

_SAVED_EVERY = 50
"""Events after which at the latest it is written down how far the receiver is."""
_SAVED_WITHIN = 0.25  # seconds; the same in time
_SKIPPED_SAVED_WITHIN = 10.0
"""The same where all that was new was for others."""


class Logbook:
    """Of the worker that holds the receiver's lease; nobody else's writing counts."""

    def __init__(self, database: AsyncEngine, clock: Clock, me: UUID, webhook: Webhook) -> None:
        self.progress = webhook.progress
        self._database = database
        self._clock = clock
        self._me = me
        self._webhook = webhook
        self._sent = 0
        self._skipped = False
        self._saved_at = clock.monotonic()

    def now_is(self, **changed: Any) -> None:
        """Notes what is otherwise now; it is written down with what is sent."""
        self.progress = replace(self.progress, **changed)

    def sent(self, events: int) -> None:
        """So many events were sent, or tried, since."""
        self._sent += events

    def skipped(self, upto: int) -> None:
        """What came up to there was for others."""
        self.now_is(position=max(upto, self.progress.position))
        self._skipped = True

    async def save(self) -> None:
        """Writes down how far the receiver is. Raises Conflict when it is not ours any more, TryLater."""
        if not (self._sent or self._skipped):
            return
        progress = self.progress
        async with transaction(self._database) as connection:
            await self.write(connection, progress)
        self.written(progress)

    async def save_if_sent(self) -> None:
        """Before a pause."""
        if self._sent:
            await self.save()

    async def save_sometimes(self) -> None:
        age = self._clock.monotonic() - self._saved_at
        long_ago = self._sent and age >= _SAVED_WITHIN
        if self._sent >= _SAVED_EVERY or long_ago or (self._skipped and age >= _SKIPPED_SAVED_WITHIN):
            await self.save()

    async def write(self, connection: AsyncConnection, progress: Progress) -> None:
        """In the caller's transaction, with what belongs to it; `written` is to follow. Raises Conflict."""
        if not await store_sending.save(connection, self._webhook, progress, self._me):
            raise Conflict(f"webhook {self._webhook.id}: another worker sends to it now")

    def written(self, progress: Progress) -> None:
        """This was committed."""
        self.progress = progress
        self._sent, self._skipped = 0, False
        self._saved_at = self._clock.monotonic()

    async def disable(self, reason: str) -> None:
        """Nothing more is sent to it until somebody resumes it."""
        async with transaction(self._database) as connection:
            await store_sending.disable(connection, self._webhook.id, self._me, reason)

    def due_in(self, now: datetime) -> float:
        """Seconds until something may be sent."""
        return (self.progress.next_at - now).total_seconds()
