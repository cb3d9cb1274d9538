"""What is new for one receiver, in order: read ahead, passed over where it is for others, put into letters."""

from __future__ import annotations

from dataclasses import replace

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.events import stream
from engine.events.kinds import is_wanted
from engine.events.stream import Reader, StreamEvent
from engine.events.tail import Follower
from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.foundation.errors import NotFound
from engine.foundation.ids import new_id
from engine.webhooks import store_dead_letters
from engine.webhooks.letters import Letter, Pile
from engine.webhooks.logbook import Logbook
from engine.webhooks.model import Webhook

_READ_AT_ONCE = 100
_LOOKS = 10
"""So often it is looked on at most before what was found is sent."""

log = structlog.get_logger(__name__)


class News:
    """Goes by the logbook's position: everything behind it is new."""

    def __init__(self, database: AsyncEngine, clock: Clock, webhook: Webhook, logbook: Logbook) -> None:
        self._database = database
        self._clock = clock
        self._logbook = logbook
        self._webhook = webhook
        self._reader = Reader(webhook.top, webhook.account_id)
        self._begin()

    def set(self, webhook: Webhook) -> None:
        """Its settings are others. What was read ahead is read again if it wants other events, or others at once."""
        same = (webhook.kinds, webhook.batch, webhook.leaves_after) == (
            self._webhook.kinds,
            self._webhook.batch,
            self._webhook.leaves_after,
        )
        self._webhook = webhook
        if not same:
            self._begin()

    def _begin(self) -> None:
        self._pile = Pile(self._webhook.top, self._webhook.batch)
        self._looked = self._logbook.progress.position
        """Up to which place the stream was looked at: the position, when nothing of it waits."""

    @property
    def at_its_end(self) -> bool:
        """Whether there is nothing more to come out of this stream: the account goes on in another one."""
        end = self._webhook.leaves_after
        return end is not None and self._logbook.progress.position >= end

    async def letter(self, follower: Follower) -> Letter | None:
        """What is to be sent next: the same until it is passed. None: there is nothing for now."""
        for _ in range(_LOOKS):
            if not self._pile.wants_more or not await self._look_on(follower):
                break
        return self._pile.letter()

    def halve(self, letter: Letter) -> None:
        self._pile.halve(letter)

    def passed(self, upto: int) -> None:
        """Everything up to there was dealt with."""
        self._pile.passed(upto)
        self._looked = max(self._looked, upto)
        self._logbook.now_is(position=self._looked if self._pile.empty else upto)

    async def _look_on(self, follower: Follower) -> bool:
        """Reads some more; whether there was any."""
        events = await self._after(follower)
        if events[0].seq > self._looked + 1 if events else follower.head > self._looked and not self._is_end:
            if self._pile.empty:
                await self._go_on_after_a_gap()
            return False
        if not events:
            return False
        self._looked = events[-1].seq
        self._pile.add(
            event for event in events if self._reader.sees(event) and is_wanted(event.kind, self._webhook.kinds)
        )
        if self._pile.empty:
            self._logbook.skipped(self._looked)
        return True

    async def _after(self, follower: Follower) -> list[StreamEvent]:
        if self._is_end:
            return []
        try:
            events = await follower.after(self._looked, _READ_AT_ONCE)
        except NotFound:
            return []
        end = self._webhook.leaves_after
        return events if end is None else [event for event in events if event.seq <= end]

    @property
    def _is_end(self) -> bool:
        end = self._webhook.leaves_after
        return end is not None and self._looked >= end

    async def _go_on_after_a_gap(self) -> None:
        """It was away for longer than events are kept: a dead letter tells so, as there is nothing left to send."""
        after, now = self._looked, self._clock.now()
        async with transaction(self._database) as connection:
            upto = await stream.kept_after(connection, self._webhook.top)
            if self._webhook.leaves_after is not None:
                upto = min(upto, self._webhook.leaves_after)
            if upto <= after:
                return
            reason = (
                f"the events at the places {after + 1} to {upto} were deleted when their time was over, before it took "
                "them; they cannot be sent again: read what is missing from the call records"
            )
            await store_dead_letters.bury_deleted(connection, self._webhook, upto, new_id(now), reason, now)
            progress = replace(self._logbook.progress, position=upto)
            await self._logbook.write(connection, progress)
        log.error(
            "events were deleted before a receiver took them", webhook=str(self._webhook.id), after=after, upto=upto
        )
        self._logbook.written(progress)
        self._looked = upto
