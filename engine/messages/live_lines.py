"""The lines of the live call log about messages: what the events table tells, for people, within half a second."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.events.call_log import CallEvent, CallEventKind
from engine.events.call_log_writer import CallLog
from engine.events.outbox import StoredEvent, last_id, read_after
from engine.foundation.database import transaction
from engine.foundation.errors import DariError
from engine.messages import store

_EVERY = 0.4
_AT_ONCE = 1000
_LOOK_BACK = 200
"""Ids read again each time: a transaction that committed late is seen then."""

_KINDS = {
    "message.queued": CallEventKind.MESSAGE_QUEUED,
    "message.sent": CallEventKind.MESSAGE_SENT,
    "message.held": CallEventKind.MESSAGE_HELD,
    "message.delivered": CallEventKind.MESSAGE_DELIVERED,
    "message.failed": CallEventKind.MESSAGE_FAILED,
}

log = structlog.get_logger(__name__)


async def tell_messages(database: AsyncEngine, call_log: CallLog) -> None:
    """Writes a line for every message event from now on, until cancelled.

    A database that is away or refuses us is waited for.
    """
    after: int | None = None
    seen: deque[int] = deque(maxlen=2 * _LOOK_BACK)
    while True:
        try:
            async with transaction(database) as connection:
                newest = await last_id(connection)
                if after is None:
                    after = newest
                    seen.extend(range(max(after - _LOOK_BACK, 0), after + 1))
                events = await read_after(connection, max(after - _LOOK_BACK, 0), _KINDS, seen, _AT_ONCE)
                await _tell(connection, events, call_log)
                seen.extend(event.id for event in events)
                after = events[-1].id if len(events) == _AT_ONCE else newest
        except DariError as error:
            log.debug("no message lines for now", reason=str(error))
        await asyncio.sleep(_EVERY)


async def _tell(connection: AsyncConnection, events: Sequence[StoredEvent], call_log: CallLog) -> None:
    messages = await store.find_all(connection, {_message_of(event) for event in events})
    for event in events:
        message = messages.get(_message_of(event))
        if message is not None and event.call_id is not None:
            call_log.write(
                CallEvent(
                    at=event.at,
                    call_id=event.call_id,
                    kind=_KINDS[event.kind],
                    number=message.number,
                    caller=message.recipient,
                    detail=str(event.body.get("reason", "")),
                )
            )


def _message_of(event: StoredEvent) -> UUID:
    return UUID(str(event.body["message_id"]))
