"""The caller hears why the call does not go on, as early media, and is then refused."""

from __future__ import annotations

from engine.calls.call import Call
from engine.calls.state import CallState
from engine.cdr.model import Side, StepKind
from engine.events.call_log import CallEventKind
from engine.routing.plan import Announce


async def announce(call: Call, plan: Announce) -> None:
    """Plays the announcement; the result stands even if the caller does not hear it out."""
    call.move(CallState.ANNOUNCING)
    call.notes.conclude(plan.result, Side.DARI)
    call.notes.tell(CallEventKind.ANNOUNCEMENT, plan.sound)
    await call.say(call.caller, StepKind.ANNOUNCEMENT, plan.sound)
