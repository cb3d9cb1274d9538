"""Events are kept for a time, in which every receiver may ask for any of them again."""

from __future__ import annotations

from datetime import timedelta

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.events import store
from engine.foundation.clock import Clock
from engine.foundation.database import transaction

_AT_ONCE = 5000

log = structlog.get_logger(__name__)


async def forget_old_events(database: AsyncEngine, days: int, clock: Clock) -> int:
    """Deletes events that were numbered more than so many days ago; how many. Raises TryLater."""
    before = clock.now() - timedelta(days=days)
    gone = 0
    while True:
        async with transaction(database) as connection:
            some = await store.forget(connection, before, _AT_ONCE)
        gone += some
        if some < _AT_ONCE:
            break
    if gone:
        log.info("old events were deleted", count=gone, days=days)
    return gone
