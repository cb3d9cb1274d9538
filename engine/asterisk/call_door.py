"""The door at which the dialplan asks, over FastAGI, what becomes of a call that has just come in, and waits.

Transport only. FastAGI knows no password, so every question carries the key of the door (`door_key`). A question that
gets no answer within the dialplan's own limit, or none at all, costs the call only that time.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from hmac import compare_digest

import structlog

from engine.asterisk.call_question import Question, read_question
from engine.foundation.errors import Invalid
from engine.foundation.tasks import Tasks

log = structlog.get_logger(__name__)

_MOST_BYTES = 8192
_OPEN_AT_MOST = 10.0
"""Seconds after which a connection is closed whatever goes on, for who asks has long gone on."""
_CALLERS_AT_ONCE = 1024
"""Connections that wait to be accepted."""
_GONE_ON = b"HANGUP\n"
"""What Asterisk says, once or twice, behind a question for whose answer it does not wait any more."""
_TELLABLE = re.compile(r"[A-Za-z0-9 _./:@+*#-]*")


def door_key(ari_password: str) -> str:
    """What a question must carry: whoever may read Asterisk's files knows both."""
    return hashlib.sha256(f"call door {ari_password}".encode()).hexdigest()[:32]


class Asked:
    """A call that waits for an answer: its dialplan goes on when it is told, or untold when whoever answers returns."""

    def __init__(self, question: Question, line: _Line) -> None:
        self.question = question
        self._line = line

    @property
    def waits(self) -> bool:
        """Whether the dialplan still waits: it does so for a limited time."""
        return self._line.is_open

    def tell(self, values: Mapping[str, str], longest_call: int) -> None:
        """Sets channel variables, or writes dialplan functions; the call ends in `longest_call` seconds at the latest.

        Asterisk does it and goes on, or the caller has left, or it has waited too long and goes on as if untold. Raises
        Invalid for a value that a dialplan might read otherwise.
        """
        for name, value in values.items():
            if not _TELLABLE.fullmatch(value):
                raise Invalid(f"{name}: it holds signs that mean something in a dialplan")
        told = [f"{name}={value}" for name, value in (*values.items(), ("TIMEOUT(absolute)", str(longest_call)))]
        # One command for all of it: Asterisk reads no second one before the first is answered, and at once goes on.
        self._line.say_at_last(f'EXEC MSet "{",".join(told)}"')


Answer = Callable[[Asked], Awaitable[None]]


@asynccontextmanager
async def call_door(host: str, port: int, key: str, answer: Answer) -> AsyncIterator[None]:
    """Has `answer` deal with each question while the block runs.

    Several engines of one home open the same address, and Asterisk's questions go to one of them. Raises Invalid when
    it cannot be bound.
    """
    tasks = Tasks("call door")
    loop = asyncio.get_running_loop()
    try:
        door = socket.create_server((host, port), reuse_port=True, backlog=_CALLERS_AT_ONCE)
        # A connection wakes us when its question is there, not before.
        door.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
        server = await loop.create_server(partial(_Line, key, answer, tasks), sock=door)
    except OSError as error:
        reason = error.strerror or error
        raise Invalid(f"DARI_CALL_DOOR: {host}:{port} cannot be opened ({reason}); choose another address") from None
    try:
        yield
    finally:
        server.close()
        await tasks.close()
        await server.wait_closed()


class _Line(asyncio.Protocol):
    """One connection: a question, and one command for an answer. What comes of that command is seen elsewhere."""

    def __init__(self, key: str, answer: Answer, tasks: Tasks) -> None:
        self._key = key
        self._answer = answer
        self._tasks = tasks
        self._received = b""
        self._is_asked = False
        self._is_told = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._limit = asyncio.get_running_loop().call_later(_OPEN_AT_MOST, transport.abort)

    def connection_lost(self, _error: Exception | None) -> None:
        self._limit.cancel()

    def data_received(self, data: bytes) -> None:
        if self._is_asked:
            return
        self._received += data
        if len(self._received) > _MOST_BYTES:
            self._transport.abort()
        elif b"\n\n" in self._received:
            self._is_asked = True
            head, _, more = self._received.partition(b"\n\n")
            self._take_question(head, more)

    @property
    def is_open(self) -> bool:
        return not self._transport.is_closing()

    def say_at_last(self, command: str) -> None:
        """Nothing comes from us after it; Asterisk closes the connection when it has done it."""
        self._is_told = True
        if self.is_open:
            self._transport.write(f"{command}\n".encode())
            with suppress(OSError):  # the caller has left in this instant: what we wrote was answered by a reset
                self._say_that_it_was_the_last()

    def _say_that_it_was_the_last(self) -> None:
        """At once, for Asterisk waits for it; a transport of uvloop's says it when we have nothing else to do."""
        if not self._transport.get_write_buffer_size():
            with (
                suppress(OSError),  # no descriptor is left
                socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno())) as same,
            ):
                same.shutdown(socket.SHUT_WR)
                return
        self._transport.write_eof()

    def _take_question(self, head: bytes, more: bytes) -> None:
        """`more`: what was said behind the question."""
        facts: dict[str, str] = {}
        made_up = bool(more.replace(_GONE_ON, b""))
        for line in head.decode(errors="replace").split("\n"):
            name, _, value = line.partition(": ")
            made_up = made_up or name in facts
            facts[name] = value
        if not compare_digest(facts.get("agi_network_script", "").encode(), self._key.encode()):
            log.warning("somebody without the key has asked at the call door")
            self._transport.close()
            return
        if made_up:  # a line feed in the caller's own number makes lines, before and after Asterisk's
            log.warning("a caller's number holds lines of a question: the call is offered to the engines")
            self._transport.close()
            return
        if more:
            self._transport.close()
        self._tasks.start("question", self._answered(Asked(read_question(facts), self)))

    async def _answered(self, asked: Asked) -> None:
        try:
            await self._answer(asked)
        finally:
            if not self._is_told:
                self._transport.close()
