"""Suspending and resuming is heard by a running engine's routing for the next call, transferring too."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.cdr.model import Result
from engine.foundation.database import transaction
from engine.numbers import life, transfer
from engine.routing.cache import RoutingCache
from engine.routing.call_plan import Announce, CallPlan, Forward
from engine.routing.model import History
from engine.routing.plan import plan
from tests.eventually import eventually
from tests.number_world import FIRST, NOW, fill, make_world, wanted


async def test_each_move_is_in_force_for_the_next_call(
    database: AsyncEngine, database_url: str, tmp_path: Path
) -> None:
    world = await make_world(database)
    await fill(database, 1)
    cache = RoutingCache(tmp_path / "routing")

    def call() -> CallPlan:
        return plan(cache.find(FIRST), None, datetime(2026, 11, 22, 5, 0, tzinfo=UTC), History(), 30)

    def announced() -> tuple[str, object] | None:
        planned = call()
        return (planned.sound, planned.account_id) if isinstance(planned, Announce) else None

    following = asyncio.ensure_future(cache.keep_fresh(database, database_url))
    try:
        await eventually(lambda: cache.known)
        assert announced() == (life.NOT_IN_SERVICE, None)
        async with transaction(database) as connection:
            await life.issue(connection, world.owner, wanted(FIRST, world.shop), NOW)
        await eventually(lambda: isinstance(call(), Forward))
        async with transaction(database) as connection:
            await life.suspend(connection, world.owner, FIRST, NOW, announcement="own/moved")
        await eventually(lambda: announced() == ("own/moved", world.shop))
        assert isinstance(planned := call(), Announce)
        assert planned.result is Result.NOT_IN_SERVICE
        kept = RoutingCache(tmp_path / "routing")
        cache.write_snapshot()
        kept = RoutingCache(tmp_path / "routing")
        assert (line := kept.find(FIRST)) is not None
        assert line.number.suspended == "own/moved", "also for an engine that finds no database"
        async with transaction(database) as connection:
            await life.resume(connection, world.owner, FIRST, NOW)
        await eventually(lambda: isinstance(call(), Forward))
        async with transaction(database) as connection:
            made = await transfer.offer(connection, world.owner, FIRST, world.other_shop, NOW)
            await transfer.accept(connection, world.other_owner, made.id, NOW)
        await eventually(lambda: call().account_id == world.other_shop)
        async with transaction(database) as connection:
            await life.release(connection, world.other_owner, FIRST, NOW)
        await eventually(lambda: announced() == (life.NOT_IN_SERVICE, None))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
