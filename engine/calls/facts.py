"""What is known of a live call's legs: every event of its channels becomes a fact. Never blocks, asks nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from engine.asterisk import events
from engine.calls.causes import HUNG_UP_BY_US, NORMAL_CLEARING
from engine.calls.direct import CameBack, came_back
from engine.calls.notes import Moment, Notes
from engine.calls.own_ids import ListenerIds, is_of_listener
from engine.calls.party import Key, Party
from engine.cdr.model import Direction, Side

_ANSWERED = "Up"


class _Wait:
    """Somebody who waits for a fact."""

    __slots__ = ("_happened", "over")

    def __init__(self, happened: Callable[[], object], loop: asyncio.AbstractEventLoop) -> None:
        self.over: asyncio.Future[bool] = loop.create_future()
        """True: it is to look for itself; False: its time is up."""
        self._happened = happened

    def look(self, is_over: bool) -> None:
        """Wakes whoever waits once it happened; also when the question itself fails, which is theirs to deal with."""
        is_due: object = True
        try:
            is_due = is_over or self._happened()
        finally:
            if is_due:
                self.end(True)

    def end(self, happened: bool) -> None:
        if not self.over.done():
            self.over.set_result(happened)


class Facts:
    """The legs of one call. Scripts wait on facts, never on events."""

    def __init__(self, notes: Notes, caller: Party) -> None:
        self.notes = notes
        self.caller = caller
        self.earlier: list[Party] = []
        """First parties of a call that we place whom another INVITE has replaced as the caller."""
        self.targets: list[Party] = []
        """Every telephone that was dialled, one entry for each INVITE."""
        self.target: Party | None = None
        """Who has the call: it answered, and where it must, it pressed 1."""
        self.direct: Party | None = None
        """The telephone that the dialplan rings, and connects, by itself."""
        self.is_offered_back = False
        """The dialplan offers the call, since it rang in vain."""
        self.given_away = False
        """The dialplan runs the call alone from here on: it was offered, and we were too late."""
        self.recorded: dict[str, bool] = {}
        """Ended recordings of single channels, by name: True when there is a file."""
        self.listeners: list[ListenerIds] = []
        """What those who listen now have beside the call."""
        self.ready_to_listen: set[str] = set()
        """Listeners' channels that take commands."""
        self._listened = 0
        self._sounding: dict[str, Party] = {}
        self._waits: list[_Wait] = []
        self._will_look = False

    def next_listener(self) -> int:
        """The number of whoever listens next, from 1."""
        self._listened += 1
        return self._listened

    @property
    def parties(self) -> list[Party]:
        """Every leg, the caller first."""
        return [self.caller, *self.earlier, *self.targets]

    def deliver(self, event: events.Event) -> None:
        """Takes one event of this call's channels; never fails on what it does not need."""
        match event:
            case events.StasisStart(channel=channel) if self.direct and channel.id == self.caller.channel:
                self.come_back(came_back(event))
            case events.StasisStart(channel=channel):
                self._started(channel)
            case events.Dial(peer=peer, dialstatus=status):
                self._meet_direct(event)
                self._dialled(peer, status)
            case events.ChannelHangupRequest(channel=channel, soft=True) | events.ChannelDestroyed(channel=channel) if (
                self._ends_talk_of_direct(channel)
            ):
                self._direct_left()
            case events.ChannelHangupRequest(channel=channel) | events.ChannelDestroyed(channel=channel):
                self._ended(channel, event.cause or 0, event.tech_cause or 0)
                self._leaves(channel)
            case events.StasisEnd(channel=channel):
                self._ended(channel, 0, 0)
            case events.ChannelDtmfReceived(channel=channel, digit=digit):
                self._pressed(channel, digit)
            case events.PlaybackFinished(playback=playback):
                self._played(playback)
            case events.RecordingFinished(recording=recording) | events.RecordingFailed(recording=recording):
                self.recorded[recording.name] = isinstance(event, events.RecordingFinished)
        self.wake()

    def come_back(self, back: CameBack | None) -> None:
        """The dialplan rang its telephone in vain, or never (None), and the caller is in our hands."""
        if (target := self.direct) is None:
            return
        self.direct = None
        target.end(self.notes.moment())
        if back is None:
            target.untold = True
        elif back.timed_out or target.dropped:
            target.dropped = True
        else:
            target.cause, target.sip_code = back.cause, back.sip_code
        target.cause = target.cause or NORMAL_CLEARING
        self.wake()

    def connected_by_dialplan(self, peer: events.Channel, since: Moment) -> None:
        """The dialplan's telephone is on that channel, and has talked with the caller since then."""
        if (target := self.direct) is not None:
            _is_on(target, peer)
            target.answered = target.answered or since
            self.wake()

    def give_away(self) -> None:
        """Whoever waits for anything in this call is told that it is not ours any more."""
        self.given_away = True
        self.wake()

    def lose(self, party: Party, *, hung_up: bool, at: Moment | None = None) -> None:
        """A channel of this call went away while nobody told us; `at`: when, if Asterisk wrote that down."""
        if not party.gone:
            party.unseen, party.untold = not hung_up, True
            if at is not None and party is self.caller:
                self.notes.stop(at)
            elif at is not None and party is self.target:
                self.notes.end_talk(at)
            party.end(at or self.notes.moment())
        self.wake()

    def stop(self, at: Moment) -> None:
        """Asterisk died then: all legs with it, and what seemed to happen since then did not."""
        self.notes.stop(at)
        for party in self.parties:
            party.free_trunk()
        self.targets = [target for target in self.targets if target.started.tick <= at.tick]
        for party in self.parties:
            if party.ended is None or party.ended.tick > at.tick:
                party.ended, party.unseen, party.untold = at, True, True
        self.wake()

    def see(self, channel: events.Channel) -> None:
        """A channel of this call is there and in this state, whether or not anybody told us."""
        party = self._party(channel.id)
        if party is not None and party.rang is None and channel.state == "Ringing":
            party.rang = self.notes.moment()
        if channel.dialplan.app_name == "Stasis":
            self._started(channel)
        if channel.id == self.caller.channel:
            self._know_call_id(channel)
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
        """Something changed: for every waiting verb it is looked again, once for all that changes together."""
        if self._waits and not self._will_look:
            self._will_look = True
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self._will_look = False
        for wait in tuple(self._waits):
            wait.look(self.caller.gone or self.given_away)

    async def _until(self, happened: Callable[[], object], within: float | None) -> bool:
        """Waits until it is to be looked again whether the caller has gone or it `happened`; False: time is up."""
        loop = asyncio.get_running_loop()
        wait = _Wait(happened, loop)
        limit = loop.call_later(within, wait.end, False) if within is not None else None
        self._waits.append(wait)
        try:
            return await wait.over
        finally:
            self._waits.remove(wait)
            if limit is not None:
                limit.cancel()

    def _party(self, channel_id: str) -> Party | None:
        return next((party for party in self.parties if party.channel == channel_id), None)

    def _was_dialled(self, party: Party) -> bool:
        """Whether we rang it; a caller is rung only in a call that we place."""
        return party.side is Side.TARGET or self.notes.arrival.direction is Direction.OUTGOING

    def _started(self, channel: events.Channel) -> None:
        party = self._party(channel.id)
        if is_of_listener(channel.id):
            self.ready_to_listen.add(channel.id)
        if party is not None and self._was_dialled(party):
            party.answered = party.answered or self.notes.moment()
            party.channel_name, party.sip_call_id = channel.name, channel.protocol_id or None

    def _meet_direct(self, dial: events.Dial) -> None:
        """Asterisk tells the channel of the telephone that the dialplan rings, and how that goes."""
        target, caller = self.direct, dial.caller
        if target is None or caller is None or caller.id != self.caller.channel:
            return
        _is_on(target, dial.peer)
        if dial.dialstatus == "ANSWER":
            target.answered = target.answered or self.notes.moment()
        self._know_call_id(caller)

    def _know_call_id(self, caller: events.Channel) -> None:
        """Of a call that came through the door only its first events tell it."""
        self.caller.sip_call_id = self.caller.sip_call_id or caller.protocol_id or None
        self.notes.know_call_id(self.caller.sip_call_id)

    def _ends_talk_of_direct(self, channel: events.Channel) -> bool:
        """Whether the caller's channel goes and the caller did not hang up: then the telephone did."""
        talks = self.direct is not None and self.direct.answered is not None
        return talks and channel.id == self.caller.channel and not self.caller.gone

    def _direct_left(self) -> None:
        assert self.direct is not None  # noqa: S101 - just asked
        self.direct.end(self.notes.moment())
        self.direct.cause = self.direct.cause or NORMAL_CLEARING
        self.caller.leaves = True

    def _dialled(self, peer: events.Channel, status: str) -> None:
        party = self._party(peer.id)
        if party is None or not self._was_dialled(party):
            return
        party.sip_call_id = party.sip_call_id or peer.protocol_id or None
        if status in ("RINGING", "PROGRESS") and party.rang is None:
            party.rang = self.notes.moment()

    def _ended(self, channel: events.Channel, cause: int, sip_code: int) -> None:
        party = self._party(channel.id)
        if party is None:
            self.ready_to_listen.discard(channel.id)
            return
        party.sip_call_id = party.sip_call_id or channel.protocol_id or None
        if party is self.caller:
            self._know_call_id(channel)
            if self.direct is not None and self.direct.answered and channel.state == _ANSWERED:
                party.answered = party.answered or self.direct.answered
        party.end(self.notes.moment())
        if cause != HUNG_UP_BY_US:
            party.cause = party.cause or cause
        party.sip_code = party.sip_code or sip_code

    def _leaves(self, channel: events.Channel) -> None:
        if party := self._party(channel.id):
            party.leaves = True

    def _pressed(self, channel: events.Channel, digit: str) -> None:
        if party := self._party(channel.id):
            party.keys.append(Key(digit, self.notes.moment()))

    def _played(self, playback: events.Playback) -> None:
        for party in self.parties:
            if playback.target_uri == f"channel:{party.channel}":
                party.playbacks[playback.id] = playback.state == "done"


def _is_on(target: Party, peer: events.Channel) -> None:
    """Asterisk names the channel of a telephone that the dialplan rings."""
    target.channel, target.channel_name = peer.id, peer.name
    target.sip_call_id = target.sip_call_id or peer.protocol_id or None
