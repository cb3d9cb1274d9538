"""FastAGI: an operator's own dialplan asks a question over TCP and reads the answer in channel variables.

Transport only; which scripts there are and what they answer is said by whoever opens the door. The protocol knows no
password: bind it to loopback or to a network that is one's own.

panoramisk has the routes and speaks the commands. Reading the request is done here: panoramisk's own reader spins for
ever, without letting anything else run, when the other side closes early, and knows no time limit.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from urllib.parse import parse_qsl

import structlog
from panoramisk import fast_agi

from engine.foundation.errors import DariError, Invalid

log = structlog.get_logger(__name__)

STATUS = "DARI_STATUS"
"""OK or FAILED; not set when the engine is away."""
REASON = "DARI_REASON"

MOST_AT_ONCE = 500
"""Requests answered at the same time; those beyond are closed at once, so that none waits in silence."""

_LONGEST_REQUEST = 8192
_LAST_WORDS = 0.5  # seconds that telling of a failure may take
_EXACT = re.compile(r"[A-Za-z0-9 _./:&@+*#=-]*")
_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_LONGEST_VALUE = 512


@dataclass(frozen=True, slots=True)
class AgiRequest:
    """What the dialplan asked. All of it may come from a caller: nothing here is to be trusted."""

    script: str
    query: Mapping[str, str]
    """What stands behind `?` in the address."""
    facts: Mapping[str, str]
    """What Asterisk says of the channel: `agi_extension`, `agi_callerid` …"""


Script = Callable[[AgiRequest], Awaitable[Mapping[str, str]]]
"""Answers with channel variables. A DariError that it raises becomes DARI_STATUS=FAILED with its sentence."""


def exact(text: str, field: str) -> str:
    """A value that is used as it is: sounds, numbers. Raises Invalid when a dialplan might read it otherwise."""
    if not _EXACT.fullmatch(text) or len(text) > _LONGEST_VALUE:
        raise Invalid(f"{field}: it holds signs that mean something in a dialplan; change its name or its folder")
    return text


def words(text: str) -> str:
    """A sentence for a log line, without any sign that means something in a dialplan."""
    plain = "".join(char if char.isalnum() or char in " _./:+-" else " " for char in text)
    return " ".join(plain.split())[:_LONGEST_VALUE]


@asynccontextmanager
async def agi_server(
    host: str, port: int, scripts: Mapping[str, Script], seconds: float
) -> AsyncIterator[tuple[str, int]]:
    """Answers while the block runs; gives the address that it listens on. Each request has so many seconds in all.

    Whatever goes wrong, the dialplan goes on: with DARI_STATUS=FAILED and DARI_REASON while the connection holds, and
    in any case within half a second more. Raises Invalid when the address cannot be bound.
    """
    door = _Door(scripts, seconds)
    try:
        server = await asyncio.start_server(door.handler, host, port, limit=_LONGEST_REQUEST)
    except OSError as error:
        reason = error.strerror or error
        raise Invalid(f"DARI_AGI_BIND: {host}:{port} cannot be opened ({reason}); choose another address") from None
    try:
        bound: tuple[str, int] = server.sockets[0].getsockname()[:2]
        yield bound
    finally:
        server.close()
        await door.hang_up()
        await server.wait_closed()


class _Door(fast_agi.Application):  # type: ignore[misc] # panoramisk has no types
    """panoramisk's application, with a reader that ends and with time limits."""

    def __init__(self, scripts: Mapping[str, Script], seconds: float) -> None:
        # Its messages may hold numbers.
        logging.getLogger("panoramisk").setLevel(logging.CRITICAL + 1)
        super().__init__(loop=asyncio.get_running_loop())
        self._scripts = scripts
        self._seconds = seconds
        self._open: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def hang_up(self) -> None:
        """Ends every request under way: its dialplan goes on at once."""
        under_way = [task for task in self._open if task is not None]
        for writer in self._open.values():
            writer.transport.abort()
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def handler(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        if len(self._open) >= MOST_AT_ONCE:
            log.warning("FastAGI request turned away: too many at once", most=MOST_AT_ONCE)
            writer.close()
            return
        this = asyncio.current_task()
        self._open[this] = writer
        try:
            await self._answer(reader, writer)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            # Not a request, or the other side is gone or does not read: closing is the whole answer.
            log.warning("FastAGI connection ended without a whole request")
        finally:
            del self._open[this]
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = "?"
        try:
            async with asyncio.timeout(self._seconds):
                request, channel = await self._read(reader, writer)
                script = request.script if request.script in self._scripts else "?"
                variables = await self._run(request)
                for name, value in variables.items():
                    await _set(channel, name, value)
                await _set(channel, STATUS, "OK")
                return
        except TimeoutError:
            if script == "?":
                raise
            reason = f"no answer within {self._seconds:g} s"
        except DariError as error:
            reason = str(error)
        log.warning("FastAGI request failed", script=script, reason=reason)
        async with asyncio.timeout(_LAST_WORDS):
            # The answer to what was cut off may still come: it is read in place of these, which changes nothing.
            await _set(channel, REASON, words(reason))
            await _set(channel, STATUS, "FAILED")

    async def _run(self, request: AgiRequest) -> dict[str, str]:
        script = self._scripts.get(request.script)
        if script is None:
            raise Invalid(f"script: there is none of that name; ask one of {', '.join(sorted(self._scripts))}")
        variables = dict(await script(request))
        for name, value in variables.items():
            if not _NAME.fullmatch(name):
                raise Invalid(f"variable {name}: it is no name of a channel variable")
            if any(char in value for char in '"\\$`{}\r\n') or len(value) > _LONGEST_VALUE:
                raise Invalid(f"variable {name}: its value cannot be told to a dialplan")
        return variables

    async def _read(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> tuple[AgiRequest, fast_agi.Request]:
        """The request and the channel it came from."""
        head = await reader.readuntil(b"\n\n")
        text = head.decode("utf-8", errors="replace")
        facts = dict(line.split(": ", 1) for line in text.split("\n") if ": " in line)
        script, _, query = facts.get("agi_network_script", "").partition("?")
        # A plus sign is a country code here, not a space.
        asked = dict(parse_qsl(query.replace("+", "%2B"), errors="replace", max_num_fields=20))
        channel = fast_agi.Request(self, facts, reader, writer)
        return AgiRequest(script, asked, facts), channel


async def _set(channel: fast_agi.Request, name: str, value: str) -> None:
    """Sets one channel variable. Raises ConnectionError when the caller or Asterisk is gone."""
    with suppress(ValueError):  # panoramisk, of an empty line: the connection is closed
        answer = await channel.send_command(f'SET VARIABLE {name} "{value}"')
        if answer.get("status_code") == 200:
            return
    raise ConnectionResetError
