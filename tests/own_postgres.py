"""An embedded PostgreSQL of one test alone, which the test may stop, kill and start again."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from engine.foundation.process import Process
from engine.supervisor.postgres import Embedded
from engine.supervisor.processes import ended, start_process


class OwnPostgres:
    """The server of one folder."""

    def __init__(self, home: Path) -> None:
        self.embedded = Embedded(home / "postgres", home / "run")
        self.log = home / "log"

    async def start(self) -> Process:
        await self.embedded.prepare()
        process = start_process("test database", self.embedded.command(), dict(os.environ), self.log)
        await self.embedded.ready(120.0)
        return process

    async def kill(self, process: Process) -> None:
        """As the machine's memory killer would."""
        process.send(signal.SIGKILL)
        await ended(process)

    async def stop(self) -> None:
        if process := self.embedded.running():
            await self.embedded.stop(process)


@asynccontextmanager
async def own_postgres(home: Path, made: Path | None = None) -> AsyncIterator[OwnPostgres]:
    """Not started yet, with the data of `made` if given, else with none. Stopped and removed whatever happened."""
    server = OwnPostgres(home)
    if made:
        home.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a", made / "postgres", home], check=True)  # noqa: ASYNC221
    try:
        yield server
    finally:
        await server.stop()
        shutil.rmtree(home / "postgres", ignore_errors=True)
