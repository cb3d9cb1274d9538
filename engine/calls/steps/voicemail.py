"""Nobody was reached: the caller leaves a message, which is kept with the call."""

from __future__ import annotations

from pathlib import Path

from engine.calls.call import Call
from engine.calls.own_ids import voicemail_of
from engine.calls.state import CallState
from engine.calls.steps.connect import until_arrival_is_safe
from engine.cdr.model import Result, Side, StepKind, expected_file
from engine.events.call_log import CallEventKind

BEEP = "ko/beep"
THANKS = "ko/voicemail-thanks"
LONGEST = 120
"""Seconds."""
_SILENCE = 6
"""Seconds without sound that end it."""
_END_KEY = "#"
_ASTERISK_LATER = 5.0


async def leave_message(call: Call, greeting: str) -> None:
    """Answers the caller, greets, and records until silence, `#`, the limit or the hang-up. Raises CallerHungUp.

    What the caller has heard in an earlier life of the engine is not played again, and a message begun then goes on.
    """
    call.move(CallState.ANNOUNCING)
    await until_arrival_is_safe(call)
    if call.notes.answered is None:
        await call.answer()
        call.keep()
    call.notes.tell(CallEventKind.VOICEMAIL, greeting)
    try:
        for sound in (greeting, BEEP):
            if not call.notes.was_heard(StepKind.ANNOUNCEMENT, Side.CALLER, sound):
                await call.say(call.caller, StepKind.ANNOUNCEMENT, sound)
        if await _record(call):
            await call.say(call.caller, StepKind.ANNOUNCEMENT, THANKS)
    finally:
        ended_it = call.caller.hung_up or call.caller.pressed(_END_KEY)
        call.notes.conclude(Result.VOICEMAIL, Side.CALLER if ended_it else Side.DARI)


async def _record(call: Call) -> bool:
    """True once a message is there. One whose end nobody told may be there too, and is kept."""
    name = voicemail_of(call.id)
    if call.notes.voicemail is None:
        await _begin(call, name)
    elif not await call.board.ari.is_recording(name):
        call.recorded[name] = spooled_message(call).exists()
    try:
        await call.until(lambda: name in call.recorded, within=LONGEST + _ASTERISK_LATER)
    finally:
        call.notes.end(StepKind.VOICEMAIL)
    if call.recorded.get(name) is False:
        call.notes.voicemail = None
    return call.recorded.get(name, False)


async def _begin(call: Call, name: str) -> None:
    await call.to_caller(
        call.board.ari.record_channel(call.caller.channel, name, longest=LONGEST, silence=_SILENCE, end_key=_END_KEY)
    )
    call.notes.begin(StepKind.VOICEMAIL, (Side.CALLER,))
    keep_message(call)
    call.keep()


def keep_message(call: Call) -> None:
    """What the caller leaves is kept with the call."""
    call.notes.voicemail = expected_file(call.notes.arrival, ".voicemail.wav")


def spooled_message(call: Call) -> Path:
    """Where Asterisk writes it."""
    return call.board.monitor.parent / "recording" / f"{voicemail_of(call.id)}.wav"
