"""A live call and the verbs a script has. Every waiting verb raises CallerHungUp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol, TypeVar

import structlog

from engine.asterisk.commands import OutcomeUnknown, WrongState
from engine.calls.causes import CAUSE_TOWARDS_CALLER, NORMAL_CLEARING
from engine.calls.journal import progress_of
from engine.calls.legs import CallerHungUp, GivenAway, Legs
from engine.calls.notes import Moment, Notes
from engine.calls.own_ids import playback_of
from engine.calls.party import Party
from engine.calls.state import CallState, check_move
from engine.calls.switchboard import Switchboard
from engine.cdr.model import CallRecord, Result, Side, StepKind
from engine.foundation.errors import Conflict, DariError, NotFound, TryLater
from engine.foundation.tasks import Tasks

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

PLAIN = "mixing"
"""A bridge in which nobody listens for keys."""

_NEWS_WITHIN = 1.0
"""Seconds by which an event may come later than the refusal of a command that it explains."""

_LONGEST_SOUND = 300.0
"""Seconds after which a sound whose end nobody told is given up."""

_SOUNDS_AT_MOST = 16
"""More than that a party hears in no call, one after the other, from one life of the engine."""

_JOINED_WITHIN = 30.0
"""Seconds after which a talk is given up of which Asterisk does not say whether it has come about."""

_LOOKED_EVERY = 0.5


class RecordingSwitch(Protocol):
    """What somebody outside of a call may do about its recording. Each raises Conflict when it cannot be done now."""

    @property
    def state(self) -> str:
        """none, off, recording or paused."""

    async def resume(self) -> None: ...

    async def pause(self) -> None: ...


class Call(Legs):
    """One call. Events come in through `deliver`, in order; scripts wait on facts with `until`, never on events."""

    def __init__(self, board: Switchboard, notes: Notes, caller: Party, life: int = 1) -> None:
        """`life`: how many lives of engines have had the call, this one included."""
        super().__init__(board, notes, caller, life)
        self.state = CallState.ARRIVED
        self.bridge_kind = PLAIN
        self._bridge_asked_for = False
        """There may be one, whatever was answered."""
        self._bridge_stands = False
        self._bridge_in_work = asyncio.Lock()
        self.recording: RecordingSwitch | None = None
        """Of the talk that goes on."""
        self._meanwhile = Tasks(f"call-{self.id.hex[-8:]}")
        self._ahead = Tasks(f"ahead of call-{self.id.hex[-8:]}")

    def move(self, state: CallState) -> None:
        """Goes to `state`, if the table allows it."""
        check_move(self.state, state)
        self.state = state

    def keep(self) -> None:
        """Whatever happens to this engine, another life of it goes on from here."""
        self.board.spool.progress(self.id, progress_of(self.notes, self.parties, self.target, self.life))

    def begin_stage(self, place: int, failure: Result) -> None:
        """The chain has come to the stage at that place of the plan; `failure` is how the one before it ended."""
        self.notes.stage, self.notes.legs_before, self.notes.failure = place, len(self.targets), failure
        self.keep()

    # -- waiting -------------------------------------------------------------------------------------------------

    async def until(self, happened: Callable[[], object], within: float | None = None) -> bool:
        """Waits until `happened()`; False when `within` seconds passed first."""
        latest = asyncio.get_running_loop().time() + within if within is not None else None
        while True:
            if self.given_away:
                raise GivenAway
            if self.caller.gone:
                raise CallerHungUp
            if happened():
                return True
            left = latest - asyncio.get_running_loop().time() if latest is not None else None
            if not await self._until(happened, left):
                return False

    async def to_caller(self, command: Awaitable[_T]) -> _T:
        """A command on the caller's channel: when the channel is not there any more, the caller has hung up."""
        try:
            return await command
        except NotFound:
            self.lose(self.caller, hung_up=not self.notes.stopped)
            raise CallerHungUp from None
        except Conflict:  # so Asterisk refuses for a moment while the channel goes
            await self.until(lambda: False, within=_NEWS_WITHIN)
            raise

    @asynccontextmanager
    async def meanwhile(self, name: str, work: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Runs `work()` beside the block, for what one party goes through while the script follows another.

        When it fails, the block goes on: a caller who hears no ringback still gets through.
        """
        task = self._meanwhile.start(name, self._quietly(name, work))
        try:
            yield
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait([task])

    async def _quietly(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except (CallerHungUp, GivenAway):
            pass  # the script itself is told by its own wait
        except DariError as error:
            log.warning("step failed, call goes on", call=str(self.id), step=name, reason=str(error))

    # -- what a party hears --------------------------------------------------------------------------------------

    async def say(
        self,
        party: Party,
        kind: StepKind,
        sound: str,
        *,
        enough: Callable[[], object] = lambda: False,
    ) -> bool:
        """Plays `sound` to one party; True when it was heard whole. It is stopped as soon as `enough()`.

        Cancelled, it leaves the sound in front of all that is to come on that channel: let it end by `enough`.
        """
        if party.gone or enough():
            return False
        party.sounds += 1
        playback = playback_of(party.channel, self.life, party.sounds)
        step = self.notes.begin(kind, (party.side,), sound)
        self._sounding[playback] = party
        cut = True
        try:
            cut = await self._play(party, sound, playback, enough)
        finally:
            del self._sounding[playback]
            whole = party.playbacks.get(playback, False) and not cut and not party.gone
            step.end(self.notes.moment(), whole=whole)
        return whole

    async def _play(self, party: Party, sound: str, playback: str, enough: Callable[[], object]) -> bool:
        """Whether it was cut, or could not be played."""
        try:
            await self.board.ari.play(party.channel, str(self.board.sounds / sound), playback)
            await self.until(lambda: playback in party.playbacks or party.gone or enough(), within=_LONGEST_SOUND)
            if playback in party.playbacks or party.gone:
                return False
            await self.board.ari.stop_playback(playback)
        except NotFound:
            self.lose(party, hung_up=not self.notes.stopped)
        except DariError as error:
            log.warning("sound not played", call=str(self.id), sound=sound, reason=str(error))
        return True

    async def hush(self, party: Party) -> None:
        """What an earlier life of the engine plays to a party ends: it would hold up what comes."""
        lives = range(max(1, self.life - 2), self.life)
        sounds = [playback_of(party.channel, life, number) for life in lives for number in range(1, _SOUNDS_AT_MOST)]
        outcomes = await asyncio.gather(*map(self.board.ari.stop_playback, sounds), return_exceptions=True)
        for failure in {str(outcome) for outcome in outcomes if isinstance(outcome, DariError)}:
            log.warning("an earlier sound may go on", call=str(self.id), reason=failure)

    async def start_music(self, music_class: str, sounds: str) -> None:
        """The caller hears music from here on, in place of what it heard; it ends by itself when they are connected."""
        await self.to_caller(self.board.ari.start_music(self.caller.channel, music_class))
        self.notes.end(StepKind.RINGBACK)
        self.notes.begin(StepKind.RINGBACK, (Side.CALLER,), sounds)

    async def stop_music(self) -> None:
        """The caller hears nothing. Music that could not be stopped ends with the next sound, or the call."""
        try:
            await self.board.ari.stop_music(self.caller.channel)
        except DariError as error:
            log.warning("music not stopped", call=str(self.id), reason=str(error))
        self.notes.end(StepKind.RINGBACK)
        self.keep()

    # -- the caller and the talk -----------------------------------------------------------------------------------

    async def answer(self) -> None:
        """200 OK to the caller."""
        await self.to_caller(self.board.ari.answer(self.caller.channel))
        self.note_answer()

    async def answer_and_connect(self, target: Party) -> None:
        """200 OK to the caller, and the two hear each other from here on."""
        ari = self.board.ari
        apart = await self.to_caller(ari.answer_into(self.bridge, self.caller.channel, target.channel))
        self.note_answer()
        try:
            if isinstance(apart, OutcomeUnknown):
                await self._see_them_joined(target)
            elif apart is not None:
                raise apart
        except (NotFound, Conflict):  # one of the two has hung up; the event tells which
            if not await self.until(lambda: target.gone, within=_NEWS_WITHIN):
                raise

    def note_answer(self, at: Moment | None = None) -> None:
        """The caller is answered: now, or at that moment."""
        self.notes.answered = self.notes.answered or at or self.notes.moment()
        self.caller.answered = self.caller.answered or self.notes.answered

    def has_bridge(self, bridge: str) -> None:
        """An earlier life of the engine has made it."""
        self.bridge, self._bridge_asked_for, self._bridge_stands = bridge, True, True

    def make_bridge_ahead(self) -> None:
        """It is made while the target rings, so that nobody who has answered waits for it."""
        if not (self._bridge_asked_for or len(self._ahead)):
            self._ahead.start("bridge", self._quietly("bridge", self.make_bridge))

    async def make_bridge(self) -> None:
        """The bridge of this call, still empty; made once, whoever asks for it."""
        async with self._bridge_in_work:
            if self._bridge_stands or self.state is CallState.ENDED:
                return
            again, self._bridge_asked_for = self._bridge_asked_for, True
            try:
                await self.board.ari.create_bridge(self.bridge, self.bridge_kind)
            except WrongState:
                if not again:
                    raise
            self._bridge_stands = True

    async def _destroy_bridge(self) -> None:
        async with self._bridge_in_work:
            if self._bridge_asked_for:
                await self.board.ari.destroy_bridge(self.bridge)
            self._bridge_asked_for = self._bridge_stands = False

    async def _see_them_joined(self, target: Party) -> None:
        """No answer says nothing: the two may be talking. Asterisk is looked at, and asked again, until it tells."""
        latest = self.notes.moment().tick + _JOINED_WITHIN
        while not target.gone:
            try:
                if not await self._are_joined(target):
                    await self.board.ari.add_to_bridge(self.bridge, self.caller.channel, target.channel)
                return
            except TryLater:
                if self.notes.moment().tick > latest:
                    raise
            await self.until(lambda: target.gone, within=_LOOKED_EVERY)

    async def _are_joined(self, target: Party) -> bool:
        both = {self.caller.channel, target.channel}
        return any(
            bridge.id == self.bridge and both <= set(bridge.channels) for bridge in await self.board.ari.bridges()
        )

    async def unbridge(self) -> None:
        """The caller is alone again, and hears what is said to it.

        Taken out first: a bridge that is destroyed lets its channels go only a moment later, and a sound for one that
        is still on its way out is never heard.
        """
        await self.board.ari.remove_from_bridge(self.bridge, self.caller.channel)
        await self._destroy_bridge()

    async def let_go(self) -> None:
        """What is left of this call in Asterisk is the dialplan's."""
        await self._meanwhile.close()
        await self._ahead.close()
        self.state = CallState.ENDED
        for party in self.parties:
            party.free_trunk()

    # -- the end -------------------------------------------------------------------------------------------------

    async def clear_away(self) -> bool:
        """Nothing of this call stays in Asterisk: all legs and the bridge go, whatever state they are in.

        False when Asterisk did not do it all; what is left belongs to no call and is to be looked for.
        """
        await self._meanwhile.close()
        self.state = CallState.ENDED
        self.wake()
        legs = [(self.caller, CAUSE_TOWARDS_CALLER[self.notes.result or Result.FAILED])]
        # Those that are known to be gone too: what told us may have been a refusal while they still came.
        legs += [(party, NORMAL_CLEARING) for party in (*self.earlier, *self.targets)]
        hang_ups = [(party.channel, cause) for party, cause in legs if self._is_to_end(party, cause)]
        hang_ups += [(spy, NORMAL_CLEARING) for ids in self.listeners for spy in ids.channels]
        async with self._bridge_in_work:
            bridges = [self.bridge] if self._bridge_asked_for else []
            failures = await self.board.ari.clear_away(hang_ups, [*bridges, *(ids.bridge for ids in self.listeners)])
        await self._ahead.close()
        for party in self.parties:
            party.free_trunk()
        for failure in failures:
            log.warning("not cleared away", call=str(self.id), reason=str(failure))
        return not failures

    def record(self) -> CallRecord:
        """The record of the ended call."""
        now = self.notes.moment()
        for party in self.parties:
            party.end(now)
        return self.notes.record(tuple(party.leg() for party in self.parties))
