"""A telephone that the dialplan rings and connects by itself, seen from here: followed, timed, written down."""

from __future__ import annotations

from engine.calls.adoption import catch_up, look, see_direct
from engine.calls.call import Call
from engine.calls.legs import CallerHungUp
from engine.calls.party import Party
from engine.calls.state import CallState
from engine.calls.steps.invite import is_silent
from engine.calls.steps.waiting import heard_as
from engine.cdr.model import Side, StepKind
from engine.events.call_log import CallEventKind
from engine.foundation.errors import GaveUp
from engine.routing.call_plan import Forward, Ring

_DIALPLAN_LATER = 10.0
"""Seconds after the end of the ringing by which Asterisk has said what came of it."""


async def follow(call: Call, plan: Forward, target: Party, stage: int) -> bool:
    """True: the two are connected. False: nobody took the call, and the caller is in our hands.

    Raises CallerHungUp, GivenAway, and GaveUp when Asterisk does not say what came of the call.
    """
    try:
        return await _followed(call, plan, target, stage)
    except CallerHungUp:
        if call.caller.answered:  # of a talk so short, or told so late, that its end came with its beginning
            _connected(call, target)
        raise


async def _followed(call: Call, plan: Forward, target: Party, stage: int) -> bool:
    call.notes.target = target.number
    if call.state is CallState.ARRIVED:
        call.move(CallState.RINGING)
    if call.state is not CallState.CONNECTED and not call.notes.goes_on(StepKind.RINGBACK):
        call.notes.begin(StepKind.RINGBACK, (Side.CALLER,), heard_as(plan.ringback))
        call.notes.tell(CallEventKind.RINGBACK, heard_as(plan.ringback))
    limit = target.started.tick + _seconds(plan, stage) + _DIALPLAN_LATER
    await _until_it_rings(call, target, limit)
    if target.rang and not call.notes.ringing:
        call.notes.ringing = target.rang
        call.notes.tell(CallEventKind.RINGING, target=target.number)
        call.keep()
    if not await _until_it_is_over(call, target, limit):
        raise GaveUp("Asterisk does not tell what came of a telephone that it rings")
    if not target.answered:
        call.notes.end(StepKind.RINGBACK)
        return False
    _connected(call, target)
    return True


def _connected(call: Call, target: Party) -> None:
    call.target = target
    if call.state is not CallState.CONNECTED:
        call.move(CallState.CONNECTED)
        call.notes.tell(CallEventKind.ANSWERED, target=target.number)
        call.note_answer(target.answered)
        call.notes.end_steps(target.answered)
        call.notes.begin(StepKind.CONNECT, (Side.CALLER, Side.TARGET)).began = target.answered or call.notes.moment()
        call.notes.tell(CallEventKind.CONNECTED)


async def _until_it_rings(call: Call, target: Party, limit: float) -> None:
    """Or not any more. A trunk on which nothing at all is heard is given up, if there is another one."""
    trunk = call.board.trunks.find(target.trunk)
    others = [one for one in call.board.trunks.candidates(call.notes.arrival.trunk) if one.name != target.trunk]
    if trunk is not None and others and await is_silent(call, target, trunk, limit):
        await call.give_up_silent(target)
    await call.until(
        lambda: target.rang or target.answered or target.gone, within=max(limit - call.notes.moment().tick, 0)
    )


async def _until_it_is_over(call: Call, target: Party, limit: float) -> bool:
    """Whether it was answered or has ended. When nothing was told until `limit`, we look for ourselves: once."""

    def is_over() -> object:
        return target.answered or target.gone

    if await call.until(is_over, within=max(limit - call.notes.moment().tick, 0.0)):
        return True
    found = await look(call.board.ari, (), call.board.node, call.notes.clock)
    catch_up(call, found)
    see_direct(call, found, is_late=True)
    return await call.until(is_over, within=0.0)


def _seconds(plan: Forward, stage: int) -> int:
    ring = plan.stages[stage]
    return max(ringing.seconds for ringing in ring.targets) if isinstance(ring, Ring) else 0
