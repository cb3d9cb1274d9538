"""A small HTTP and websocket server that answers as a test tells it, where Asterisk's ARI would be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import WSMsgType, web

from tests.eventually import PATIENCE
from tests.loopback import HOST


@dataclass(slots=True)
class Seen:
    """One request as it arrived."""

    method: str
    address: str
    authorization: str
    body: Any


@dataclass(eq=False)
class FakeAri:
    """Used with `async with`. Answers 204 unless told otherwise."""

    status: int = 204
    answer: Any = None
    event_status: int = 101
    """Of the event socket: 101 opens it."""
    silent: bool = False
    """Whether requests get no answer at all."""
    answers_pings: bool = True
    seen: list[Seen] = field(default_factory=list)
    waiting: int = 0
    most_waiting: int = 0
    """Requests without an answer: now, and at most so far."""
    sockets: list[web.WebSocketResponse] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/ari/events", self._events)
        application.router.add_route("*", "/{any:.*}", self._command)
        self._changed = asyncio.Condition()
        self._released = asyncio.Event()
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._released.set()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    def release(self) -> None:
        """Answers those who wait because it was silent, and whoever comes."""
        self.silent = False
        self._released.set()

    async def connected(self, times: int = 1) -> web.WebSocketResponse:
        """The newest event socket, when there have been as many."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.sockets) >= times)
        return self.sockets[-1]

    async def _command(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.seen.append(Seen(request.method, request.path_qs, request.headers.get("Authorization", ""), body))
        self.waiting += 1
        self.most_waiting = max(self.waiting, self.most_waiting)
        if self.silent:
            await self._released.wait()
        self.waiting -= 1
        if self.answer is None:
            return web.Response(status=self.status)
        return web.json_response(self.answer, status=self.status)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(Seen("EVENTS", request.path_qs, request.headers.get("Authorization", ""), None))
        if self.event_status != 101:
            return web.Response(status=self.event_status)
        socket = web.WebSocketResponse(autoping=self.answers_pings)
        await socket.prepare(request)
        async with self._changed:
            self.sockets.append(socket)
            self._changed.notify_all()
        async for message in socket:
            assert message.type is WSMsgType.PING
        return socket
