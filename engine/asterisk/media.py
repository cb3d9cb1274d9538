"""The sound of one channel over a WebSocket (chan_websocket): frames come as they are spoken, frames go to be heard."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import aiohttp

MEDIA_FORMAT = "slin16"
FRAME = 640
"""Bytes of one frame: 20 ms of 16-bit samples, little endian, 16,000 a second, one channel."""


class MediaLine(Protocol):
    """Both directions of a channel's sound."""

    def frames(self) -> AsyncIterator[bytes]:
        """What is to be heard, a frame each 20 ms, until the line ends."""
        ...

    async def send(self, frame: bytes) -> None:
        """One frame to be heard by the other side; dropped when that has too many waiting, or the line has ended."""

    async def close(self) -> None:
        """Ends the line, and with it the channel."""


class MediaSocket:
    """A line of Asterisk's. Beside frames it sends a few words: MEDIA_START, and MEDIA_XOFF and XON when to pause."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._takes_more = True

    async def frames(self) -> AsyncIterator[bytes]:
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                yield message.data
            elif message.type is aiohttp.WSMsgType.TEXT and message.data.startswith("MEDIA_X"):
                self._takes_more = message.data.startswith("MEDIA_XON")

    async def send(self, frame: bytes) -> None:
        if self._takes_more and not self._socket.closed:
            try:
                await self._socket.send_bytes(frame)
            except (aiohttp.ClientError, ConnectionError):
                return  # the reader of `frames` is told

    async def close(self) -> None:
        await self._socket.close()
