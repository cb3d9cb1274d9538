"""A PostgreSQL of one test alone, which may stop and start it, and a wire to a server that can be cut."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from sqlalchemy import make_url

from engine.foundation.process import Process
from engine.foundation.schema import upgrade
from engine.supervisor.postgres import Embedded
from engine.supervisor.processes import ended, start_process
from tests.databases import MIGRATIONS


class OwnServer:
    """A migrated database on its own server."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._embedded = Embedded(folder / "postgres", folder / "run")
        self.url = self._embedded.url

    @classmethod
    @asynccontextmanager
    async def running(cls) -> AsyncIterator[OwnServer]:
        folder = Path(tempfile.mkdtemp(prefix="dari-own-"))
        folder.chmod(0o755)
        server = cls(folder)
        try:
            await server.start()
            await upgrade(server.url, MIGRATIONS)
            yield server
        finally:
            await server.stop_at_once()
            shutil.rmtree(folder)

    @property
    def process(self) -> Process | None:
        """Its postmaster, while it lives."""
        return self._embedded.running()

    async def start(self) -> None:
        await self._embedded.prepare()
        command = [*self._embedded.command(), "-c", "fsync=off"]
        start_process("test database", command, dict(os.environ), self._folder / "postgres.log")
        await self._embedded.ready()

    async def stop_at_once(self) -> None:
        """As `pg_ctl stop -m immediate`: nothing is brought in order, no client is told."""
        if process := self._embedded.running():
            process.send(signal.SIGQUIT)
            await ended(process)


class Wire:
    """A connection point in front of a server. It can cut a connection when the server has committed and before it
    says so."""

    def __init__(self, url: str, folder: Path) -> None:
        self._server = make_url(url)
        self._folder = folder
        self.url = (
            self._server.set(host=None, port=None)
            .update_query_dict({"host": str(folder), "port": "5432"})
            .render_as_string(hide_password=False)
        )
        self.commits_to_cut = 0
        self.commits_cut = 0

    @classmethod
    @asynccontextmanager
    async def to(cls, url: str) -> AsyncIterator[Wire]:
        folder = Path(tempfile.mkdtemp(prefix="dari-wire-"))
        wire = cls(url, folder)
        point = await asyncio.start_unix_server(wire._carry, folder / ".s.PGSQL.5432")
        try:
            yield wire
        finally:
            point.close()
            shutil.rmtree(folder)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await self._connect()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._to_server(reader, server_writer))
                both.create_task(self._to_client(server_reader, writer))
        except* OSError:
            pass
        finally:
            server_writer.close()
            writer.close()

    async def _to_server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _to_client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.commits_to_cut and b"COMMIT\0" in data:
                self.commits_to_cut -= 1
                self.commits_cut += 1
                writer.transport.abort()
                raise ConnectionAbortedError
            writer.write(data)
            with suppress(ConnectionError):
                await writer.drain()
        writer.close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        folder, port = self._server.query.get("host"), self._server.query.get("port", "5432")
        if isinstance(folder, str):
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port}")
        return await asyncio.open_connection(self._server.host, self._server.port or 5432)
