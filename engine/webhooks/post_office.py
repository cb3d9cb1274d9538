"""Sends events to all receivers, each in a lane of its own: one that is slow or down holds up no other.

Not a job per event and receiver: a queue of jobs keeps no order for a receiver, and a day's outage would be millions of
rows. A receiver is a place in the stream, and whoever holds its lease moves it.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from uuid import UUID

import structlog
from sqlalchemy.exc import DBAPIError

from engine.foundation.database import listen, transaction
from engine.foundation.errors import Conflict, DariError
from engine.foundation.tasks import Tasks
from engine.webhooks import store, store_sending
from engine.webhooks.lane import Lane, Means
from engine.webhooks.model import Webhook

LEASE = 30.0
"""Seconds after which a receiver of a worker that shows no sign of life is another's."""
_SURE = 16.0
"""Seconds before the end of a lease from which on nothing is sent: a try lasts, and must not outlast the lease."""
_LOOK_EVERY = 5.0
_FAREWELL = 2.0  # seconds in which a worker that stops writes down how far it came

log = structlog.get_logger(__name__)


class PostOffice:
    """One worker's. Any number of them share the receivers of a database."""

    def __init__(self, means: Means, url: str, lease: float = LEASE) -> None:
        self.reason = ""
        """Why nothing is sent now; empty when things are."""
        self._means = means
        self._url = url
        self._lease = lease
        self._lanes: dict[UUID, tuple[Lane, asyncio.Task[None]]] = {}
        self._tasks = Tasks("webhooks")
        self._look_now = asyncio.Event()
        self._told: set[UUID] = set()

    async def run(self) -> None:
        """Until cancelled, or an error that nobody foresaw. A database that is away is waited for.

        Such an error in one receiver's lane ends that lane only, which is begun again.
        """
        tasks = Tasks("post office")
        tasks.start("changes", self._hear())
        tasks.start("receivers", self._look_after())
        try:
            await tasks.first_failure()
        finally:
            await tasks.close()
            await self._close()

    async def _look_after(self) -> None:
        while True:
            try:
                await self._look()
                self._note("")
            except (DariError, DBAPIError) as error:
                self._note(str(error))
            with suppress(TimeoutError):
                async with asyncio.timeout(min(_LOOK_EVERY, self._lease / 3)):
                    await self._look_now.wait()
            self._look_now.clear()

    async def _hear(self) -> None:
        async with aclosing(listen(self._url, [store.CHANGED], reread_after=60.0)) as changes:
            async for identifier in changes:
                if identifier:
                    self._told.add(UUID(identifier))
                self._look_now.set()

    async def _look(self) -> None:
        """Takes the receivers that are free, holds those that are ours, and drops those that are not any more."""
        told, self._told = self._told, set()
        until = self._means.clock.monotonic() + self._lease - min(_SURE, self._lease / 2)
        async with transaction(self._means.database) as connection:
            taken = await store_sending.take(connection, self._means.me, self._lease)
        ours = {webhook.id: webhook for webhook in taken}
        for identifier, (lane, task) in list(self._lanes.items()):
            webhook = ours.get(identifier)
            if webhook is None or webhook.top != lane.webhook.top:
                await _stop(lane, task)
            if task.done():
                del self._lanes[identifier]
        for webhook in ours.values():
            lane = self._lane(webhook, until)
            if webhook.id in told:
                lane.look_again()

    def _lane(self, webhook: Webhook, until: float) -> Lane:
        if known := self._lanes.get(webhook.id):
            known[0].refresh(webhook, until)
            return known[0]
        lane = Lane(self._means, webhook, until)
        self._lanes[webhook.id] = lane, self._tasks.start(f"webhook {webhook.id}", self._run(lane))
        return lane

    async def _run(self, lane: Lane) -> None:
        """A lane that ends is begun again from what the database knows, at the next look."""
        try:
            await lane.run()
        except Conflict as error:
            log.info("a receiver is left alone", reason=str(error))
        except (DariError, DBAPIError) as error:
            log.error("a receiver cannot be served", webhook=str(lane.webhook.id), reason=str(error))
        finally:
            if lane.stopping:
                self._look_now.set()

    async def _close(self) -> None:
        """What is being sent is finished, if that does not last; how far each is, is written down."""
        lanes = list(self._lanes.values())
        with suppress(TimeoutError, DariError, DBAPIError):
            async with asyncio.timeout(_FAREWELL):
                await asyncio.gather(*(_stop(lane, task) for lane, task in lanes))
                await asyncio.gather(*(task for _, task in lanes), return_exceptions=True)
        await self._tasks.close()
        with suppress(TimeoutError, DariError, DBAPIError):
            async with asyncio.timeout(_FAREWELL):
                for lane, _ in lanes:
                    with suppress(Conflict):
                        await lane.save()
                async with transaction(self._means.database) as connection:
                    await store_sending.release(connection, self._means.me)

    def _note(self, reason: str) -> None:
        if reason and not self.reason:
            log.warning("webhooks are not looked after", reason=reason)
        elif self.reason and not reason:
            log.info("webhooks are looked after again")
        self.reason = reason


async def _stop(lane: Lane, task: asyncio.Task[None]) -> None:
    """It ends with what it sends now; one that waits ends at once, and writes down how far it came."""
    lane.stop()
    if not lane.busy:
        task.cancel()
        await asyncio.wait([task])
        with suppress(DariError, DBAPIError):
            await lane.save()
