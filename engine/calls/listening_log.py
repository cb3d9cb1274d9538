"""Who listened to which call, why, how and how long: written before they hear anything, kept for two years."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts import bearer, grants
from engine.accounts.model import Actor, Standing
from engine.calls import store
from engine.calls.listening_rules import Ended, Wish
from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.foundation.errors import NotFound
from engine.foundation.ids import new_id

KEPT = timedelta(days=731)
"""Two years, whatever leap day is in them."""


class ListeningLog:
    """The log in the database. Every verb raises TryLater while that is away."""

    def __init__(self, database: AsyncEngine, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def standing(self, account: UUID | None) -> Standing | None:
        """The account with its running grants; None: there is none."""
        if account is None:
            return None
        async with transaction(self._database) as connection:
            try:
                return await grants.standing(connection, account, self._clock.now())
            except NotFound:
                return None

    async def actor(self, actor: Actor) -> Actor:
        """As they are now. Raises NotAllowed when they may not come in any more."""
        async with transaction(self._database) as connection:
            return await bearer.again(connection, actor, self._clock.now())

    async def asked(self, wish: Wish, call_id: UUID, account_id: UUID | None, refused: str | None = None) -> UUID:
        """Somebody wants to listen, or was refused; the id of the entry."""
        now = self._clock.now()
        identifier = new_id(now)
        async with transaction(self._database) as connection:
            await store.insert_asked(connection, identifier, wish, (call_id, account_id), now, refused)
        return identifier

    async def began(self, identifier: UUID, until: datetime) -> None:
        """They hear the call from now on, `until` then at the latest."""
        async with transaction(self._database) as connection:
            await store.set_began(connection, identifier, self._clock.now(), until)

    async def ended(self, identifier: UUID, at: datetime, how: Ended) -> None:
        """They heard nothing more since `at`."""
        async with transaction(self._database) as connection:
            await store.set_ended(connection, identifier, at, how)


async def forget_old_listening(database: AsyncEngine, clock: Clock) -> None:
    """Deletes what is older than two years. Raises TryLater."""
    async with transaction(database) as connection:
        await store.forget(connection, clock.now() - KEPT)
