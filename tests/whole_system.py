"""The whole of Dari as an operator runs it: `dari up` and the other commands, as processes, in a home of their own."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.foundation.process import Process, read_pid_file
from engine.settings import PRODUCT_FILES
from engine.supervisor.up import ENGINES, ORDER, UP
from tests.real_asterisk import UNHURRIED

_READY_WITHIN = 90.0
_ENDED_WITHIN = 90.0
_DARI = (sys.executable, "-P", "-m", "engine.cli.main")


@dataclass
class Up:
    """A `dari up` that runs, and what it has said on stdout and, so far, on stderr."""

    process: asyncio.subprocess.Process
    ready: str
    errors: Path

    @property
    def said(self) -> str:
        return self.errors.read_text()

    async def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        async with asyncio.timeout(_ENDED_WITHIN):
            return await self.process.wait()


class Home:
    """A DARI_HOME with the addresses of its own. Everything that it starts is ended by `whole_system`."""

    def __init__(self, folder: Path, ip: str, **settings: str) -> None:
        self.folder = folder
        self.ip = ip
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("DARI_")}
        self.environment |= {
            "PYTHONPATH": str(PRODUCT_FILES),
            "DARI_HOME": str(folder),
            "DARI_SIP_BIND": f"{ip}:5060",
            "DARI_HTTP_BIND": f"{ip}:8050",
            "DARI_CLAIM_MILLISECONDS": str(UNHURRIED),
            "DARI_WEBHOOK_NETWORKS": "127.0.0.0/8",
        }
        for name in ("DARI_ASTERISK", "DARI_ASTERISK_FILES"):
            if name in os.environ:
                self.environment[name] = os.environ[name]
        self.environment |= settings
        self.names = {*UP, *ENGINES[: int(self.environment.get("DARI_ENGINES", "1"))]}
        """The parts that it has when it is up."""
        self._ups: list[asyncio.subprocess.Process] = []

    async def up(self, *options: str) -> Up:
        """Starts `dari up` and waits for its READY line. Fails with what it said when it ends before."""
        errors = self.folder / f"up-{len(self._ups)}.err"
        with errors.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                *_DARI, "up", *options, env=self.environment, stdout=asyncio.subprocess.PIPE, stderr=file
            )
        self._ups.append(process)
        assert process.stdout is not None
        async with asyncio.timeout(_READY_WITHIN):
            ready = (await process.stdout.readline()).decode().strip()
        assert ready.startswith("READY "), errors.read_text()
        return Up(process, ready, errors)

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        """A command to its end: exit code, stdout, stderr."""
        process = await asyncio.create_subprocess_exec(
            *_DARI,
            *arguments,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_ENDED_WITHIN):
            output, errors = await process.communicate()
        return process.returncode or 0, output.decode(), errors.decode()

    async def status(self) -> dict[str, Any]:
        code, output, errors = await self.run("status", "--json")
        assert code == 0, errors
        return dict(json.loads(output))

    def parts(self) -> dict[str, Process]:
        """The living parts, from their pid files."""
        files = {name: read_pid_file(self.folder / "run" / f"{name}.pid") for name in ORDER}
        return {name: told.process for name, told in files.items() if told}

    def left(self) -> list[str]:
        """Every process of this machine that was started for this home, by command line."""
        mark = b"DARI_HOME=" + os.fsencode(self.folder)
        found = []
        for folder in Path("/proc").iterdir():
            try:
                if folder.name.isdigit() and mark in (folder / "environ").read_bytes().split(b"\0"):
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue
        return found

    async def until_parts(self, *, other_than: dict[str, Process]) -> dict[str, Process]:
        """The parts once all of them live and none is one of `other_than`."""
        async with asyncio.timeout(_READY_WITHIN):
            while True:
                parts = self.parts()
                if set(parts) == self.names and not any(parts[name] == old for name, old in other_than.items()):
                    return parts
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        for process in self._ups:
            if process.returncode is None:
                process.kill()
                await process.wait()
        await self.run("down")


@asynccontextmanager
async def whole_system(ip: str, **settings: str) -> AsyncIterator[Home]:
    """A fresh home (its path holds a space), whose every process is ended afterwards."""
    # Not pytest's tmp_path: the sockets inside must stay within the 107 bytes of a Unix socket's path.
    folder = Path(tempfile.mkdtemp(prefix="dari "))
    folder.chmod(0o755)
    home = Home(folder, ip, **settings)
    try:
        yield home
    finally:
        await home.close()
        shutil.rmtree(folder)
