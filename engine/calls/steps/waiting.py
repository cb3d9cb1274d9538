"""What the caller hears until the connection: the notices first, then ringback. All of it unanswered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from engine.calls.call import Call
from engine.calls.party import Party
from engine.calls.steps.consent import offer_before_talk
from engine.cdr.model import Side, StepKind
from engine.events.call_log import CallEventKind
from engine.foundation.errors import DariError
from engine.routing.call_plan import CallPlan, Forward, NoticeKind

log = structlog.get_logger(__name__)

CONNECTING = "ko/connecting"
"""What the target hears while it waits for the caller to have heard a mandatory notice."""
_INVITE_FIRST = 0.05
"""Seconds that the caller's sound waits at most for the INVITE to the telephone: together each slows the other."""
_CONNECTING_EVERY = 2.0
"""Seconds of silence between two of those."""

_STEPS = {
    NoticeKind.STORE_INFO: StepKind.STORE_NOTICE,
    NoticeKind.RECORDING: StepKind.RECORDING_NOTICE,
    NoticeKind.FEE: StepKind.FEE_NOTICE,
    NoticeKind.OWN: StepKind.NOTICE,
}

PlanAt = Callable[[datetime], Awaitable[CallPlan]]
"""What the same call would go through at another instant."""


class Waiting:
    """The caller's side of a ringing call; runs beside the script, which follows the targets."""

    def __init__(self, call: Call, plan: Forward, plan_at: PlanAt) -> None:
        self._call = call
        self._plan = plan
        self._plan_at = plan_at
        self._target_is_ready = False
        self._over = False
        self._settled = False

    async def hear(self) -> None:
        """Notices, then ringback until cancelled; not again what the caller has heard, or still hears."""
        call = self._call
        await call.until(lambda: call.invited or self._is_enough(), within=_INVITE_FIRST)
        try:
            await self._notices()
            if self._plan.consent is not None:
                await offer_before_talk(self._call, self._plan.consent, self._is_enough)
        finally:
            self._settled = True
            self._call.wake()
        sounds, until = self._plan.ringback, self._plan.ringback_until
        while True:
            music_class = await self._music_class(sounds)
            await self._call.until(lambda: not self._is_enough())
            await self._ringback(music_class, sounds)
            sounds, until = await self._next_ringback(sounds, until)

    async def until_ready_to_connect(self, target: Party) -> None:
        """Mandatory notices are heard to their end, even when the target is ready earlier; it hears that it waits.

        And no command for the caller's channel is on its way any more: music that starts after the connection would
        play into the talk.

        Returns early when the target hangs up.
        """
        self._target_is_ready = True
        self._call.wake()
        while not (self._settled or target.gone):
            await self._call.say(target, StepKind.CONNECTING, CONNECTING, enough=self._is_settled)
            await self._call.until(lambda: self._settled or target.gone, within=_CONNECTING_EVERY)

    def next_target_rings(self) -> None:
        """The one that was ready is gone: the caller waits on."""
        self._target_is_ready = False
        self._call.wake()

    async def end(self) -> None:
        """Nobody takes the call: what is played to the caller is cut, for it would hold up what comes instead.

        No command for the caller's channel is on its way any more. Music goes on until it is stopped.
        """
        self._over = True
        self._call.wake()
        await self._call.until(self._is_settled)

    def _is_enough(self) -> bool:
        return self._target_is_ready or self._over

    def _is_over(self) -> bool:
        return self._over

    def _is_settled(self) -> bool:
        return self._settled

    async def _notices(self) -> None:
        for notice in self._plan.notices:
            enough = self._is_over if notice.mandatory else self._is_enough
            if enough() or self._call.notes.was_heard(_STEPS[notice.kind], Side.CALLER):
                continue
            self._call.notes.tell(CallEventKind.NOTICE, notice.sound)
            await self._call.say(self._call.caller, _STEPS[notice.kind], notice.sound, enough=enough)
            if notice.mandatory:
                self._call.keep()

    async def _music_class(self, sounds: tuple[str, ...]) -> str | None:
        """None when there is none to be had. It may take its time: nobody waits for it but the caller."""
        try:
            return await self._call.board.music_class(sounds)
        except DariError as error:
            log.warning("no ringback", call=str(self._call.id), reason=str(error))
            return None

    async def _ringback(self, music_class: str | None, sounds: tuple[str, ...]) -> None:
        """Ringback is music on hold: it loops, and unlike a playback it does not hold up the answer that follows.

        Without it the caller's own telephone rings.
        """
        if self._call.notes.goes_on(StepKind.RINGBACK, heard_as(sounds)):
            return
        self._settled = False
        try:
            if music_class is None or not await self._plays(music_class, heard_as(sounds)):
                await self._call.to_caller(self._call.board.ari.ring(self._call.caller.channel))
        finally:
            self._settled = True
            self._call.wake()

    async def _plays(self, music_class: str, heard: str) -> bool:
        try:
            await self._call.start_music(music_class, heard)
        except DariError as error:
            log.warning("ringback not played", call=str(self._call.id), reason=str(error))
            return False
        self._call.notes.tell(CallEventKind.RINGBACK, heard)
        self._call.keep()
        return True

    async def _next_ringback(
        self, sounds: tuple[str, ...], until: datetime | None
    ) -> tuple[tuple[str, ...], datetime | None]:
        """Waits until the rules change the ringback while it still rings; what it is then, and until when."""
        while until is not None:
            await self._call.until(lambda: False, within=(until - self._call.notes.moment().at).total_seconds())
            later = await self._plan_at(until)
            if not isinstance(later, Forward):
                break
            until = later.ringback_until
            if later.ringback != sounds:
                return later.ringback, until
        await self._call.until(lambda: False)
        return sounds, None


def heard_as(sounds: tuple[str, ...]) -> str:
    """How the call log and the record name a ringback."""
    return ", ".join(sounds)
