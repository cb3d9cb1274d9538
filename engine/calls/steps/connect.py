"""The caller is answered and the two are connected."""

from __future__ import annotations

import asyncio

import structlog

from engine.calls.call import Call
from engine.calls.party import Party
from engine.calls.state import CallState
from engine.cdr.model import Result, Side, StepKind
from engine.events.call_log import CallEventKind

log = structlog.get_logger(__name__)

_LONGEST_SYNC = 0.2
"""Seconds. The arrival is with the operating system already and outlives this process; the sync is for a power cut.
A disk that hangs shall not let two people wait who are about to talk."""

WITH_KEYS = "mixing,dtmf_events"
"""A bridge in which keys are told; sound goes through Asterisk's core, as it does for a recording anyway."""


async def until_arrival_is_safe(call: Call) -> None:
    """Before anything is charged, the call's arrival is on disk, unless the disk hangs."""
    try:
        async with asyncio.timeout(_LONGEST_SYNC):
            await call.board.spool.arrival_synced(call.id)
    except TimeoutError:
        log.warning("the disk of the spool hangs, call goes on", call=str(call.id))


async def connect(call: Call, target: Party) -> None:
    """200 OK to the caller, then one bridge with both. From here on the call counts as answered.

    The bridge is made before: what fails there costs the caller nothing.
    """
    await call.make_bridge()
    call.move(CallState.CONNECTED)
    if call.caller.answered:  # its music began when it was up: that would go on in the bridge, over the target's voice
        await call.stop_music()
    await call.answer_and_connect(target)
    call.notes.end_steps()
    call.notes.begin(StepKind.CONNECT, (Side.CALLER, Side.TARGET))
    call.notes.tell(CallEventKind.CONNECTED)


async def until_somebody_hangs_up(call: Call, target: Party) -> None:
    """Waits for the end of the talk and concludes who ended it; Dari does at the talk limit. Raises CallerHungUp."""
    left = max(call.board.talk_limit - call.notes.seconds(StepKind.CONNECT), 0.0)
    try:
        over = await call.until(lambda: target.gone, within=left)
    finally:
        call.notes.end_steps()
    call.notes.conclude(Result.ANSWERED, target.ender if over else Side.DARI)
