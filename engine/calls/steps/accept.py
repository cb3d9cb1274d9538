"""Press 1 to take the call: no voicemail and no announcement ever counts as answered (X9)."""

from __future__ import annotations

from engine.calls.call import Call
from engine.calls.party import Party
from engine.cdr.model import StepKind

PROMPT = "ko/press-1-to-accept"
KEY = "1"
_TIMES = 3
_PAUSE = 3.0
"""Seconds after each prompt in which the key may come."""


async def accepts(call: Call, target: Party) -> bool:
    """Whether the target presses 1, now or since it answered. Ends early when it hangs up."""
    for _ in range(_TIMES):
        await call.say(target, StepKind.ACCEPT, PROMPT, enough=lambda: target.pressed(KEY))
        await call.until(lambda: target.pressed(KEY) or target.gone, within=_PAUSE)
        if target.gone or target.pressed(KEY):
            break
    return not target.gone and target.pressed(KEY) is not None
