"""An incoming call, from ringing to hung up. Read this file and you know what the engine does.

The caller hears everything before the connection as early media: the call is answered (200 OK, and with it charged)
only when the target has answered and has been told what it must be told.
"""

from __future__ import annotations

import structlog

from engine.calls.call import Call
from engine.calls.state import CallState
from engine.calls.steps.announcement import announce
from engine.calls.steps.connect import connect, until_arrival_is_safe, until_somebody_hangs_up
from engine.calls.steps.dial import dial
from engine.calls.steps.recording import start_recording
from engine.calls.steps.waiting import Waiting
from engine.calls.steps.whisper import whisper
from engine.cdr.model import Result, Side
from engine.routing.plan import Announce, CallPlan, Forward
from engine.trunks.model import Trunk

log = structlog.get_logger(__name__)


async def incoming(call: Call, plan: CallPlan, trunk: Trunk | None) -> None:
    """Takes `call` through `plan`. Targets are dialled on `trunk`, the one that the call came in by.

    Raises CallerHungUp when the caller leaves.
    """
    match plan:
        case Announce():
            await announce(call, plan)
        case Forward() if trunk is None:
            log.error("call on a trunk that is not known", call=str(call.id), trunk=call.notes.arrival.trunk)
            call.notes.conclude(Result.FAILED, Side.DARI)
        case Forward():
            await forward(call, plan, trunk)


async def forward(call: Call, plan: Forward, trunk: Trunk) -> None:
    """Ringback while the target rings, whisper to the target alone, then answer and connect."""
    call.move(CallState.RINGING)
    waiting = Waiting(call, plan)
    async with call.meanwhile("waiting", waiting.hear):
        target = await dial(call, plan, trunk)
        if isinstance(target, Result):
            call.notes.conclude(target, Side.TARGET if call.target and call.target.gone else Side.DARI)
            return
        call.move(CallState.WHISPERING)
        target_was_told = await whisper(call, target, plan)
        await waiting.until_ready_to_connect(target)
        if not target.gone:
            await start_recording(call, plan, caller_was_told=waiting.caller_was_told, target_was_told=target_was_told)
            await until_arrival_is_safe(call)
    if target.gone:
        call.notes.conclude(Result.REJECTED, Side.TARGET)
        return
    await connect(call, target)
    await until_somebody_hangs_up(call, target)
