"""Live listening in a browser: the page, and its sound relayed from the engine. The ticket says what is heard."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from pathlib import Path

import aiohttp
from fastapi import APIRouter, Response, WebSocket, WebSocketDisconnect
from fastapi.responses import FileResponse

from engine.api.mends import at_this_door
from engine.api.problems import problem
from engine.calls.control_all import Sockets, whose_ticket
from engine.calls.listening_client import listening_line
from engine.foundation.errors import DariError, Invalid
from engine.foundation.tasks import Tasks

PAGE = "/listen"
SOUND = "/listen/sound"
_FOLDER = Path(__file__).parent / "static" / "listening"
_FILES = {
    "icon.svg": "image/svg+xml",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "sound.js": "text/javascript",
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_TICKET_WITHIN = 10.0
_LONGEST_TICKET = 100


def listening_router(engines: Sockets) -> APIRouter:
    """GET /listen, GET /listen/{file}, and the WebSocket /listen/sound.

    The page keeps its ticket behind the # of its address, which no browser sends, and tells it as the first text of the
    WebSocket. Everything after that is the engine's: texts of JSON {"state": "live" | "over", ...}, binary frames of
    640 bytes (20 ms of 16-bit samples, little endian, 16,000 a second) in both directions.
    """
    router = APIRouter(tags=["listening"])

    @router.get(PAGE)
    async def page() -> Response:
        return FileResponse(_FOLDER / "page.html", media_type="text/html", headers=_HEADERS)

    @router.get("/listen/{file}")
    async def file(file: str) -> Response:
        if file not in _FILES:
            return problem(HTTPStatus.NOT_FOUND, "there is no such file")
        return FileResponse(_FOLDER / file, media_type=_FILES[file], headers=_HEADERS)

    @router.websocket(SOUND)
    async def sound(browser: WebSocket) -> None:
        await browser.accept()
        try:
            socket, ticket = whose_ticket(engines, await _ticket(browser))
            async with listening_line(socket, ticket) as engine:
                await _relay(browser, engine)
            await browser.close()
        except WebSocketDisconnect:
            return
        except DariError as error:
            await _refuse(browser, at_this_door(str(error)))

    return router


async def _ticket(browser: WebSocket) -> str:
    """The page's first text. Raises Invalid."""
    try:
        async with asyncio.timeout(_TICKET_WITHIN):
            message = await browser.receive()
    except TimeoutError:
        raise Invalid("no ticket came") from None
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect
    ticket = message.get("text") or ""
    if not 0 < len(ticket) <= _LONGEST_TICKET or not ticket.isascii() or not ticket.isprintable():
        raise Invalid("this is no ticket")
    return ticket


async def _refuse(browser: WebSocket, why: str) -> None:
    try:
        await browser.send_text(json.dumps({"state": "over", "why": "refused", "text": why}))
        await browser.close()
    except WebSocketDisconnect:
        return


async def _relay(browser: WebSocket, engine: aiohttp.ClientWebSocketResponse) -> None:
    """Both ways, until either side ends."""
    tasks = Tasks("listening relay")
    ways = [
        tasks.start("to browser", _to_browser(engine, browser)),
        tasks.start("to engine", _to_engine(browser, engine)),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await tasks.close()


async def _to_browser(engine: aiohttp.ClientWebSocketResponse, browser: WebSocket) -> None:
    try:
        async for message in engine:
            if message.type is aiohttp.WSMsgType.BINARY:
                await browser.send_bytes(message.data)
            elif message.type is aiohttp.WSMsgType.TEXT:
                await browser.send_text(message.data)
    except WebSocketDisconnect:
        return


async def _to_engine(browser: WebSocket, engine: aiohttp.ClientWebSocketResponse) -> None:
    while (message := await browser.receive())["type"] == "websocket.receive":
        if (frame := message.get("bytes")) and not engine.closed:
            try:
                await engine.send_bytes(frame)
            except (aiohttp.ClientError, ConnectionError):
                return
