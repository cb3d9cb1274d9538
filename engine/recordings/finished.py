"""The jobs after a recorded call: its sound is kept, and the record says where, or why there is none.

Order makes it safe at any power cut: the sealed file is on disk, then row and record say so in one transaction, then
Asterisk's own file goes. Each may be run again at any time, and several at once.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from uuid import UUID

import msgspec
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.cdr.amend import note_recording, note_voicemail
from engine.cdr.model import CallRecord, StepKind
from engine.cdr.search import find
from engine.events import outbox
from engine.events.kinds import EventKind
from engine.events.outbox import Event
from engine.foundation.database import transaction
from engine.foundation.errors import GaveUp, Invalid, TryLater
from engine.recordings import store
from engine.recordings.archive import Archive, header_of, remove_file
from engine.recordings.keep import Left, alone, digest_of, finished_sound, shortfall, write_sealed
from engine.recordings.keys import OwnerKey, current_key
from engine.recordings.model import SEALED, Recording, RecordingKind, file_name
from engine.recordings.sealed import Damaged, Header, Sealed, SealedFile
from engine.recordings.sound import TURNED, WAV_HEADER_BYTES, NoSound, seconds_in

log = structlog.get_logger(__name__)


async def keep_recording(archive: Archive, call_id: UUID) -> None:
    """Keeps the talk of a call. Raises TryLater while it is written, or while disk, database or key are away."""
    record = await _record(archive, call_id)
    await _keep(archive, record, left_of(archive, record, RecordingKind.TALK))


async def keep_voicemail(archive: Archive, call_id: UUID) -> None:
    """Keeps what the caller left, unless it is too short or silent. Raises as `keep_recording`."""
    record = await _record(archive, call_id)
    await _keep(archive, record, left_of(archive, record, RecordingKind.VOICEMAIL))


def left_of(archive: Archive, record: CallRecord, kind: RecordingKind) -> Left:
    """What Asterisk, or a Dari that did not encrypt yet, should have left of this call."""
    call = str(record.call_id)
    monitor = archive.spool / "monitor"
    if kind is RecordingKind.TALK:
        plain = archive.path(file_name(record.call_id, kind, record.arrived_at).removesuffix(SEALED))
        return Left(call, kind, (monitor / f"{call}.raw", monitor / f"{call}{TURNED}", plain), expected_seconds(record))
    return Left(
        call, kind, (archive.spool / "recording" / f"{call}.voicemail.wav", monitor / f"{call}.voicemail.raw"), None
    )


def expected_seconds(record: CallRecord) -> float:
    """How long the recording of the talk should be: all of the talk, or from the key press that began it.

    A pause does not shorten it: the recording is silent meanwhile.
    """
    recorded = [step for step in record.steps if step.kind is StepKind.RECORDING and step.ended_at]
    if not recorded:
        return record.talk_seconds
    spans = ((step.ended_at or step.started_at) - step.started_at for step in recorded)
    return min(sum(span.total_seconds() for span in spans), record.talk_seconds)


async def adopt(archive: Archive, record: CallRecord, kind: RecordingKind) -> Recording | None:
    """Makes the row of a sealed file that is there without one, when it is whole and this call's; None when not there.

    Raises Damaged for another file, GaveUp when its key was destroyed, TryLater.
    """
    file = file_name(record.call_id, kind, record.arrived_at)
    try:
        header = await asyncio.to_thread(header_of, archive.path(file))
        if (header.account_id, header.call_id, header.kind) != (record.account_id, record.call_id, kind):
            raise Damaged(f"recording {file}: it is the file of another recording")
        key = await archive.key_for(header.account_id, header.key_version)
        recording = await asyncio.to_thread(_described, archive, header, key, file, record.ended_at)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unwritable(archive, record, error) from None
    async with transaction(archive.database) as connection:
        return await _note(archive, connection, record, recording)


async def _record(archive: Archive, call_id: UUID) -> CallRecord:
    async with transaction(archive.database) as connection:
        return await find(connection, str(call_id))


async def _keep(archive: Archive, record: CallRecord, left: Left) -> None:
    path = left.path or left.paths[0]
    with alone(path) as there:
        try:
            if not await _is_done(archive, record, left.kind, there):
                await (_seal(archive, record, left) if there else _adopt_or_give_up(archive, record, left.kind))
        except NoSound as error:
            log.warning("no recording", call=left.call, kind=left.kind.value, reason=str(error))
            async with transaction(archive.database) as connection:
                await _tell(connection, record.call_id, left.kind, None, str(error))
        if there:
            try:
                remove_file(path)
            except OSError as error:
                log.warning("a recording stays in Asterisk's spool too", file=path.name, reason=error.strerror)


async def _is_done(archive: Archive, record: CallRecord, kind: RecordingKind, there: bool) -> bool:
    """Whether it was kept before, and nothing can be made good now: a lost file is the matter of `compare`."""
    async with transaction(archive.database) as connection:
        found = await store.find(connection, record.call_id, kind)
    return found is not None and (found.deleted_at is not None or not there or archive.path(found.file).exists())


async def _seal(archive: Archive, record: CallRecord, left: Left) -> None:
    path = left.path
    if record.account_id is None:
        raise NoSound("the number called is nobody's, so nobody may hear it")
    if path is None:
        raise TryLater(f"the recording of call {left.call} went while it was looked at")
    try:
        sound = await asyncio.to_thread(finished_sound, left, path)
        key = await _key_of_owner(archive, record.account_id)
        header = Header.fresh(key.account_id, record.call_id, left.kind, key.version)
        file = file_name(record.call_id, left.kind, record.arrived_at)
        sealed = await asyncio.to_thread(write_sealed, sound, header, key.secret, archive.path(file))
    except OSError as error:
        raise _unwritable(archive, record, error) from None
    recording = _recording(header, file, sound.seconds, sealed, record.ended_at)
    async with transaction(archive.database) as connection:
        await _note(archive, connection, record, recording)


async def _adopt_or_give_up(archive: Archive, record: CallRecord, kind: RecordingKind) -> None:
    if await adopt(archive, record, kind) is None and not _was_given_up(record, kind):
        raise NoSound("Asterisk left no recording")


def _was_given_up(record: CallRecord, kind: RecordingKind) -> bool:
    """Whether the record says why there is none already: a job that runs again knows less than it did before."""
    wanted = record.recording if kind is RecordingKind.TALK else record.voicemail
    return wanted is None and bool(record.recording_reason)


async def _key_of_owner(archive: Archive, account_id: UUID) -> OwnerKey:
    """Raises TryLater also for a wrong master key: what was recorded waits until it is mended."""
    try:
        async with transaction(archive.database) as connection:
            return await current_key(connection, archive.master, account_id, archive.clock.now())
    except Invalid as error:
        raise TryLater(str(error), after=60.0) from None


async def _note(archive: Archive, connection: AsyncConnection, record: CallRecord, recording: Recording) -> Recording:
    """Row and record in one transaction. A row that was there gets the new file, unless it was deleted meanwhile."""
    term = await archive.term(connection, recording.account_id)
    made = msgspec.structs.replace(recording, delete_after=recording.made_at + term)
    if not await store.insert(connection, made) and not await store.replace(connection, made):
        raise GaveUp(f"recording of call {made.call_id}: it was deleted while it was kept")
    expected = expected_seconds(record) if made.kind is RecordingKind.TALK else None
    await _tell(connection, record.call_id, made.kind, made.file, shortfall(made.seconds, expected))
    await outbox.append(connection, [_ready(record, made, archive.clock.now())])
    return made


async def _tell(connection: AsyncConnection, call_id: UUID, kind: RecordingKind, file: str | None, reason: str) -> None:
    """The call's record says it."""
    note = note_recording if kind is RecordingKind.TALK else note_voicemail
    await note(connection, call_id, file, reason)


def _ready(record: CallRecord, made: Recording, at: datetime) -> Event:
    """It can be heard from now on, by those who may; told once for each recording of a call."""
    return Event(
        kind=EventKind.RECORDING_READY.value,
        account_id=made.account_id,
        call_id=made.call_id,
        at=at,
        body={"number": record.number, "recording": made.kind.value, "seconds": round(made.seconds, 3)},
        leg=made.kind.value,
    )


def _recording(header: Header, file: str, seconds: float, sealed: Sealed, made_at: datetime) -> Recording:
    return Recording(
        call_id=header.call_id,
        kind=header.kind,
        account_id=header.account_id,
        file=file,
        key_version=header.key_version,
        seconds=seconds,
        size=sealed.size,
        sha256=sealed.sha256,
        made_at=made_at,
        delete_after=made_at,
    )


def _described(archive: Archive, header: Header, key: bytes, file: str, made_at: datetime) -> Recording:
    """What a sealed file holds, read as a whole. Raises Damaged, OSError."""
    path = archive.path(file)
    try:
        sealed = Sealed(path.stat().st_size, digest_of(path, header, key))
        with path.open("rb") as plain:
            inside = SealedFile(plain, header, key)
            seconds = seconds_in(inside.size, b"".join(inside.pieces(0, WAV_HEADER_BYTES)))
    except (Damaged, NoSound) as error:
        raise Damaged(f"recording {file}: {error}") from None
    return _recording(header, file, seconds, sealed, made_at)


def _unwritable(archive: Archive, record: CallRecord, error: OSError) -> TryLater:
    log.error("a recording cannot be kept now", call=str(record.call_id), folder=str(archive.folder), reason=str(error))
    return TryLater(f"the recording of call {record.call_id} cannot be kept in {archive.folder}: {error}", after=30.0)
