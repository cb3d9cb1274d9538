"""Old events go, and with them the dead letters that tell of them: what is not kept cannot be sent again."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.events.retention import forget_old_events
from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.webhooks import store_dead_letters


async def forget_old(database: AsyncEngine, days: int, clock: Clock) -> None:
    """Deletes what was kept for so many days. Raises TryLater."""
    before = await forget_old_events(database, days, clock)
    async with transaction(database) as connection:
        await store_dead_letters.forget(connection, before)
