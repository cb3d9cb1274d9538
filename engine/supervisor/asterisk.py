"""Dari's own Asterisk: which program it is, and how it is started, awaited, asked and stopped."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.foundation.errors import GaveUp, Invalid

OLDEST = (22, 10, 1)
"""Claiming of calls, the ARI advisories of 2026 and header variables without deadlock came with this one."""
OLDEST_23 = (23, 4, 1)
"""What 22.n.p has, 23.(n-6).p has."""


@dataclass(frozen=True, slots=True)
class Program:
    """An Asterisk that is new enough. Its folders are None where the ones it was built with are right."""

    path: Path
    version: tuple[int, int, int]
    modules: Path | None = None
    data: Path | None = None


def find_asterisk(configured: str, files: Path) -> Program:
    """The Asterisk to run: `configured` when set, else the system's if it is new enough, else the one in `files`.

    Raises Invalid, saying how to get one, when there is none.
    """
    if configured:
        path = shutil.which(Path(configured).expanduser())
        if path is None:
            raise Invalid(f"DARI_ASTERISK: {configured} is no program; name Asterisk's program or unset it")
        return _program(Path(path))
    system = shutil.which("asterisk", path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin")
    if system is not None:
        try:
            return _program(Path(system))
        except Invalid:
            pass  # too old: the unpacked one is wanted then
    unpacked = files / "asterisk"
    if unpacked.exists():
        return _program(unpacked)
    raise Invalid(
        f"no Asterisk {_written(OLDEST)} or newer on this system; run `asterisk-conf/get-asterisk {files}`, "
        "or set DARI_ASTERISK to its program"
    )


def parse_version(text: str) -> tuple[int, int, int] | None:
    """The version in what `asterisk -V` prints, `Asterisk 22.10.1+dfsg…`; None for a build that tells none."""
    found = re.search(r"Asterisk (?:certified/)?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(found[1]), int(found[2]), int(found[3] or 0)) if found else None


def command_line(program: Program, folder: Path) -> list[str]:
    """Starts Asterisk in the foreground with the files in `folder`; its process id stays the same to its end."""
    return [str(program.path), "-f", "-C", str(folder / "asterisk.conf")]


async def is_booted(program: Program, folder: Path) -> bool:
    """Whether the Asterisk with the files in `folder` takes calls. Waits while it is still loading."""
    return "fully booted" in await ask(program, folder, "core waitfullybooted")


async def wait_until_booted(program: Program, folder: Path, alive: Callable[[], bool], seconds: float = 30.0) -> None:
    """Returns when Asterisk takes calls. Raises GaveUp when `alive` turns false or `seconds` pass first."""
    try:
        async with asyncio.timeout(seconds):
            while not await is_booted(program, folder):
                if not alive():
                    raise GaveUp(f"Asterisk ended while starting; its reasons are in {_log(folder)}")
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise GaveUp(f"Asterisk did not start within {seconds:.0f} s; its reasons are in {_log(folder)}") from None


async def stop(program: Program, folder: Path, pid: int, alive: Callable[[], bool], seconds: float = 5.0) -> None:
    """Ends Asterisk: no new calls, up to `seconds` for those that run, then at once; killed if it does not listen."""
    for request in ("core stop gracefully", "core stop now"):
        await ask(program, folder, request)
        if await _gone(alive, seconds):
            return
    os.kill(pid, signal.SIGKILL)
    await _gone(alive, seconds)


async def ask(program: Program, folder: Path, request: str) -> str:
    """What the running Asterisk answers to a console command; its complaint when it cannot be reached."""
    process = await asyncio.create_subprocess_exec(
        *(program.path, "-C", folder / "asterisk.conf", "-rx", request),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        if process.returncode is None:
            process.kill()
        raise
    return output.decode(errors="replace")


def _program(path: Path) -> Program:
    try:
        printed = subprocess.run([path, "-V"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        raise Invalid(f"{path} does not run; name a working Asterisk in DARI_ASTERISK") from None
    version = parse_version(printed)
    if version is None:
        raise Invalid(f"{path} does not tell its version; Dari needs Asterisk {_written(OLDEST)} or newer")
    if version < OLDEST or (23,) <= version < OLDEST_23:
        raise Invalid(
            f"{path} is Asterisk {_written(version)}; Dari needs {_written(OLDEST)} or newer "
            f"(of the 23 series {_written(OLDEST_23)})"
        )
    unpacked = path.resolve().parent / "usr"
    if not (unpacked / "sbin/asterisk").exists():
        return Program(path, version)
    return Program(
        path, version, modules=next(unpacked.glob("lib/*/asterisk/modules")), data=unpacked / "share/asterisk"
    )


def _written(version: tuple[int, int, int]) -> str:
    return ".".join(map(str, version))


def _log(folder: Path) -> Path:
    """Asterisk's log, as the rendered files name it."""
    found = re.search(r"^astlogdir => (.*)$", (folder / "asterisk.conf").read_text(), re.MULTILINE)
    return Path(found[1] if found else folder) / "messages.log"


async def _gone(alive: Callable[[], bool], seconds: float) -> bool:
    for _ in range(round(seconds / 0.05)):
        if not alive():
            return True
        await asyncio.sleep(0.05)
    return not alive()
