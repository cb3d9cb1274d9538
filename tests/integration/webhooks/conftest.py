"""A post office over a real database, and receivers on loopback."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR
from engine.events.sequencer import Sequencer
from engine.events.tail import Tail
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.foundation.ids import new_id
from engine.foundation.sealing import SealingKey
from engine.foundation.tasks import Tasks
from engine.webhooks import book, store, store_dead_letters
from engine.webhooks.egress import Egress
from engine.webhooks.ladder import wait_after
from engine.webhooks.lane import Means
from engine.webhooks.model import Webhook
from engine.webhooks.post_office import PostOffice
from engine.webhooks.settings import Rules, WebhookSettings
from tests.webhook_sink import WebhookSink

LOOPBACK = (ip_network("127.0.0.0/8"),)
QUICK = 200
"""So many times shorter are the ladder's waits."""


@dataclass(frozen=True, slots=True)
class World:
    database: AsyncEngine
    url: str
    rules: Rules

    async def add(self, sink: WebhookSink, account: UUID, *, after: int | None = None, **settings: object) -> Webhook:
        """The sink receives the account's events."""
        wanted = WebhookSettings(**{"url": sink.url, **settings})  # type: ignore[arg-type]
        async with transaction(self.database) as connection:
            webhook, secret = await book.add(
                connection, self.rules, LOCAL_OPERATOR, account, wanted, datetime.now(UTC), after=after
            )
        sink.secrets.append(secret)
        return webhook

    async def now(self, webhook: Webhook) -> Webhook:
        """As it is in the database."""
        async with transaction(self.database) as connection:
            found = await store.find(connection, webhook.id)
        assert found is not None
        return found

    async def dead(self, webhook: Webhook) -> list[int]:
        async with transaction(self.database) as connection:
            return [one.seq for one in await store_dead_letters.listing(connection, webhook.id, None, 1000)]

    @asynccontextmanager
    async def office(
        self, *, lease: float = 30.0, quick: int = QUICK, numbering: bool = True, answer_within: float = 5.0
    ) -> AsyncIterator[Tasks]:
        """A worker that sends, while the block is open; its tasks."""
        async with AsyncExitStack() as stack:
            egress = await stack.enter_async_context(Egress(LOOPBACK, timeout=answer_within))
            tail, tasks = Tail(self.database, self.url), Tasks("test")
            means = Means(
                database=self.database,
                tail=tail,
                egress=egress,
                key=self.rules.key,
                clock=SystemClock(),
                me=new_id(datetime.now(UTC)),
                wait_after=lambda failures: timedelta(seconds=wait_after(failures, 0.5).total_seconds() / quick),
            )
            stack.push_async_callback(tasks.close)
            tasks.start("tail", tail.run())
            tasks.start("office", PostOffice(means, self.url, lease=lease).run())
            if numbering:
                tasks.start("sequencer", Sequencer(self.database, self.url).run())
            yield tasks


@pytest.fixture
def world(database: AsyncEngine, database_url: str) -> World:
    return World(database, database_url, Rules(SealingKey(secrets.token_bytes(32)), LOOPBACK))
