"""The lines of the live call log about messages: what the events table tells, for people, within half a second."""

from __future__ import annotations

import asyncio
from collections import deque
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.events.call_log import CallEvent, CallEventKind, CallLog
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
                if after is None:
                    after = await last_id(connection)
                    seen.extend(range(max(after - _LOOK_BACK, 0), after + 1))
                for event in await read_after(connection, max(after - _LOOK_BACK, 0), _AT_ONCE):
                    if event.id not in seen:
                        seen.append(event.id)
                        await _tell(connection, event, call_log)
                    after = max(after, event.id)
        except DariError as error:
            log.debug("no message lines for now", reason=str(error))
        await asyncio.sleep(_EVERY)


async def _tell(connection: AsyncConnection, event: StoredEvent, call_log: CallLog) -> None:
    kind = _KINDS.get(event.kind)
    if kind is None or event.call_id is None:
        return
    message = await store.find(connection, UUID(str(event.body["message_id"])))
    if message is not None:
        call_log.write(
            CallEvent(
                at=event.at,
                call_id=event.call_id,
                kind=kind,
                number=message.number,
                caller=message.recipient,
                detail=str(event.body.get("reason", "")),
            )
        )
