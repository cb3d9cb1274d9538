"""The caller hears why the call does not go on, as early media, and is then refused."""

from __future__ import annotations

from engine.calls.call import Call
from engine.calls.state import CallState
from engine.cdr.model import Result, Side, StepKind
from engine.events.call_log import CallEventKind


async def announce(call: Call, sounds: tuple[str, ...], result: Result) -> None:
    """Plays them once, in their order; the result stands even if the caller does not hear them out.

    What the caller has heard in an earlier life of the engine is not played again.
    """
    call.move(CallState.ANNOUNCING)
    call.notes.conclude(result, Side.DARI)
    heard = sum(step.kind is StepKind.ANNOUNCEMENT and step.whole for step in call.notes.steps)
    for sound in sounds[heard:]:
        if sound is not sounds[0]:
            call.keep()
        call.notes.tell(CallEventKind.ANNOUNCEMENT, sound)
        await call.say(call.caller, StepKind.ANNOUNCEMENT, sound)
