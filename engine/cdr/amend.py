"""What is added to a call's record after it was closed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.cdr import store
from engine.foundation.clock import Clock
from engine.foundation.database import transaction

_AHEAD = 45  # days


async def note_recording(connection: AsyncConnection, call_id: UUID, recording: str | None, reason: str) -> None:
    """Where the recording is kept under the recordings folder, or why there is none. Raises NotFound."""
    await store.set_recording(connection, call_id, recording, reason)


async def note_voicemail(connection: AsyncConnection, call_id: UUID, voicemail: str | None, reason: str) -> None:
    """Where the voicemail is kept under the recordings folder, or why there is none. Raises NotFound."""
    await store.set_voicemail(connection, call_id, voicemail, reason)


async def note_recordings_deleted(
    connection: AsyncConnection, talks: Sequence[UUID], voicemails: Sequence[UUID], reason: str
) -> None:
    """Takes the recordings out of the records of these calls. Records that are deleted already are no error."""
    await store.forget_recordings(connection, talks, voicemails, reason)


async def make_months_ahead(database: AsyncEngine, clock: Clock) -> None:
    """Makes this month's and the next months' tables of call records where they are missing. Raises TryLater."""
    today = clock.now().astimezone(UTC).date()
    async with transaction(database) as connection:
        await store.ensure_months(connection, [today + timedelta(days=day) for day in range(_AHEAD)])
