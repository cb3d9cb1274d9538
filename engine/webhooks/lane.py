"""One receiver's events: one after the other, in order, until it has them. Read `run`, and you know how it is done.

Whatever was sent and not written down yet is sent again after a crash, under the same id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import random
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.events.kinds import is_wanted
from engine.events.stream import Reader, StreamEvent, event_id
from engine.events.tail import Follower, Tail
from engine.foundation.clock import Clock
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, NotFound, TryLater
from engine.foundation.ids import new_id
from engine.foundation.sealing import SealingKey
from engine.webhooks import ladder, signature, store
from engine.webhooks.egress import Egress
from engine.webhooks.ladder import FALLBACK_FOR, LONGEST_WAIT, PATIENCE, Answer, is_late, is_refused_for_good
from engine.webhooks.model import Progress, Replay, SealedSecrets, Webhook

_READ_AT_ONCE = 100
_SAVED_EVERY = 50
"""Events after which at the latest it is written down how far the receiver is."""
_SAVED_WITHIN = 0.25  # seconds; the same in time
_SKIPPED_SAVED_WITHIN = 10.0
"""The same where all that was new was for others."""
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


@dataclass(frozen=True, slots=True)
class _Letter:
    """What is to be sent next."""

    event: StreamEvent
    replay: Replay | None = None
    """None: it is new."""


class Lane:
    """Sends to one receiver as long as its lease lasts."""

    def __init__(self, means: Means, webhook: Webhook, leased_until: float) -> None:
        self.webhook = webhook
        self.leased_until = leased_until
        """On the monotonic clock: after that, somebody else may be sending."""
        self.busy = False
        """Whether something is being sent."""
        self.stopping = False
        self._means = means
        self._progress = webhook.progress
        self._reader = Reader(webhook.top, webhook.account_id)
        self._ahead: deque[StreamEvent] = deque()
        self._changed = asyncio.Event()
        self._secrets: Secrets | None = None
        self._replays: list[Replay] | None = None
        self._replays_turn = False
        self._unsaved = 0
        self._skipped = False
        self._saved_at = means.clock.monotonic()

    def refresh(self, webhook: Webhook, leased_until: float) -> None:
        """The lease goes on, perhaps with other settings."""
        self.leased_until = leased_until
        if webhook.version == self.webhook.version:
            return
        if webhook.kinds != self.webhook.kinds:
            self._ahead.clear()
        self.webhook = webhook
        # At once, whatever the database says: this lane may have written its own instant over the change's.
        self._progress = replace(self._progress, next_at=self._means.clock.now(), fallback_until=None)
        self.look_again()

    def look_again(self) -> None:
        """Secrets or replays may be others now."""
        self._secrets = self._replays = None
        self._changed.set()

    def stop(self) -> None:
        """Sends nothing after what is being sent; `run` then returns. While it is not `busy`, it may be cancelled."""
        self.stopping = True

    async def run(self) -> None:
        """Until stopped or cancelled. Raises Conflict when the receiver is somebody else's."""
        while not self.stopping:
            try:
                async with self._means.tail.following(self.webhook.top) as follower:
                    while not self.stopping:
                        await self._until_due()
                        letter = await self._next(follower)
                        if letter is not None and not self.stopping:
                            await self._deliver(letter)
                        await self._save_sometimes()
            except TryLater as error:
                log.debug("a receiver waits", webhook=str(self.webhook.id), reason=str(error))
                await asyncio.sleep(_AWAY)

    async def save(self) -> None:
        """Writes down how far the receiver is. Raises Conflict when it is not ours any more, TryLater."""
        if not (self._unsaved or self._skipped):
            return
        progress = self._progress
        async with transaction(self._means.database) as connection:
            await self._write(connection, progress)
        self._written(progress)

    async def _write(self, connection: AsyncConnection, progress: Progress) -> None:
        if not await store.save(connection, self.webhook, progress, self._means.me):
            raise Conflict(f"webhook {self.webhook.id}: another worker sends to it now")

    def _written(self, progress: Progress) -> None:
        self._progress = progress
        self._unsaved, self._skipped = 0, False
        self._saved_at = self._means.clock.monotonic()

    # -- what is next --------------------------------------------------------------------------------------------------

    async def _until_due(self) -> None:
        while (wait := (self._progress.next_at - self._means.clock.now()).total_seconds()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(min(wait, LONGEST_WAIT.total_seconds())):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def _next(self, follower: Follower) -> _Letter | None:
        """A new event, or one to be sent again: in turns where there are both. None: there is neither for now."""
        await self._read_ahead(follower)
        replayed = None
        if self._replays_turn or not self._ahead:
            replayed = await self._next_replayed()
        self._replays_turn = not self._replays_turn
        if replayed is not None:
            return replayed
        if self._ahead:
            return _Letter(self._ahead[0])
        await self.save_if_any()
        await follower.news(self._progress.position, within=_BREATH)
        return None

    async def _read_ahead(self, follower: Follower) -> None:
        """Fills up what is new; what is not for this receiver is passed over."""
        if self._ahead:
            return
        place = self._progress.position
        try:
            events = await follower.after(place, _READ_AT_ONCE)
        except NotFound:
            events = []
        if events[0].seq > place + 1 if events else follower.head > place:
            await self._go_on_after_a_gap()
            return
        wanted = [event for event in events if self._reader.sees(event) and is_wanted(event.kind, self.webhook.kinds)]
        self._ahead.extend(wanted)
        if events and not wanted:
            self._progress = replace(self._progress, position=events[-1].seq)
            self._skipped = True

    async def _go_on_after_a_gap(self) -> None:
        """It was away for longer than events are kept: a dead letter tells so, as there is nothing left to send."""
        after, now = self._progress.position, self._means.clock.now()
        async with transaction(self._means.database) as connection:
            upto = await store.kept_after(connection, self.webhook.top)
            if upto <= after:
                return
            reason = (
                f"the events at the places {after + 1} to {upto} were deleted when their time was over, before it took "
                "them; they cannot be sent again: read what is missing from the call records"
            )
            await store.bury_deleted(connection, self.webhook, upto, new_id(now), reason, now)
            progress = replace(self._progress, position=upto)
            await self._write(connection, progress)
        log.error(
            "events were deleted before a receiver took them", webhook=str(self.webhook.id), after=after, upto=upto
        )
        self._written(progress)

    async def _next_replayed(self) -> _Letter | None:
        if self._replays is None:
            async with transaction(self._means.database) as connection:
                self._replays = await store.replays(connection, self.webhook.id)
        while self._replays:
            replay = self._replays[0]
            event = await self._first_of(replay)
            if event is not None:
                return _Letter(event, replay)
            await self._end_replay(replay)
        return None

    async def _first_of(self, replay: Replay) -> StreamEvent | None:
        """The first event of the range that is still to be sent."""
        place = replay.position
        while place < replay.last_seq:
            if replay.only_dead:
                async with transaction(self._means.database) as connection:
                    dead = await store.next_dead(connection, self.webhook.id, place, replay.last_seq)
                if dead is None:
                    return None
                place = dead - 1
            try:
                events = await self._means.tail.read(self.webhook.top, place, 1 if replay.only_dead else _READ_AT_ONCE)
            except NotFound:
                async with transaction(self._means.database) as connection:
                    place = await store.kept_after(connection, self.webhook.top)
                continue
            for event in events:
                if event.seq > replay.last_seq:
                    return None
                if self._reader.sees(event) and (replay.only_dead or is_wanted(event.kind, self.webhook.kinds)):
                    return event
            if not events:
                return None
            place = events[-1].seq
        return None

    # -- sending -------------------------------------------------------------------------------------------------------

    async def _deliver(self, letter: _Letter) -> None:
        self.busy = True
        try:
            answer = await self._send(letter.event)
            if answer.delivered:
                await self._delivered(letter)
            elif answer.gone:
                await self._disable(answer)
            else:
                await self._failed(letter, answer)
        finally:
            self.busy = False

    async def _send(self, event: StreamEvent) -> Answer:
        """Tries the first address and, if it fails, the second; or the other way round while the first is known bad."""
        now = self._means.clock.now()
        second = self.webhook.fallback_url
        on_second = second is not None and (self._progress.fallback_until or now) > now
        urls = [self.webhook.url] if second is None else [self.webhook.url, second]
        answer = Answer(None, "nothing was sent")
        for url in reversed(urls) if on_second else urls:
            answer = await self._post(url, event)
            is_first = url == self.webhook.url
            if answer.gone and is_first:
                return answer
            if answer.delivered:
                break
        if second is not None and answer.delivered and not on_second:
            until = None if is_first else self._means.clock.now() + FALLBACK_FOR
            self._progress = replace(self._progress, fallback_until=until)
        return Answer(None, answer.reason, answer.seconds) if answer.gone else answer

    async def _post(self, url: str, event: StreamEvent) -> Answer:
        now = self._means.clock.now()
        secrets = await self._valid_secrets(now)
        if self._means.clock.monotonic() >= self.leased_until:  # last of all: nothing else may take time after it
            raise TryLater("the lease was not renewed: somebody else may be sending")
        signed = signature.headers(secrets, event_id(event.uid), int(now.timestamp()), event.told)
        return await self._means.egress.post(url, signed | HEADERS, event.told)

    async def _valid_secrets(self, now: datetime) -> list[bytes]:
        if self._secrets is None:
            async with transaction(self._means.database) as connection:
                sealed = await store.secrets_of(connection, self.webhook.id)
            if sealed is None:
                raise Conflict(f"webhook {self.webhook.id}: it was removed")
            self._secrets = Secrets.opened(self._means.key, self.webhook.id, sealed)
        return self._secrets.valid(now)

    async def _delivered(self, letter: _Letter) -> None:
        if self._progress.failures:
            log.info("a receiver takes events again", webhook=str(self.webhook.id), failures=self._progress.failures)
        self._progress = replace(
            self._progress,
            failures=0,
            failure="",
            failing_seq=None,
            failing_since=None,
            delivered_at=self._means.clock.now(),
        )
        if letter.replay is not None:
            async with transaction(self._means.database) as connection:
                await store.set_replayed(connection, letter.replay.id, letter.event.seq)
                await store.revived(connection, self.webhook.id, [letter.event.seq])
        self._pass(letter, letter.event.seq)
        self._unsaved += 1

    async def _failed(self, letter: _Letter, answer: Answer) -> None:
        now = self._means.clock.now()
        failures = self._progress.failures + 1
        if failures == 1:
            log.warning("a receiver did not take an event", webhook=str(self.webhook.id), reason=answer.reason)
        since = self._progress.failing_since or now
        refused = is_refused_for_good(answer, failures)
        # The others need not wait for what was wrong with this one.
        self._progress = replace(
            self._progress,
            failures=0 if refused else failures,
            failure=answer.reason,
            failing_seq=None if refused else letter.event.seq,
            failing_since=None if refused else since,
            next_at=now if refused else now + self._means.wait_after(failures),
        )
        if refused:
            await self._bury(letter, letter.event.seq, answer.reason, now)
        elif is_late(letter.replay.asked_at if letter.replay else letter.event.numbered_at, since, now):
            await self._bury(letter, await self._late_upto(letter, now), answer.reason, now)
        else:
            self._unsaved += 1
            await self.save()

    async def _late_upto(self, letter: _Letter, now: datetime) -> int:
        """Up to which place events are late with this one."""
        if letter.replay is not None:
            return letter.replay.last_seq
        async with transaction(self._means.database) as connection:
            late = await store.late_upto(connection, self.webhook.top, self._progress.position, now - PATIENCE)
        return max(late or 0, letter.event.seq)

    async def _bury(self, letter: _Letter, upto: int, reason: str, now: datetime) -> None:
        """The event, and what is late with it, lies among the dead letters from now on, and the receiver goes on.

        Both in one transaction: after a crash nothing is a dead letter and still sent, or neither.
        """
        progress = self._progress if letter.replay else replace(self._progress, position=upto)
        async with transaction(self._means.database) as connection:
            dead = await store.bury(connection, self.webhook, letter.event.seq - 1, upto, reason, now)
            if letter.replay:
                await store.set_replayed(connection, letter.replay.id, upto)
            await self._write(connection, progress)
        log.error("events became dead letters", webhook=str(self.webhook.id), count=len(dead), reason=reason)
        self._written(progress)
        self._pass(letter, upto)

    def _pass(self, letter: _Letter, upto: int) -> None:
        """Goes on behind that place, in the replay or in what is new."""
        if letter.replay is not None:
            if self._replays:
                self._replays[0] = replace(letter.replay, position=upto)
            return
        self._progress = replace(self._progress, position=upto)
        while self._ahead and self._ahead[0].seq <= upto:
            self._ahead.popleft()

    async def _end_replay(self, replay: Replay) -> None:
        async with transaction(self._means.database) as connection:
            await store.end_replay(connection, replay.id)
        if self._replays:
            self._replays.pop(0)

    async def _disable(self, answer: Answer) -> None:
        await self.save_if_any()
        async with transaction(self._means.database) as connection:
            reason = f"the receiver said that it is gone ({answer.status})"
            await store.disable(connection, self.webhook.id, self._means.me, reason)
        log.warning("a receiver is gone and gets nothing more", webhook=str(self.webhook.id))
        raise Conflict(f"webhook {self.webhook.id}: it is disabled")

    # -- writing down --------------------------------------------------------------------------------------------------

    async def save_if_any(self) -> None:
        """Before a pause."""
        if self._unsaved:
            await self.save()

    async def _save_sometimes(self) -> None:
        age = self._means.clock.monotonic() - self._saved_at
        long_ago = self._unsaved and age >= _SAVED_WITHIN
        if self._unsaved >= _SAVED_EVERY or long_ago or (self._skipped and age >= _SKIPPED_SAVED_WITHIN):
            await self.save()


HEADERS = {"content-type": "application/json", "user-agent": "Dari-Webhooks/1"}


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a receiver's signatures are made with."""

    current: bytes = field(repr=False)
    old: bytes | None = field(repr=False)
    old_until: datetime | None

    @classmethod
    def opened(cls, key: SealingKey, webhook: UUID, sealed: SealedSecrets) -> Secrets:
        """Raises Invalid when they were sealed with another key."""
        old = None if sealed.old is None else key.open(sealed.old, whose(webhook))
        return cls(key.open(sealed.current, whose(webhook)), old, sealed.old_until)

    def valid(self, now: datetime) -> list[bytes]:
        """Those that sign now, the newest first."""
        if self.old is None or self.old_until is None or now >= self.old_until:
            return [self.current]
        return [self.current, self.old]


def whose(webhook: UUID) -> str:
    """For whom its secret is sealed."""
    return f"webhook {webhook}"
