"""The target rings."""

from __future__ import annotations

import structlog

from engine.calls.call import Call
from engine.calls.causes import result_of
from engine.calls.party import Party
from engine.cdr.model import Result
from engine.events.call_log import CallEventKind
from engine.foundation.errors import DariError, NotAllowed
from engine.foundation.phone_number import check_target
from engine.routing.plan import Forward
from engine.trunks.dialling import endpoint, on_trunk
from engine.trunks.model import Trunk

log = structlog.get_logger(__name__)

# Asterisk's own limit lies this much behind ours, so that ours decides while this engine lives.
_ASTERISK_LATER = 5


async def dial(call: Call, plan: Forward, trunk: Trunk) -> Party | Result:
    """The target that answered (it may have hung up since), or why nobody did. Raises CallerHungUp."""
    try:
        check_target(plan.target)
    except NotAllowed:
        return Result.NOT_FORWARDABLE
    call.notes.target = plan.target
    caller = call.notes.arrival.caller
    try:
        target = await call.ring(
            plan.target,
            trunk,
            endpoint(trunk, plan.target),
            caller_id=on_trunk(trunk, caller) if caller else None,
            longest=plan.ring_seconds + _ASTERISK_LATER,
        )
    except DariError as error:
        log.warning("target not dialled", call=str(call.id), trunk=trunk.name, reason=str(error))
        return Result.UNREACHABLE
    began = call.notes.moment().tick
    await call.until(lambda: bool(target.rang or target.answered or target.gone), within=plan.ring_seconds)
    if target.rang:
        call.notes.ringing = target.rang
        call.notes.tell(CallEventKind.RINGING)
    left = plan.ring_seconds - (call.notes.moment().tick - began)
    await call.until(lambda: bool(target.answered or target.gone), within=max(left, 0.0))
    return _outcome(call, target)


def _outcome(call: Call, target: Party) -> Party | Result:
    if target.answered:
        call.notes.tell(CallEventKind.ANSWERED)
        return target
    if target.gone:
        return result_of(target.cause, target.sip_code, rang=target.rang is not None)
    return Result.NO_ANSWER if target.rang else Result.UNREACHABLE
