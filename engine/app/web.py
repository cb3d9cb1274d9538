"""HTTP for programs."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AsyncExitStack, suppress
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.sessions import SessionTerms
from engine.api.app import make_api, serving
from engine.api.documents import Documents, keep_documents
from engine.api.door import Door
from engine.api.equipment import Equipment, equip
from engine.api.event_desk import EventDesk, equip_events
from engine.api.health import health_router
from engine.api.idempotency import forget
from engine.api.listening import listening_router
from engine.api.rate_limit import Rate
from engine.api.receipts import receipts_router
from engine.api.routes import all_routers
from engine.app.opened import archive_of, database_of, webhook_rules_of
from engine.app.speech import speech_setup
from engine.events.tail import Tail
from engine.foundation.clock import Clock, SystemClock
from engine.foundation.database import transaction
from engine.foundation.errors import DariError, TryLater
from engine.foundation.sealing import SealingKey
from engine.foundation.tasks import Tasks
from engine.numbers.quarantine_terms import terms_with
from engine.prompts.speech.setup import opened_speech
from engine.prompts.speech.speech import Speech
from engine.settings import PRODUCT_FILES, Settings
from engine.webhooks.egress import Egress

_TELLS_WITHIN = 1.0
_FORGETS_EVERY = 600.0
_STRANGERS = Rate(a_minute=60, at_once=20)
"""Of one address, without a key or session: signing in, signing up."""


async def run(settings: Settings) -> None:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        database = database_of(settings, stack, "dari web")
        asking = DatabaseAnswers(database, _TELLS_WITHIN)
        stack.push_async_callback(asking.close)
        routers = [
            health_router(settings.engine_sockets, asking.answers),
            listening_router(settings.engine_sockets),
            receipts_router(database, settings.gateway_key, clock),
            *all_routers(),
        ]
        app = make_api(routers, door_of(settings, database, clock))
        equip(app, equipment_of(settings, database, clock, stack))
        rules, tail = webhook_rules_of(settings), Tail(database, settings.database_url)
        egress = await stack.enter_async_context(Egress(rules.opened, timeout=settings.webhook_seconds))
        equip_events(app, EventDesk(tail, rules, egress))
        keep_documents(app, Documents(settings.paths.documents, SealingKey.of(settings.secret_key)))
        gc.freeze()  # the routes stay: no collection need look at them
        tasks = Tasks("web role")
        stack.push_async_callback(tasks.close)
        await stack.enter_async_context(serving(app, settings.http_bind))
        tasks.start("kept answers", forget_answers(database, clock))
        tasks.start("tail of events", tail.run())
        await tasks.first_failure()  # another life of it starts whole


def door_of(settings: Settings, database: AsyncEngine, clock: Clock) -> Door:
    """What requests to /api/v1 go through."""
    terms = SessionTerms(
        key=SealingKey.of(settings.secret_key),
        idle=timedelta(minutes=settings.session_idle_minutes),
        longest=timedelta(hours=settings.session_hours),
    )
    known = Rate(settings.api_requests_a_minute, settings.api_requests_at_once)
    return Door(database, clock, terms, known=known, strangers=_STRANGERS)


def equipment_of(settings: Settings, database: AsyncEngine, clock: Clock, stack: AsyncExitStack) -> Equipment:
    """What the routes of the trade work with; a voice is opened when somebody first has a text spoken."""
    opening = asyncio.Lock()
    opened: list[Speech] = []

    async def speech() -> Speech:
        async with opening:
            if not opened:
                setup = speech_setup(settings)
                opened.append(await stack.enter_async_context(opened_speech(setup, settings.paths.sounds)))
        return opened[0]

    return Equipment(
        engines=settings.engine_sockets,
        ring_seconds=settings.ring_seconds,
        sounds=settings.paths.sounds,
        shipped_sounds=PRODUCT_FILES / "prompts" / "sounds",
        archive=archive_of(settings, database, clock),
        speech=speech,
        quarantine=terms_with(settings.number_quarantine_days),
    )


async def forget_answers(database: AsyncEngine, clock: Clock) -> None:
    """Removes answers kept for requests that come twice, when their day is over. Endless."""
    while True:
        with suppress(TryLater):
            async with transaction(database) as connection:
                await forget(connection, clock.now())
        await asyncio.sleep(_FORGETS_EVERY)


class DatabaseAnswers:
    """Whether the database answers, told in time however long it is silent. Close it at the end."""

    def __init__(self, database: AsyncEngine, within: float) -> None:
        self._database = database
        self._within = within
        self._tasks = Tasks("ready")
        self._asked: asyncio.Task[None] | None = None
        self._answered = False

    async def answers(self) -> bool:
        """False also while nobody knows: a question without an answer is waited for, not asked again."""
        if self._asked is None or self._asked.done():
            self._answered = False
            self._asked = self._tasks.start("database", self._ask())
        await asyncio.wait([self._asked], timeout=self._within)
        return self._answered

    async def close(self) -> None:
        """Gives up what is still asked."""
        await self._tasks.close()

    async def _ask(self) -> None:
        try:
            async with transaction(self._database) as connection:
                await connection.exec_driver_sql("SELECT 1")
        except DariError:
            return
        self._answered = True
