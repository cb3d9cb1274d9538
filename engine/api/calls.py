"""Call records: found again by number and time, and taken from the stream without a gap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import Actor, Deed, Place
from engine.accounts.permissions import check
from engine.api.call_shapes import EXAMPLE, Call, WholeCall, call_shown, whole_call_shown
from engine.api.door import ActorDep, Rows, door_router
from engine.api.owned import allowed_account, check_owner, whose
from engine.api.pages import MOST, USUAL, Instant, PageOf, PageWanted, SpanOf
from engine.api.wire import PhoneIn, Shape
from engine.cdr import search
from engine.cdr.model import CallRecord, Direction, Result
from engine.cdr.search import CallPlace, Wanted
from engine.events import stream
from engine.events.kinds import EventKind
from engine.events.stream import Reader
from engine.foundation.errors import Invalid, NotFound

START = "start"
"""As `since`: from the oldest event that is kept."""

CallInPath = Annotated[UUID, Path(alias="call", description="A call's id.")]


class CallPage(Shape):
    """Some calls, in the order in which they were asked for."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"items": [EXAMPLE], "next": None, "more": False}]})

    items: tuple[Call, ...]
    next: str | None
    """What to send for those that follow: as `cursor`, or, where it was asked with `since`, as the next `since`."""
    more: bool
    """Whether there are more already."""


class CallSearch(Shape):
    """Which calls are looked for; null: whichever."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"caller": "010-2345-6789", "from": "2026-11-01T00:00:00Z"}]}
    )

    caller: PhoneIn | None = None
    number: PhoneIn | None = None
    account: UUID | None = None
    """Of this account and all below it."""
    result: Result | None = None
    direction: Direction | None = None
    since: Annotated[Instant | None, Field(alias="from")] = None
    """Arrived at this instant or later."""
    until: Annotated[Instant | None, Field(alias="to")] = None
    """Arrived before it."""
    limit: Annotated[int, Field(ge=1, le=MOST)] = USUAL
    cursor: Annotated[str, Field(max_length=1000)] | None = None


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is looked for, and whose."""

    account: UUID | None
    wanted: Wanted


def _asked(
    span: SpanOf,
    account: Annotated[UUID | None, Query(description="Of this account and all below it.")] = None,
    number: Annotated[PhoneIn | None, Query(description="The number that was called.")] = None,
    result: Annotated[Result | None, Query(description="How it ended.")] = None,
    direction: Annotated[Direction | None, Query(description="Who placed it.")] = None,
) -> _Asked:
    wanted = Wanted(number=number, result=result, direction=direction, since=span.since, until=span.until)
    return _Asked(account, wanted)


AskedDep = Annotated[_Asked, Depends(_asked)]


def calls_router() -> APIRouter:
    """`/calls`: figures. What a call sounds like is in `engine.api.recordings`."""
    router = door_router("calls")
    router.get("/calls")(list_calls)
    router.post("/calls/search")(search_calls)
    router.get("/calls/{call}")(read_call)
    return router


async def list_calls(
    actor: ActorDep,
    rows: Rows,
    asked: AskedDep,
    page: PageOf,
    since: Annotated[
        str | None,
        Query(
            max_length=100,
            description="Takes calls from the stream in the order in which they ended, never one twice and never one "
            f"left out: `{START}`, then each answer's `next`. Left away: the newest calls first, by `cursor`.",
        ),
    ] = None,
) -> CallPage:
    """Calls, the newest first; with `since` all that ended after a place in the stream, the oldest first."""
    if since is None:
        of = await whose(rows, actor, Deed.SEE_CALLS, asked.account)
        return await _newest(rows, replace(asked.wanted, under=of.under, account=of.account), page)
    if page.cursor is not None:
        raise Invalid("cursor: it does not go with since; send the last answer's next as since")
    place = actor.place if asked.account is None else await allowed_account(rows, actor, Deed.SEE_CALLS, asked.account)
    check(actor, Deed.SEE_CALLS, place)
    return await _pulled(rows, place, asked.wanted, since, page.limit)


async def search_calls(sought: CallSearch, actor: ActorDep, rows: Rows) -> CallPage:
    """Calls by who called too, the newest first. A caller's number stands in the body: addresses are logged."""
    of = await whose(rows, actor, Deed.SEE_CALLS, sought.account)
    wanted = Wanted(
        under=of.under,
        account=of.account,
        number=sought.number,
        caller=sought.caller,
        result=sought.result,
        direction=sought.direction,
        since=sought.since,
        until=sought.until,
    )
    return await _newest(rows, wanted, PageWanted(sought.limit, sought.cursor))


async def read_call(call: CallInPath, actor: ActorDep, rows: Rows) -> WholeCall:
    """One call with what it went through."""
    return whole_call_shown(await allowed_call(rows, actor, Deed.SEE_CALLS, call))


async def allowed_call(rows: AsyncConnection, actor: Actor, deed: Deed, call: UUID) -> CallRecord:
    """The record of a call. Raises NotFound, NotAllowed, Invalid."""
    what = f"call {call}"
    record = (await search.of_ids(rows, [call])).get(call)
    if record is None:
        raise NotFound(f"{what}: there is none that you may see")
    await check_owner(rows, actor, deed, record.account_id, what)
    return record


async def _newest(rows: AsyncConnection, wanted: Wanted, page: PageWanted) -> CallPage:
    after = page.after(datetime, UUID)
    found = await search.page(rows, wanted, before=CallPlace(*after) if after else None, limit=page.rows)
    shown = page.page(found, call_shown, lambda record: (record.arrived_at, record.call_id))
    return CallPage(items=tuple(shown.items), next=shown.next, more=shown.next is not None)


async def _pulled(rows: AsyncConnection, place: Place, wanted: Wanted, since: str, limit: int) -> CallPage:
    reader = Reader.at(place.path)
    after = 0 if since == START else stream.read_cursor(since, reader.top, "since")
    told = await stream.read(rows, reader, after, limit, [EventKind.CALL_ENDED.value])
    ids = [event.call_id for event in told.events if event.call_id is not None]
    records = await search.of_ids(rows, ids)
    kept = [records[call_id] for call_id in ids if call_id in records]
    return CallPage(
        items=tuple(call_shown(record) for record in kept if search.is_wanted(record, wanted)),
        next=stream.cursor_of(reader.top, told.upto),
        more=told.more,
    )
