"""Calls that go on now: seen, placed, their recording paused, heard by whoever may hear them."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter
from pydantic import ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts import grants
from engine.accounts.model import OPERATOR_PLACE, Actor, Deed
from engine.accounts.permissions import check, may
from engine.accounts.told import Thing, write_down
from engine.accounts.tree import account_places
from engine.api.call_shapes import PhoneOrNone
from engine.api.calls import CallInPath
from engine.api.door import ActorDep, Now, Rows, door_router
from engine.api.equipment import Equipment, EquipmentDep
from engine.api.owned import allowed_number, check_owner
from engine.api.wire import PhoneIn, Shape
from engine.calls import control_all
from engine.calls.arrival import Order
from engine.calls.control_client import LiveCall
from engine.calls.listening_rules import LONGEST_MINUTES, Mode, Wish
from engine.cdr.model import Direction
from engine.foundation.errors import NotFound
from engine.numbers import inventory

_EXAMPLE: dict[str, Any] = {
    "call_id": "019a9f3e-7a10-7c3e-9d7b-2f0f6c1d4e55",
    "state": "talking",
    "direction": "incoming",
    "number": {"national": "050712345678", "e164": "+8250712345678"},
    "caller": {"national": "01023456789", "e164": "+821023456789"},
    "target": {"national": "023456789", "e164": "+8223456789"},
    "arrived_at": "2026-11-22T00:30:00Z",
    "answered_at": "2026-11-22T00:30:09.400000Z",
    "recording": "recording",
}


class CallNow(Shape):
    """A call that goes on now."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    call_id: UUID
    state: str
    direction: Direction
    number: PhoneOrNone
    caller: PhoneOrNone
    target: PhoneOrNone
    arrived_at: datetime
    answered_at: datetime | None
    recording: str
    """`none`, `off`, `recording` or `paused`."""


class CallsNow(Shape):
    """The calls that go on now, the oldest first."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"calls": [_EXAMPLE]}]})

    calls: tuple[CallNow, ...]


class CallWanted(Shape):
    """A call to be placed, in the name of a number in service, which both parties see."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"number": "0507-1234-5678", "first": "02-345-6789", "second": "010-2345-6789"}]
        }
    )

    number: PhoneIn
    first: PhoneIn
    """Who asked for the call: rings first."""
    second: PhoneIn | None = None
    """Who rings then; null: the first goes through the number as its callers do, to hear it."""


class CallPlaced(Shape):
    """A call that is being placed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"call_id": "019a9f3e-7a10-7c3e-9d7b-2f0f6c1d4e55"}]})

    call_id: UUID


class RecordingSwitch(Shape):
    """Whether a live call's recording pauses, or goes on or begins."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"pause": True}]})

    pause: bool


class ListeningWish(Shape):
    """Somebody wants to hear a call that goes on now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "신입 직원 교육", "minutes": 5}]})

    reason: Annotated[str, Field(min_length=1, max_length=500)]
    mode: Mode = Mode.LISTEN
    minutes: Annotated[int, Field(ge=1, le=LONGEST_MINUTES)] = 5


class ListeningTicket(Shape):
    """What one browser may listen with, once: at `/listen#TICKET`."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ticket": "k3Jx…", "seconds_to_open": 60, "minutes": 5}]}
    )

    ticket: str
    seconds_to_open: int
    minutes: int


def live_calls_router() -> APIRouter:
    """`/live-calls`."""
    router = door_router("live calls")
    router.get("/live-calls")(list_live_calls)
    router.post("/live-calls", status_code=HTTPStatus.ACCEPTED)(place_call)
    router.post("/live-calls/{call}/recording")(switch_recording)
    router.post("/live-calls/{call}/listening", status_code=HTTPStatus.CREATED)(listen_live)
    return router


async def list_live_calls(actor: ActorDep, rows: Rows, equipment: EquipmentDep) -> CallsNow:
    """The calls that go on now."""
    check(actor, Deed.SEE_CALLS, actor.place)
    going_on = await control_all.live_calls(equipment.engines)
    if may(actor, Deed.SEE_CALLS, OPERATOR_PLACE):
        return CallsNow(calls=tuple(map(CallNow.model_validate, going_on)))
    owners = {call.call_id: await _owner(rows, call) for call in going_on}
    places = await account_places(rows, [owner for owner in owners.values() if owner])
    seen = (call for call in going_on if (owner := owners[call.call_id]) and may(actor, Deed.SEE_CALLS, places[owner]))
    return CallsNow(calls=tuple(map(CallNow.model_validate, seen)))


async def place_call(wanted: CallWanted, actor: ActorDep, rows: Rows, equipment: EquipmentDep, now: Now) -> CallPlaced:
    """Connect two telephones: click-to-call, or hearing a number as its callers do."""
    number = await allowed_number(rows, actor, Deed.PLACE_CALLS, wanted.number)
    order = Order(number=wanted.number, first=wanted.first, second=wanted.second)
    call_id = await control_all.place_call(equipment.engines, order)
    told = {"number": number.number}
    await write_down(rows, actor, Deed.PLACE_CALLS, Thing("call", number.account_id, call_id), after=told, now=now)
    return CallPlaced(call_id=call_id)


async def switch_recording(
    call: CallInPath, wanted: RecordingSwitch, actor: ActorDep, rows: Rows, equipment: EquipmentDep, now: Now
) -> CallNow:
    """Pause a live call's recording, or let it go on or begin."""
    owner = await _allowed_live(rows, equipment, actor, Deed.CHANGE_RECORDINGS, call)
    live = await control_all.switch_recording(equipment.engines, str(call), pause=wanted.pause)
    thing = Thing("call", owner, call)
    await write_down(rows, actor, Deed.CHANGE_RECORDINGS, thing, after={"recording": live.recording}, now=now)
    return CallNow.model_validate(live)


async def listen_live(
    call: CallInPath, wanted: ListeningWish, actor: ActorDep, rows: Rows, equipment: EquipmentDep, now: Now
) -> ListeningTicket:
    """Leave to hear a call that goes on now, once and for a limited time. Only for the shop's own users and its
    auditor, and for those to whom the shop granted it.
    """
    what = f"call {call}"
    owner = await _owner(rows, await _live(equipment, call, what))
    if owner is None:
        raise _no_such(what)
    standing = await grants.standing(rows, owner, now)
    check(actor, Deed.LISTEN_LIVE, standing.account.place, grants=standing.grants, now=now, what=what)
    wish = Wish(
        call=str(call),
        who=actor.who,
        reason=wanted.reason,
        mode=wanted.mode,
        minutes=wanted.minutes,
        actor=actor,
    )
    ticket = await control_all.listening_ticket(equipment.engines, wish)
    told = {"reason": wanted.reason, "mode": wanted.mode.value, "minutes": wanted.minutes}
    await write_down(rows, actor, Deed.LISTEN_LIVE, Thing("call", owner, call), after=told, now=now)
    return ListeningTicket.model_validate(ticket)


async def _allowed_live(rows: AsyncConnection, equipment: Equipment, actor: Actor, deed: Deed, call: UUID) -> UUID:
    """Whose the live call is. Raises NotFound, NotAllowed, Invalid, TryLater."""
    what = f"call {call}"
    owner = await _owner(rows, await _live(equipment, call, what))
    if owner is None:
        raise _no_such(what)
    await check_owner(rows, actor, deed, owner, what)
    return owner


async def _live(equipment: Equipment, call: UUID, what: str) -> LiveCall:
    for one in await control_all.live_calls(equipment.engines):
        if one.call_id == call:
            return one
    raise _no_such(what)


async def _owner(rows: AsyncConnection, call: LiveCall) -> UUID | None:
    number = None if call.number is None else await inventory.look_up(rows, call.number)
    return None if number is None else number.account_id


def _no_such(what: str) -> NotFound:
    return NotFound(f"{what}: there is none that you may see")
