"""Live calls through the engine's own door: which there are, one placed, its recording paused. Thin."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TypeVar

import msgspec
from aiohttp import web

from engine.calls.arrival import Order
from engine.calls.call import Call
from engine.calls.control_client import Asked, Deed, KnownNumber, LiveCall, Placed, Refusal
from engine.calls.reception import Reception
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound

_T = TypeVar("_T")
_Handler = Callable[[web.Request], Awaitable[object]]


def live_call_routes(reception: Reception) -> list[web.RouteDef]:
    """GET and POST /calls, POST /calls/ID/recording, POST /numbers."""

    async def live(_request: web.Request) -> list[LiveCall]:
        return [_shown(call) for call in reception.calls()]

    async def place(request: web.Request) -> Placed:
        return Placed(call_id=reception.place(await read_body(request, Order)))

    async def recording(request: web.Request) -> LiveCall:
        call = found(reception, request.match_info["call"])
        deed = await read_body(request, Deed)
        if call.recording is None:
            raise Conflict(f"call {call.id}: nobody talks yet; its recording begins with the talk")
        await (call.recording.pause() if deed.pause else call.recording.resume())
        return _shown(call)

    async def number(request: web.Request) -> KnownNumber:
        return KnownNumber(reception.number((await read_body(request, Asked)).number))

    return [
        web.get("/calls", answered(live)),
        web.post("/numbers", answered(number)),
        web.post("/calls", answered(place)),
        web.post("/calls/{call}/recording", answered(recording)),
    ]


def answered(handler: _Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Its value as JSON; an error of ours as a refusal of the same kind on the other side."""

    @wraps(handler)
    async def answer(request: web.Request) -> web.Response:
        try:
            value, status = await handler(request), 200
        except DariError as error:
            value, status = Refusal(kind=type(error).__name__, text=str(error)), _STATUS.get(type(error), 503)
        return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")

    return answer


_STATUS: dict[type[DariError], int] = {NotFound: 404, NotAllowed: 403, Invalid: 422, Conflict: 409}


async def read_body(request: web.Request, shape: type[_T]) -> _T:
    try:
        return msgspec.json.decode(await request.read(), type=shape)
    except msgspec.DecodeError as error:
        raise Invalid(f"the request cannot be read: {error}") from None


def found(reception: Reception, wanted: str) -> Call:
    """By its id, or by the last eight digits of it."""
    for call in reception.calls():
        if wanted in (str(call.id), call.id.hex[-8:]):
            return call
    raise NotFound(f"call {wanted}: it is not live; `dari call list` shows those that are")


def _shown(call: Call) -> LiveCall:
    notes = call.notes
    return LiveCall(
        call_id=call.id,
        state=call.state.value,
        direction=notes.arrival.direction,
        number=notes.arrival.number,
        caller=notes.arrival.caller,
        target=notes.target,
        arrived_at=notes.arrival.arrived_at,
        answered_at=notes.answered.at if notes.answered else None,
        recording=call.recording.state if call.recording else "none",
    )
