"""A UDP socket whose packets carry the instant at which the kernel took them in, not that of a busy event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Callable

from engine.foundation.errors import Invalid

Endpoint = tuple[str, int]

_AT_ONCE = 64  # packets per turn: a flood must not stop the other sockets
_SO_TIMESTAMPNS = 35  # Linux; Python's socket module has no name for it
_TIMESPEC = struct.Struct("@ll")


class DatagramSocket:
    """Bound as long as it is open. `receive(data, source, instant)` is called per packet; instants are monotonic."""

    def __init__(self, address: Endpoint, receive: Callable[[bytes, Endpoint, float], None]) -> None:
        """Raises Invalid when the address is taken or not of this machine."""
        self._receive = receive
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind(address)
        except OSError as error:
            self._socket.close()
            raise Invalid(
                f"UDP address {address[0]}:{address[1]} cannot be used ({error.strerror}); "
                "choose a free one of this machine"
            ) from None
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self.address: Endpoint = self._socket.getsockname()
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def send(self, data: bytes, destination: Endpoint) -> float:
        """Sends at once and returns the instant. What the kernel refuses is lost, as on any network."""
        instant = time.monotonic()  # before: an answer can be in before a busy machine lets us go on
        with contextlib.suppress(OSError):  # a full buffer or an unreachable host: UDP promises nothing
            self._socket.sendto(data, destination)
        return instant

    def close(self) -> None:
        """May be called twice."""
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    def _readable(self) -> None:
        ahead = time.time() - time.monotonic()
        for _ in range(_AT_ONCE):
            if self._socket.fileno() < 0:  # closed by what came first
                return
            try:
                data, ancillary, _, source = self._socket.recvmsg(65535, 64)
            except (BlockingIOError, ConnectionError):
                return
            taken_in = next((_seconds(value) for _, kind, value in ancillary if kind == _SO_TIMESTAMPNS), time.time())
            self._receive(data, source, min(taken_in - ahead, time.monotonic()))


def _seconds(timespec: bytes) -> float:
    seconds, nanoseconds = _TIMESPEC.unpack_from(timespec)
    return float(seconds + nanoseconds / 1e9)
