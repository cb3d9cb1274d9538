"""How long recordings are kept: each until its time is over, longer on legal hold, and no trace of its sound after.

A recording is first marked as deleted, with its call's record, then its file goes, then that is noted: a power cut in
between leaves no file that nobody knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor
from engine.accounts.model import Deed as Permission
from engine.accounts.told import Thing, write_down
from engine.cdr.amend import note_recordings_deleted
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, Invalid, NotFound, TryLater
from engine.recordings import store
from engine.recordings.archive import Archive, remove_file
from engine.recordings.keys import destroy_keys
from engine.recordings.model import Deed, Reader, Recording, RecordingKind
from engine.recordings.playback import may

BATCH = 200
LONGEST_TERM = 36_500
ACCESS_LOG_KEPT = timedelta(days=731)
"""Two years, whatever leap day is in them."""
EXPIRED = "deleted after its retention time"
SHREDDED = "deleted with the key of its owner"


async def sweep(archive: Archive, told: Callable[[int], None] = lambda _: None) -> int:
    """Deletes what is kept long enough and is not on legal hold, and forgets old access. How many recordings.

    `told` gets the number after each batch. Several at once are safe. Raises TryLater.
    """
    done = 0
    now = archive.clock.now()
    while True:
        async with transaction(archive.database) as connection:
            expired = await store.expire(connection, now, BATCH)
            await _told_records(connection, expired, EXPIRED)
        await _remove_files(archive)
        done += len(expired)
        told(done)
        if len(expired) < BATCH:
            break
    async with transaction(archive.database) as connection:
        await store.forget_log(connection, now - ACCESS_LOG_KEPT)
    return done


async def hold(archive: Archive, actor: Actor, reader: Reader, call_id: UUID, kind: RecordingKind) -> None:
    """Keeps a recording whatever its time, for the reason given by `actor`, who asks as `reader`.

    Written down in the access log and in the audit. Raises NotFound, NotAllowed, Invalid.
    """
    await _set_held(archive, actor, reader, call_id, kind, Deed.HOLD)


async def release(archive: Archive, actor: Actor, reader: Reader, call_id: UUID, kind: RecordingKind) -> None:
    """Lets a held recording go when its time is over. Written down, and raises, as `hold`."""
    await _set_held(archive, actor, reader, call_id, kind, Deed.RELEASE)


async def set_term(archive: Archive, actor: Actor, account_id: UUID, days: int | None) -> int:
    """How many days this owner's recordings are kept, those that are there included; None: as the setting says.

    Another term than before is written down in the audit.
    """
    if days is not None and not 1 <= days <= LONGEST_TERM:
        raise Invalid(f"days: {days} must be 1 to {LONGEST_TERM}")
    async with transaction(archive.database) as connection:
        before = await store.days(connection, account_id)
        await store.set_days(connection, account_id, days)
        term = (await archive.term(connection, account_id)).days
        await store.reterm(connection, account_id, term)
        if before != days:
            await write_down(
                connection,
                actor,
                Permission.CHANGE_RECORDINGS,
                Thing("term of recordings", account_id, account_id),
                before={"days": before},
                after={"days": days},
                now=archive.clock.now(),
            )
    return term


async def shred(archive: Archive, account_id: UUID) -> int:
    """Destroys an owner's keys: all its recordings are unreadable at once, in every copy. How many recordings.

    Raises Conflict, and destroys nothing, while one of them is on legal hold.
    """
    now = archive.clock.now()
    async with transaction(archive.database) as connection:
        gone = await store.expire_account(connection, account_id, now)
        if held := await store.count_held(connection, account_id):
            raise Conflict(f"account {account_id}: {held} of its recordings are on legal hold; release them first")
        await destroy_keys(connection, account_id, now)
        await _told_records(connection, gone, SHREDDED)
    await _remove_files(archive)
    return len(gone)


async def finish_deletions(archive: Archive) -> int:
    """Removes the files of recordings that are deleted, also those that a power cut has left. How many.

    Raises TryLater when one cannot be removed.
    """
    return await _remove_files(archive)


async def _remove_files(archive: Archive) -> int:
    removed = 0
    while True:
        async with transaction(archive.database) as connection:
            leaving = await store.leaving(connection, BATCH)
        if not leaving:
            return removed
        try:
            await asyncio.to_thread(_remove, archive, leaving)
        except OSError as error:
            raise TryLater(f"deleted recordings stay on disk: {error}", after=60.0) from None
        async with transaction(archive.database) as connection:
            await store.note_removed(connection, [each.file for each in leaving], archive.clock.now())
        removed += len(leaving)


def _remove(archive: Archive, leaving: Sequence[Recording]) -> None:
    for each in leaving:
        remove_file(archive.path(each.file))


async def _told_records(connection: AsyncConnection, gone: Sequence[Recording], reason: str) -> None:
    talks = [each.call_id for each in gone if each.kind is RecordingKind.TALK]
    voicemails = [each.call_id for each in gone if each.kind is RecordingKind.VOICEMAIL]
    await note_recordings_deleted(connection, talks, voicemails, reason)


async def _set_held(
    archive: Archive, actor: Actor, reader: Reader, call_id: UUID, kind: RecordingKind, deed: Deed
) -> None:
    await may(archive, reader, call_id, kind, deed)
    held = reader.reason if deed is Deed.HOLD else None
    async with transaction(archive.database) as connection:
        before = await store.find_locked(connection, call_id, kind)
        if before is None:
            raise NotFound(f"call {call_id}: its {kind.value} was deleted meanwhile")
        await store.set_held(connection, call_id, kind, held)
        await write_down(
            connection,
            actor,
            Permission.CHANGE_RECORDINGS,
            Thing("recording", before.account_id, call_id),
            before={"held": before.held},
            after={"kind": kind.value, "held": held, "reason": reader.reason},
            now=archive.clock.now(),
        )
