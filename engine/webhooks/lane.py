"""One receiver's events: one letter after the other, in order, until it has them. Read `run`, and you know how.

What is next say `news` and `again`, how it goes out `sending`, how far it is `logbook`. Whatever was sent and not
written down yet is sent again after a crash, each event under the same id.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import random
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.events.tail import Follower, Tail
from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, TryLater
from engine.foundation.sealing import SealingKey
from engine.webhooks import ladder, store_dead_letters, store_replays
from engine.webhooks.again import Again
from engine.webhooks.egress import Egress
from engine.webhooks.ladder import LONGEST_WAIT, PATIENCE, Answer, is_late, is_refused_for_good
from engine.webhooks.letters import Letter
from engine.webhooks.logbook import Logbook
from engine.webhooks.model import Span, Webhook
from engine.webhooks.news import News
from engine.webhooks.sending import Sending

_BREATH = 1.0  # seconds; how long news are waited for at one go
_AWAY = 1.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Means:
    """What sending needs."""

    database: AsyncEngine
    tail: Tail
    egress: Egress
    key: SealingKey
    clock: Clock
    me: UUID
    """Who holds the leases."""
    wait_after: Callable[[int], timedelta] = lambda failures: ladder.wait_after(failures, random())  # noqa: S311
    """How long to wait after so many failures in a row."""


class Lane:
    """Sends to one receiver as long as its lease lasts."""

    def __init__(self, means: Means, webhook: Webhook, leased_until: float) -> None:
        """`leased_until` is on the monotonic clock: after that, somebody else may be sending."""
        self.webhook = webhook
        self.busy = False
        """Whether something is being sent."""
        self.stopping = False
        self._means = means
        self._changed = asyncio.Event()
        self._replays_turn = False
        self._logbook = Logbook(means.database, means.clock, means.me, webhook)
        self._news = News(means.database, means.clock, webhook, self._logbook)
        self._again = Again(means.database, means.tail, webhook, self._logbook)
        self._sending = Sending(
            database=means.database,
            egress=means.egress,
            key=means.key,
            clock=means.clock,
            webhook=webhook,
            logbook=self._logbook,
            leased_until=leased_until,
        )

    def refresh(self, webhook: Webhook, leased_until: float) -> None:
        """The lease goes on, perhaps with other settings."""
        self._sending.leased_until = leased_until
        is_changed = webhook.version != self.webhook.version
        if not is_changed and webhook.leaves_after == self.webhook.leaves_after:
            return
        self.webhook = self._sending.webhook = webhook
        self._news.set(webhook)
        self._again.set(webhook)
        if is_changed:
            # At once, whatever the database says: this lane may have written its own instant over the change's.
            self._logbook.now_is(next_at=self._means.clock.now(), fallback_until=None)
        self.look_again()

    def look_again(self) -> None:
        """Secrets or replays may be others now."""
        self._sending.forget_secrets()
        self._again.look_again()
        self._changed.set()

    def stop(self) -> None:
        """Sends nothing after what is being sent; `run` then returns. While it is not `busy`, it may be cancelled."""
        self.stopping = True

    async def run(self) -> None:
        """Until stopped or cancelled, or at the end of what it is to get of this stream.

        Raises Conflict when the receiver is somebody else's.
        """
        while not self.stopping:
            try:
                async with self._means.tail.following(self.webhook.top) as follower:
                    while not self.stopping:
                        await self._until_due()
                        letter = await self._next(follower)
                        if letter is not None and not self.stopping:
                            await self._deliver(letter)
                        await self._logbook.save_sometimes()
            except TryLater as error:
                log.debug("a receiver waits", webhook=str(self.webhook.id), reason=str(error))
                await asyncio.sleep(_AWAY)

    async def save(self) -> None:
        """Writes down how far the receiver is. Raises Conflict when it is not ours any more, TryLater."""
        await self._logbook.save()

    async def _until_due(self) -> None:
        while (wait := self._logbook.due_in(self._means.clock.now())) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(min(wait, LONGEST_WAIT.total_seconds())):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def _next(self, follower: Follower) -> Letter | None:
        """What is new, or what is sent again: in turns where there is both. None: there is neither for now."""
        await self._again.look()
        new = await self._news.letter(follower)
        replayed = await self._again.letter() if self._replays_turn or new is None else None
        self._replays_turn = not self._replays_turn
        if replayed is not None or new is not None:
            return replayed or new
        if self._news.at_its_end:
            await self.save()
            self.stop()
        elif not self._again.waiting:
            await self._logbook.save_if_sent()
            await follower.news(self._logbook.progress.position, within=_BREATH)
        return None

    async def _deliver(self, letter: Letter) -> None:
        self.busy = True
        try:
            answer = await self._sending.send(letter)
            if answer.delivered:
                await self._delivered(letter)
            elif answer.gone:
                await self._disable(answer)
            elif answer.finds_it_wrong and len(letter.events) > 1:
                self._halve(letter, answer)
            else:
                await self._failed(letter, answer)
        finally:
            self.busy = False

    # -- what comes of it ----------------------------------------------------------------------------------------------

    async def _delivered(self, letter: Letter) -> None:
        before = self._logbook.progress
        if before.failures:
            log.info("a receiver takes events again", webhook=str(self.webhook.id), failures=before.failures)
        now = self._means.clock.now()
        self._logbook.now_is(failures=0, failure="", failing_seq=None, failing_since=None, delivered_at=now)
        if letter.replay is not None:
            async with transaction(self._means.database) as connection:
                await store_replays.come_to(connection, letter.replay.id, letter.last)
                places = [event.seq for event in letter.events]
                await store_dead_letters.revived(connection, self.webhook.id, letter.top, places)
        self._pass(letter, letter.last)
        self._logbook.sent(len(letter.events))

    def _halve(self, letter: Letter, answer: Answer) -> None:
        """It takes events, but not all of these at once: one of them may be wrong, or they are too many."""
        log.info(
            "a receiver refused a batch, which is sent in halves",
            webhook=str(self.webhook.id),
            events=len(letter.events),
            reason=answer.reason,
        )
        self._logbook.now_is(failures=0, failure=answer.reason, next_at=self._means.clock.now())
        if letter.replay is None:
            self._news.halve(letter)
        else:
            self._again.halve(letter)

    async def _failed(self, letter: Letter, answer: Answer) -> None:
        now, before = self._means.clock.now(), self._logbook.progress
        failures = before.failures + 1
        if failures == 1:
            log.warning("a receiver did not take an event", webhook=str(self.webhook.id), reason=answer.reason)
        since = before.failing_since or now
        refused = is_refused_for_good(answer, failures)
        # The others need not wait for what was wrong with this one.
        self._logbook.now_is(
            failures=0 if refused else failures,
            failure=answer.reason,
            failing_seq=None if refused else letter.first,
            failing_since=None if refused else since,
            next_at=now if refused else now + self._means.wait_after(failures),
        )
        if refused:
            await self._bury(letter, letter.last, answer.reason, now)
        elif is_late(letter.replay.asked_at if letter.replay else letter.events[0].numbered_at, since, now):
            await self._bury(letter, await self._late_upto(letter, now), answer.reason, now)
        else:
            self._logbook.sent(1)
            await self.save()

    async def _late_upto(self, letter: Letter, now: datetime) -> int:
        """Up to which place events are late with the first of this letter."""
        if letter.replay is not None:
            return letter.replay.last_seq
        async with transaction(self._means.database) as connection:
            late = await store_dead_letters.late_upto(connection, letter.top, letter.first - 1, now - PATIENCE)
        end = self.webhook.leaves_after
        return max(late or 0 if end is None else min(late or 0, end), letter.first)

    async def _bury(self, letter: Letter, upto: int, reason: str, now: datetime) -> None:
        """The first event, and what is late with it, lies among the dead letters from now on; the receiver goes on.

        Both in one transaction: after a crash nothing is a dead letter and still sent, or neither.
        """
        if letter.replay is None:
            self._logbook.now_is(position=upto)
        progress = self._logbook.progress
        async with transaction(self._means.database) as connection:
            # Of dead letters sent again the others lie there already, and what is between them was taken.
            last = letter.first if letter.replay and letter.replay.only_dead else upto
            span = Span(letter.top, letter.first - 1, last)
            dead = await store_dead_letters.bury(connection, self.webhook, span, reason, now)
            if letter.replay:
                await store_replays.come_to(connection, letter.replay.id, upto)
            await self._logbook.write(connection, progress)
        log.error("events became dead letters", webhook=str(self.webhook.id), count=len(dead), reason=reason)
        self._logbook.written(progress)
        self._pass(letter, upto)

    def _pass(self, letter: Letter, upto: int) -> None:
        """Goes on behind that place, in the replay or in what is new."""
        if letter.replay is not None:
            self._again.passed(letter.replay, upto)
        else:
            self._news.passed(upto)

    async def _disable(self, answer: Answer) -> None:
        await self._logbook.save_if_sent()
        await self._logbook.disable(f"the receiver said that it is gone ({answer.status})")
        log.warning("a receiver is gone and gets nothing more", webhook=str(self.webhook.id))
        raise Conflict(f"webhook {self.webhook.id}: it is disabled")
