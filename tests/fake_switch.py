"""What goes on inside FakeAsterisk: its channels, bridges and sounds, and what it tells of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from engine.asterisk import events
from engine.asterisk.commands import ChannelGone, OutcomeUnknown
from engine.asterisk.connection import Connected, Connection, Disconnected
from engine.asterisk.events import Event
from engine.foundation.clock import Clock
from engine.foundation.tasks import Tasks
from tests.fake_parties import CAUSE_OF_SIP_CODE, FakePhone, Leg

NORMAL_CLEARING = 16


@dataclass(slots=True, eq=False)
class QueuedSound:
    """A playback from its request to its end."""

    id: str
    leg: Leg
    sound: str
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    def shown(self, state: str) -> events.Playback:
        """As ARI shows it."""
        return events.Playback(self.id, f"sound:{self.sound}", f"channel:{self.leg.id}", state)


@dataclass(slots=True)
class Recording:
    """A MixMonitor that was started; virtual seconds."""

    leg: Leg
    file: str
    options: str
    began: float
    ended: float | None = None
    silences: list[tuple[float, bool]] = field(default_factory=list)
    """When it was made silent (True) and sounding again (False)."""


class FakeConnection(Connection):
    """The event socket of FakeAsterisk. Events told while nobody reads, or while it is cut, are lost."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Event | Connected | Disconnected] = asyncio.Queue()
        self.connected = False
        self.state = "not connected yet"

    @property
    def lag(self) -> float:
        return 0.0

    async def events(self) -> AsyncIterator[Event | Connected | Disconnected]:
        self._queue = asyncio.Queue()
        self.restore(first=True)
        try:
            while True:
                yield await self._queue.get()
        finally:
            self.connected = False

    def tell(self, event: Event) -> None:
        """Something happened."""
        if self.connected:
            self._queue.put_nowait(event)

    def cut(self) -> None:
        """The socket drops; calls go on."""
        self.connected, self.state = False, "not connected: cut"
        self._queue.put_nowait(Disconnected("cut"))

    def restore(self, *, first: bool = False) -> None:
        """The socket is there again."""
        self.connected, self.state = True, "connected"
        self._queue.put_nowait(Connected(first))


class FakeSwitch:
    """Channels and bridges; knows nothing of ARI's requests."""

    def __init__(self, app: str, sounds: Mapping[str, float], sound_seconds: float, clock: Clock) -> None:
        self.connection = FakeConnection()
        self.legs: dict[str, Leg] = {}
        self.bridges: dict[str, list[Leg]] = {}
        self.bridges_made_at: dict[str, str] = {}
        self.bridge_kinds: dict[str, str] = {}
        self.sounds_queued: dict[str, QueuedSound] = {}
        self.recordings: list[Recording] = []
        self.missing_sounds: set[str] = set()
        self.is_stood_in_for = True
        """Whether the watchdog has the application while no engine does; else whoever answers then is hung up."""
        self._app = app
        self._sounds = sounds
        self._sound_seconds = sound_seconds
        self._clock = clock
        self._zero = asyncio.get_running_loop().time()
        self._made = 0
        self._bridges_told: set[str] = set()
        self._tasks = Tasks("fake-asterisk")

    @property
    def now(self) -> float:
        """Seconds since this Asterisk began."""
        return asyncio.get_running_loop().time() - self._zero

    async def close(self) -> None:
        """Everything stops where it is; nothing is told any more."""
        await self._tasks.close()

    # Legs

    def new_leg(self, channel: str, trunk: str, state: str, caller: str) -> Leg:
        """A channel comes into being; an empty `channel` gets an id as Asterisk makes them."""
        self._made += 1
        instant = self._instant()
        name, sip_call_id = f"PJSIP/{trunk}-{self._made:08x}", f"sip-{self._made}@fake"
        leg = Leg(channel or f"1767225600.{self._made}", name, state, caller, instant, sip_call_id)
        self.legs[leg.id] = leg
        return leg

    def broadcast(self, leg: Leg, claim_seconds: float, unclaimed_code: int) -> None:
        """Offers a call that came in to whoever claims it; refuses it when nobody does."""
        leg.is_offered = True
        leg.tasks.append(self._tasks.start("broadcast", self._wait_for_claim(leg, claim_seconds, unclaimed_code)))
        self._tell(events.CallBroadcast(application=self._app, channel=leg.channel(), called=leg.exten))

    def claimed(self, leg: Leg) -> None:
        """The application has the call."""
        leg.is_offered = False
        self._tell(events.CallClaimed(application=self._app, channel=leg.channel(), winner_app=self._app))
        self.enter_app(leg, leg.app_data)

    def dial(self, leg: Leg, phone: FakePhone, ring_seconds: float, app_args: str) -> None:
        """Sends the INVITE of `leg` to `phone`."""
        leg.is_subscribed = True
        phone.legs.append(leg)
        leg.tasks.append(self._tasks.start("phone", self._dialling(leg, phone, ring_seconds, app_args)))

    def enter_app(self, leg: Leg, args: str) -> None:
        """StasisStart: from now on the channel takes commands."""
        if not leg.in_app:
            leg.in_app = True
            leg.tasks.append(self._tasks.start("commands", _one_after_another(leg)))
        told = tuple(args.split(",")) if args else ()
        self._tell(events.StasisStart(application=self._app, channel=leg.channel(), args=told))

    def leave_app(self, leg: Leg) -> None:
        """StasisEnd: the channel goes elsewhere."""
        leg.in_app = False
        self._tell(events.StasisEnd(application=self._app, channel=leg.channel()))

    def answer(self, leg: Leg) -> None:
        """200 OK."""
        if leg.state != "Up":
            leg.state = "Up"
            leg.gets(200, self.now)
            self._state_changed(leg)

    def early_media(self, leg: Leg) -> None:
        """183, unless the last one was that."""
        if leg.state != "Up" and (not leg.answers or leg.answers[-1][1] != 183):
            leg.gets(183, self.now)

    def start_music(self, leg: Leg, music_class: str) -> None:
        """Music until something else comes."""
        self.early_media(leg)
        leg.keeps_music = leg.state == "Up"
        leg.hears(f"music:{music_class}", self.now)

    def far_side_hangs_up(self, leg: Leg) -> None:
        """BYE when answered, else CANCEL; nothing when it is over already."""
        if leg.gone:
            return
        leg.gets(487, self.now)
        cause = (0, 0) if leg.state == "Up" else (127, 487)  # of a BYE or CANCEL without Reason header
        self.end(leg, told=cause, destroyed=cause)

    def end(self, leg: Leg, *, told: tuple[int, int] | None, destroyed: tuple[int, int]) -> None:
        """The leg is gone. Cause and SIP code of ChannelHangupRequest (`told`) and of ChannelDestroyed."""
        del self.legs[leg.id]
        leg.gone = True
        if told and (leg.in_app or leg.is_subscribed):
            self._tell(
                events.ChannelHangupRequest(
                    application=self._app, channel=leg.channel(), cause=told[0], tech_cause=told[1]
                )
            )
        self._stop_everything_on(leg)
        for spy in [spy for spy in self.legs.values() if spy.spies_on == leg.id]:
            self.end(spy, told=(0, 0), destroyed=(NORMAL_CLEARING, 0))
        if leg.in_app:
            self._tell(events.StasisEnd(application=self._app, channel=leg.channel()))
        elif told and leg.is_subscribed:
            self._dialled(leg, {17: "BUSY", 34: "CONGESTION"}.get(told[0], "NOANSWER"))
        if leg.is_subscribed:
            self._tell(
                events.ChannelDestroyed(
                    application=self._app, channel=leg.channel(), cause=destroyed[0], tech_cause=destroyed[1]
                )
            )
        leg.over.set()

    def silence_recording(self, leg: Leg, silent: bool) -> None:
        """Silence, or sound again, in the recording of a channel."""
        for recording in self.recordings:
            if recording.leg is leg and recording.ended is None:
                recording.silences.append((self.now, silent))

    def record(self, leg: Leg, name: str, longest: float, end_key: str) -> None:
        """Records what comes from one channel until its limit, its key or its end."""
        leg.own_recording = (name, end_key)
        leg.tasks.append(self._tasks.start("recording limit", self._limit_recording(leg, longest)))

    def press(self, leg: Leg, digit: str) -> None:
        """A key, told where keys are: not in a plain bridge of two."""
        if leg.own_recording and digit == leg.own_recording[1]:
            self._end_own_recording(leg)
        if leg.bridge is None or "dtmf_events" in self.bridge_kinds[leg.bridge]:
            self._tell(
                events.ChannelDtmfReceived(application=self._app, channel=leg.channel(), digit=digit, duration_ms=100)
            )

    async def _limit_recording(self, leg: Leg, longest: float) -> None:
        await asyncio.sleep(longest)
        self._end_own_recording(leg)

    def recorded_leg(self, name: str) -> Leg | None:
        """The leg that is being recorded by that name."""
        return next((leg for leg in self.legs.values() if leg.own_recording and leg.own_recording[0] == name), None)

    def end_recording(self, name: str) -> None:
        """Ends the recording of one channel, if it goes on."""
        if leg := self.recorded_leg(name):
            self._end_own_recording(leg)

    def _end_own_recording(self, leg: Leg) -> None:
        if leg.own_recording:
            name, leg.own_recording = leg.own_recording[0], None
            recording = events.LiveRecording(name, f"channel:{leg.id}", "done")
            self._tell(events.RecordingFinished(application=self._app, recording=recording))

    def stop_recording(self, leg: Leg) -> None:
        """Ends the recordings of a channel."""
        for recording in self.recordings:
            if recording.leg is leg and recording.ended is None:
                recording.ended = self.now

    # Commands of a channel: done in order, and a sound holds up what comes after it

    def put(self, leg: Leg, command: Callable[[], Awaitable[None]]) -> asyncio.Future[None]:
        """Has `command` done when its turn comes."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        leg.commands.put_nowait((command, done))
        return done

    def later(self, leg: Leg, deed: Callable[[], None]) -> asyncio.Future[None]:
        """The same for something that takes no time."""

        async def command() -> None:
            deed()

        return self.put(leg, command)

    async def done(self, leg: Leg, command: asyncio.Future[None], limit: float) -> None:
        """Waits until it was done. Raises ChannelGone when the leg ends first, OutcomeUnknown after `limit`."""
        leg.waiting.add(command)
        try:
            async with asyncio.timeout(limit):
                await asyncio.shield(command)
        except TimeoutError:
            raise OutcomeUnknown(f"no answer within {limit:g} s") from None
        finally:
            leg.waiting.discard(command)

    # Sounds

    async def play(self, queued: QueuedSound) -> None:
        """Lets the leg hear a sound, from PlaybackStarted to PlaybackFinished."""
        state = "done" if queued.stop.is_set() else await self._hear(queued)
        queued.leg.playing = None
        del self.sounds_queued[queued.id]
        self._tell(events.PlaybackFinished(application=self._app, playback=queued.shown(state)))

    async def _hear(self, queued: QueuedSound) -> str:
        leg = queued.leg
        self.early_media(leg)
        leg.playing = queued.id
        self._tell(events.PlaybackStarted(application=self._app, playback=queued.shown("playing")))
        if any(queued.sound.endswith(missing) for missing in self.missing_sounds):
            return "failed"
        what = f"sound:{queued.sound}"
        leg.hears(what, self.now)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._seconds_of(queued.sound)):
                await queued.stop.wait()
        leg.stops_hearing(what, self.now, whole=not queued.stop.is_set())
        return "done"

    def _seconds_of(self, sound: str) -> float:
        """By the longest name that fits the end of its path."""
        fitting = [name for name in self._sounds if sound == name or sound.endswith(f"/{name}")]
        return self._sounds[max(fitting, key=len)] if fitting else self._sound_seconds

    # Bridges

    def bridge(self, bridge: str) -> events.Bridge:
        """As ARI shows it now."""
        members = tuple(leg.id for leg in self.bridges[bridge])
        return events.Bridge(
            id=bridge,
            technology="native_rtp" if len(members) == 2 else "simple_bridge",
            bridge_type="mixing",
            channels=members,
            creationtime=self.bridges_made_at[bridge],
        )

    def make_bridge(self, bridge: str, kind: str) -> None:
        """A bridge with nobody in it."""
        self.bridge_kinds[bridge] = kind
        self.bridges[bridge] = []
        self.bridges_made_at[bridge] = self._instant()

    def enter_bridge(self, bridge: str, leg: Leg) -> None:
        """Connects a leg; one that is in a bridge leaves it first, be it the same."""
        if bridge not in self.bridges:
            return
        self.leave_bridge(leg)
        self.bridges[bridge].append(leg)
        self._bridges_told.add(bridge)
        leg.bridge = bridge
        leg.hears(f"bridge:{bridge}", self.now, over_music=leg.keeps_music)
        self._tell(
            events.ChannelEnteredBridge(application=self._app, bridge=self.bridge(bridge), channel=leg.channel())
        )

    def destroy_bridge(self, bridge: str) -> None:
        """The bridge goes; its legs stay."""
        for leg in list(self.bridges[bridge]):
            self.leave_bridge(leg)
        if bridge in self._bridges_told:
            self._tell(events.BridgeDestroyed(application=self._app, bridge=self.bridge(bridge)))
        del self.bridges[bridge]

    def leave_bridge(self, leg: Leg) -> None:
        if leg.bridge is None:
            return
        bridge, leg.bridge = leg.bridge, None
        self.bridges[bridge].remove(leg)
        leg.stops_hearing("bridge:", self.now, whole=True)
        self._tell(events.ChannelLeftBridge(application=self._app, bridge=self.bridge(bridge), channel=leg.channel()))

    # Inside

    def _instant(self) -> str:
        """Now, as ARI writes it."""
        return self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "+0000")

    def _tell(self, event: Event) -> None:
        self.connection.tell(event)

    def _state_changed(self, leg: Leg) -> None:
        self._tell(events.ChannelStateChange(application=self._app, channel=leg.channel()))

    def _dialled(self, leg: Leg, status: str) -> None:
        self._tell(events.Dial(application=self._app, peer=leg.channel(), dialstatus=status))

    async def _wait_for_claim(self, leg: Leg, claim_seconds: float, unclaimed_code: int) -> None:
        await asyncio.sleep(claim_seconds)
        if leg.is_offered:
            leg.gets(unclaimed_code, self.now)
            self.end(leg, told=None, destroyed=(NORMAL_CLEARING, 0))

    async def _dialling(self, leg: Leg, phone: FakePhone, ring_seconds: float, app_args: str) -> None:
        self._dialled(leg, "")
        try:
            async with asyncio.timeout(ring_seconds):
                await self._until_it_answers(leg, phone)
        except TimeoutError:
            self.end(leg, told=None, destroyed=(19, 480))
            return
        if phone.sip_code:
            cause = (CAUSE_OF_SIP_CODE.get(phone.sip_code, 38), phone.sip_code)
            self.end(leg, told=cause, destroyed=cause)
            return
        leg.state = "Up"
        self._state_changed(leg)
        self._dialled(leg, "ANSWER")
        if not (self.connection.connected or self.is_stood_in_for):
            self.end(leg, told=None, destroyed=(NORMAL_CLEARING, 0))
            return
        self.enter_app(leg, app_args)
        if phone.hangs_up_after is not None:
            await asyncio.sleep(phone.hangs_up_after)
            self.far_side_hangs_up(leg)

    async def _until_it_answers(self, leg: Leg, phone: FakePhone) -> None:
        if phone.rings_after is not None:
            await asyncio.sleep(phone.rings_after)
            leg.state = "Ringing"
            self._state_changed(leg)
            self._dialled(leg, "RINGING")
        if phone.answers_after is None:
            await asyncio.Event().wait()  # until the time limit
        else:
            await asyncio.sleep(phone.answers_after - (phone.rings_after or 0.0))

    def _stop_everything_on(self, leg: Leg) -> None:
        if leg.playing:
            queued = self.sounds_queued.pop(leg.playing)
            self._tell(events.PlaybackFinished(application=self._app, playback=queued.shown("failed")))
        self.leave_bridge(leg)
        leg.stops_hearing("", self.now)
        self.stop_recording(leg)
        self._end_own_recording(leg)
        for command in leg.waiting:
            command.set_exception(ChannelGone(f"the channel {leg.id} hung up meanwhile"))
        for task in leg.tasks:
            if task is not asyncio.current_task():
                task.cancel()


async def _one_after_another(leg: Leg) -> None:
    while True:
        command, done = await leg.commands.get()
        await command()
        if not done.done():
            done.set_result(None)
