"""Brings call records from the spool into the database: record, events and jobs in one transaction.

Whatever is tried again was harmless the first time: only records that are new bring events and jobs.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import asyncpg
import msgspec
import structlog
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.cdr import store
from engine.cdr.model import CallRecord, Result
from engine.cdr.spool import Spool
from engine.cdr.told import events_of
from engine.events import outbox
from engine.foundation.database import transaction
from engine.foundation.errors import DariError, TryLater
from engine.foundation.phone_number import PhoneNumber
from engine.jobs.queue import Wanted, enqueue_all, enqueue_each
from engine.numbers.quarantine import count_strays

CALL_ENDED = "call_ended"
"""The job that follows every call, one for many of them. Its payload is the calls' ids (`engine.jobs.queue.ids_of`)."""
KEEP_RECORDING = "keep_recording"
"""The job that follows a recorded call. Its payload is the call's id as text."""
KEEP_VOICEMAIL = "keep_voicemail"
"""The job that follows a call whose caller could leave a message; the same payload."""
BATCH = 200
"""Records in one transaction: fast enough after an outage, far from PostgreSQL's 32,767 parameters."""
_GATHER = 0.5
"""Seconds in which records join one transaction: its cost is shared, and nobody waits for a record."""
_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0

# SQLSTATE classes that condemn the data, not the database: data exception, integrity violation.
_BAD_DATA = ("22", "23")

log = structlog.get_logger(__name__)


class Drain:
    """Empties a spool as long as the database is there; waits as long as it is not. Calls never wait for it."""

    def __init__(self, spool: Spool, database: AsyncEngine, refused: Path) -> None:
        """Records that the database will not have go into the file `refused`, one JSON object per line."""
        self.reason = ""
        """Why records do not get into the database now; empty when they do."""
        self._spool = spool
        self._database = database
        self._refused = refused
        self._wait = _FIRST_WAIT
        self._months: set[date] = set()

    async def run(self) -> None:
        """Drains until cancelled."""
        while True:
            records = await self._spool.next_batch(BATCH, _GATHER)
            try:
                await self._drain(records)
            except (DariError, DBAPIError) as error:
                self._away(str(error))
                await asyncio.sleep(self._wait)
                self._wait = min(self._wait * 2, _LONGEST_WAIT)
            else:
                self._back()

    async def _drain(self, records: Sequence[CallRecord]) -> None:
        try:
            await self._write(records)
        except DBAPIError as error:
            if not _is_bad_data(error):
                raise
            await self._drain_one_by_one(records)
        else:
            await self._spool.drained([record.call_id for record in records])

    async def _drain_one_by_one(self, records: Sequence[CallRecord]) -> None:
        for record in records:
            try:
                await self._write([record])
            except DBAPIError as error:
                if not _is_bad_data(error):
                    raise
                self._refuse(record, str(error.orig))
            await self._spool.drained([record.call_id])

    async def _write(self, records: Sequence[CallRecord]) -> None:
        async with transaction(self._database) as connection:
            new_ids = await store.insert(connection, records, self._months)
            new = [record for record in records if record.call_id in new_ids]
            await outbox.append(connection, [event for record in new for event in events_of(record)])
            await enqueue_each(connection, CALL_ENDED, [record.call_id for record in new])
            await enqueue_all(connection, [job for record in new for job in _keeping(record)])
            await count_strays(connection, _to_nobody(new))
        self._months |= store.months_of(records)  # only now: the transaction was not undone

    def _refuse(self, record: CallRecord, reason: str) -> None:
        """Sets a record aside for people. Raises TryLater when the disk has no room for it."""
        line = msgspec.json.encode({"reason": reason, "record": record}) + b"\n"
        try:
            descriptor = os.open(self._refused, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise TryLater(f"a refused call record cannot be written to {self._refused}: {error.strerror}") from None
        log.error("the database refuses a call record", call=str(record.call_id), kept_in=str(self._refused))

    def _away(self, reason: str) -> None:
        if not self.reason:
            log.warning("call records wait in the spool", reason=reason, waiting=self._spool.waiting)
        self.reason = reason

    def _back(self) -> None:
        if self.reason:
            log.info("call records go into the database again", waiting=self._spool.waiting)
        self.reason = ""
        self._wait = _FIRST_WAIT


def _to_nobody(records: Sequence[CallRecord]) -> list[tuple[PhoneNumber, datetime]]:
    """Calls to numbers that nobody has: the stray ones among them (X8)."""
    return [
        (record.number, record.arrived_at)
        for record in records
        if record.number is not None and record.account_id is None and record.result is Result.NOT_IN_SERVICE
    ]


def _keeping(record: CallRecord) -> list[Wanted]:
    """The jobs that keep what was recorded of a call."""
    call_id = str(record.call_id)
    names = [KEEP_RECORDING] if record.recording else []
    names += [KEEP_VOICEMAIL] if record.voicemail else []
    return [Wanted(name=name, payload=call_id.encode(), key=f"{name}:{call_id}") for name in names]


def _is_bad_data(error: DBAPIError) -> bool:
    state: str = getattr(error.orig, "sqlstate", None) or ""
    return state.startswith(_BAD_DATA) or isinstance(getattr(error.orig, "__cause__", None), asyncpg.DataError)
