"""Live listening: somebody hears a call as it goes on, beside it. The parties' own sound goes its way as before.

A spy channel hears both parties on the called party's channel; a bridge of its own connects it with a channel whose
sound goes over a WebSocket. What a listener says, where that is allowed, takes the same way back.
"""

from __future__ import annotations

import asyncio

import structlog

from engine.asterisk.media import MediaLine
from engine.calls.call import Call
from engine.calls.causes import NORMAL_CLEARING
from engine.calls.listening_rules import Mode
from engine.calls.notes import OpenStep
from engine.calls.own_ids import listener_ids
from engine.calls.party import Party
from engine.calls.state import CallState
from engine.cdr.model import Side, StepKind
from engine.events.call_log import CallEventKind
from engine.foundation.errors import Conflict, DariError, TryLater

log = structlog.get_logger(__name__)

_READY_WITHIN = 5.0
_WHISPERED = {Mode.LISTEN: "none", Mode.WHISPER: "out", Mode.BARGE: "both"}
"""Where the spy channel's own sound goes, seen from the called party's channel."""
_HEARD_BY: dict[Mode, tuple[Side, ...]] = {
    Mode.LISTEN: (),
    Mode.WHISPER: (Side.TARGET,),
    Mode.BARGE: (Side.CALLER, Side.TARGET),
}


def talking(call: Call) -> Party | None:
    """The called party, while the two are connected."""
    connected = call.state is CallState.CONNECTED and call.notes.answered is not None and not call.caller.gone
    return call.target if connected and call.target is not None and not call.target.gone else None


def announced(call: Call) -> bool:
    """Whether both parties heard the recording notice whole. A recording is proof of it: it begins only after that."""
    steps = call.notes.steps
    caller_was_told = any(
        step.kind is StepKind.RECORDING_NOTICE and Side.CALLER in step.to and step.whole for step in steps
    )
    target_was_told = call.target is not None and call.target.was_told
    return (caller_was_told and target_was_told) or any(step.kind is StepKind.RECORDING for step in steps)


class Listener:
    """Whoever listens to one call: what is made for them in Asterisk, and what is written of it into the call."""

    def __init__(self, call: Call, mode: Mode, who: str) -> None:
        self._call = call
        self._mode = mode
        self._who = who
        self._ids = listener_ids(call.id, call.board.node, call.next_listener())
        self._line: MediaLine | None = None
        self._step: OpenStep | None = None

    async def open(self) -> MediaLine:
        """Their line, on which both parties are to be heard from now on.

        Raises DariError or CallerHungUp; `close` it in any case.
        """
        call, ari, ids = self._call, self._call.board.ari, self._ids
        target = talking(call)
        if target is None:
            raise Conflict(f"call {call.id}: nobody talks any more")
        call.listeners.append(ids)
        self._line = await ari.open_media(await ari.external_media(ids.media))
        await ari.create_bridge(ids.bridge)
        await ari.snoop(target.channel, ids.spy, whisper=_WHISPERED[self._mode])
        if not await call.until(lambda: call.ready_to_listen.issuperset(ids.channels), within=_READY_WITHIN):
            raise TryLater("Asterisk did not make the channels to listen with; try again")
        await ari.add_to_bridge(ids.bridge, *ids.channels)
        self._step = call.notes.begin(StepKind.LISTENING, _HEARD_BY[self._mode])
        call.notes.tell(CallEventKind.LISTENING, f"{self._mode.value}: {self._who}")
        return self._line

    async def until_talk_is_over(self) -> None:
        """Raises CallerHungUp when it was the caller who ended it."""
        call = self._call
        await call.until(lambda: talking(call) is None or not call.ready_to_listen.issuperset(self._ids.channels))

    async def close(self) -> None:
        """Nothing of theirs stays in Asterisk; what cannot be removed now belongs to nobody and is looked for."""
        call, ari, ids = self._call, self._call.board.ari, self._ids
        if self._step is not None:
            if call.state is not CallState.ENDED:  # else the call's last line is written
                call.notes.tell(CallEventKind.LISTENING, f"over: {self._who}")
            self._step.end(call.notes.moment(), whole=True)
        work = [ari.hang_up(channel, NORMAL_CLEARING) for channel in ids.channels]
        work.append(ari.destroy_bridge(ids.bridge))
        if self._line is not None:
            work.append(self._line.close())
        for outcome in await asyncio.gather(*work, return_exceptions=True):
            if isinstance(outcome, DariError):
                log.warning("a listener's line is not removed yet", call=str(call.id), reason=str(outcome))
            elif isinstance(outcome, BaseException):
                raise outcome
        if ids in call.listeners:
            call.listeners.remove(ids)
        call.ready_to_listen.difference_update(ids.channels)
