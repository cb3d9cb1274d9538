"""Faults on a PostgreSQL of a test's own: stopped at once, frozen, a backend killed, a commit left in doubt.

Each proves itself from outside: by the machine's processes, or by what went over the wire.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from enum import Enum
from pathlib import Path

from sqlalchemy import make_url

from engine.foundation.process import Process
from tests.chaos.processes import STRIKING, Hand
from tests.chaos.proof import Proof
from tests.eventually import eventually
from tests.own_server import OwnServer


async def stop_at_once(server: OwnServer, hand: Hand = STRIKING) -> Proof:
    """As `pg_ctl stop -m immediate`: nothing is brought in order. `server.start()` brings it back."""
    postmaster = _postmaster(server)
    processes = _family(postmaster)
    if hand.strikes:
        await server.stop_at_once()
    gone = sum(not _is_there(pid) for pid in processes)  # some end by themselves too
    return Proof("PostgreSQL stopped at once", 0 if postmaster.lives else gone, "processes gone")


async def kill_backend(server: OwnServer, hand: Hand = STRIKING) -> Proof:
    """`kill -9` of a backend that serves Dari: PostgreSQL then ends all others and recovers by itself."""
    postmaster = _postmaster(server)
    victims = [pid for pid in _family(postmaster) if b"postgres: dari " in _command_line(pid)]
    for pid in victims[:1] if hand.strikes else ():
        os.kill(pid, signal.SIGKILL)
    gone = await hand.sees(lambda: not any(map(_is_there, victims)))
    return Proof("a backend killed", len(victims) if gone and postmaster.lives else 0, "backends gone")


class Freeze:
    """SIGSTOP for a whole server: connections are taken by the kernel and nobody ever answers."""

    def __init__(self, server: OwnServer, hand: Hand = STRIKING) -> None:
        self._server = server
        self._hand = hand
        self._pids: list[int] = []
        self._began = 0.0
        self._held = 0.0

    @property
    def proof(self) -> Proof:
        """Once it is over: seconds after which every process of the server still stood."""
        return Proof("PostgreSQL frozen", self._held, "s")

    @property
    def stands(self) -> Proof:
        """While it lasts: the server's processes, if all of them stand."""
        all_stand = all(map(_stands, filter(_is_there, self._pids)))
        return Proof("PostgreSQL frozen", len(self._pids) if all_stand else 0, "processes in state T")

    async def begin(self) -> None:
        """From now on, and for as long as it takes, no statement is answered."""
        if not self._hand.strikes:
            return
        postmaster = _postmaster(self._server).pid
        os.kill(postmaster, signal.SIGSTOP)  # first: it makes no more of the others
        await eventually(lambda: _stands(postmaster))
        self._pids = _family(_postmaster(self._server))
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        await eventually(lambda: all(map(_stands, filter(_is_there, self._pids))))
        self._began = time.monotonic()

    def end(self) -> None:
        """It goes on where it stood; ended already, nothing happens."""
        if self._pids and all(map(_stands, filter(_is_there, self._pids))):
            self._held = time.monotonic() - self._began
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        self._pids = []


@asynccontextmanager
async def frozen(server: OwnServer, hand: Hand = STRIKING) -> AsyncIterator[Freeze]:
    """Frozen within the block, whatever becomes of it."""
    fault = Freeze(server, hand)
    try:
        await fault.begin()
        yield fault
    finally:
        fault.end()


class Doubt(Enum):
    """What becomes of a COMMIT, of which the client never hears."""

    BEFORE = "the server never got it"
    WHILE = "the server got it from a connection that was gone"
    AFTER = "the server did it and could not say so"


class DoubtfulWire:
    """A connection point in front of a server that reads what passes, and cuts connections at their COMMIT."""

    def __init__(self, url: str, folder: Path, choose: Callable[[], Doubt | None]) -> None:
        self._server = make_url(url)
        self.url = (
            self._server.set(host=None, port=None)
            .update_query_dict({"host": str(folder), "port": "5432"})
            .render_as_string(hide_password=False)
        )
        self.happened: Counter[Doubt] = Counter()
        self._choose = choose
        self._carrying: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def to(cls, url: str, choose: Callable[[], Doubt | None]) -> AsyncIterator[DoubtfulWire]:
        """`choose` is asked at every COMMIT; None lets it pass."""
        folder = Path(tempfile.mkdtemp(prefix="dari-doubt-"))
        wire = cls(url, folder, choose)
        point = await asyncio.start_unix_server(wire._carry, folder / ".s.PGSQL.5432")
        try:
            yield wire
        finally:
            point.close()
            for task in wire._carrying:
                task.cancel()
            await asyncio.gather(*wire._carrying, return_exceptions=True)
            shutil.rmtree(folder)

    @property
    def proof(self) -> Proof:
        return Proof("commits in doubt", self.happened.total(), "commits")

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        try:
            await _Line(reader, writer, self._choose, self.happened).carry(*await self._connect())
        except OSError:
            pass
        finally:
            self._carrying.discard(task)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        folder, port = self._server.query.get("host"), self._server.query.get("port", "5432")
        if isinstance(folder, str):
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        return await asyncio.open_connection(self._server.host, self._server.port or 5432)


class _Line:
    """One client's connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        choose: Callable[[], Doubt | None],
        happened: Counter[Doubt],
    ) -> None:
        self._client = reader, writer
        self._choose = choose
        self._happened = happened
        self._said_by_client = _Messages(has_startup=True)
        self._said_by_server = _Messages(has_startup=False)
        self._cut_after = False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until one side or the wire itself ends it."""
        ways = [
            asyncio.ensure_future(self._to_server(self._client[0], writer)),
            asyncio.ensure_future(self._to_client(reader, self._client[1])),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            self._client[1].transport.abort()
            writer.close()  # what it was sent already it still gets
            await asyncio.gather(*ways, return_exceptions=True)
            with suppress(OSError):
                await writer.wait_closed()

    async def _to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            for message in self._said_by_client.in_(data):
                doubt = self._choose() if message.startswith(b"Q") and message[5:].upper() == b"COMMIT;\0" else None
                if doubt is not None:
                    self._happened[doubt] += doubt is not Doubt.AFTER
                if doubt is Doubt.BEFORE:
                    return
                writer.write(message)
                await writer.drain()
                if doubt is Doubt.WHILE:
                    return
                self._cut_after = doubt is Doubt.AFTER

    async def _to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            for message in self._said_by_server.in_(data):
                if self._cut_after and message.startswith(b"C") and message[5:] == b"COMMIT\0":
                    self._happened[Doubt.AFTER] += 1
                    return
                writer.write(message)
            await writer.drain()


class _Messages:
    """A byte stream of PostgreSQL's protocol, cut into its messages."""

    def __init__(self, *, has_startup: bool) -> None:
        self._rest = b""
        self._has_startup = has_startup

    def in_(self, data: bytes) -> list[bytes]:
        """The messages that are whole by now. A client's first one has no letter in front."""
        self._rest += data
        found: list[bytes] = []
        while True:
            letter = 0 if self._has_startup else 1
            length = letter + int.from_bytes(self._rest[letter : letter + 4])
            if len(self._rest) < letter + 4 or len(self._rest) < length:
                return found
            found.append(self._rest[:length])
            self._rest, self._has_startup = self._rest[length:], False


def _postmaster(server: OwnServer) -> Process:
    process = server.process
    assert process is not None, "the server does not run"
    return process


def _family(postmaster: Process) -> list[int]:
    """The server's processes, the postmaster first."""
    return [postmaster.pid, *(pid for pid in _all_pids() if _field(pid, 1) == str(postmaster.pid))]


def _all_pids() -> list[int]:
    return [int(folder.name) for folder in Path("/proc").iterdir() if folder.name.isdigit()]


def _field(pid: int, number: int) -> str:
    """Of /proc/PID/stat behind the name: 0 is the state, 1 the parent. Empty for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[number]
    except (OSError, IndexError):
        return ""


def _is_there(pid: int) -> bool:
    return _field(pid, 0) not in ("", "Z", "X")


def _stands(pid: int) -> bool:
    return _field(pid, 0) == "T"


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
