"""A live call and the verbs a script has. Every waiting verb raises CallerHungUp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import structlog

from engine.calls.causes import CAUSE_TOWARDS_CALLER, NORMAL_CLEARING
from engine.calls.facts import Facts
from engine.calls.notes import Notes
from engine.calls.own_ids import bridge_of, first_channel_of, target_channel_of
from engine.calls.party import Party, Telephone
from engine.calls.state import CallState, check_move
from engine.calls.switchboard import Switchboard
from engine.cdr.model import CallRecord, Direction, Result, Side, StepKind
from engine.foundation.errors import Conflict, DariError, NotFound
from engine.foundation.tasks import Tasks
from engine.trunks.dialling import caller_on_trunk, counted_on, diverted_on, endpoint
from engine.trunks.model import Trunk

log = structlog.get_logger(__name__)

TARGET_VARIABLE = "DARI_TARGET"
"""Channel variable with the number dialled, for the engine that adopts the call: nothing else in Asterisk tells it."""

_NEWS_WITHIN = 1.0
"""Seconds by which an event may come later than the refusal of a command that it explains."""


class CallerHungUp(Exception):  # noqa: N818 - what happened, not what failed
    """The caller is gone; raised inside whatever verb is waiting."""


_LONGEST_SOUND = 300.0
"""Seconds after which a sound whose end nobody told is given up."""


class RecordingSwitch(Protocol):
    """What somebody outside of a call may do about its recording. Each raises Conflict when it cannot be done now."""

    @property
    def state(self) -> str:
        """none, off, recording or paused."""

    async def resume(self) -> None: ...

    async def pause(self) -> None: ...


class Call(Facts):
    """One call. Events come in through `deliver`, in order; scripts wait on facts with `until`, never on events."""

    def __init__(self, board: Switchboard, notes: Notes, caller: Party) -> None:
        super().__init__(notes, caller)
        self.board = board
        self.state = CallState.ARRIVED
        self.id = notes.arrival.call_id
        self.bridge = bridge_of(self.id, board.node)
        self.bridge_made = False
        self.recording: RecordingSwitch | None = None
        """Of the talk that goes on."""
        self._playbacks = 0
        self._firsts = 0
        if caller.place is None and notes.arrival.direction is Direction.INCOMING:
            caller.place = board.trunks.taken(caller.trunk)
        self._meanwhile = Tasks(f"call-{str(self.id)[-8:]}")

    def move(self, state: CallState) -> None:
        """Goes to `state`, if the table allows it."""
        check_move(self.state, state)
        self.state = state

    # -- waiting -------------------------------------------------------------------------------------------------

    async def until(self, happened: Callable[[], object], within: float | None = None) -> bool:
        """Waits until `happened()`; False when `within` seconds passed first."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while True:
                    if self.caller.gone:
                        raise CallerHungUp
                    if happened():
                        return True
                    await self._news.wait()
        return False

    async def to_caller(self, command: Awaitable[None]) -> None:
        """A command on the caller's channel: when the channel is not there any more, the caller has hung up."""
        try:
            await command
        except NotFound:
            self.lose(self.caller, hung_up=True)
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
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _quietly(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except CallerHungUp:
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
        self._playbacks += 1
        playback = f"{self.id}.p{self._playbacks}"
        step = self.notes.begin(kind, (party.side,), sound)
        self._sounding[playback] = party
        cut = True
        try:
            await self.board.ari.play(party.channel, str(self.board.sounds / sound), playback)
            await self.until(lambda: playback in party.playbacks or party.gone or enough(), within=_LONGEST_SOUND)
            cut = playback not in party.playbacks and not party.gone
            if cut:
                await self.board.ari.stop_playback(playback)
        except NotFound:
            self.lose(party, hung_up=True)
        except DariError as error:
            log.warning("sound not played", call=str(self.id), sound=sound, reason=str(error))
        finally:
            del self._sounding[playback]
            whole = party.playbacks.get(playback, False) and not cut and not party.gone
            step.end(self.notes.moment(), whole=whole)
        return whole

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

    # -- targets -------------------------------------------------------------------------------------------------

    async def ring(self, telephone: Telephone, trunk: Trunk, longest: int) -> Party:
        """Sends the INVITE. `longest` (seconds) is Asterisk's own limit, should this engine die.

        The first party of a call that we place takes the caller's seat. Nobody is called for a caller who has left:
        raises CallerHungUp.
        """
        if telephone.side is Side.CALLER:
            party = self._new_first(telephone, trunk)
        elif self.caller.gone:
            raise CallerHungUp
        else:
            party = self._new_target(telephone, trunk)
        variables = {TARGET_VARIABLE: telephone.number, **counted_on(trunk)}
        if telephone.diverted_by:
            variables |= diverted_on(trunk, telephone.diverted_by)
        try:
            await self.board.ari.originate(
                party.channel,
                endpoint(trunk, telephone.number),
                app_args=f"{party.side.value},{self.id}",
                caller_id=caller_on_trunk(trunk, telephone.shown) if telephone.shown else None,
                ring_seconds=longest,
                variables=variables,
            )
        except DariError:
            party.free_trunk()
            raise
        return party

    def _new_target(self, telephone: Telephone, trunk: Trunk) -> Party:
        channel = target_channel_of(self.id, self.board.node, len(self.targets) + 1)
        target = self._new_party(telephone, trunk, channel)
        self.targets.append(target)
        return target

    def _new_first(self, telephone: Telephone, trunk: Trunk) -> Party:
        if self._firsts:
            self.earlier.append(self.caller)
        self._firsts += 1
        self.caller = self._new_party(telephone, trunk, first_channel_of(self.id, self.board.node, self._firsts))
        return self.caller

    def _new_party(self, telephone: Telephone, trunk: Trunk, channel: str) -> Party:
        party = Party(telephone.side, channel, "", trunk.name, telephone.number, self.notes.moment())
        party.place = self.board.trunks.sent(trunk)
        return party

    def add_target(self, target: Party) -> None:
        """A leg of this call that was dialled by an earlier life of the engine."""
        target.place = self.board.trunks.taken(target.trunk)
        self.targets.append(target)

    def wants(self, channel_or_bridge: str) -> bool:
        """Whether this call has need of what was made for it, or may yet."""
        listeners = {own for ids in self.listeners for own in (*ids.channels, ids.bridge)}
        channels = {party.channel for party in self.parties if not party.dropped}
        return channel_or_bridge in channels | listeners | {self.bridge}

    async def drop(self, target: Party, cause: int = NORMAL_CLEARING) -> None:
        """A target is not wanted any more. One that cannot be told now is told again when the call is cleared away."""
        target.dropped = not target.gone
        target.free_trunk()
        try:
            await self._hang_up(target, cause)
        except DariError as error:
            log.warning("target not hung up yet", call=str(self.id), reason=str(error))

    # -- the caller and the talk -----------------------------------------------------------------------------------

    async def answer(self) -> None:
        """200 OK to the caller."""
        await self.to_caller(self.board.ari.answer(self.caller.channel))
        self.notes.answered = self.notes.moment()
        self.caller.answered = self.caller.answered or self.notes.answered

    async def make_bridge(self, kind: str) -> None:
        """The bridge of this call, still empty."""
        self.bridge_made = True  # before it is asked for: an answer that never comes says nothing
        await self.board.ari.create_bridge(self.bridge, kind)

    async def bridge_with(self, target: Party) -> None:
        """The two hear each other from here on."""
        try:
            await self.board.ari.add_to_bridge(self.bridge, self.caller.channel, target.channel)
        except (NotFound, Conflict):  # one of the two has hung up; the event tells which
            if not await self.until(lambda: target.gone, within=_NEWS_WITHIN):
                raise

    async def unbridge(self) -> None:
        """The caller is alone again, and hears what is said to it.

        Taken out first: a bridge that is destroyed lets its channels go only a moment later, and a sound for one that
        is still on its way out is never heard.
        """
        await self.board.ari.remove_from_bridge(self.bridge, self.caller.channel)
        await self.board.ari.destroy_bridge(self.bridge)
        self.bridge_made = False

    # -- the end -------------------------------------------------------------------------------------------------

    async def clear_away(self) -> bool:
        """Nothing of this call stays in Asterisk: all legs and the bridge go, whatever state they are in.

        False when Asterisk did not do it all; what is left belongs to no call and is to be looked for.
        """
        await self._meanwhile.close()
        self.state = CallState.ENDED
        self.wake()
        work = [self._hang_up(self.caller, CAUSE_TOWARDS_CALLER[self.notes.result or Result.FAILED])]
        # Those that are known to be gone too: what told us may have been a refusal while they still came.
        work += [self._hang_up(party, NORMAL_CLEARING) for party in (*self.earlier, *self.targets)]
        work += [self.board.ari.hang_up(spy, NORMAL_CLEARING) for ids in self.listeners for spy in ids.channels]
        work += [self.board.ari.destroy_bridge(ids.bridge) for ids in self.listeners]
        if self.bridge_made:
            work.append(self.board.ari.destroy_bridge(self.bridge))
        outcomes = await asyncio.gather(*work, return_exceptions=True)
        for party in self.parties:
            party.free_trunk()
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for failure in failures:
            if not isinstance(failure, DariError):
                raise failure
            log.warning("not cleared away", call=str(self.id), reason=str(failure))
        return not failures

    async def _hang_up(self, party: Party, cause: int) -> None:
        if not party.gone:
            party.cause = party.cause or cause
        await self.board.ari.hang_up(party.channel, cause)

    def record(self) -> CallRecord:
        """The record of the ended call."""
        now = self.notes.moment()
        for party in self.parties:
            party.end(now)
        return self.notes.record(tuple(party.leg() for party in self.parties))
