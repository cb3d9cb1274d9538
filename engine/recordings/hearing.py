"""Whether somebody may hear a recording: the called party's organisation, and those whom it let hear it for a time."""

from __future__ import annotations

from uuid import UUID

import msgspec

from engine.accounts import grants
from engine.accounts.model import Actor
from engine.accounts.model import Deed as Permission
from engine.accounts.permissions import check
from engine.accounts.told import Thing, write_down
from engine.foundation.database import transaction
from engine.foundation.errors import NotAllowed, NotFound
from engine.recordings import playback, store
from engine.recordings.archive import Archive
from engine.recordings.model import Deed, Reader, RecordingKind


async def check_may_hear(
    archive: Archive, actor: Actor, reader: Reader, call_id: UUID, kind: RecordingKind, deed: Deed
) -> None:
    """Returns when `actor`, who reads as `reader`, may hear that recording now; the audit says then that it is heard.

    Whoever stands above the organisation needs a listening grant of it that runs, also at this machine. Those turned
    away are written down in the access log. Raises NotFound, NotAllowed or Invalid.
    """
    playback.check_reader(reader)
    now = archive.clock.now()
    try:
        async with transaction(archive.database) as connection:
            found = await store.find(connection, call_id, kind)
            what = f"call {call_id}: its {kind.value}"
            if found is None or found.deleted_at is not None:
                raise NotFound(f"{what}: there is none that you may see")
            standing = await grants.standing(connection, found.account_id, now)
            check(actor, Permission.HEAR_RECORDINGS, standing.account.place, grants=standing.grants, now=now, what=what)
            told = {"kind": kind.value, "reason": reader.reason}
            thing = Thing("recording", found.account_id, call_id)
            await write_down(connection, actor, Permission.HEAR_RECORDINGS, thing, after=told, now=now)
    except NotAllowed:
        stranger = msgspec.structs.replace(reader, account_id=actor.place.account)
        await playback.note_refusal(archive, stranger, call_id, kind, deed)
        raise
