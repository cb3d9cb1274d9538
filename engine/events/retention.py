"""Events are kept for a time, in which every receiver may ask for any of them again."""

from __future__ import annotations

from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.events import store
from engine.events.keeping import noted_by, reckoned
from engine.events.store import Mark
from engine.foundation.clock import Clock
from engine.foundation.database import transaction

_AT_ONCE = 5000

log = structlog.get_logger(__name__)


async def forget_old_events(database: AsyncEngine, days: int, clock: Clock) -> datetime:
    """Deletes events that were kept for so many days, as `keeping` reckons them.

    To be called each hour. Returns the instant before which an event must have been there to be deleted; it is not
    later than it is on the machine's clock either. Raises TryLater.
    """
    now, gone = clock.now(), 0
    async with transaction(database) as connection:
        before = noted_by((await _look(connection, now)).reckoned, days)
        kept_long_enough = await store.last_mark(connection, before)
    while kept_long_enough is not None:
        async with transaction(database) as connection:
            some = await store.forget(connection, kept_long_enough.upto, _AT_ONCE)
        gone += some
        if some < _AT_ONCE:
            break
    if gone:
        log.info("old events were deleted", count=gone, days=days)
    return min(before, noted_by(now, days))


async def _look(connection: AsyncConnection, now: datetime) -> Mark:
    """Notes up to which event there are some."""
    last = await store.newest_mark(connection)
    at = now if last is None else reckoned(last.reckoned, last.noted_at, now)
    mark = Mark(at, now, await store.newest_id(connection))
    await store.add_mark(connection, mark)
    return mark
