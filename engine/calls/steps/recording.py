"""The talk is recorded, in stereo with the caller on the left, only after both sides heard that it is."""

from __future__ import annotations

from engine.calls.call import Call
from engine.events.call_log import CallEventKind
from engine.foundation.errors import DariError
from engine.routing.plan import Forward

# MixMonitor: b = only while bridged; D = one file of interleaved left (caller) and right (target).
_OPTIONS = "bD"


async def start_recording(call: Call, plan: Forward, *, caller_was_told: bool, target_was_told: bool) -> None:
    """Starts it, or keeps the reason why not; either way the call goes on."""
    if not plan.record:
        return
    reason = _reason_against(caller_was_told, target_was_told)
    if not reason:
        file = call.board.monitor / f"{call.id}.raw"
        try:
            await call.board.recorder.record(call.caller.channel_name, str(file), _OPTIONS)
        except DariError as error:
            reason = f"Asterisk did not start it: {error}"
    if reason:
        call.notes.recording_reason = reason
        call.notes.tell(CallEventKind.NOT_RECORDED, reason)
        return
    call.notes.recording = f"{call.notes.arrival.arrived_at:%Y/%m/%d}/{call.id}.wav"
    call.notes.tell(CallEventKind.RECORDING)


def _reason_against(caller_was_told: bool, target_was_told: bool) -> str:
    if not caller_was_told:
        return "the caller did not hear the whole recording notice"
    if not target_was_told:
        return "the target did not hear the whole recording notice"
    return ""
