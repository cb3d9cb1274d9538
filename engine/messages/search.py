"""Messages as people look for them: the newest first, of a number, of a call."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.foundation.database import transaction
from engine.foundation.errors import NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.messages import store
from engine.messages.model import Message, MessagePlace, Wanted


async def messages(
    database: AsyncEngine,
    *,
    limit: int = 100,
    number: PhoneNumber | None = None,
    call_id: UUID | None = None,
) -> list[Message]:
    """At most `limit` messages, the latest decision first; of the number that was called, or of one call."""
    async with transaction(database) as connection:
        return await store.newest(connection, limit=limit, number=number, call_id=call_id)


async def message(database: AsyncEngine, message_id: UUID) -> Message:
    """Raises NotFound."""
    async with transaction(database) as connection:
        found = await store.find(connection, message_id)
    if found is None:
        raise NotFound(f"message {message_id}: there is none; `dari messages --json` lists them with their ids")
    return found


async def page(
    connection: AsyncConnection, wanted: Wanted, *, before: MessagePlace | None = None, limit: int
) -> list[Message]:
    """The latest such decisions first, `limit` at most, that stand before that place; None: from the latest on."""
    return await store.page(connection, wanted, before, limit)


async def find(connection: AsyncConnection, message_id: UUID) -> Message | None:
    """None when there is none of that id."""
    return await store.find(connection, message_id)
