"""What the target alone is told when it answers, while the caller still hears ringback."""

from __future__ import annotations

from engine.calls.call import Call
from engine.calls.party import Party
from engine.cdr.model import StepKind
from engine.events.call_log import CallEventKind
from engine.routing.plan import Forward


async def whisper(call: Call, target: Party, plan: Forward) -> bool:
    """Whisper, then the recording notice; True when the notice was heard whole. Ends early when the target hangs up."""
    if plan.whisper:
        call.notes.tell(CallEventKind.WHISPER, plan.whisper)
        await call.say(target, StepKind.WHISPER, plan.whisper)
    notice = plan.recording_notice_to_target
    if notice is None or target.gone:
        return False
    return await call.say(target, StepKind.RECORDING_NOTICE, notice)
