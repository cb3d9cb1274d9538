"""What happens to a call is told while it happens: kept in memory for a moment, written by a task of its own.

The call path never waits for it, and it never fails a call. What does not get into the database (it is away, the
engine dies, memory is full) is completed with the call's record, and what is told twice is there once.
"""

from __future__ import annotations

import asyncio
from collections import deque

import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.events import outbox
from engine.events.call_log import CallEvent, CallEventKind
from engine.events.kinds import EventKind
from engine.events.outbox import Event
from engine.foundation.database import transaction
from engine.foundation.errors import DariError

KEPT = 10_000
"""Events that wait at most; older ones are left to the record."""
_AT_ONCE = 500
_GATHER = 0.2  # seconds in which events join one transaction
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0

_KINDS = {
    CallEventKind.ARRIVED: EventKind.CALL_STARTED,
    CallEventKind.PLACED: EventKind.CALL_STARTED,
    CallEventKind.RINGING: EventKind.CALL_RINGING,
    CallEventKind.CONNECTED: EventKind.CALL_ANSWERED,
}

log = structlog.get_logger(__name__)


def told_live(event: CallEvent) -> Event | None:
    """The event for the stream; None when this one is not for those outside.

    A call to a number that is nobody's is told with its record. A telephone that rings without being a target is that
    of whoever ordered the call.
    """
    kind = _KINDS.get(event.kind)
    if kind is None or event.account_id is None or (kind is EventKind.CALL_RINGING and event.target is None):
        return None
    body: dict[str, object] = {"number": event.number, "caller": event.caller}
    if kind is EventKind.CALL_STARTED:
        body["direction"] = "outgoing" if event.kind is CallEventKind.PLACED else "incoming"
    else:
        body["target"] = event.target
    return Event(
        kind=kind.value,
        account_id=event.account_id,
        call_id=event.call_id,
        at=event.at,
        body=body,
        leg=leg_of(kind, event.target),
    )


def leg_of(kind: EventKind, target: str | None) -> str:
    """What tells one such event of a call from another: each number rings once, the call is answered once."""
    return (target or "") if kind is EventKind.CALL_RINGING else ""


class LiveEvents:
    """The events of one engine's calls on their way into the database."""

    def __init__(self, database: AsyncEngine) -> None:
        self.left_to_records = 0
        """Events that were given up because too many waited."""
        self._database = database
        self._waiting: deque[Event] = deque(maxlen=KEPT)
        self._something = asyncio.Event()
        self._away = False

    def offer(self, event: CallEvent) -> None:
        """Takes an event to be written soon. Never waits, never raises."""
        told = told_live(event)
        if told is not None:
            self.left_to_records += len(self._waiting) == KEPT
            self._waiting.append(told)
            self._something.set()

    async def run(self) -> None:
        """Writes them until cancelled; waits for a database that is away."""
        wait = _FIRST_WAIT
        while True:
            await self._something.wait()
            await asyncio.sleep(_GATHER)
            batch = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            if not self._waiting:
                self._something.clear()
            try:
                await self._write(batch)
            except DariError as error:
                self._put_back(batch, str(error))
                await asyncio.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
            except DBAPIError as error:
                log.error("live events are left to the records of their calls", count=len(batch), reason=str(error))
            else:
                wait = _FIRST_WAIT
                self._note_back()

    async def _write(self, batch: list[Event]) -> None:
        async with transaction(self._database) as connection:
            calls = list({event.call_id for event in batch if event.call_id is not None})
            over = await outbox.ended_among(connection, calls)
            await outbox.append(connection, [event for event in batch if event.call_id not in over])

    def _put_back(self, batch: list[Event], reason: str) -> None:
        room = KEPT - len(self._waiting)
        self.left_to_records += max(len(batch) - room, 0)
        self._waiting.extendleft(reversed(batch[max(len(batch) - room, 0) :]))
        self._something.set()
        if not self._away:
            log.warning("live events wait", reason=reason)
        self._away = True

    def _note_back(self) -> None:
        if self._away:
            log.info("live events are written again", left_to_records=self.left_to_records)
        self._away = False
