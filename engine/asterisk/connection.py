"""The event socket to Asterisk: connects for ever, decodes, and queues. The only websocket client.

While it is away Asterisk drops our events and sends new calls past us; calls that we have go on. So every
`Connected` means that something may have been missed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass

import aiohttp
import structlog

from engine.asterisk.commands import Ari
from engine.asterisk.event_lag import EventLag
from engine.asterisk.events import EVENT_TYPES, ApplicationReplaced, Event, Message, decode, type_name
from engine.foundation.clock import Clock, SystemClock
from engine.foundation.errors import DariError, NotAllowed, TryLater
from engine.foundation.tasks import Tasks

log = structlog.get_logger(__name__)

_FIRST_WAIT = 0.1
_LONGEST_WAIT = 5.0
_CONNECT_LIMIT = 5.0
_CLOSE_LIMIT = 1.0


@dataclass(frozen=True, slots=True)
class Connected:
    """Events come from now on. `first` is False when some may have been missed before."""

    first: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """No events until the next Connected."""

    reason: str


class Connection:
    """The events of one ARI application. `events` may be read by one reader at a time."""

    def __init__(
        self,
        url: str,
        app: str,
        user: str,
        password: str,
        *,
        event_types: Iterable[str] = EVENT_TYPES,
        clock: Clock | None = None,
        heartbeat: float = 5.0,
    ) -> None:
        """`heartbeat`: seconds between pings; half of that unanswered, and the other side counts as dead."""
        self.unknown: Counter[str] = Counter()
        """How many events of each type came that we do not know, and how many texts were unreadable."""
        self.state = "not connected yet"
        """One sentence for people."""
        self.connected = False
        self._url = url
        self._app = app
        self._user = user
        self._password = password
        self._authorization = aiohttp.encode_basic_auth(user, password)
        self._event_types = tuple(event_types)
        self._connections = 0
        self._heartbeat = heartbeat
        self._pongs = 0
        self._clock = clock or SystemClock()
        self._event_lag = EventLag()
        self._waiting: deque[tuple[float, Event | Connected | Disconnected]] = deque()
        self._arrived = asyncio.Event()

    @property
    def lag(self) -> float:
        """Seconds that the oldest event has waited for our reader to be done with it; 0 when none waits."""
        return self._clock.monotonic() - self._waiting[0][0] if self._waiting else 0.0

    @property
    def event_lag(self) -> float | None:
        """Seconds from Asterisk's own instant of an event until it was dealt with, which all but one in a hundred of
        the last minute's stayed under, or the oldest waits already; None when there were none."""
        behind = self._event_lag.p99(self._clock.monotonic())
        return None if behind is None else max(behind, self.lag)

    async def events(self) -> AsyncIterator[Event | Connected | Disconnected]:
        """Every event, in order, for ever. However slow its reader is, the socket is never kept waiting."""
        tasks = Tasks("asterisk")
        reader = tasks.start("events", self._stay_connected())
        reader.add_done_callback(lambda _: self._arrived.set())
        try:
            while not reader.done():
                self._arrived.clear()
                while self._waiting:
                    item = self._waiting[0][1]
                    yield item
                    self._waiting.popleft()
                    if isinstance(item, Message) and item.timestamp:
                        self._event_lag.note(item.timestamp, self._clock.now(), self._clock.monotonic())
                await self._arrived.wait()
            await reader
        finally:
            await tasks.close()
            self.connected = False
            self._waiting.clear()

    def _put(self, item: Event | Connected | Disconnected) -> None:
        self._waiting.append((self._clock.monotonic(), item))
        self._arrived.set()

    async def _stay_connected(self) -> None:
        wait = _FIRST_WAIT
        while True:
            before = self._connections
            try:
                await self._listen()
                reason = "Asterisk closed the connection"
            except DariError as error:
                reason = str(error)
            self.connected = False
            if self._connections > before:
                wait = _FIRST_WAIT
                self._put(Disconnected(reason))
            self._tell(f"not connected: {reason}")
            await asyncio.sleep(wait * (0.5 + secrets.randbelow(500) / 1000))
            wait = min(wait * 2, _LONGEST_WAIT)

    async def _listen(self) -> None:
        """One connection, from opening to its end. Raises DariError when it fails."""
        try:
            async with (
                aiohttp.ClientSession(headers={"Authorization": self._authorization}) as session,
                await self._open(session) as socket,
            ):
                await self._set_event_filter()
                self.connected = True
                self._tell("connected")
                self._put(Connected(first=self._connections == 0))
                self._connections += 1
                await self._read(socket)
        except aiohttp.WSServerHandshakeError as error:
            raise self._refusal(error.status) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise TryLater(
                f"Asterisk at {self._url} gives no event socket: {str(error) or 'no answer'}; is it running?"
            ) from None

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Every frame until the socket ends. Raises TryLater when it broke, or Asterisk does not hear us any more."""
        unheard = asyncio.Event()
        tasks = Tasks("event socket")
        tasks.start("heartbeat", self._ping(socket, unheard))
        try:
            async for frame in socket:
                if frame.type is aiohttp.WSMsgType.PING:
                    await socket.pong(frame.data)
                self._take(frame)
            if unheard.is_set():
                raise TryLater(f"Asterisk at {self._url} answered no ping within {self._heartbeat / 2:g} s")
            if error := socket.exception():
                raise TryLater(f"the event socket to Asterisk broke: {error}")
        finally:
            await tasks.close()

    async def _ping(self, socket: aiohttp.ClientWebSocketResponse, unheard: asyncio.Event) -> None:
        """Pings, whatever comes meanwhile: events show that we hear Asterisk, not that it hears us. Closes when it does
        not.

        aiohttp's own heartbeat pings only while nothing comes.
        """
        before = -1
        while self._pongs > before:
            await asyncio.sleep(self._heartbeat)
            before = self._pongs
            try:
                await socket.ping()
            except (aiohttp.ClientError, OSError):
                return  # it has ended; whoever reads it says why
            await asyncio.sleep(self._heartbeat / 2)
        unheard.set()
        await socket.close()

    async def _open(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        async with asyncio.timeout(_CONNECT_LIMIT):
            return await session.ws_connect(
                f"{self._url}/ari/events",
                params={"app": self._app},
                autoping=False,
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_LIMIT),
            )

    async def _set_event_filter(self) -> None:
        async with Ari(self._url, self._app, self._user, self._password, timeout=_CONNECT_LIMIT) as ari:
            await ari.set_event_filter(self._event_types)

    def _take(self, frame: aiohttp.WSMessage) -> None:
        if frame.type is aiohttp.WSMsgType.PONG:
            self._pongs += 1
        if frame.type is not aiohttp.WSMsgType.TEXT:
            return
        event = decode(frame.data)
        if event is None:
            self.unknown[type_name(frame.data)] += 1
            return
        if isinstance(event, ApplicationReplaced):
            self.connected = False
            self._tell(
                f"replaced: another program uses the ARI application {self._app} and gets our events; "
                "stop it or give this engine another name"
            )
        self._put(event)

    def _refusal(self, status: int) -> DariError:
        if status in (401, 403):
            return NotAllowed(
                f"Asterisk at {self._url} refuses the ARI user {self._user} or its password ({status}); "
                "compare them with its ari.conf"
            )
        return TryLater(f"Asterisk at {self._url} refuses the event socket ({status}); is ARI enabled in its ari.conf?")

    def _tell(self, state: str) -> None:
        """Logs each state once, however often it comes again."""
        if state == self.state:
            return
        self.state = state
        if state == "connected":
            log.info("Asterisk events: connected", app=self._app)
        elif state.startswith("replaced"):
            log.error(f"Asterisk events: {state}")
        else:
            log.warning(f"Asterisk events: {state}")
