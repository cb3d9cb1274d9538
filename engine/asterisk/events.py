"""The events that Asterisk tells us over ARI, and the values inside them, as far as a call engine uses them.

Field names are Asterisk's own; fields that we do not use are left out, and decoding skips them.
"""

from __future__ import annotations

import msgspec


class Party(msgspec.Struct, frozen=True):
    """Name and number as a channel shows them; both may be empty."""

    name: str = ""
    number: str = ""


class DialplanPlace(msgspec.Struct, frozen=True):
    """Where in the dialplan a channel is. `app_data` keeps the arguments of the application that it runs."""

    context: str = ""
    exten: str = ""
    priority: int = 0
    app_name: str = ""
    app_data: str = ""


class Channel(msgspec.Struct, frozen=True):
    """One leg as Asterisk sees it at that moment."""

    id: str
    name: str
    """PJSIP/trunk-00000001: what the manager (AMI) wants."""
    state: str
    """Down, Ring, Ringing, Up …"""
    protocol_id: str = ""
    """The SIP Call-ID; empty while there is none."""
    caller: Party = Party()
    connected: Party = Party()
    dialplan: DialplanPlace = DialplanPlace()
    creationtime: str = ""
    caller_rdnis: str = ""
    """The number in SIP Diversion; empty when the call was not diverted."""
    channelvars: dict[str, str] = {}


class Bridge(msgspec.Struct, frozen=True):
    """What connects channels. `technology`: how sound goes just now (native_rtp, simple_bridge …)."""

    id: str
    technology: str
    bridge_type: str
    channels: tuple[str, ...] = ()
    name: str = ""
    creationtime: str = ""


class Playback(msgspec.Struct, frozen=True):
    """A sound being played to `target_uri` (channel:ID or bridge:ID)."""

    id: str
    media_uri: str
    target_uri: str
    state: str
    """queued, playing, continuing, done, failed."""


class LiveRecording(msgspec.Struct, frozen=True):
    """A recording of `target_uri` (channel:ID or bridge:ID)."""

    name: str
    target_uri: str
    state: str
    """recording, done, failed."""
    cause: str = ""
    """Why it failed."""


class Message(msgspec.Struct, frozen=True, tag=True, tag_field="type", kw_only=True):
    """What every event has: the application that it is told to, and when it happened."""

    application: str
    timestamp: str = ""
    """Asterisk's own instant, like 2026-11-21T23:46:11.123+0000."""


class StasisStart(Message, frozen=True):
    """The channel is ours from now on."""

    channel: Channel
    args: tuple[str, ...]
    replace_channel: Channel | None = None


class StasisEnd(Message, frozen=True):
    """The channel is no longer ours: hung up, moved or sent back into the dialplan."""

    channel: Channel


class ApplicationMoveFailed(Message, frozen=True):
    """The channel could not go to the application `destination`."""

    channel: Channel
    destination: str
    args: tuple[str, ...]


class CallBroadcast(Message, frozen=True):
    """A call that whichever application claims it first may have."""

    channel: Channel
    caller: str | None = None
    called: str | None = None


class CallClaimed(Message, frozen=True):
    """`winner_app` has the call."""

    channel: Channel
    winner_app: str


class ChannelCreated(Message, frozen=True):
    """A channel that we are subscribed to exists."""

    channel: Channel


class ChannelStateChange(Message, frozen=True):
    """`channel.state` is new."""

    channel: Channel


class ChannelHangupRequest(Message, frozen=True):
    """The other side hung up (or gave up: `tech_cause` 487). `cause` is Q.850, `tech_cause` the SIP code."""

    channel: Channel
    cause: int = 0
    tech_cause: int = 0
    soft: bool = False
    """Asterisk itself ends the channel: as it is told, or since the other party of its Dial has left."""


class ChannelDestroyed(Message, frozen=True):
    """The channel is gone. `cause` is Q.850, `tech_cause` the SIP code of the far side."""

    channel: Channel
    cause: int
    cause_txt: str = ""
    tech_cause: int = 0


class Dial(Message, frozen=True):
    """How dialling `peer` goes; `dialstatus`: empty at the start, then RINGING, PROGRESS, ANSWER, BUSY …"""

    peer: Channel
    dialstatus: str
    caller: Channel | None = None
    forwarded: Channel | None = None


class ChannelDtmfReceived(Message, frozen=True):
    """A key was pressed and let go."""

    channel: Channel
    digit: str
    duration_ms: int


class ChannelHold(Message, frozen=True):
    """The far side put us on hold."""

    channel: Channel
    musicclass: str | None = None


class ChannelUnhold(Message, frozen=True):
    """The far side took us off hold."""

    channel: Channel


class ChannelEnteredBridge(Message, frozen=True):
    """The channel is connected to the others of `bridge`."""

    bridge: Bridge
    channel: Channel | None = None


class ChannelLeftBridge(Message, frozen=True):
    """The channel is no longer connected to the others of `bridge`."""

    bridge: Bridge
    channel: Channel


class BridgeCreated(Message, frozen=True):
    """`bridge` exists."""

    bridge: Bridge


class BridgeDestroyed(Message, frozen=True):
    """`bridge` is gone."""

    bridge: Bridge


class PlaybackStarted(Message, frozen=True):
    """The sound is to be heard from now on."""

    playback: Playback


class PlaybackFinished(Message, frozen=True):
    """The sound ended: whole or stopped (`playback.state` done), or never heard (failed)."""

    playback: Playback


class RecordingFinished(Message, frozen=True):
    """A recording of one channel ended, by its own limits or with the channel."""

    recording: LiveRecording


class RecordingFailed(Message, frozen=True):
    """A recording of one channel could not be made (`recording.cause`)."""

    recording: LiveRecording


class ApplicationReplaced(Message, frozen=True):
    """Somebody else connected under our application's name; nothing more will come to us."""


Event = (
    StasisStart
    | StasisEnd
    | ApplicationMoveFailed
    | CallBroadcast
    | CallClaimed
    | ChannelCreated
    | ChannelStateChange
    | ChannelHangupRequest
    | ChannelDestroyed
    | Dial
    | ChannelDtmfReceived
    | ChannelHold
    | ChannelUnhold
    | ChannelEnteredBridge
    | ChannelLeftBridge
    | BridgeCreated
    | BridgeDestroyed
    | PlaybackStarted
    | PlaybackFinished
    | RecordingFinished
    | RecordingFailed
    | ApplicationReplaced
)

EVENT_TYPES: tuple[str, ...] = tuple(event_type.__name__ for event_type in Event.__args__)
"""Every event type that `decode` knows."""


class _Typed(msgspec.Struct):
    type: str


_decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
_type_decoder = msgspec.json.Decoder(_Typed)


def decode(text: str | bytes) -> Event | None:
    """The event in `text`; None when it is of a type that we do not know, or cannot be read."""
    try:
        return _decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def type_name(text: str | bytes) -> str:
    """What to count a text under that `decode` could not read: its event type, or `unreadable`."""
    try:
        return _type_decoder.decode(text).type
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "unreadable"


def channel_ids(event: Event) -> tuple[str, ...]:
    """The channels that `event` is about, the main one first; empty when it is about none."""
    told: tuple[Channel | None, ...]
    match event:
        case Dial():
            told = (event.peer, event.caller, event.forwarded)
        case StasisStart():
            told = (event.channel, event.replace_channel)
        case PlaybackStarted() | PlaybackFinished():
            kind, _, target = event.playback.target_uri.partition(":")
            return (target,) if kind == "channel" else ()
        case RecordingFinished() | RecordingFailed():
            kind, _, target = event.recording.target_uri.partition(":")
            return (target,) if kind == "channel" else ()
        case BridgeCreated() | BridgeDestroyed():
            return event.bridge.channels
        case ApplicationReplaced():
            return ()
        case _:
            told = (event.channel,)
    return tuple(channel.id for channel in told if channel is not None)
