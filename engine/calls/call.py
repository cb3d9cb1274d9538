"""A live call: its mailbox of facts, and the verbs a script has. Every waiting verb raises CallerHungUp."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import structlog

from engine.asterisk import events
from engine.calls.causes import CAUSE_TOWARDS_CALLER, HUNG_UP_BY_US, NORMAL_CLEARING
from engine.calls.notes import Notes
from engine.calls.own_ids import bridge_of, target_channel_of
from engine.calls.party import Party
from engine.calls.state import CallState, check_move
from engine.calls.switchboard import Switchboard
from engine.cdr.model import CallRecord, Result, Side, StepKind
from engine.foundation.errors import Conflict, DariError, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.tasks import Tasks
from engine.trunks.model import Trunk

log = structlog.get_logger(__name__)

TARGET_VARIABLE = "DARI_TARGET"
"""Channel variable with the number dialled, for the engine that adopts the call: nothing else in Asterisk tells it."""

_NEWS_WITHIN = 1.0
"""Seconds by which an event may come later than the refusal of a command that it explains."""


class CallerHungUp(Exception):  # noqa: N818 - what happened, not what failed
    """The caller is gone; raised inside whatever verb is waiting."""


def _diverted_from(number: PhoneNumber | None) -> dict[str, str]:
    """What makes Asterisk send `Diversion: <sip:number>`; without the count it sends none (22.10.1)."""
    if number is None:
        return {}
    return {
        "REDIRECTING(from-num,i)": number,
        "REDIRECTING(count,i)": "1",
        "REDIRECTING(reason,i)": "unconditional",
    }


class Call:
    """One call. Events come in through `deliver`, in order; scripts wait on facts with `until`, never on events."""

    def __init__(self, board: Switchboard, notes: Notes, caller: Party) -> None:
        self.board = board
        self.notes = notes
        self.caller = caller
        self.target: Party | None = None
        self.state = CallState.ARRIVED
        self.id = notes.arrival.call_id
        self.bridge = bridge_of(self.id, board.node)
        self.target_channel = target_channel_of(self.id, board.node)
        self.bridge_made = False
        self._playbacks = 0
        self._sounding: dict[str, Party] = {}
        self._news = asyncio.Event()
        self._meanwhile = Tasks(f"call-{str(self.id)[-8:]}")

    def move(self, state: CallState) -> None:
        """Goes to `state`, if the table allows it."""
        check_move(self.state, state)
        self.state = state

    # -- facts in ------------------------------------------------------------------------------------------------

    def deliver(self, event: events.Event) -> None:
        """Takes one event of this call's channels. Never blocks, never fails on what it does not need."""
        match event:
            case events.StasisStart(channel=channel):
                self._started(channel)
            case events.Dial(peer=peer, dialstatus=status):
                self._dialled(peer, status)
            case events.ChannelHangupRequest(channel=channel) | events.ChannelDestroyed(channel=channel):
                self._ended(channel, event.cause or 0, event.tech_cause or 0)
            case events.StasisEnd(channel=channel):
                self._ended(channel, 0, 0)
            case events.PlaybackFinished(playback=playback):
                self._played(playback)
        self.wake()

    def lose(self, party: Party, *, hung_up: bool) -> None:
        """A channel of this call went away while nobody told us."""
        if party.ended is None:
            party.ended, party.unseen = self.notes.moment(), not hung_up
        self.wake()

    def see(self, channel: events.Channel) -> None:
        """A channel of this call is there and in this state, whether or not anybody told us."""
        party = self._party(channel.id)
        if party is not None and party.rang is None and channel.state == "Ringing":
            party.rang = self.notes.moment()
        if channel.dialplan.app_name == "Stasis":
            self._started(channel)
        self.wake()

    def sounding(self) -> list[str]:
        """The playbacks that have not ended, as far as we were told."""
        return list(self._sounding)

    def sound_over(self, playback: str) -> None:
        """A playback ended while nobody told us; nobody knows whether it was heard whole, so it was not."""
        if party := self._sounding.get(playback):
            party.playbacks.setdefault(playback, False)
            self.wake()

    def wake(self) -> None:
        """Something changed: every waiting verb looks again."""
        self._news.set()
        self._news = asyncio.Event()

    def _party(self, channel_id: str) -> Party | None:
        if channel_id == self.caller.channel:
            return self.caller
        return self.target if self.target and channel_id == self.target.channel else None

    def _started(self, channel: events.Channel) -> None:
        party = self._party(channel.id)
        if party is self.target and party is not None:
            party.answered = party.answered or self.notes.moment()
            party.channel_name, party.sip_call_id = channel.name, channel.protocol_id or None

    def _dialled(self, peer: events.Channel, status: str) -> None:
        party = self._party(peer.id)
        if party is None or party is self.caller:
            return
        party.sip_call_id = party.sip_call_id or peer.protocol_id or None
        if status in ("RINGING", "PROGRESS") and party.rang is None:
            party.rang = self.notes.moment()

    def _ended(self, channel: events.Channel, cause: int, sip_code: int) -> None:
        party = self._party(channel.id)
        if party is None:
            return
        party.sip_call_id = party.sip_call_id or channel.protocol_id or None
        party.ended = party.ended or self.notes.moment()
        if cause != HUNG_UP_BY_US:
            party.cause = party.cause or cause
        party.sip_code = party.sip_code or sip_code

    def _played(self, playback: events.Playback) -> None:
        for party in filter(None, (self.caller, self.target)):
            if playback.target_uri == f"channel:{party.channel}":
                party.playbacks[playback.id] = playback.state == "done"

    # -- verbs ---------------------------------------------------------------------------------------------------

    async def until(self, happened: Callable[[], bool], within: float | None = None) -> bool:
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
        """Runs `work()` beside the block, for what one party goes through while the script follows the other.

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

    async def say(self, party: Party, kind: StepKind, sound: str, longest: float = 300.0) -> bool:
        """Plays `sound` to one party; True when it was heard whole. `longest`: seconds that it may take."""
        if party.gone:
            return False
        self._playbacks += 1
        playback = f"{self.id}.p{self._playbacks}"
        step = self.notes.begin(kind, (party.side,), sound)
        self._sounding[playback] = party
        try:
            await self.board.ari.play(party.channel, str(self.board.sounds / sound), playback)
            await self.until(lambda: playback in party.playbacks or party.gone, within=longest)
        except NotFound:
            self.lose(party, hung_up=True)
        except DariError as error:
            log.warning("sound not played", call=str(self.id), sound=sound, reason=str(error))
        finally:
            del self._sounding[playback]
            whole = party.playbacks.get(playback, False) and not party.gone
            step.end(self.notes.moment(), whole=whole)
        return whole

    async def ring(
        self, number: PhoneNumber, trunk: Trunk, endpoint: str, caller_id: str | None, longest: int
    ) -> Party:
        """Sends the INVITE to a target. `longest` (seconds) is Asterisk's own limit, should this engine die.

        Nobody is called for a caller who has left: raises CallerHungUp.
        """
        if self.caller.gone:
            raise CallerHungUp
        self.target = Party(
            side=Side.TARGET,
            channel=self.target_channel,
            channel_name="",
            trunk=trunk.name,
            number=number,
            started=self.notes.moment(),
        )
        await self.board.ari.originate(
            self.target_channel,
            endpoint,
            app_args=f"target,{self.id}",
            caller_id=caller_id,
            ring_seconds=longest,
            variables={TARGET_VARIABLE: number, **_diverted_from(self.notes.arrival.number)},
        )
        return self.target

    async def answer(self) -> None:
        """200 OK to the caller."""
        await self.to_caller(self.board.ari.answer(self.caller.channel))
        self.caller.answered = self.notes.answered = self.notes.moment()

    async def make_bridge(self) -> None:
        """The bridge of this call, still empty."""
        self.bridge_made = True  # before it is asked for: an answer that never comes says nothing
        await self.board.ari.create_bridge(self.bridge)

    async def bridge_with(self, target: Party) -> None:
        """The two hear each other from here on."""
        try:
            await self.board.ari.add_to_bridge(self.bridge, self.caller.channel, target.channel)
        except (NotFound, Conflict):  # one of the two has hung up; the event tells which
            if not await self.until(lambda: target.gone, within=_NEWS_WITHIN):
                raise

    # -- the end -------------------------------------------------------------------------------------------------

    async def clear_away(self) -> bool:
        """Nothing of this call stays in Asterisk: both legs and the bridge go, whatever state they are in.

        False when Asterisk did not do it all; what is left belongs to no call and is to be looked for.
        """
        await self._meanwhile.close()
        self.state = CallState.ENDED
        work = [self._hang_up(self.caller, CAUSE_TOWARDS_CALLER[self.notes.result or Result.FAILED])]
        if self.target is not None:
            work.append(self._hang_up(self.target, NORMAL_CLEARING))
        if self.bridge_made:
            work.append(self.board.ari.destroy_bridge(self.bridge))
        outcomes = await asyncio.gather(*work, return_exceptions=True)
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
        legs = [self.caller] + ([self.target] if self.target else [])
        for party in legs:
            party.ended = party.ended or now
        return self.notes.record(tuple(party.leg() for party in legs))
