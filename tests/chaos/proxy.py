"""Stands between two that talk over TCP on loopback, and does to their words what a bad network or a sick peer does.

`TcpProxy` knows bytes: it holds them, and cuts the connection. `AriProxy` knows Asterisk's
HTTP and its event socket: it holds, spoils or breaks single answers, and loses, doubles, reorders and delays events.
Each counts what it did and proves it (I8). In a sparing hand they do nothing at all.
"""

from __future__ import annotations

import asyncio
import random
import re
import socket
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

import aiohttp
from aiohttp import WSMsgType, web
from yarl import URL

from engine.asterisk.events import type_name
from engine.foundation.tasks import Tasks
from tests.chaos.processes import STRIKING, Hand
from tests.chaos.proof import Proof
from tests.loopback import ANY_PORT

_AT_ONCE = struct.pack("ii", 1, 0)
_OVERTAKEN_WITHIN = 0.3
"""Seconds that an event waits at most for others to overtake it."""


class Way(Enum):
    """The direction in which words go."""

    TO_SERVER = "to the server"
    TO_CLIENT = "to the client"


BOTH = (Way.TO_SERVER, Way.TO_CLIENT)


def break_off(transport: asyncio.BaseTransport | None) -> None:
    """Ends a connection by RST: what was not sent yet is not sent any more."""
    if transport is None:
        return
    if (handle := transport.get_extra_info("socket")) is not None:
        with suppress(OSError):  # closed already
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    if isinstance(transport, asyncio.WriteTransport):
        transport.abort()


class _Half:
    """One direction of one connection."""

    def __init__(self, way: Way, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.way = way
        self.reader = reader
        self.writer = writer
        self.waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self.was_reset = False


class TcpProxy:
    """Between whoever connects to `address` and the server at `target` (host:port). Used with `async with`."""

    def __init__(self, target: str, address: str = ANY_PORT, hand: Hand = STRIKING) -> None:
        self.did: Counter[str] = Counter()
        """What it did so far: bytes held, connections cut."""
        self._target = target.rpartition(":")
        self._wanted = address.rpartition(":")
        self._hand = hand
        self._open = {way: asyncio.Event() for way in Way}
        self._bytes_left: dict[Way, int | None] = dict.fromkeys(Way, None)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks = Tasks("proxy")
        for gate in self._open.values():
            gate.set()

    async def __aenter__(self) -> Self:
        host, _, port = self._wanted
        self._server = await asyncio.start_server(self._accept, host, int(port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._tasks.close()
        for writer in list(self._writers):
            break_off(writer.transport)
        await self._server.wait_closed()

    @property
    def address(self) -> str:
        """host:port for the client."""
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"{host}:{port}"

    # -- faults ------------------------------------------------------------------------------------------------------

    def hold(self, *ways: Way) -> None:
        """Accepts and passes nothing on, like a network that loses every packet; both ways unless told."""
        for way in (ways or BOTH) if self._hand.strikes else ():
            self._open[way].clear()

    def release(self) -> None:
        """What was held goes on, unless its connection was broken meanwhile: so TCP sends it again."""
        for gate in self._open.values():
            gate.set()

    def cut(self, *, reset: bool = True) -> None:
        """Ends every connection, by RST or in order (FIN)."""
        for writer in list(self._writers) if self._hand.strikes else ():
            self.did["connections cut"] += 1
            if reset:
                break_off(writer.transport)
            else:
                writer.close()

    def cut_after(self, count: int, way: Way) -> None:
        """Ends the connection on which the `count`-th byte from now on went that way, right after it."""
        if self._hand.strikes:
            self._bytes_left[way] = count

    def proof(self, what: str) -> Proof:
        """That it did so: `bytes held`, `connections cut`."""
        unit, _, deed = what.partition(" ")
        return Proof(f"proxy, {deed}", self.did[what], unit)

    async def proven(self, what: str) -> Proof:
        """As `proof`, once there is one."""
        await self._hand.sees(lambda: bool(self.did[what]))
        return self.proof(what)

    # -- the work ----------------------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        tasks = Tasks("proxy connection")
        try:
            there = await self._connect()
            if there is None:
                break_off(writer.transport)
                return
            self._writers.add(there[1])
            halves = (_Half(Way.TO_SERVER, reader, there[1]), _Half(Way.TO_CLIENT, there[0], writer))
            work = [tasks.start("read", self._read(half)) for half in halves]
            work += [tasks.start("pass on", self._pass_on(half)) for half in halves]
            await asyncio.gather(*work, return_exceptions=True)
        finally:
            await tasks.close()
            self._writers.discard(writer)
            writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """No connection comes about while a direction is dead: SYN or its answer would be lost."""
        for gate in self._open.values():
            await gate.wait()
        host, _, port = self._target
        try:
            return await asyncio.open_connection(host, int(port))
        except OSError:
            return None

    async def _read(self, half: _Half) -> None:
        try:
            while data := await half.reader.read(65536):
                if not self._open[half.way].is_set():
                    self.did["bytes held"] += len(data)
                half.waiting.put_nowait(data)
        except OSError:
            half.was_reset = True
        half.waiting.put_nowait(b"")

    async def _pass_on(self, half: _Half) -> None:
        while data := await half.waiting.get():
            await self._open[half.way].wait()
            if half.was_reset:
                break
            with suppress(OSError):
                half.writer.write(data)
                await half.writer.drain()
            self._count(half, len(data))
        await self._open[half.way].wait()
        self._writers.discard(half.writer)
        if half.was_reset:
            break_off(half.writer.transport)
        else:
            half.writer.close()

    def _count(self, half: _Half, length: int) -> None:
        left = self._bytes_left[half.way]
        if left is None:
            return
        self._bytes_left[half.way] = left - length
        if left <= length:
            self._bytes_left[half.way] = None
            self.did["connections cut"] += 1
            break_off(half.writer.transport)


class Spoilt(Enum):
    """What happens to the answer of a command, or to the command."""

    HELD = "held"
    """It is done; its answer comes when `release` says so, or never."""
    LATE = "late"
    """It is done; its answer comes after `seconds`."""
    BROKEN = "broken"
    """It is done; then the connection breaks."""
    LOST = "lost"
    """It is not done, and there is no answer until `release`."""
    FAILED = "failed"
    """It is not done; the answer is 500."""
    TRICKLING = "trickling"
    """It is done; its answer comes a byte each `seconds`, for ever."""


@dataclass(slots=True)
class CommandFault:
    """Strikes commands whose whole `METHOD /path` matches `command`, `times` of them, after having let `after` pass."""

    command: str
    how: Spoilt
    times: int = 1
    after: int = 0
    seconds: float = 1.0
    apart: int = 3
    """How many pass between two that it strikes: whoever asks again gets an answer."""
    struck: int = 0

    def strikes(self, command: str) -> bool:
        if not re.fullmatch(self.command, command) or self.struck >= self.times:
            return False
        if self.after:
            self.after -= 1
            return False
        self.struck += 1
        self.after = self.apart
        return True

    def proof(self) -> Proof:
        """That it struck."""
        return Proof(f"answers to {self.command} {self.how.value}", self.struck, "commands")


@dataclass(slots=True)
class EventFaults:
    """What happens to events; a type is to its part of events (0 to 1) what `*` is to every other type's."""

    seed: int
    lose: Mapping[str, float] = field(default_factory=dict)
    double: Mapping[str, float] = field(default_factory=dict)
    reorder: Mapping[str, float] = field(default_factory=dict)
    delay: Mapping[str, float] = field(default_factory=dict)
    """Seconds by type."""
    window: int = 4
    """How many events may overtake one, or come between an event and its double."""
    only: Callable[[str], bool] = lambda _text: True
    """Which events it is about."""
    did: Counter[str] = field(default_factory=Counter)
    """`lost StasisStart` and so on."""
    chosen: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.chosen = random.Random(self.seed)

    @property
    def promised(self) -> tuple[str, ...]:
        """What is to happen."""
        words = {"lost": self.lose, "doubled": self.double, "reordered": self.reorder, "delayed": self.delay}
        return tuple(word for word, parts in words.items() if parts)

    def proof(self, what: str) -> Proof:
        """That it did so: `lost`, `doubled`, `reordered`, `delayed`; of one type when it is named too."""
        return Proof(f"events {what}", sum(count for did, count in self.did.items() if did.startswith(what)), "events")


class AriProxy:
    """Between an engine and Asterisk's ARI at `target` (host:port). Used with `async with`."""

    def __init__(self, target: str, address: str = ANY_PORT, hand: Hand = STRIKING) -> None:
        self.faults: list[CommandFault] = []
        self.events: EventFaults | None = None
        self.hand = hand
        self.seen: list[str] = []
        """Every command that was passed on: METHOD /path."""
        self.connected: int = 0
        """How often an event socket was opened."""
        self.closed: Counter[str] = Counter()
        """By whom each event socket was closed: the engine, Asterisk or the proxy."""
        self.frames: int = 0
        """Events that Asterisk told."""
        self._url = f"http://{target}"
        self._wanted = address.rpartition(":")
        self._released = asyncio.Event()
        self._sockets: list[_Line] = []

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/ari/events", self._listen)
        application.router.add_route("*", "/{any:.*}", self._command)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None)
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        host, _, port = self._wanted
        await web.TCPSite(self._runner, host, int(port)).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._released.set()
        self._break_all()
        await self._session.close()
        await self._runner.cleanup()

    @property
    def address(self) -> str:
        """host:port for the engine."""
        host, port = self._runner.addresses[0][:2]
        return f"{host}:{port}"

    def spoil(self, command: str, how: Spoilt, *, times: int = 1, after: int = 0, seconds: float = 1.0) -> CommandFault:
        """Something happens to the next commands of a kind."""
        fault = CommandFault(command, how, times, after, seconds)
        if self.hand.strikes:
            self.faults.append(fault)
        return fault

    def release(self) -> None:
        """Held answers come now, and nothing is spoilt any more."""
        self.faults.clear()
        self._released.set()
        self._released = asyncio.Event()

    def cut(self) -> Proof:
        """Breaks every event socket off, on both sides."""
        return Proof("event sockets broken", self._break_all() if self.hand.strikes else 0, "sockets")

    def _break_all(self) -> int:
        cut = [line for line in self._sockets if not line.over]
        for line in cut:
            self.closed["the proxy"] += 1
            line.break_off()
        return len(cut)

    # -- commands ----------------------------------------------------------------------------------------------------

    async def _command(self, request: web.Request) -> web.StreamResponse:
        command = f"{request.method} {request.path}"
        released = self._released
        fault = next((fault for fault in self.faults if fault.strikes(command)), None)
        how = fault.how if fault else None
        if how is Spoilt.FAILED:
            return web.json_response({"message": "Allocation failed"}, status=500)
        if how is Spoilt.LOST:
            await released.wait()
            break_off(request.transport)
            return web.Response(status=500)
        answer = await self._passed_on(request)
        self.seen.append(command)
        if fault is not None:
            await self._spoil(request, answer, fault, released)
        return answer

    async def _passed_on(self, request: web.Request) -> web.Response:
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        url = URL(self._url + request.raw_path, encoded=True)
        body = await request.read()
        async with self._session.request(request.method, url, data=body or None, headers=headers) as told:
            return web.Response(
                status=told.status, body=await told.read(), headers={"Content-Type": "application/json"}
            )

    async def _spoil(
        self, request: web.Request, answer: web.Response, fault: CommandFault, released: asyncio.Event
    ) -> None:
        match fault.how:
            case Spoilt.HELD:
                await released.wait()
            case Spoilt.LATE:
                with suppress(TimeoutError):
                    await asyncio.wait_for(released.wait(), fault.seconds)
            case Spoilt.BROKEN:
                break_off(request.transport)
            case Spoilt.TRICKLING:
                assert request.transport is not None
                assert isinstance(request.transport, asyncio.WriteTransport)
                request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
                while not (released.is_set() or request.transport.is_closing()):
                    request.transport.write(b" ")
                    with suppress(TimeoutError):
                        await asyncio.wait_for(released.wait(), fault.seconds)
                break_off(request.transport)
            case _:
                pass

    # -- events ------------------------------------------------------------------------------------------------------

    async def _listen(self, request: web.Request) -> web.StreamResponse:
        headers = {"Authorization": request.headers.get("Authorization", "")}
        url = URL(self._url + request.raw_path, encoded=True)
        try:
            there = await self._session.ws_connect(url, headers=headers, autoping=False, max_msg_size=0)
        except aiohttp.WSServerHandshakeError as error:
            return web.Response(status=error.status)
        except (aiohttp.ClientError, OSError):
            break_off(request.transport)
            return web.Response(status=502)
        here = web.WebSocketResponse(autoping=False, max_msg_size=0)
        line = _Line(self, request, here, there)
        try:
            await here.prepare(request)
            self.connected += 1
            self._sockets.append(line)
            closed_by = await line.run()
            if not line.over:
                self.closed[closed_by] += 1
        finally:  # a listener may leave, and the proxy may end, at any of these lines
            line.break_off()
        return here


@dataclass(slots=True, eq=False)
class _Waiting:
    """An event that others may overtake."""

    text: str
    still: int
    """How many are to come before it."""


class _Line:
    """One event socket through the proxy."""

    def __init__(
        self,
        proxy: AriProxy,
        request: web.Request,
        here: web.WebSocketResponse,
        there: aiohttp.ClientWebSocketResponse,
    ) -> None:
        self.over = False
        self._proxy = proxy
        self._request = request
        self._here = here
        self._there = there
        self._out: asyncio.Queue[str] = asyncio.Queue()
        self._overtaken: list[_Waiting] = []
        self._tasks = Tasks("proxy of events")

    async def run(self) -> str:
        """Until it ends; who closed it."""
        self._tasks.start("tell", self._tell())
        from_engine = self._tasks.start("from engine", self._from_engine())
        from_asterisk = self._tasks.start("from Asterisk", self._from_asterisk())
        await asyncio.wait([from_engine, from_asterisk], return_when=asyncio.FIRST_COMPLETED)
        closed_by = "the engine" if from_engine.done() else "Asterisk"
        await self._tasks.close()
        return closed_by

    def break_off(self) -> None:
        self.over = True
        break_off(self._request.transport)
        response = self._there._response
        break_off(response.connection.transport if response.connection else None)
        response.close()

    async def _from_engine(self) -> None:
        async for frame in self._here:
            if frame.type is WSMsgType.PING:
                await self._there.ping(frame.data)
            elif frame.type is WSMsgType.PONG:
                await self._there.pong(frame.data)
            elif frame.type is WSMsgType.TEXT:
                await self._there.send_str(frame.data)

    async def _from_asterisk(self) -> None:
        async for frame in self._there:
            if frame.type is WSMsgType.PING:
                await self._here.ping(frame.data)
            elif frame.type is WSMsgType.PONG:
                await self._here.pong(frame.data)
            elif frame.type is WSMsgType.TEXT:
                self._take(frame.data)

    async def _tell(self) -> None:
        with suppress(ConnectionError):
            while True:
                await self._here.send_str(await self._out.get())

    def _take(self, text: str) -> None:
        """An event of Asterisk's: what is to happen to it."""
        self._proxy.frames += 1
        faults = self._proxy.events if self._proxy.hand.strikes else None
        kind = type_name(text)
        if faults is None or not faults.only(text):
            self._pass(text)
        elif self._falls_on(faults, faults.lose, kind):
            faults.did[f"lost {kind}"] += 1
        elif seconds := faults.delay.get(kind, 0.0):
            faults.did[f"delayed {kind}"] += 1
            asyncio.get_running_loop().call_later(seconds, self._pass, text)
        else:
            self._shuffle(faults, kind, text)

    def _shuffle(self, faults: EventFaults, kind: str, text: str) -> None:
        if self._falls_on(faults, faults.double, kind):
            faults.did[f"doubled {kind}"] += 1
            self._let_overtake(faults, text)
        if self._falls_on(faults, faults.reorder, kind):
            faults.did[f"reordered {kind}"] += 1
            self._let_overtake(faults, text)
        else:
            self._pass(text)

    def _falls_on(self, faults: EventFaults, parts: Mapping[str, float], kind: str) -> bool:
        part = parts.get(kind, parts.get("*", 0.0))
        return part > 0 and faults.chosen.random() < part

    def _let_overtake(self, faults: EventFaults, text: str) -> None:
        waiting = _Waiting(text, faults.chosen.randint(1, faults.window))
        self._overtaken.append(waiting)
        asyncio.get_running_loop().call_later(_OVERTAKEN_WITHIN, self._no_longer, waiting)

    def _no_longer(self, waiting: _Waiting) -> None:
        """Nothing more came that could overtake it."""
        if waiting in self._overtaken:
            self._overtaken.remove(waiting)
            self._out.put_nowait(waiting.text)

    def _pass(self, text: str) -> None:
        self._out.put_nowait(text)
        for waiting in list(self._overtaken):
            waiting.still -= 1
            if waiting.still <= 0:
                self._no_longer(waiting)
