"""Asks the engine over its control socket for leave to listen to a call, and for its sound."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from engine.calls.control_client import ask
from engine.calls.listening_rules import Ticket, Wish
from engine.foundation.errors import TryLater

TICKET_HEADER = "X-Dari-Ticket"
_CONNECT_LIMIT = 3.0


async def listening_ticket(socket: Path, wish: Wish) -> Ticket:
    """What a browser may listen with, once. Raises NotFound, NotAllowed, Invalid, Conflict, TryLater."""
    return await ask(socket, "POST", "/listening", Ticket, wish)


@asynccontextmanager
async def listening_line(socket: Path, ticket: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """The engine's side of a browser's WebSocket: texts are JSON that the page understands, the rest is sound.

    Raises TryLater when the engine does not answer.
    """
    limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_LIMIT)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(socket)), timeout=limits) as session:
        try:
            line = await session.ws_connect(
                "http://engine/listening/sound",
                headers={TICKET_HEADER: ticket},
                timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                max_msg_size=65_536,
            )
        except (aiohttp.ClientError, OSError, TimeoutError):
            raise TryLater(
                "the engine does not answer; start it with `dari up`, or see `dari status` and log/engine.log"
            ) from None
        async with line:
            yield line
