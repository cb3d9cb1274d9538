"""Recordings: their figures for whoever sees calls, their sound for those alone who may hear it."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from starlette.types import Receive, Scope, Send

from engine.accounts.model import Actor, Deed
from engine.api.calls import CallInPath, allowed_call
from engine.api.door import ActorDep, Database, Rows, door_router
from engine.api.equipment import Equipment, EquipmentDep
from engine.api.owned import check_owner, whose
from engine.api.pages import Page, PageOf, SpanOf
from engine.api.problems import Code, Refused
from engine.api.wire import Shape
from engine.foundation.database import transaction
from engine.foundation.errors import NotFound
from engine.recordings import playback, retention
from engine.recordings.hearing import check_may_hear
from engine.recordings.model import Deed as Asked
from engine.recordings.model import Reader, Recording, RecordingKind, RecordingPlace, Wanted
from engine.recordings.playback import LONGEST_REASON, Opened
from engine.recordings.sealed import plain_size

_USUAL_REASON = "heard through the API"
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")

KindInPath = Annotated[RecordingKind, Path(alias="kind", description="What of the call is in it.")]


class RecordingShown(Shape):
    """A recording that is kept: its figures."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "call_id": "019a9f3e-7a10-7c3e-9d7b-2f0f6c1d4e55",
                    "kind": "talk",
                    "account_id": "019a9f00-0000-7000-8000-000000000001",
                    "seconds": 64.6,
                    "made_at": "2026-11-22T00:31:14Z",
                    "delete_after": "2027-11-22T00:31:14Z",
                    "held": False,
                }
            ]
        }
    )

    call_id: UUID
    kind: RecordingKind
    account_id: UUID
    """The called party's organisation, to which it belongs."""
    seconds: float
    made_at: datetime
    """When its call ended."""
    delete_after: datetime
    held: bool
    """Whether it is on legal hold: kept whatever `delete_after` says."""


class Recordings(Shape):
    """The recordings of one call."""

    recordings: tuple[RecordingShown, ...]


class Holding(Shape):
    """Why a recording is held."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "분쟁 2026-113"}]})

    reason: Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]


def recordings_router() -> APIRouter:
    """`/recordings` and `/calls/{call}/recordings`."""
    router = door_router("recordings")
    audio: dict[int | str, dict[str, Any]] = {
        200: {"content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}}},
        206: {
            "description": "The part that Range asked for",
            "content": {"audio/wav": {"schema": {"type": "string", "format": "binary"}}},
        },
    }
    router.get("/recordings")(list_recordings)
    router.get("/calls/{call}/recordings")(recordings_of_call)
    router.get("/calls/{call}/recordings/{kind}/audio", response_class=StreamingResponse, responses=audio)(
        hear_recording
    )
    router.post("/calls/{call}/recordings/{kind}/hold", status_code=HTTPStatus.NO_CONTENT)(hold_recording)
    router.post("/calls/{call}/recordings/{kind}/release", status_code=HTTPStatus.NO_CONTENT)(release_recording)
    return router


async def list_recordings(
    actor: ActorDep,
    rows: Rows,
    span: SpanOf,
    page: PageOf,
    account: Annotated[UUID | None, Query(description="Of this account and all below it.")] = None,
) -> Page[RecordingShown]:
    """The recordings that are kept, the newest first: figures only."""
    of = await whose(rows, actor, Deed.SEE_CALLS, account)
    wanted = Wanted(under=of.under, account=of.account, since=span.since, until=span.until)
    after = page.after(datetime, UUID, RecordingKind)
    found = await playback.page(rows, wanted, before=RecordingPlace(*after) if after else None, limit=page.rows)
    return page.page(found, _shown, lambda one: (one.made_at, one.call_id, one.kind.value))


async def recordings_of_call(call: CallInPath, actor: ActorDep, rows: Rows) -> Recordings:
    """What is kept of a call: figures only."""
    await allowed_call(rows, actor, Deed.SEE_CALLS, call)
    found = [await playback.find(rows, call, kind) for kind in RecordingKind]
    return Recordings(recordings=tuple(_shown(one) for one in found if one is not None))


async def hear_recording(
    call: CallInPath,
    kind: KindInPath,
    actor: ActorDep,
    database: Database,
    equipment: EquipmentDep,
    range_: Annotated[
        str | None, Header(alias="Range", max_length=100, description="One range of bytes: bytes=0-65535.")
    ] = None,
) -> StreamingResponse:
    """The sound of a recording as a WAV file, or a part of it. Only for the shop's own users and its auditor, and for
    those to whom the shop granted it for a time; each time is written down with the reason in `Dari-Reason`.
    """
    recording, reader = await _may_hear(database, equipment, actor, (call, kind))
    part = _part(range_, plain_size(recording.size))
    stack = AsyncExitStack()
    opened = await stack.enter_async_context(
        playback.open_recording(equipment.archive, reader, call, kind, span=(part.start, part.stop))
    )
    return _Sound(opened, part, stack)


async def hold_recording(
    call: CallInPath, kind: KindInPath, holding: Holding, actor: ActorDep, database: Database, equipment: EquipmentDep
) -> None:
    """Keep a recording whatever its time: legal hold."""
    reader = await _may_change(database, actor, (call, kind), holding.reason)
    await retention.hold(equipment.archive, actor, reader, call, kind)


async def release_recording(
    call: CallInPath, kind: KindInPath, holding: Holding, actor: ActorDep, database: Database, equipment: EquipmentDep
) -> None:
    """Let a held recording go when its time is over."""
    reader = await _may_change(database, actor, (call, kind), holding.reason)
    await retention.release(equipment.archive, actor, reader, call, kind)


class _Part(NamedTuple):
    """Which bytes of the WAV file, of how many."""

    start: int
    stop: int
    size: int


class _Sound(StreamingResponse):
    """The sound, whose file is closed however the sending ends."""

    def __init__(self, opened: Opened, part: _Part, stack: AsyncExitStack) -> None:
        whole = (part.start, part.stop) == (0, part.size)
        headers = {"Accept-Ranges": "bytes", "Content-Length": str(part.stop - part.start)}
        if not whole:
            headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{part.size}"
        status = HTTPStatus.OK if whole else HTTPStatus.PARTIAL_CONTENT
        super().__init__(opened.pieces, status_code=status, headers=headers, media_type="audio/wav")
        self._stack = stack

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._stack:
            await super().__call__(scope, receive, send)


def _part(asked: str | None, size: int) -> _Part:
    """What a Range header asks for; without one, or with one that names several or is none, the whole.

    Raises Refused when the file has no such bytes.
    """
    named = _RANGE.fullmatch(asked.strip()) if asked else None
    if named is None or named[0] == "bytes=-":
        return _Part(0, size, size)
    first, last = named[1], named[2]
    start = int(first) if first else max(0, size - int(last))
    stop = min(int(last) + 1, size) if first and last else size
    if first and last and int(last) < start:
        return _Part(0, size, size)
    if start >= size:
        raise Refused(
            Code.RANGE_UNKNOWN,
            f"Range: the recording has {size} bytes; ask for some of them",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return _Part(start, stop, size)


async def _may_hear(
    database: AsyncEngine, equipment: Equipment, actor: Actor, which: tuple[UUID, RecordingKind]
) -> tuple[Recording, Reader]:
    """The recording, once the audit says that it is heard, and as whom."""
    async with transaction(database) as rows:
        found = await _kept(rows, which, f"call {which[0]}: its {which[1].value}")
    reader = Reader(who=actor.who, account_id=found.account_id, reason=_reason(actor))
    await check_may_hear(equipment.archive, actor, reader, *which, Asked.LISTEN)
    return found, reader


async def _may_change(database: AsyncEngine, actor: Actor, which: tuple[UUID, RecordingKind], reason: str) -> Reader:
    what = f"call {which[0]}: its {which[1].value}"
    async with transaction(database) as rows:
        found = await _kept(rows, which, what)
        await check_owner(rows, actor, Deed.CHANGE_RECORDINGS, found.account_id, what)
    return Reader(who=actor.who, account_id=found.account_id, reason=reason)


async def _kept(rows: AsyncConnection, which: tuple[UUID, RecordingKind], what: str) -> Recording:
    found = await playback.find(rows, *which)
    if found is None:
        raise NotFound(f"{what}: there is none that you may see")
    return found


def _reason(actor: Actor) -> str:
    return actor.reason.strip() or _USUAL_REASON


def _shown(one: Recording) -> RecordingShown:
    return RecordingShown(
        call_id=one.call_id,
        kind=one.kind,
        account_id=one.account_id,
        seconds=one.seconds,
        made_at=one.made_at,
        delete_after=one.delete_after,
        held=one.held is not None,
    )
