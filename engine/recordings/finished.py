"""The job after a recorded call: its sound is kept, and the record says where, or why there is none."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.cdr.amend import note_recording
from engine.cdr.model import CallRecord
from engine.cdr.search import find
from engine.foundation.database import transaction
from engine.recordings.keep import NotRecorded, keep

log = structlog.get_logger(__name__)


async def keep_recording(database: AsyncEngine, monitor: Path, recordings: Path, call_id: UUID) -> None:
    """Takes the call's sound from Asterisk's `monitor` folder to `recordings`. Raises TryLater while it is written."""
    async with transaction(database) as connection:
        record = await find(connection, str(call_id))
    name, reason = await _kept(record, monitor, recordings)
    async with transaction(database) as connection:
        await note_recording(connection, call_id, name, reason)


async def _kept(record: CallRecord, monitor: Path, recordings: Path) -> tuple[str | None, str]:
    raw = monitor / f"{record.call_id}.raw"
    try:
        kept = await keep(raw, recordings, record.call_id, record.arrived_at, record.talk_seconds)
    except NotRecorded as error:
        log.warning("no recording", call=str(record.call_id), reason=error.reason)
        return None, error.reason
    return kept.name, kept.reason
