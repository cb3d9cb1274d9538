"""The caller is answered and the two are connected."""

from __future__ import annotations

from engine.calls.call import Call
from engine.calls.party import Party
from engine.calls.state import CallState
from engine.cdr.model import Result, Side, StepKind
from engine.events.call_log import CallEventKind


async def connect(call: Call, target: Party) -> None:
    """200 OK to the caller, then one bridge with both. From here on the call counts as answered."""
    call.move(CallState.CONNECTED)
    await call.answer()
    await call.bridge_with(target)
    call.notes.end_steps()
    call.notes.begin(StepKind.CONNECT, (Side.CALLER, Side.TARGET))
    if call.notes.recording:
        call.notes.begin(StepKind.RECORDING, (Side.CALLER, Side.TARGET))
    call.notes.tell(CallEventKind.CONNECTED)


async def until_somebody_hangs_up(call: Call, target: Party) -> None:
    """Waits for the end of the talk and concludes who ended it; Dari does at the talk limit. Raises CallerHungUp."""
    try:
        over = await call.until(lambda: target.gone, within=call.board.talk_limit)
    finally:
        call.notes.end_steps()
    call.notes.conclude(Result.ANSWERED, Side.TARGET if over else Side.DARI)
