"""What the target alone is told when it answers, while the caller still hears ringback."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial

import structlog

from engine.calls.call import Call
from engine.calls.party import Party
from engine.calls.steps.accept import KEY
from engine.cdr.model import StepKind
from engine.events.call_log import CallEventKind
from engine.foundation.errors import DariError
from engine.routing.call_plan import Forward, WhisperPlan

log = structlog.get_logger(__name__)

_SPEECH_WITHIN = 0.5
"""Seconds: whoever answered shall not wait for a voice. The text is spoken from the moment the call comes."""


def speaking(call: Call, whisper: WhisperPlan | None) -> AbstractAsyncContextManager[None]:
    """Has a text spoken before anybody answers, so that nobody waits for it then."""
    if whisper is None or not whisper.text:
        return nullcontext()
    return call.meanwhile("speech", partial(_speak, call, whisper.text))


async def whisper(call: Call, target: Party, plan: Forward) -> None:
    """Whisper, then the recording notice; notes on the target whether it heard that one whole.

    Ends early when the target hangs up. Whoever is asked to press 1 may do so before the whisper ends.
    """

    def enough() -> bool:
        return plan.accept and target.pressed(KEY) is not None

    sound = await _sound(call, plan.whisper) if plan.whisper else None
    if sound is not None:
        call.notes.tell(CallEventKind.WHISPER, sound, target.number)
        await call.say(target, StepKind.WHISPER, sound, enough=enough)
    if notice := plan.recording_notice_to_target:
        target.was_told = await call.say(target, StepKind.RECORDING_NOTICE, notice)


async def _speak(call: Call, text: str) -> None:
    await call.board.speech(text)


async def _sound(call: Call, whisper: WhisperPlan) -> str | None:
    """The sound to play; None when the voice is away or too slow."""
    if not whisper.text:
        return whisper.sound
    try:
        async with asyncio.timeout(_SPEECH_WITHIN):
            return await call.board.speech(whisper.text)
    except (DariError, TimeoutError) as error:
        log.warning("whisper not spoken", call=str(call.id), reason=str(error) or "the voice took too long")
        return whisper.sound
