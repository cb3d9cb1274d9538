"""What one receiver is sent once more, beside what is new: ranges of a stream, or the dead letters in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from engine.events import stream
from engine.events.kinds import is_wanted
from engine.events.stream import Reader, StreamEvent
from engine.events.tail import Tail
from engine.foundation.database import transaction
from engine.foundation.errors import NotFound
from engine.webhooks import store_dead_letters, store_replays
from engine.webhooks.letters import Letter, Pile
from engine.webhooks.logbook import Logbook
from engine.webhooks.model import Replay, Span, Webhook

_READ_AT_ONCE = 100
_LOOKS = 10
"""So often it is looked on at most before what is new has its turn."""


class Again:
    """Ranges one after the other, the oldest wish first. What the receiver has not come to yet comes as new only."""

    def __init__(self, database: AsyncEngine, tail: Tail, webhook: Webhook, logbook: Logbook) -> None:
        self._database = database
        self._tail = tail
        self._logbook = logbook
        self._webhook = webhook
        self._replays: list[Replay] = []
        self._told, self._read = 1, 0
        self._begin()

    def set(self, webhook: Webhook) -> None:
        """It wants other events, or others at once."""
        self._webhook = webhook
        self.look_again()

    def look_again(self) -> None:
        """More may have been wished for. The next `look` reads it: until then what was begun stays as it is."""
        self._told += 1

    @property
    def waiting(self) -> bool:
        """Whether something may be left to be sent."""
        return bool(self._replays) or self._read != self._told

    async def look(self) -> None:
        """Reads the wishes that may have come, before more of what is new is sent: what was not sent yet is new."""
        if self._read != self._told:
            told = self._told  # more may be wished for while these are read
            self._replays = await self._wished()
            self._read = told

    async def letter(self) -> Letter | None:
        """What is to be sent next: the same until it is passed. None: there is nothing, or it is still looked for."""
        while self._replays:
            replay = self._replays[0]
            for _ in range(_LOOKS):
                if not self._pile.wants_more or not await self._look_on(replay):
                    break
            if not self._pile.empty or self._looked < replay.last_seq:
                return self._pile.letter(replay)
            await self._end(replay)
        return None

    def halve(self, letter: Letter) -> None:
        self._pile.halve(letter)

    def passed(self, replay: Replay, upto: int) -> None:
        """Everything up to there was dealt with, and that was written down."""
        if self._replays:
            self._replays[0] = replace(replay, position=upto)
        self._pile.passed(upto)

    async def _wished(self) -> list[Replay]:
        """Each range up to where the receiver is at this moment, which is written down with it."""
        progress = self._logbook.progress
        wished: list[Replay] = []
        async with transaction(self._database) as connection:
            found = await store_replays.listing(connection, self._webhook.id)
            for replay in found:
                as_far = self._come_to(replay, progress.position)
                if as_far is None:
                    await store_replays.end(connection, replay.id)
                    continue
                wished.append(as_far)
                if as_far != replay:
                    await store_replays.shorten(connection, replay.id, as_far.last_seq)
            if wished != found:
                await self._logbook.write(connection, progress)
        if wished != found:
            self._logbook.written(progress)
        self._begin(wished[0] if wished else None)
        return wished

    def _come_to(self, replay: Replay, position: int) -> Replay | None:
        """The range as far as the receiver has come to it; None: it is all new to it."""
        if replay.only_dead or replay.top != self._webhook.top:
            return replay
        last = min(replay.last_seq, position)
        return replace(replay, last_seq=last) if last >= replay.first_seq else None

    def _begin(self, replay: Replay | None = None) -> None:
        top: UUID = replay.top if replay else self._webhook.top
        self._reader = Reader(top, self._webhook.account_id)
        self._pile = Pile(top, self._webhook.batch)
        self._looked = replay.position if replay else 0

    async def _end(self, replay: Replay) -> None:
        async with transaction(self._database) as connection:
            await store_replays.end(connection, replay.id)
        if self._replays:
            self._replays.pop(0)
        self._begin(self._replays[0] if self._replays else None)

    async def _look_on(self, replay: Replay) -> bool:
        """Reads some more of the range; whether there may be more of it."""
        dead: Sequence[int] = ()
        if replay.only_dead:
            async with transaction(self._database) as connection:
                span = Span(replay.top, self._looked, replay.last_seq)
                dead = await store_dead_letters.following(connection, self._webhook.id, span, _READ_AT_ONCE)
            if not dead:
                self._looked = replay.last_seq
                return False
            self._looked = dead[0] - 1
        events = [event for event in await self._after(replay) if event.seq <= replay.last_seq]
        self._pile.add(event for event in events if self._is_meant(event, replay, dead))
        if replay.only_dead and events:
            self._looked = min(events[-1].seq, dead[-1])
        else:
            self._looked = events[-1].seq if events else replay.last_seq
        return self._looked < replay.last_seq

    async def _after(self, replay: Replay) -> list[StreamEvent]:
        """From the oldest that is kept, where the range begins before it."""
        try:
            return await self._tail.read(replay.top, self._looked, _READ_AT_ONCE)
        except NotFound:
            async with transaction(self._database) as connection:
                kept_after = await stream.kept_after(connection, replay.top)
        return await self._tail.read(replay.top, max(self._looked, kept_after), _READ_AT_ONCE)

    def _is_meant(self, event: StreamEvent, replay: Replay, dead: Sequence[int]) -> bool:
        if replay.only_dead:
            return event.seq in dead
        return self._reader.sees(event) and is_wanted(event.kind, self._webhook.kinds)
