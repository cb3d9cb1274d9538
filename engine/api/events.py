"""Events: pulled by cursor, or as a stream that stays open. Webhooks bring the same ones in the same words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.bearer import again
from engine.accounts.model import Actor, Deed
from engine.accounts.permissions import check
from engine.accounts.tree import place_of
from engine.api.door import ActorDep, Database, Now, Rows, door_router
from engine.api.event_desk import EventDesk, EventDeskDep
from engine.api.wire import Shape
from engine.events import stream
from engine.events.kinds import MOST_WISHES, is_wanted, read_kinds
from engine.events.stream import Reader, StreamEvent
from engine.events.tail import Follower
from engine.foundation.database import transaction
from engine.foundation.errors import DariError, NotAllowed, NotFound

MOST = 500
HEARTBEAT = 15.0
"""Seconds after which a stream without news shows that it lives, and how far it is."""
LONGEST = 900
"""Seconds after which a stream ends, so that whoever reads it is asked again who they are."""
ASKED_AGAIN = 15.0
"""Seconds after which it is looked up whether whoever reads an open stream still may."""
_AT_ONCE = 100
_AGAIN = 1.0
_RETRY = b"retry: 2000\n\n"

AccountAsked = Annotated[
    UUID | None, Query(description="Whose events, and those of all accounts below it; left away: your own account's.")
]
KindsAsked = Annotated[
    list[Annotated[str, Field(max_length=60)]],
    Query(
        alias="kind",
        max_length=MOST_WISHES,
        description="Only these, like call.ended or message.*; several times for more. Left away: all.",
    ),
]

_EVENT: dict[str, Any] = {
    "id": "evt_0b0fca2b3d3e4a7c9f3e0d6b8a1c2d3e",
    "type": "call.ended",
    "sequence": 4711,
    "timestamp": "2026-11-22T03:00:00Z",
    "account_id": "019abf5e-0c00-7000-8000-000000000001",
    "call_id": "019abf5e-0c00-7000-8000-000000000002",
    "data": {
        "number": {"national": "050712345678", "e164": "+8250712345678"},
        "caller": {"national": "01012345678", "e164": "+821012345678"},
        "result": "answered",
        "talk_seconds": 42.5,
    },
}


class EventShown(Shape):
    """Something that happened. `id` is the same in each way and each time it is told."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EVENT]})

    id: str
    type: str
    """What, in two words: call.started, call.ringing, call.answered, call.ended, recording.ready, message.queued,
    message.held, message.sent, message.delivered, message.failed, message.received, number.changed, account.changed.
    New kinds may be added."""
    sequence: int
    """Its place in the stream of the top-level account: ascending, never used twice."""
    timestamp: datetime
    """When it happened."""
    account_id: UUID | None
    call_id: UUID | None
    data: dict[str, Any]
    """What there is to know; fields may be added."""


class Events(Shape):
    """Some events in order."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"items": [_EVENT], "next": "800000000001-4711", "more": False}]}
    )

    items: list[EventShown]
    next: str
    """Send it as `after` for what follows; it is given at the end too, for what is still to come."""
    more: bool
    """Whether there is more already."""


def events_router() -> APIRouter:
    """/events."""
    router = door_router("events")

    @router.get("/events", response_model=Events)
    async def pull_events(
        actor: ActorDep,
        rows: Rows,
        account: AccountAsked = None,
        after: Annotated[
            str | None,
            Query(max_length=60, description="`next` of the answer before; left away: from the oldest kept."),
        ] = None,
        limit: Annotated[int, Query(ge=1, le=MOST, description="How many at most.")] = 100,
        kinds: KindsAsked = [],  # noqa: B006 - FastAPI copies it
    ) -> Response:
        """Events in the order in which they happened; whoever goes on with `next` misses none and gets none twice."""
        wanted = read_kinds(kinds, "kind")
        reader = await _reader(rows, actor, account)
        place = 0 if after is None else stream.read_cursor(after, reader.top)
        found = await stream.read(rows, reader, place, limit, wanted)
        return Response(_page(reader, found), media_type="application/json")

    @router.get(
        "/events/stream",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Server-sent events: `id` is the cursor, `event` the type, `data` an event as JSON.",
                "content": {"text/event-stream": {"schema": {"type": "string"}}},
            }
        },
    )
    async def follow_events(
        actor: ActorDep,
        rows: Rows,
        database: Database,
        now: Now,
        desk: EventDeskDep,
        account: AccountAsked = None,
        after: Annotated[
            str | None,
            Query(max_length=60, description="A cursor; left away: from now on. Last-Event-ID goes before it."),
        ] = None,
        seconds: Annotated[int, Query(ge=1, le=LONGEST, description="How long the stream stays open.")] = LONGEST,
        kinds: KindsAsked = [],  # noqa: B006 - FastAPI copies it
        last_event_id: Annotated[
            str | None, Header(max_length=60, description="The id of the last event that was read; browsers send it.")
        ] = None,
    ) -> StreamingResponse:
        """The same, sent as they happen (server-sent events). Open it again with Last-Event-ID when it ends."""
        wanted = read_kinds(kinds, "kind")
        reader = await _reader(rows, actor, account)
        cursor = last_event_id or after
        if cursor:
            place = stream.read_cursor(cursor, reader.top, "Last-Event-ID" if last_event_id else "after")
            place = await stream.check_kept(rows, reader.top, place)
        else:
            place = await stream.head(rows, reader.top)
        desk.check_room(actor.who)

        async def may_still() -> bool:
            """Raises TryLater."""
            try:
                async with transaction(database) as connection:
                    same = await again(connection, actor, now + timedelta(seconds=time.monotonic() - opened))
                    check(same, Deed.READ_EVENTS, await place_of(connection, reader.node))
            except (NotAllowed, NotFound):
                return False
            return True

        opened = time.monotonic()
        told = _Told(desk, actor.who, reader, wanted, place, opened + seconds, may_still)
        return StreamingResponse(told.stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    return router


async def _reader(rows: AsyncConnection, actor: Actor, account: UUID | None) -> Reader:
    place = actor.place if account is None else await place_of(rows, account)
    check(actor, Deed.READ_EVENTS, place)
    return Reader.at(place.path)


def _page(reader: Reader, found: stream.Slice) -> bytes:
    """The events stand there as they were written down once: no event is read and written again for each reader."""
    tail = msgspec.json.encode({"next": stream.cursor_of(reader.top, found.upto), "more": found.more})
    return b'{"items":[' + b",".join(event.told for event in found.events) + b"]," + tail[1:]


class _Told:
    """One open stream."""

    def __init__(
        self,
        desk: EventDesk,
        who: str,
        reader: Reader,
        kinds: Sequence[str],
        place: int,
        until: float,
        may_still: Callable[[], Awaitable[bool]],
    ) -> None:
        self._desk = desk
        self._who = who
        self._reader = reader
        self._kinds = kinds
        self._place = place
        self._until = until
        self._may_still = may_still
        self._ask_at = time.monotonic() + ASKED_AGAIN

    async def stream(self) -> AsyncIterator[bytes]:
        """Only as fast as it is read: nothing piles up for who reads slowly, or not at all."""
        with self._desk.counted(self._who):
            yield _RETRY
            while self._left > 0:
                try:
                    async with self._desk.tail.following(self._reader.top) as follower:
                        while self._left > 0:
                            if not await self._is_allowed():
                                return
                            yield await self._next(follower)
                except DariError:  # the database is away: whoever reads waits, and goes on where they were
                    yield self._heartbeat()
                    await asyncio.sleep(min(_AGAIN, max(self._left, 0.0)))

    async def _is_allowed(self) -> bool:
        """Asked now and then: a key may have been taken back, a function switched off, an account moved."""
        if time.monotonic() < self._ask_at:
            return True
        self._ask_at = time.monotonic() + ASKED_AGAIN
        return await self._may_still()

    @property
    def _left(self) -> float:
        return self._until - time.monotonic()

    async def _next(self, follower: Follower) -> bytes:
        if not await follower.news(self._place, within=max(min(HEARTBEAT, ASKED_AGAIN, self._left), 0.0)):
            return self._heartbeat()
        events = await follower.after(self._place, _AT_ONCE)
        if not events:
            return self._heartbeat()
        wanted = [event for event in events if self._reader.sees(event) and is_wanted(event.kind, self._kinds)]
        self._place = events[-1].seq
        return b"".join(map(self._written, wanted)) or self._heartbeat()

    def _written(self, event: StreamEvent) -> bytes:
        cursor = stream.cursor_of(self._reader.top, event.seq)
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (cursor.encode(), event.kind.encode(), event.told)

    def _heartbeat(self) -> bytes:
        """A comment, and an id without an event: who comes back need not look at what was for others again."""
        return b": here\nid: %b\n\n" % stream.cursor_of(self._reader.top, self._place).encode()
