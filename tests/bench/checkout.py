"""Some checkout's `dari up`, seen from outside only: its commands, its pid files, the processes of the machine."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.foundation.errors import GaveUp, Invalid
from engine.settings import PRODUCT_FILES
from tests.bench.usage import with_mark

_READY_WITHIN = 180.0
_COMMAND_WITHIN = 120.0
_ENDED_WITHIN = 60.0

Told = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Checkout:
    """A state of the product on disk, and the Python that runs it."""

    folder: Path
    python: Path

    @classmethod
    def of(cls, folder: Path, python: Path | None = None) -> Checkout:
        """Raises Invalid when there is no product, or no Python for it; without one it is the checkout's .venv's."""
        folder = folder.resolve()
        if not (folder / "engine" / "cli" / "main.py").is_file():
            raise Invalid(f"{folder} holds no engine/cli/main.py; name a checkout of Dari")
        own = folder / ".venv" / "bin" / "python"
        # Not resolved: the link's place is what makes it the Python of that environment.
        chosen = python or (own if own.exists() else Path(sys.executable) if folder == PRODUCT_FILES else own)
        if not os.access(chosen, os.X_OK):
            raise Invalid(f"{chosen} is no program; make the environment of {folder} first, or name its Python")
        return cls(folder, chosen.absolute())

    @property
    def commit(self) -> str:
        """As git names it, with + when files differ; empty without git."""
        try:
            known = subprocess.run(
                ["git", "-C", str(self.folder), "describe", "--always", "--dirty=+", "--exclude=*"],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return known.stdout.strip()


class System:
    """A checkout that is up in a home of its own."""

    def __init__(self, checkout: Checkout, home: Path, ip: str, settings: Mapping[str, str] | None = None) -> None:
        self.home = home
        self.sip = f"{ip}:5060"
        self._checkout = checkout
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DARI_", "PYTHON"))}
        self._environment = kept | {
            "PYTHONPATH": str(checkout.folder),
            "DARI_HOME": str(home),
            "DARI_SIP_BIND": self.sip,
            "DARI_HTTP_BIND": f"{ip}:8050",
            **(settings or {}),
        }
        for name in ("DARI_ASTERISK", "DARI_ASTERISK_FILES"):
            if name in os.environ:
                self._environment[name] = os.environ[name]

    async def run(self, *arguments: str, within: float = _COMMAND_WITHIN, told: Told = lambda line: None) -> str:
        """A command of that checkout to its end; what it said on stdout. Raises GaveUp when it fails.

        `told` gets each line of its stderr at once.
        """
        process = await self._start(*arguments, output=asyncio.subprocess.PIPE, errors=asyncio.subprocess.PIPE)
        try:
            async with asyncio.timeout(within):
                assert process.stdout is not None
                output, errors = await asyncio.gather(process.stdout.read(), _said(process.stderr, told))
                await process.wait()
        except TimeoutError:
            raise GaveUp(f"`dari {arguments[0]}` has not ended after {within:.0f} s") from None
        finally:
            await _cut_off(process)
        if process.returncode:
            raise GaveUp(f"`dari {' '.join(arguments[:2])}` failed: {errors.strip()[-500:]}")
        return output.decode()

    async def status(self) -> dict[str, Any]:
        return dict(json.loads(await self.run("status", "--json")))

    async def recorded(self) -> int:
        """Calls that the database holds."""
        return len((await self.run("calls", "--json", "--limit", "100000")).splitlines())

    def parts(self) -> dict[str, int]:
        """Process ids by name of the part, from the pid files, `dari up` itself among them."""
        found = {}
        for file in (self.home / "run").glob("*.pid"):
            with suppress(OSError, ValueError, IndexError):
                found[file.stem] = int(file.read_text().splitlines()[0])
        return found

    async def start(self) -> asyncio.subprocess.Process:
        """`dari up`, once it says READY. Raises GaveUp with its last words when it does not."""
        said = self.home / "up.err"
        with said.open("wb") as errors:
            process = await self._start("up", output=asyncio.subprocess.PIPE, errors=errors)
        try:
            assert process.stdout is not None
            async with asyncio.timeout(_READY_WITHIN):
                ready = await process.stdout.readline()
            if not ready.startswith(b"READY "):
                raise GaveUp(f"`dari up` of {self._checkout.folder} did not get up: {said.read_text()[-500:].strip()}")
        except TimeoutError:
            await _cut_off(process)
            raise GaveUp(f"`dari up` was not ready after {_READY_WITHIN:.0f} s: {said.read_text()[-500:]}") from None
        except BaseException:
            await _cut_off(process)
            raise
        return process

    async def end(self, up: asyncio.subprocess.Process | None) -> None:
        """Stops everything, in order if that works, and in any case; nothing of this home lives afterwards."""
        if up is not None and up.returncode is None:
            up.send_signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(_ENDED_WITHIN):
                    await up.wait()
            await _cut_off(up)
        if any(self.left()):
            with suppress(GaveUp):
                await self.run("down")
        for pid in self.left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def left(self) -> list[int]:
        """The processes that were started for this home."""
        return list(with_mark(b"DARI_HOME=" + os.fsencode(self.home)))

    async def _start(self, *arguments: str, output: int, errors: Any) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(str(self._checkout.python), "-P", "-m", "engine.cli.main", *arguments),
            cwd=self.home,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            start_new_session=True,  # Ctrl-C at the terminal is ours to pass on
        )


async def _said(stream: asyncio.StreamReader | None, told: Told) -> str:
    """All of it, each line told at once."""
    assert stream is not None
    lines = []
    async for line in stream:
        lines.append(line.decode(errors="replace"))
        told(lines[-1].rstrip())
    return "".join(lines)


async def _cut_off(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


@asynccontextmanager
async def running(checkout: Checkout, ip: str, settings: Mapping[str, str] | None = None) -> AsyncIterator[System]:
    """The checkout, up in a fresh home at `ip`; ended, and the home gone, whatever becomes of the block."""
    home = Path(tempfile.mkdtemp(prefix="dari-bench-"))
    home.chmod(0o755)  # PostgreSQL runs as another user when we are root
    system = System(checkout, home, ip, settings)
    up = None
    try:
        up = await system.start()
        yield system
    finally:
        await system.end(up)
        shutil.rmtree(home, ignore_errors=True)
