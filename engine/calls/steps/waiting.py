"""What the caller hears until the connection: the notices first, whole, then ringback. All of it unanswered."""

from __future__ import annotations

import structlog

from engine.calls.call import Call
from engine.calls.party import Party
from engine.cdr.model import Side, StepKind
from engine.events.call_log import CallEventKind
from engine.foundation.errors import DariError
from engine.routing.plan import Forward

log = structlog.get_logger(__name__)


class Waiting:
    """The caller's side of a ringing call; runs beside the script, which follows the target."""

    def __init__(self, call: Call, plan: Forward) -> None:
        self._call = call
        self._plan = plan
        self._target_is_ready = False
        self._settled = False
        self.caller_was_told = False
        """Whether the recording notice was heard whole."""

    async def hear(self) -> None:
        """Notices, then ringback until cancelled."""
        try:
            if notice := self._plan.recording_notice_to_caller:
                self._call.notes.tell(CallEventKind.NOTICE, notice)
                self.caller_was_told = await self._call.say(self._call.caller, StepKind.RECORDING_NOTICE, notice)
            if not self._target_is_ready:
                await self._start_ringback()
        finally:
            self._settled = True
            self._call.wake()
        await self._call.until(lambda: False)

    async def until_ready_to_connect(self, target: Party) -> None:
        """A notice that has begun is heard to its end, even when the target is ready earlier. And no command for the
        caller's channel is on its way any more: music that starts after the connection would play into the talk.

        Returns early when the target hangs up.
        """
        self._target_is_ready = True
        await self._call.until(lambda: self._settled or target.gone)

    async def _start_ringback(self) -> None:
        """Ringback is music on hold: it loops, and unlike a playback it does not hold up the answer that follows."""
        call = self._call
        try:
            music_class = await call.board.music_class(self._plan.ringback)
            await call.to_caller(call.board.ari.start_music(call.caller.channel, music_class))
        except DariError as error:
            log.warning("ringback not played, the caller's own telephone rings", call=str(call.id), reason=str(error))
            await call.to_caller(call.board.ari.ring(call.caller.channel))
            return
        call.notes.begin(StepKind.RINGBACK, (Side.CALLER,), self._plan.ringback)
        call.notes.tell(CallEventKind.RINGBACK, self._plan.ringback)
