"""New connections to Asterisk's HTTP, a few at a time.

Asterisk lets ten connections wait to be accepted (`listen` in tcptls.c, 22.10.1). The kernel drops what comes beyond,
and the client tries again after a second: too late for a call that must be claimed within half a second.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from asyncio.trsock import TransportSocket
from types import SimpleNamespace

import aiohttp
from aiohttp import AddrInfoType

AT_ONCE = 8
"""Connections whose first command is not answered yet: only the answer shows that Asterisk has accepted one."""

_NOTHING_MORE = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for 0 seconds."""


def say_nothing_more_once_closed(connection: socket.socket | TransportSocket) -> None:
    """What has not been delivered when the connection is closed is never delivered: it ends by RST.

    Else the kernel would go on trying, and a telephone would be rung for a call that has ended long since.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOTHING_MORE)


def short_lived_words(address: AddrInfoType) -> socket.socket:
    """A socket for an aiohttp connector that says nothing more once it is closed."""
    made = socket.socket(*address[:3])
    say_nothing_more_once_closed(made)
    return made


class _Request(SimpleNamespace):
    is_newcomer = False
    """Whether it goes over a connection made for it, and has no answer yet."""


class Newcomers:
    """Give `trace` to an aiohttp session: its requests that need a new connection take turns."""

    def __init__(self) -> None:
        self._room = asyncio.Semaphore(AT_ONCE)

    def trace(self) -> aiohttp.TraceConfig:
        """What the session calls about each request."""
        trace = aiohttp.TraceConfig(_Request)
        trace.on_connection_create_start.append(self._come)
        trace.on_request_end.append(self._go)
        trace.on_request_exception.append(self._go)
        return trace

    async def _come(self, _session: aiohttp.ClientSession, request: SimpleNamespace, _what: object) -> None:
        if not request.is_newcomer:
            await self._room.acquire()
            request.is_newcomer = True

    async def _go(self, _session: aiohttp.ClientSession, request: SimpleNamespace, _what: object) -> None:
        if request.is_newcomer:
            self._room.release()
            request.is_newcomer = False
