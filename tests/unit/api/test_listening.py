"""The page's server over the real sockets: what a browser sends and gets, with an engine that is played here."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from engine.api.app import make_api, serving
from engine.api.listening import listening_router
from engine.calls.listening_client import TICKET_HEADER
from tests.loopback import ANY_PORT

FRAME = bytes(range(256)) * 2 + bytes(128)
Behaviour = Callable[[web.WebSocketResponse], Awaitable[None]]


@asynccontextmanager
async def site(behaviour: Behaviour | None, tickets: list[str] | None = None) -> AsyncIterator[str]:
    """The URL of the server; `behaviour` is what the engine does with a line, None: there is no engine."""

    async def sound(request: web.Request) -> web.WebSocketResponse:
        line = web.WebSocketResponse()
        await line.prepare(request)
        if tickets is not None:
            tickets.append(request.headers[TICKET_HEADER])
        assert behaviour is not None
        await behaviour(line)
        await line.close()
        return line

    with tempfile.TemporaryDirectory(prefix="dari-") as folder:
        socket = Path(folder) / "engine.sock"
        runner = web.AppRunner(web.Application())
        runner.app.add_routes([web.get("/listening/sound", sound)])
        await runner.setup()
        if behaviour is not None:
            await web.UnixSite(runner, str(socket)).start()
        try:
            async with serving(make_api([listening_router([socket])]), ANY_PORT) as url:
                yield url
        finally:
            await runner.cleanup()


@asynccontextmanager
async def browser(url: str, ticket: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/listen/sound") as line:
        await line.send_str(ticket)
        yield line


async def test_sound_and_words_go_through_as_they_are_and_so_does_the_end() -> None:
    async def engine(line: web.WebSocketResponse) -> None:
        await line.send_str('{"state":"live"}')
        await line.send_bytes(FRAME)
        assert await line.receive_bytes() == FRAME[::-1]
        await line.send_str('{"state":"over","why":"time over"}')

    tickets: list[str] = []
    async with site(engine, tickets) as url, browser(url, "t-1") as line:
        assert await line.receive_json() == {"state": "live"}
        assert await line.receive_bytes() == FRAME
        await line.send_bytes(FRAME[::-1])
        assert await line.receive_json() == {"state": "over", "why": "time over"}
        assert (await line.receive()).type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
    assert tickets == ["t-1"]


async def test_browser_that_goes_is_told_to_the_engine() -> None:
    gone = asyncio.Event()

    async def engine(line: web.WebSocketResponse) -> None:
        await line.send_str('{"state":"live"}')
        async for _ in line:
            pass
        gone.set()

    async with site(engine) as url:
        async with browser(url, "t-1") as line:
            await line.receive_json()
        async with asyncio.timeout(10):
            await gone.wait()


async def test_engine_that_is_away_is_said_to_the_page() -> None:
    async with site(None) as url, browser(url, "t-1") as line:
        told = await line.receive_json()
        assert (told["state"], told["why"]) == ("over", "refused")
        assert "engine does not answer" in told["text"]


@pytest.mark.parametrize("ticket", ["", "x" * 101, "a\nb", "표"])
async def test_what_is_no_ticket_never_reaches_the_engine(ticket: str) -> None:
    tickets: list[str] = []

    async def engine(line: web.WebSocketResponse) -> None:
        raise AssertionError("it was asked")

    async with site(engine, tickets) as url, browser(url, ticket) as line:
        assert json.loads((await line.receive()).data)["why"] == "refused"
    assert tickets == []


async def test_page_loads_nothing_from_elsewhere_and_is_not_kept() -> None:
    async with site(None) as url, aiohttp.ClientSession() as session:
        for path, kind in (
            ("/listen", "text/html"),
            ("/listen/page.js", "text/javascript"),
            ("/listen/sound.js", "text/javascript"),
            ("/listen/page.css", "text/css"),
        ):
            async with session.get(url + path) as response:
                assert (response.status, response.content_type) == (200, kind)
                assert response.headers["Cache-Control"] == "no-store"
                assert "default-src 'self'" in response.headers["Content-Security-Policy"]
                assert "//" not in (await response.text()).replace("// ", "").replace("${scheme}//${location.host}", "")


@pytest.mark.parametrize("path", ["/listen/page.html.bak", "/listen/..%2f..%2flistening.py", "/listen/none.js"])
async def test_nothing_else_is_served(path: str) -> None:
    async with site(None) as url, aiohttp.ClientSession() as session, session.get(url + path) as response:
        assert response.status == 404
