"""What is added to a call's record after it was closed."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.cdr import store
from engine.foundation.clock import Clock
from engine.foundation.database import transaction

_AHEAD = timedelta(days=45)


async def note_recording(connection: AsyncConnection, call_id: UUID, recording: str | None, reason: str) -> None:
    """Where the recording is kept under the recordings folder, or why there is none. Raises NotFound."""
    await store.set_recording(connection, call_id, recording, reason)


async def make_months_ahead(database: AsyncEngine, clock: Clock) -> None:
    """Makes this month's and the next month's tables of call records where they are missing. Raises TryLater."""
    now = clock.now()
    async with transaction(database) as connection:
        await store.ensure_months(connection, [now, now + _AHEAD])
