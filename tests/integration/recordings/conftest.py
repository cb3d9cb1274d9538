"""Recordings on a real database, in folders of the test's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import account_named
from engine.accounts.model import LOCAL_OPERATOR
from engine.cdr import store as cdr_store
from engine.cdr.model import CallRecord
from engine.cdr.search import find
from engine.foundation.database import transaction
from engine.recordings import store
from engine.recordings.archive import Archive
from engine.recordings.finished import keep_recording, keep_voicemail
from engine.recordings.keys import MasterKey
from engine.recordings.model import Reader, Recording, RecordingKind
from engine.recordings.playback import open_recording
from tests.call_records import arrival, record
from tests.hand_clock import HandClock
from tests.sounds_left import leave, leave_wav, talk, voice

MASTER = MasterKey(b"m" * 32)
TALK, VOICEMAIL = RecordingKind.TALK, RecordingKind.VOICEMAIL


@dataclass
class Desk:
    """An archive, and what tests do around it."""

    archive: Archive
    clock: HandClock
    owner: UUID
    other: UUID

    def reader(self, account: UUID | None = None, reason: str = "a complaint about an order") -> Reader:
        return Reader(who="kim@shop", account_id=account or self.owner, reason=reason)

    async def call(self, account: UUID | None = None, *, seconds: float = 3.0, **changes: object) -> CallRecord:
        """A recorded call that has just ended, in the database."""
        came = arrival(self.clock.now(), account_id=account or self.owner)
        ended = msgspec.structs.replace(record(came, talk_seconds=seconds), **changes)
        async with transaction(self.archive.database) as connection:
            await cdr_store.insert(connection, [ended])
        return ended

    async def kept(self, account: UUID | None = None, seconds: float = 3.0) -> Recording:
        """A call whose talk is kept."""
        ended = await self.call(account, seconds=seconds)
        leave(self.raw(ended), talk(seconds))
        await keep_recording(self.archive, ended.call_id)
        found = await self.row(ended.call_id)
        assert found is not None
        return found

    async def kept_voicemail(self) -> Recording:
        ended = await self.call(seconds=0, recording=None, voicemail="expected")
        leave_wav(self.message(ended), voice(2.0))
        await keep_voicemail(self.archive, ended.call_id)
        found = await self.row(ended.call_id, VOICEMAIL)
        assert found is not None
        return found

    def raw(self, call: CallRecord) -> Path:
        return self.archive.spool / "monitor" / f"{call.call_id}.raw"

    def message(self, call: CallRecord) -> Path:
        return self.archive.spool / "recording" / f"{call.call_id}.voicemail.wav"

    async def row(self, call_id: UUID, kind: RecordingKind = TALK) -> Recording | None:
        async with transaction(self.archive.database) as connection:
            return await store.find(connection, call_id, kind)

    async def record(self, call_id: UUID) -> CallRecord:
        async with transaction(self.archive.database) as connection:
            return await find(connection, str(call_id))

    async def heard(self, recording: Recording, account: UUID | None = None) -> bytes:
        async with open_recording(self.archive, self.reader(account), recording.call_id, recording.kind) as opened:
            return b"".join([piece async for piece in opened.pieces])

    def files(self) -> list[str]:
        """Everything in the recordings folder."""
        folder = self.archive.folder
        return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())

    def left(self) -> list[str]:
        """Everything in Asterisk's spool."""
        return sorted(path.name for path in self.archive.spool.rglob("*") if path.is_file())

    async def jobs(self) -> list[tuple[str, str]]:
        async with transaction(self.archive.database) as connection:
            rows = await connection.execute(text("SELECT entrypoint, convert_from(payload, 'UTF8') FROM pgqueuer"))
            return [(row[0], row[1]) for row in rows]

    def with_master(self, master: MasterKey) -> Archive:
        return replace(self.archive, master=master)


@pytest.fixture
async def desk(database: AsyncEngine, tmp_path: Path) -> Desk:
    clock = HandClock()
    archive = Archive(
        database=database,
        clock=clock,
        master=MASTER,
        folder=tmp_path / "recordings",
        spool=tmp_path / "spool",
        days=365,
    )
    async with transaction(database) as connection:
        owner = (await account_named(connection, LOCAL_OPERATOR, "다리분식", clock.now())).id
        other = (await account_named(connection, LOCAL_OPERATOR, "other", clock.now())).id
    return Desk(archive, clock, owner, other)
