"""What we tell Asterisk to do, over ARI's HTTP. Ids are chosen by whoever calls a verb.

404, 409, 412 and 422 are ordinary outcomes of races with a caller who hangs up: each has its own error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from yarl import URL

from engine.asterisk.events import Bridge, Channel
from engine.asterisk.http import Broken, Command, Http, Outcome, Unreachable
from engine.asterisk.media import MEDIA_FORMAT, MediaLine, MediaSocket
from engine.asterisk.operations import Operation
from engine.foundation.errors import Conflict, DariError, GaveUp, Invalid, NotAllowed, NotFound, TryLater

_NORMAL_CLEARING = 16
_ASKED_AGAIN_FOR = 1.0
_ENDINGS = 40
_BETWEEN_ENDINGS = 0.05
"""Seconds."""
_T = TypeVar("_T")


class ChannelGone(NotFound):
    """The channel has hung up (404)."""


class WrongState(Conflict):
    """The channel is not in an application, the call has another winner, or the id is taken (409)."""


class PreconditionFailed(Conflict):
    """The channel's state does not allow it (412)."""


class NotInApplication(Conflict):
    """The channel's own StasisStart has not come yet, or it has left (422)."""


class OutcomeUnknown(TryLater):
    """The request left, no answer came: it may or may not have been done."""


class AsteriskFailed(GaveUp):
    """Asterisk could not do it (5xx): an endpoint that does not exist, or no resources left."""


class Application(msgspec.Struct, frozen=True):
    """What an ARI application owns or is subscribed to."""

    name: str
    channel_ids: tuple[str, ...]
    bridge_ids: tuple[str, ...]


class _System(msgspec.Struct):
    version: str


class _Info(msgspec.Struct):
    system: _System


class _Status(msgspec.Struct):
    startup_time: str


class _Life(msgspec.Struct):
    status: _Status


class _Variables(msgspec.Struct):
    variables: dict[str, str | None]


class _Complaint(msgspec.Struct):
    message: str = ""
    error: str = ""


class Ari:
    """The verbs. Needs a running event loop; `close` it at the end.

    Every verb raises TryLater when Asterisk cannot be reached (nothing was done), OutcomeUnknown when it does not
    answer within `timeout` seconds nor, asked once more, in another one, NotAllowed when it refuses user or password.
    What is given up and has not reached Asterisk by then never does.
    """

    def __init__(self, url: str, app: str, user: str, password: str, *, timeout: float = 5.0) -> None:
        self.app_name = app
        self._url = url
        self._timeout = timeout
        self._http = Http(url, user, password)
        self._sockets = aiohttp.ClientSession(headers={"Authorization": aiohttp.encode_basic_auth(user, password)})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def deeds(self) -> int:
        """How many verbs that change something Asterisk has done for us."""
        return self._http.deeds

    async def close(self) -> None:
        """Closes the connections; a verb still waiting raises."""
        self._http.close()
        await self._sockets.close()

    # Asterisk and our application

    async def version(self) -> str:
        """Asterisk's version, like 22.10.1."""
        return (await self._ask(Operation.INFO, _Info, only="system")).system.version

    async def started(self) -> str:
        """The instant of its start, as Asterisk writes it: another one means that none of the former channels lives."""
        return (await self._ask(Operation.INFO, _Life, only="status")).status.startup_time

    async def set_global(self, name: str, value: str) -> None:
        """Sets a global variable of the dialplan."""
        await self._do(Operation.SET_GLOBAL, variable=name, value=value)

    async def app(self, name: str | None = None) -> Application:
        """What our application owns, or another one. Raises NotFound while it is not connected and owns nothing."""
        return await self._ask(Operation.APPLICATION, Application, applicationName=name or self.app_name)

    async def set_event_filter(self, event_types: Iterable[str]) -> None:
        """From now on only events of these types come."""
        allowed = {"allowed": [{"type": event_type} for event_type in event_types]}
        await self._do(Operation.SET_EVENT_FILTER, applicationName=self.app_name, filter=allowed)

    async def subscribe(self, channels: Sequence[str]) -> None:
        """Events of these channels come to us; those that are gone are passed over."""
        try:
            if channels:
                await self.hear(*channels)
        except NotInApplication:
            if len(channels) > 1:
                for channel in channels:
                    await self.subscribe([channel])

    async def hear(self, *channels: str) -> None:
        """The same. Raises NotInApplication when one of them is not there."""
        sources = ",".join(f"channel:{channel}" for channel in channels)
        await self._do(Operation.SUBSCRIBE, applicationName=self.app_name, eventSource=sources)

    async def write_probe(self) -> None:
        """Proves that Asterisk still does things; returns only if it does.

        GETs go on answering while Asterisk hangs (asterisk#2078, #2170). So: a bridge is made and destroyed
        (bridge list, stasis), and a channel that nobody has is hung up (channel list, whose lock they hold). One name
        for all of an application's: what a process that died in between left goes with the next.
        """
        probe = f"probe-{self.app_name}"
        with suppress(WrongState):  # it is there already
            await self.create_bridge(probe)
        await self.hang_up(probe, _NORMAL_CLEARING)
        await self.destroy_bridge(probe)

    # Calls

    async def channels(self) -> list[Channel]:
        """Every channel of this Asterisk."""
        return await self._ask(Operation.CHANNELS, list[Channel])

    async def channel(self, channel: str) -> Channel:
        """One channel as it is now. Raises ChannelGone."""
        return await self._ask(Operation.CHANNEL, Channel, channelId=channel)

    async def claim(self, channel: str) -> None:
        """Takes a broadcast call. WrongState: another engine was first. ChannelGone: it is over."""
        await self._do(Operation.CLAIM, channelId=channel, application=self.app_name)

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
        """Calls `endpoint` (PJSIP/number@trunk); when it is answered, StasisStart comes with `app_args` (by comma).

        `caller_id` None shows the trunk's own; `originator` is the channel that it is called for. Raises Invalid
        when that one is gone, AsteriskFailed when there is no such endpoint.
        """
        try:
            await self._do(
                Operation.ORIGINATE,
                endpoint=endpoint,
                app=self.app_name,
                appArgs=app_args,
                callerId=caller_id,
                timeout=ring_seconds,
                channelId=channel,
                originator=originator,
                variables=dict(variables) if variables else None,
            )
        except OutcomeUnknown:
            if not await self._is_there(Operation.CHANNEL, channelId=channel):
                raise

    async def answer(self, channel: str) -> None:
        """Answers. Comes back only after a sound playing on that channel has ended: stop it first."""
        try:
            await self._do(Operation.ANSWER, channelId=channel)
        except OutcomeUnknown:
            if not await self._is_up(channel):
                raise

    async def ring(self, channel: str) -> None:
        """Lets the caller's own phone ring (180)."""
        await self._do(Operation.RING, channelId=channel)

    async def progress(self, channel: str) -> None:
        """Opens early media (183). Playing a sound or music does so by itself."""
        await self._do(Operation.PROGRESS, channelId=channel)

    async def hang_up(self, channel: str, cause: int) -> None:
        """Ends the channel with a Q.850 `cause`; done already is done."""
        await self._do_unless_gone(Operation.HANG_UP, channelId=channel, reason_code=str(cause))

    async def play(self, channel: str, sound: str, playback: str) -> None:
        """Plays `sound` (absolute path or name, without ending). PlaybackFinished tells the end."""
        try:
            await self._do(Operation.PLAY, channelId=channel, playbackId=playback, media=[f"sound:{sound}"])
        except OutcomeUnknown:
            if not await self._is_there(Operation.PLAYBACK, playbackId=playback):
                raise

    async def is_playing(self, playback: str) -> bool:
        """Whether a sound waits for its turn or is being played."""
        try:
            await self._do(Operation.PLAYBACK, playbackId=playback)
        except NotFound:
            return False
        return True

    async def stop_playback(self, playback: str) -> None:
        """Ends a sound; ended already is done."""
        await self._do_unless_gone(Operation.STOP_PLAYBACK, playbackId=playback)

    async def record_channel(self, channel: str, name: str, *, longest: int, silence: int, end_key: str = "#") -> None:
        """Records what comes from a channel in no bridge into `name`.wav in the spool's `recording` folder.

        Ends after `longest` seconds, `silence` seconds without sound, `end_key`, or with the channel; RecordingFinished
        tells it.
        """
        try:
            await self._do(
                Operation.RECORD,
                channelId=channel,
                name=name,
                format="wav",
                maxDurationSeconds=longest,
                maxSilenceSeconds=silence,
                ifExists="overwrite",
                terminateOn=end_key,
            )
        except OutcomeUnknown:
            if not await self._is_there(Operation.LIVE_RECORDING, recordingName=name):
                raise

    async def is_recording(self, name: str) -> bool:
        """Whether a recording of one channel still goes on."""
        try:
            await self._do(Operation.LIVE_RECORDING, recordingName=name)
        except NotFound:
            return False
        return True

    async def end_recording(self, name: str) -> None:
        """Ends a recording of one channel and keeps what there is; ended already is done."""
        for _ in range(_ENDINGS):
            await self._do_unless_gone(Operation.END_RECORDING, recordingName=name)
            # Asterisk forgets what it took when the recording was about to begin.
            if not await self.is_recording(name):
                return
            await asyncio.sleep(_BETWEEN_ENDINGS)
        raise AsteriskFailed(f"recording {name}: Asterisk does not end it")

    async def snoop(self, channel: str, snoop: str, *, whisper: str = "none") -> None:
        """A channel `snoop` of the application's that hears what `channel` hears and says.

        What is said into it is heard by nobody (`whisper` none), by the party on `channel` (out), or by that party and
        whoever it talks to (both). It ends with `channel`. StasisStart tells when it takes commands.
        """
        await self._do(
            Operation.SNOOP, channelId=channel, snoopId=snoop, spy="both", whisper=whisper, app=self.app_name
        )

    async def external_media(self, channel: str) -> str:
        """A channel of the application's whose sound goes over a WebSocket; what `open_media` wants.

        It ends when that socket does; one that nobody opens stays.
        """
        made = await self._ask(
            Operation.EXTERNAL_MEDIA,
            Channel,
            channelId=channel,
            app=self.app_name,
            external_host="INCOMING",
            transport="websocket",
            encapsulation="none",
            connection_type="server",
            format=MEDIA_FORMAT,
        )
        return made.channelvars.get("MEDIA_WEBSOCKET_CONNECTION_ID", "")

    async def open_media(self, connection: str) -> MediaLine:
        """The sound of a channel that `external_media` made. Raises TryLater when it is not to be had."""
        try:
            async with asyncio.timeout(self._timeout):
                socket = await self._sockets.ws_connect(
                    URL(f"{self._url}/media/{quote(connection, safe='')}", encoded=True),
                    protocols=("media",),
                    heartbeat=10.0,
                    timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise TryLater(f"Asterisk gives no sound over its WebSocket: {str(error) or 'no answer'}") from None
        return MediaSocket(socket)

    async def start_music(self, channel: str, music_class: str) -> None:
        """Plays a music class over and over until stopped, or until the channel enters a bridge."""
        await self._do(Operation.START_MUSIC, channelId=channel, mohClass=music_class)

    async def stop_music(self, channel: str) -> None:
        """Ends the music; a channel that is gone is done."""
        await self._do_unless_gone(Operation.STOP_MUSIC, channelId=channel)

    async def variables(self, channel: str, names: Sequence[str]) -> dict[str, str]:
        """Channel variables and dialplan functions by name; one without a value is an empty text."""
        try:
            reply = await self._ask(Operation.GET_VARIABLES, _Variables, channelId=channel, variables=",".join(names))
        except ChannelGone:
            raise
        except (NotFound, AsteriskFailed):  # one that has no value spoils the answer for all
            if len(names) == 1:
                return {names[0]: ""}
            each = [await self.variables(channel, [name]) for name in names]
            return {name: value for one in each for name, value in one.items()}
        return {name: reply.variables.get(name) or "" for name in names}

    async def set_variables(self, channel: str, values: Mapping[str, str]) -> None:
        """Sets channel variables and writes dialplan functions."""
        await self._do(Operation.SET_VARIABLES, channelId=channel, variables=dict(values))

    async def move(self, channel: str, app: str, args: str = "") -> None:
        """Gives any application's channel to `app`, which gets a StasisStart with `args` (by comma)."""
        await self._do(Operation.MOVE, channelId=channel, app=app, appArgs=args)

    async def continue_in_dialplan(
        self, channel: str, context: str | None = None, extension: str | None = None, label: str | None = None
    ) -> None:
        """Sends the channel back: to the start of `extension` in `context`, or to the step after Stasis.

        With `label` to the step of that name.
        """
        await self._do(Operation.CONTINUE, channelId=channel, context=context, extension=extension, label=label)

    # Bridges

    async def bridges(self) -> list[Bridge]:
        """Every bridge of this Asterisk."""
        return await self._ask(Operation.BRIDGES, list[Bridge])

    async def create_bridge(self, bridge: str, kind: str = "mixing") -> None:
        """Makes a bridge. It never goes by itself. Raises WrongState when the id is taken."""
        await self._do(Operation.CREATE_BRIDGE, bridgeId=bridge, type=kind)

    async def add_to_bridge(self, bridge: str, *channels: str) -> None:
        """Connects the channels. Raises ChannelGone, NotInApplication, or NotFound for the bridge."""
        await self._do(Operation.ADD_TO_BRIDGE, bridgeId=bridge, channel=list(channels))

    async def answer_into(self, bridge: str, caller: str, other: str) -> DariError | None:
        """Answers the caller and connects the two, in one go. Raises as `answer` does.

        Returns what `add_to_bridge` would raise when the caller is answered and the two are not, or not surely,
        connected.
        """
        answered, joined = await self._do_in_order(
            (Operation.ANSWER, {"channelId": caller}),
            (Operation.ADD_TO_BRIDGE, {"bridgeId": bridge, "channel": [caller, other]}),
        )
        is_unknown = isinstance(answered, OutcomeUnknown)
        if isinstance(answered, DariError) and not (is_unknown and await self._is_up(caller)):
            raise answered
        return joined if isinstance(joined, DariError) else None

    async def remove_from_bridge(self, bridge: str, channel: str) -> None:
        """Takes a channel out; it takes commands of its own again when this returns. Done already is done."""
        with suppress(NotFound, WrongState, NotInApplication, Invalid):  # it, or the bridge, goes or has gone
            await self._do(Operation.REMOVE_FROM_BRIDGE, bridgeId=bridge, channel=[channel])

    async def destroy_bridge(self, bridge: str) -> None:
        """Destroys a bridge; its channels stay. Destroyed already is done."""
        for failure in await self.clear_away((), (bridge,)):
            raise failure

    async def clear_away(self, hang_ups: Iterable[tuple[str, int]], bridges: Iterable[str]) -> list[DariError]:
        """Ends channels, each with its Q.850 cause, and destroys bridges, in one go; done already is done.

        Returns what could not be done, and why.
        """
        channels = [(Operation.HANG_UP, {"channelId": one, "reason_code": str(cause)}) for one, cause in hang_ups]
        steps = [*channels, *((Operation.DESTROY_BRIDGE, {"bridgeId": bridge}) for bridge in bridges)]
        if not steps:
            return []
        outcomes = await self._do_in_order(*steps)
        return [
            outcome
            for (operation, _), outcome in zip(steps, outcomes, strict=True)
            if isinstance(outcome, DariError) and not _is_done(operation, outcome)
        ]

    # The one place where requests are made

    async def _ask(self, operation: Operation, shape: type[_T], **values: Any) -> _T:
        body = await self._do(operation, **values)
        try:
            return msgspec.json.decode(body, type=shape)
        except msgspec.DecodeError as error:
            raise AsteriskFailed(f"Asterisk's answer to {operation.name} cannot be read: {error}") from None

    async def _do_unless_gone(self, operation: Operation, **values: Any) -> None:
        try:
            await self._do(operation, **values)
        except NotFound:
            return

    async def _do(self, operation: Operation, **values: Any) -> bytes:
        try:
            return await self._send(operation, values, self._timeout)
        except OutcomeUnknown as unknown:
            return await self._again(operation, values, unknown)

    async def _again(self, operation: Operation, values: dict[str, Any], unknown: OutcomeUnknown) -> bytes:
        """Does what may have been done already; raises `unknown` where that could do harm."""
        if operation in _NOT_TWICE:
            raise unknown
        try:
            return await self._send(operation, values, _ASKED_AGAIN_FOR)
        except WrongState:
            if operation is not Operation.CREATE_BRIDGE:
                raise
            return b""  # its id is taken by the first one

    async def _is_there(self, operation: Operation, **values: Any) -> bool:
        """Whether what may have been made is there. False when nobody knows."""
        try:
            await self._send(operation, values, _ASKED_AGAIN_FOR)
        except (NotFound, TryLater):
            return False
        return True

    async def _is_up(self, channel: str) -> bool:
        """Whether a channel is answered. False when nobody knows."""
        try:
            answer = await self._send(Operation.CHANNEL, {"channelId": channel}, _ASKED_AGAIN_FOR)
        except (NotFound, TryLater):
            return False
        return msgspec.json.decode(answer, type=Channel).state == "Up"

    async def _send(self, operation: Operation, values: dict[str, Any], within: float) -> bytes:
        (outcome,) = await self._outcomes([(operation, values)], within)
        return _answer_to(operation, outcome, within)

    async def _do_in_order(self, *steps: _Step) -> list[bytes | DariError]:
        """Does them one after the other, whatever comes of each, sent in one piece; what `_do` would give or raise."""
        try:
            outcomes = await self._outcomes(steps, self._timeout)
        except TryLater as unreachable:
            return [unreachable for _ in steps]
        return [await self._what_came_of(step, outcome) for step, outcome in zip(steps, outcomes, strict=True)]

    async def _outcomes(self, steps: Sequence[_Step], within: float) -> Sequence[Outcome]:
        """What came of each, sent in one piece. Raises TryLater when Asterisk cannot be reached."""
        try:
            return await self._http.ask([_command(*step) for step in steps], within)
        except Unreachable as error:
            raise TryLater(f"Asterisk cannot be reached at {self._url}: {error}; is it running?") from None
        except TimeoutError as error:
            return [error for _ in steps]

    async def _what_came_of(self, step: _Step, outcome: Outcome) -> bytes | DariError:
        operation, values = step
        try:
            try:
                return _answer_to(operation, outcome, self._timeout)
            except OutcomeUnknown as unknown:
                return await self._again(operation, values, unknown)
        except DariError as error:
            return error


_Step = tuple[Operation, dict[str, Any]]


def _is_done(operation: Operation, refusal: DariError) -> bool:
    """Whether what is to be gone is: for a moment Asterisk says 409 instead of 404, while a bridge goes."""
    return isinstance(refusal, NotFound) or (operation is Operation.DESTROY_BRIDGE and isinstance(refusal, WrongState))


def _answer_to(operation: Operation, outcome: Outcome, within: float) -> bytes:
    if isinstance(outcome, Broken):
        raise _unknown(operation, str(outcome))
    if isinstance(outcome, TimeoutError):
        raise _unknown(operation, f"no answer within {within:g} s")
    if outcome.status >= 400:
        raise _error(operation, outcome.status, outcome.body)
    return outcome.body


def _command(operation: Operation, values: dict[str, Any]) -> Command:
    """Path and query, and JSON body. Values go into the body if they can: no phone numbers in addresses."""
    place = {name: quote(value, safe="") for name, value in values.items() if name not in operation.parameters}
    given = {name: value for name, value in values.items() if name not in place and value is not None}
    path = f"/ari{operation.path.format_map(place)}"
    if not given:
        return Command(operation.method, path, b"")
    if operation.method in ("GET", "DELETE"):
        return Command(operation.method, f"{path}?{urlencode(given)}", b"")
    # The filter is the body itself; every other parameter is a field of it.
    return Command(operation.method, path, msgspec.json.encode(given.get("filter", given)))


def _unknown(operation: Operation, reason: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"Asterisk: {operation.name}: {reason}; it may or may not have been done")


# All others are as if done once when they are done twice (seen on Asterisk 22.10.1). A leg that was called and has
# ended would be called again; a sound is heard twice; a message left would be recorded over; a claim tells that it is
# taken, not by whom.
_NOT_TWICE = frozenset(
    {
        Operation.CLAIM,
        Operation.CONTINUE,
        Operation.EXTERNAL_MEDIA,
        Operation.MOVE,
        Operation.ORIGINATE,
        Operation.PLAY,
        Operation.RECORD,
        Operation.SNOOP,
    }
)

# 404 of addChannel is about the bridge; an answer fails when the caller hangs up while it waits.
_OTHER_WORDS_FOR_GONE = (
    (Operation.ADD_TO_BRIDGE, 400, "Channel not found"),
    (Operation.ANSWER, 500, "Failed to answer channel"),
)

_ERRORS: dict[int, type[DariError]] = {
    401: NotAllowed,
    403: NotAllowed,
    404: NotFound,
    409: WrongState,
    412: PreconditionFailed,
    422: NotInApplication,
}


def _error(operation: Operation, status: int, body: bytes) -> DariError:
    try:
        complaint = msgspec.json.decode(body, type=_Complaint)
    except msgspec.DecodeError:
        complaint = _Complaint()
    said = complaint.message or complaint.error or "no reason given"
    text = f"Asterisk refused {operation.name}: {said} ({status})"
    if (operation, status, said) in _OTHER_WORDS_FOR_GONE:
        return ChannelGone(text)
    if status == 404 and operation.about_channel and "variable was not found" not in said:
        return ChannelGone(text)
    return _ERRORS.get(status, AsteriskFailed if status >= 500 else Invalid)(text)
