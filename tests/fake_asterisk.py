"""An Asterisk in memory with our own verbs, for whole calls in virtual time. Behaves as 22.10.1 was measured to.

The same contract tests run over this and over a real Asterisk: tests/asterisk/test_contract.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from engine.asterisk import events
from engine.asterisk.commands import (
    Application,
    Ari,
    AsteriskFailed,
    ChannelGone,
    NotInApplication,
    WrongState,
)
from engine.asterisk.media import MediaLine
from engine.foundation.clock import Clock, LoopClock
from engine.foundation.errors import DariError, Invalid, NotFound, TryLater
from tests.fake_parties import SIP_CODE_OF_CAUSE, FakeCaller, FakeMedia, FakePhone, Leg
from tests.fake_switch import NORMAL_CLEARING, FakeConnection, FakeSwitch, QueuedSound, Recording

HUNG_UP_BY_US = 32
"""The cause that ChannelHangupRequest tells when it was we who hung up."""


class FakeAsterisk(Ari):
    """Ari's verbs and the manager's recording, over scripted parties. Close it at the end (`async with`)."""

    def __init__(
        self,
        app: str = "dari-test",
        *,
        sounds: Mapping[str, float] | None = None,
        sound_seconds: float = 2.0,
        trunks: Iterable[str] = ("carrier", "second"),
        clock: Clock | None = None,
        latency: float = 0.001,
        timeout: float = 5.0,
    ) -> None:
        """`sounds`: seconds by name (the end of its path); `latency`: seconds that each request takes."""
        self.app_name = app
        self.hear_takes = 0.0
        """Seconds from when events of a channel come until that is answered."""
        self.rival_claims = False
        """Whether another engine is always faster."""
        self.continued: list[tuple[str, str | None, str | None, str | None]] = []
        """Channels that went back into the dialplan: to which context, extension and label."""
        self.clock = clock or LoopClock(datetime(2026, 1, 1, tzinfo=UTC))
        self._switch = FakeSwitch(app, sounds or {}, sound_seconds, self.clock)
        self._trunks = set(trunks)
        self._latency = latency
        self._limit = timeout
        self._phones: dict[str, FakePhone] = {}
        self._failures: dict[str, DariError] = {}
        self._started = self.clock.now().isoformat()

    async def close(self) -> None:
        await self._switch.close()

    # The world outside

    @property
    def connection(self) -> FakeConnection:
        """The event socket; may be cut and restored."""
        return self._switch.connection

    @property
    def now(self) -> float:
        """Seconds since this Asterisk began."""
        return self._switch.now

    @property
    def recordings(self) -> list[Recording]:
        """Every recording that was started."""
        return self._switch.recordings

    @property
    def missing_sounds(self) -> set[str]:
        """Names of sounds that cannot be played."""
        return self._switch.missing_sounds

    def phone(
        self,
        number: str,
        *,
        rings_after: float | None = None,
        answers_after: float | None = 2.0,
        sip_code: int | None = None,
        silent: bool = False,
        hangs_up_after: float | None = None,
    ) -> FakePhone:
        """Puts a telephone behind the trunks. Numbers that nobody has get 404.

        It rings after 0.5 s and answers 2 s after the INVITE (`answers_after` None: never). With `sip_code` it
        refuses: at once without ringing, or at `answers_after` when `rings_after` is given. `silent`: not even 100.
        """
        if silent:
            phone = FakePhone(number, None, None)
        elif sip_code and rings_after is None:
            phone = FakePhone(number, None, 0.1, sip_code)
        else:
            phone = FakePhone(number, 0.5 if rings_after is None else rings_after, answers_after, sip_code)
        phone.hangs_up_after = hangs_up_after
        self._phones[number] = phone
        return phone

    def incoming(
        self,
        exten: str,
        caller: str = "01012345678",
        trunk: str = "carrier",
        *,
        args: Sequence[str] = (),
        claim_seconds: float = 0.5,
        unclaimed_code: int = 503,
    ) -> FakeCaller:
        """A call comes in and is offered; `args` are what the dialplan hands to StasisStart."""
        leg = self._switch.new_leg("", trunk, "Ring", caller)
        leg.exten, leg.app_data = exten, ",".join(args)
        self._switch.broadcast(leg, claim_seconds, unclaimed_code)
        return FakeCaller(leg, self._switch.far_side_hangs_up)

    def asks(self, exten: str, caller: str = "01012345678", trunk: str = "carrier") -> FakeCaller:
        """A call comes in whose dialplan asks an engine at its door, and waits."""
        leg = self._switch.new_leg("", trunk, "Ring", caller)
        leg.exten, leg.context, leg.application = exten, "dari-incoming", "AGI"
        return FakeCaller(leg, self._switch.far_side_hangs_up)

    def dials(self, caller: FakeCaller) -> Leg:
        """The dialplan rings a telephone for the caller by itself; the leg to it."""
        caller.leg.application = "Dial"
        peer = self._switch.new_leg("", "carrier", "Down", "")
        peer.application = "AppDial"
        self.tells_of_dial(caller, peer, "")
        return peer

    def tells_of_dial(self, caller: FakeCaller, peer: Leg, status: str) -> None:
        """How it goes, told to whoever hears of the caller's channel."""
        dial = events.Dial(
            application=self.app_name, caller=caller.leg.channel(), peer=peer.channel(), dialstatus=status
        )
        if caller.leg.is_subscribed:
            self.connection.tell(dial)

    def connects(self, caller: FakeCaller, peer: Leg) -> None:
        """That telephone answers, and the dialplan connects the two."""
        self.tells_of_dial(caller, peer, "ANSWER")
        for leg in (peer, caller.leg):
            self._switch.answer(leg)
        bridge = f"of-{caller.leg.id}"
        self._switch.make_bridge(bridge, "mixing")
        for leg in (caller.leg, peer):
            self._switch.enter_bridge(bridge, leg)

    def parts(self, caller: FakeCaller, peer: Leg, *, caller_hangs_up: bool) -> None:
        """One of the two hangs up, and the dialplan ends the other."""
        if caller_hangs_up:
            caller.hang_up()
        elif caller.leg.is_subscribed:
            ended = events.ChannelHangupRequest(
                application=self.app_name, channel=caller.leg.channel(), cause=NORMAL_CLEARING, soft=True
            )
            self.connection.tell(ended)
        for leg in (caller.leg, peer):
            if not leg.gone:
                self._switch.end(leg, told=None, destroyed=(NORMAL_CLEARING, 0))

    def comes_back(self, caller: FakeCaller, peer: Leg, *, status: str, cause: int, code: int) -> None:
        """Nobody took the call: it is offered to the engine that has it."""
        self._switch.end(peer, told=None, destroyed=(cause, code))
        leg = caller.leg
        leg.context, leg.application = "dari-back", "StasisBroadcast"
        self.offers(caller, "back", status, str(cause), str(code))

    def offers(self, caller: FakeCaller, *args: str) -> None:
        """The dialplan offers a call that came in before."""
        caller.leg.application, caller.leg.app_data = "StasisBroadcast", ",".join(args)
        self._switch.broadcast(caller.leg, 0.5, 503)

    def hang_up_phone(self, phone: FakePhone) -> None:
        """The party at `phone` hangs up."""
        self._switch.far_side_hangs_up(phone.legs[-1])

    def die(self) -> None:
        """It is killed: nothing of it is left, and nobody is told. `connection.restore` when it has been started."""
        self.connection.cut()
        for leg in list(self._switch.legs.values()):
            self._switch.end(leg, told=None, destroyed=(0, 0))
        self._switch.bridges.clear()
        self._started = self.clock.now().isoformat()

    def stand_in_for_nobody(self) -> None:
        """There is no watchdog: a telephone that answers while no engine is there is hung up at once."""
        self._switch.is_stood_in_for = False

    def fail_next(self, verb: str, error: DariError) -> None:
        """The next call of `verb` raises `error` and does nothing."""
        self._failures[verb] = error

    def release(self, leg: Leg) -> None:
        """The watchdog gives the caller to the dialplan, which runs the call without an engine."""
        self._switch.leave_app(leg)
        leg.context = "dari-alone"

    def press(self, leg: Leg, digits: str) -> None:
        """The party on that leg presses keys."""
        for digit in digits:
            self._switch.press(leg, digit)

    def left_over(self) -> list[str]:
        """Channels and bridges that are still there."""
        return [*self._switch.legs, *self._switch.bridges]

    # Asterisk and our application

    async def version(self) -> str:
        await self._arrive("version")
        return "22.10.1"

    async def started(self) -> str:
        await self._arrive("started")
        return self._started

    async def app(self, name: str | None = None) -> Application:
        await self._arrive("app")
        ours = [leg for leg in self._switch.legs.values() if leg.in_app or leg.is_subscribed]
        bridges = dict.fromkeys(leg.bridge for leg in ours if leg.bridge)
        return Application(self.app_name, tuple(leg.id for leg in ours), tuple(bridges))

    async def set_event_filter(self, event_types: Iterable[str]) -> None:
        await self._arrive("set_event_filter")

    async def subscribe(self, channels: Sequence[str]) -> None:
        await self._arrive("subscribe")
        for channel in channels:
            if leg := self._switch.legs.get(channel):
                leg.is_subscribed = True

    async def hear(self, *channels: str) -> None:
        await self._arrive("hear")
        for channel in channels:
            if channel not in self._switch.legs:
                raise NotInApplication(f"the channel {channel} is not there")
            self._switch.legs[channel].is_subscribed = True
        await asyncio.sleep(self.hear_takes)

    async def write_probe(self) -> None:
        await self._arrive("write_probe")

    # Calls

    async def channels(self) -> list[events.Channel]:
        await self._arrive("channels")
        return [leg.channel() for leg in self._switch.legs.values()]

    async def channel(self, channel: str) -> events.Channel:
        await self._arrive("channel")
        return self._there(channel).channel()

    async def claim(self, channel: str) -> None:
        await self._arrive("claim")
        leg = self._there(channel)
        if not leg.is_offered or self.rival_claims:
            raise WrongState("the call has another winner")
        self._switch.claimed(leg)

    async def originate(
        self,
        channel: str,
        endpoint: str,
        *,
        app_args: str = "",
        caller_id: str | None,
        ring_seconds: int,
        originator: str | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        await self._arrive("originate")
        number, _, trunk = endpoint.removeprefix("PJSIP/").partition("@")
        if channel in self._switch.legs:
            raise WrongState(f"the channel {channel} exists already")
        if originator is not None and originator not in self._switch.legs:
            raise Invalid("the originator is gone")
        if trunk not in self._trunks:
            raise AsteriskFailed(f"there is no endpoint {trunk}")
        leg = self._switch.new_leg(channel, trunk, "Down", caller_id or "")
        leg.variables = dict(variables or {})
        phone = self._phones.get(number) or FakePhone(number, None, 0.1, 404)
        self._switch.dial(leg, phone, ring_seconds, app_args)

    async def answer(self, channel: str) -> None:
        await self._arrive("answer")
        leg = self._ours(channel)
        answered = self._switch.later(leg, partial(self._switch.answer, leg))
        await self._switch.done(leg, answered, self._limit)

    async def ring(self, channel: str) -> None:
        await self._arrive("ring")
        leg = self._ours(channel)
        self._switch.later(leg, lambda: leg.gets(180, self.now))

    async def progress(self, channel: str) -> None:
        await self._arrive("progress")
        leg = self._ours(channel)
        self._switch.later(leg, partial(self._switch.early_media, leg))

    async def hang_up(self, channel: str, cause: int) -> None:
        await self._arrive("hang_up")
        if leg := self._switch.legs.get(channel):
            leg.gets(SIP_CODE_OF_CAUSE.get(cause, 603), self.now)
            self._switch.end(leg, told=(HUNG_UP_BY_US, 0), destroyed=(cause, 0))

    async def play(self, channel: str, sound: str, playback: str) -> None:
        await self._arrive("play")
        leg = self._ours(channel)
        queued = QueuedSound(playback, leg, sound)
        self._switch.sounds_queued[playback] = queued
        self._switch.put(leg, partial(self._switch.play, queued))

    async def is_playing(self, playback: str) -> bool:
        await self._arrive("is_playing")
        return playback in self._switch.sounds_queued

    async def stop_playback(self, playback: str) -> None:
        await self._arrive("stop_playback")
        if queued := self._switch.sounds_queued.get(playback):
            queued.stop.set()

    async def record_channel(self, channel: str, name: str, *, longest: int, silence: int, end_key: str = "#") -> None:
        await self._arrive("record_channel")
        leg = self._ours(channel)
        self._switch.record(leg, name, longest, end_key)

    async def is_recording(self, name: str) -> bool:
        await self._arrive("is_recording")
        return self._switch.recorded_leg(name) is not None

    async def end_recording(self, name: str) -> None:
        await self._arrive("end_recording")
        self._switch.end_recording(name)

    async def snoop(self, channel: str, snoop: str, *, whisper: str = "none") -> None:
        await self._arrive("snoop")
        self._there(channel)
        leg = self._beside(snoop, "Snoop")
        leg.spies_on, leg.whispers = channel, whisper

    async def external_media(self, channel: str) -> str:
        await self._arrive("external_media")
        self._beside(channel, "WebSocket")
        return f"media-of-{channel}"

    async def open_media(self, connection: str) -> MediaLine:
        await self._arrive("open_media")
        leg = self._switch.legs.get(connection.removeprefix("media-of-"))
        if leg is None:
            raise TryLater("Asterisk gives no sound over its WebSocket: no such channel")
        return FakeMedia(leg, partial(self._switch.end, leg, told=(0, 0), destroyed=(16, 0)))

    async def start_music(self, channel: str, music_class: str) -> None:
        await self._arrive("start_music")
        leg = self._ours(channel)
        self._switch.later(leg, partial(self._switch.start_music, leg, music_class))

    async def stop_music(self, channel: str) -> None:
        await self._arrive("stop_music")
        if channel in self._switch.legs:
            leg = self._ours(channel)
            self._switch.later(leg, lambda: leg.stops_hearing("music:", self.now))

    async def variables(self, channel: str, names: Sequence[str]) -> dict[str, str]:
        await self._arrive("variables")
        leg = self._there(channel)
        return {name: leg.variables.get(name, "") for name in names}

    async def set_variables(self, channel: str, values: Mapping[str, str]) -> None:
        await self._arrive("set_variables")
        self._there(channel).variables.update(values)

    async def move(self, channel: str, app: str, args: str = "") -> None:
        await self._arrive("move")
        leg = self._ours(channel)
        if app == self.app_name:
            self._switch.enter_app(leg, args)
        else:
            self._switch.leave_app(leg)

    async def continue_in_dialplan(
        self, channel: str, context: str | None = None, extension: str | None = None, label: str | None = None
    ) -> None:
        await self._arrive("continue_in_dialplan")
        self._switch.leave_app(self._ours(channel))
        self.continued.append((channel, context, extension, label))

    # Bridges

    async def bridges(self) -> list[events.Bridge]:
        await self._arrive("bridges")
        return [self._switch.bridge(bridge) for bridge in self._switch.bridges]

    async def create_bridge(self, bridge: str, kind: str = "mixing") -> None:
        await self._arrive("create_bridge")
        if bridge in self._switch.bridges:
            raise WrongState(f"the bridge {bridge} exists already")
        self._switch.make_bridge(bridge, kind)

    async def add_to_bridge(self, bridge: str, *channels: str) -> None:
        await self._arrive("add_to_bridge")
        if bridge not in self._switch.bridges:
            raise NotFound(f"the bridge {bridge} does not exist")
        legs = [self._there(channel) for channel in channels]
        if not all(leg.in_app for leg in legs):
            raise NotInApplication("a channel is not in the application")
        for leg in legs:
            entered = self._switch.later(leg, partial(self._switch.enter_bridge, bridge, leg))
            with suppress(ChannelGone):  # Asterisk says that it was done
                await self._switch.done(leg, entered, self._limit)

    async def answer_into(self, bridge: str, caller: str, other: str) -> DariError | None:
        joined: DariError | None = None
        try:
            await self.answer(caller)
        finally:  # Asterisk does the second whatever came of the first
            try:
                await self.add_to_bridge(bridge, caller, other)
            except DariError as error:
                joined = error
        return joined

    async def remove_from_bridge(self, bridge: str, channel: str) -> None:
        await self._arrive("remove_from_bridge")
        if (leg := self._switch.legs.get(channel)) and leg.bridge == bridge:
            self._switch.leave_bridge(leg)

    async def destroy_bridge(self, bridge: str) -> None:
        await self._arrive("destroy_bridge")
        if bridge in self._switch.bridges:
            self._switch.destroy_bridge(bridge)

    async def clear_away(self, hang_ups: Iterable[tuple[str, int]], bridges: Iterable[str]) -> list[DariError]:
        failures: list[DariError] = []
        ends = [*(self.hang_up(*one) for one in hang_ups), *map(self.destroy_bridge, bridges)]
        for end in ends:
            try:
                await end
            except DariError as error:
                failures.append(error)
        return failures

    # The manager

    async def record(self, channel_name: str, file: str, options: str) -> None:
        """As Manager.record."""
        await self._arrive("record")
        self.recordings.append(Recording(self._named(channel_name), file, options, self.now))

    async def silence_recording(self, channel_name: str, silent: bool) -> None:
        """As Manager.silence_recording."""
        await self._arrive("silence_recording")
        self._switch.silence_recording(self._named(channel_name), silent)

    async def stop_recording(self, channel_name: str) -> None:
        """As Manager.stop_recording."""
        await self._arrive("stop_recording")
        self._switch.stop_recording(self._named(channel_name))

    # Inside

    async def _arrive(self, verb: str) -> None:
        await asyncio.sleep(self._latency)
        if error := self._failures.pop(verb, None):
            raise error

    def _beside(self, channel: str, technology: str) -> Leg:
        """A channel that no telephone is on."""
        if channel in self._switch.legs:
            raise WrongState(f"the channel {channel} exists already")
        leg = self._switch.new_leg(channel, technology, "Up", "")
        self._switch.enter_app(leg, "")
        return leg

    def _there(self, channel: str) -> Leg:
        if channel not in self._switch.legs:
            raise ChannelGone(f"the channel {channel} is gone")
        return self._switch.legs[channel]

    def _ours(self, channel: str) -> Leg:
        leg = self._there(channel)
        if not leg.in_app:
            raise WrongState(f"the channel {channel} is not in an application")
        return leg

    def _named(self, channel_name: str) -> Leg:
        for leg in self._switch.legs.values():
            if leg.name == channel_name:
                return leg
        raise ChannelGone(f"the channel {channel_name} is gone")
