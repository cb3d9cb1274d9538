"""Commands to Asterisk's HTTP, over connections that are kept: as little HTTP as they need, for every call gives many.

What is given up is never done later: its connection is closed, and what had not been delivered by then never is.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import struct
from asyncio.trsock import TransportSocket
from base64 import b64encode
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

AT_ONCE = 8
"""New connections whose first command is not answered yet: only the answer shows that Asterisk has accepted one.

Asterisk lets ten wait to be accepted (`listen` in tcptls.c, 22.10.1). The kernel drops what comes beyond, and the
client tries again after a second: too late for a call that must be claimed within half a second.
"""
_COMMANDS_AT_ONCE = 100
_KEPT_SECONDS = 10.0
"""Asterisk drops idle connections after 15 s unless told otherwise: we let go first."""
_LONGEST_HEAD = 65536

_NOTHING_MORE = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for 0 seconds."""

_HEAD_END = b"\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2})[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,12})[ \t]*\r\n", re.IGNORECASE)
_LAST = re.compile(rb"\r\nconnection:[ \t]*close[ \t]*\r\n", re.IGNORECASE)
_WITHOUT_BODY = (204, 304)


def say_nothing_more_once_closed(connection: socket.socket | TransportSocket) -> None:
    """What has not been delivered when the connection is closed is never delivered: it ends by RST.

    Else the kernel would go on trying, and a telephone would be rung for a call that has ended long since.
    """
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOTHING_MORE)


class Command(NamedTuple):
    method: str
    path: str
    body: bytes
    """JSON, or nothing."""


class Answer(NamedTuple):
    status: int
    body: bytes


class Unreachable(Exception):  # noqa: N818 - what happened, not what failed
    """No connection came about: nothing was asked."""


class Broken(Exception):  # noqa: N818 - what happened, not what failed
    """The connection ended before the answer, or the answer cannot be read."""


Outcome = Answer | Broken | TimeoutError


class Http:
    """Asks one server, on a new connection whenever all are busy. Needs a running event loop; `close` it at the end."""

    def __init__(self, url: str, user: str, password: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._ssl = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._ssl else 80)
        self._base = parts.path
        token = b64encode(f"{user}:{password}".encode()).decode()
        self._headers = f" HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Basic {token}\r\n"
        self._kept: deque[_Line] = deque()
        """Those without a command, the one that had one last at the end."""
        self._busy: set[_Line] = set()
        self._connecting = 0
        self._new = 0
        """Connections that are being made, or have had no answer yet."""
        self._waiting: deque[asyncio.Future[_Line | None]] = deque()
        """Commands without a connection, in their order: each is given one, or None when it may make one."""
        self._closed = False
        self.deeds = 0
        """How many commands that change something have been done."""

    async def ask(self, commands: Sequence[Command], within: float) -> list[Outcome]:
        """Sends commands in one piece, which costs both sides little more than one of them; what came of each.

        One begins when the one before it has been answered, whatever the answer was. What is not answered within so
        many seconds is given up, as when cancelled. Raises Unreachable, or TimeoutError when there is no connection to
        be had: then nothing was asked.
        """
        loop = asyncio.get_running_loop()
        latest = loop.time() + within
        line = self._one_kept()
        if line is None:
            async with asyncio.timeout_at(latest):
                line = await self._one_more()
        self._busy.add(line)
        limit = loop.call_at(latest, line.give_up)
        all_answered = False
        try:
            answers = line.ask(b"".join(map(self._written, commands)), len(commands))
            outcomes = [await answer for answer in answers]
            all_answered = isinstance(outcomes[-1], Answer)
            self.deeds += sum(map(_is_deed, commands, outcomes))
            return outcomes
        finally:
            limit.cancel()
            if not all_answered:
                line.end()
            self._take_back(line)

    def _written(self, command: Command) -> bytes:
        head = f"{command.method} {self._base}{command.path}{self._headers}"
        if body := command.body:
            return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        return f"{head}\r\n".encode() if command.method == "GET" else f"{head}Content-Length: 0\r\n\r\n".encode()

    def close(self) -> None:
        """Ends all connections; a command that still waits is broken, and none is sent any more."""
        self._closed = True
        for line in (*self._kept, *self._busy):
            line.end()
        self._kept.clear()

    def _one_kept(self) -> _Line | None:
        now = asyncio.get_running_loop().time()
        while self._kept and (self._kept[0].ended or now - self._kept[0].used_at > _KEPT_SECONDS):
            self._kept.popleft().end()
        while self._kept:
            line = self._kept.pop()
            if not line.ended:
                return line
        return None

    async def _one_more(self) -> _Line:
        """The next that becomes free, or a new one if there may be one more."""
        while self._new >= AT_ONCE or len(self._busy) + self._connecting >= _COMMANDS_AT_ONCE:
            turn: asyncio.Future[_Line | None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                line = await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._pass_on(turn.result())
                raise
            if line is not None:
                if not line.ended:
                    return line
                self._busy.discard(line)
        self._new += 1
        self._connecting += 1
        try:
            return await self._connect()
        except BaseException:
            self._new -= 1
            self._pass_on(None)
            raise
        finally:
            self._connecting -= 1

    def _take_back(self, line: _Line) -> None:
        was_new, line.is_new = line.is_new, False
        self._new -= was_new
        if line.ended:
            self._busy.discard(line)
        else:
            self._pass_on(line)
        if was_new or line.ended:
            self._pass_on(None)

    def _pass_on(self, line: _Line | None) -> None:
        """A connection that is free, to whoever waits longest; None: that one may make one."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(line)
                return
        if line is not None:
            self._busy.discard(line)
            line.used_at = asyncio.get_running_loop().time()
            self._kept.append(line)

    async def _connect(self) -> _Line:
        if self._closed:
            raise Unreachable("this end has left")
        loop = asyncio.get_running_loop()
        name = self._host if self._ssl else None
        try:
            _, line = await loop.create_connection(_Line, self._host, self._port, ssl=self._ssl, server_hostname=name)
        except OSError as error:
            raise Unreachable(error.strerror or str(error)) from None
        return line


def _is_deed(command: Command, outcome: Outcome) -> bool:
    return command.method != "GET" and isinstance(outcome, Answer) and outcome.status < 300


class _Line(asyncio.Protocol):
    """One connection, for the commands of one piece at a time."""

    def __init__(self) -> None:
        self.is_new = True
        """Nothing has been answered on it yet."""
        self.ended = False
        self.used_at = 0.0
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._asked: deque[asyncio.Future[Outcome]] = deque()
        """What is not answered yet, in its order."""

    def ask(self, commands: bytes, count: int) -> list[asyncio.Future[Outcome]]:
        """The answers to come. Who does not wait for all of them must `end` it."""
        new = asyncio.get_running_loop().create_future
        answers: list[asyncio.Future[Outcome]] = [new() for _ in range(count)]
        self._asked.extend(answers)
        if self.ended or self._transport is None:
            self._tell_all(Broken("the connection has ended"))
        else:
            self._transport.write(commands)
        return answers

    def give_up(self) -> None:
        """It takes too long."""
        self._tell_all(TimeoutError())

    def end(self) -> None:
        self.ended = True
        if self._transport is not None:
            self._transport.abort()

    def _tell_all(self, outcome: Outcome) -> None:
        while self._asked:
            self._tell(outcome)

    def _tell(self, outcome: Outcome) -> None:
        answer = self._asked.popleft()
        if not answer.done():
            answer.set_result(outcome)

    # What the event loop calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        say_nothing_more_once_closed(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        try:
            while self._asked and (answer := self._whole_answer()):
                self._tell(answer)
        except Broken as error:
            self._tell_all(error)
        if self._received and not self._asked:
            self.end()  # nothing was asked

    def connection_lost(self, error: Exception | None) -> None:
        self.ended = True
        self._tell_all(Broken(type(error).__name__ if error else "the connection was closed"))

    def _whole_answer(self) -> Answer | None:
        """The next answer if all of it has come. Raises Broken when it cannot be read."""
        end = self._received.find(_HEAD_END)
        if end < 0:
            if len(self._received) > _LONGEST_HEAD:
                raise Broken("the answer does not begin like one")
            return None
        head, begin = self._received[: end + 2], end + len(_HEAD_END)
        status, length = _STATUS.match(head), _LENGTH.search(head)
        if status is None or not (length or int(status[1]) in _WITHOUT_BODY):
            raise Broken("the answer cannot be read")
        whole = begin + (int(length[1]) if length else 0)
        if len(self._received) < whole:
            return None
        body, self._received = self._received[begin:whole], self._received[whole:]
        if _LAST.search(head):
            self.end()
        return Answer(int(status[1]), body)
