"""Starts, awaits and ends the processes of parts, our children or not."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from engine.foundation.errors import Invalid
from engine.foundation.priority import let_calls_pass
from engine.foundation.process import Process, session_leader

PART = "DARI_PART"
"""Environment variable by which a part is known even when its pid file is gone."""

_LOG_BYTES = 20_000_000
_LOGS_KEPT = 3
_DEFAULT_ACTION = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGCHLD,
)
_KILLED_PATIENCE = 5.0


def start_process(
    name: str, command: Sequence[str], environment: Mapping[str, str], log: Path, *, after_calls: bool = False
) -> Process:
    """Starts a part in a session of its own, its output appended to `log`. Raises Invalid when that fails.

    No signal meant for this process or its terminal reaches it, and it outlives this process. One that comes
    `after_calls` leaves the processor to them.
    """
    program = shutil.which(command[0])
    if program is None:
        raise Invalid(f"{name}: the program {command[0]} is missing or may not be run; install it or set its path")
    log.parent.mkdir(parents=True, exist_ok=True)
    rotate(log)
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    try:
        pid = os.posix_spawn(
            program,
            list(command),
            {**environment, PART: name},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o640),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULT_ACTION,
        )
    except OSError as error:
        raise Invalid(f"{name}: {program} cannot be started ({error.strerror}); check the file and {log}") from None
    process = Process.of_child(pid)  # one that ends at once has started too: whoever awaits it is told
    if process is None:
        raise Invalid(f"{name}: {program} was reaped by somebody else; see {log}")
    if after_calls:
        let_calls_pass(pid)
    return process


async def ended(process: Process) -> str:
    """Waits until the process has ended, whoever started it, and reaps it if it is our child. How it ended."""
    descriptor = process.open()
    if descriptor is not None:
        loop = asyncio.get_running_loop()
        over = asyncio.Event()
        loop.add_reader(descriptor, over.set)
        try:
            await over.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
    return reap(process.pid)


async def end_process(process: Process, number: signal.Signals, patience: float) -> bool:
    """Asks the process to end and kills it after `patience` seconds. True when it ended by itself."""
    process.send(number)
    return await end_after(process, patience)


async def end_after(process: Process, patience: float) -> bool:
    """Waits for a process asked to end, kills it after `patience` seconds. True when it ended by itself."""
    with suppress(TimeoutError):
        async with asyncio.timeout(patience):
            await ended(process)
        return True
    process.send(signal.SIGKILL)
    with suppress(TimeoutError):  # longer only in an uninterruptible wait for a disk
        async with asyncio.timeout(_KILLED_PATIENCE):
            await ended(process)
    return False


def reap(pid: int) -> str:
    """How our child ended; for others only that it ended."""
    with suppress(ChildProcessError):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
    return "ended"


def find_part(name: str, home: Path) -> Process | None:
    """The living part of this home that was started by `start_process`, found without its pid file."""
    marks = {f"{PART}={name}".encode(), b"DARI_HOME=" + os.fsencode(home)}
    for pid in _own_pids():
        with suppress(OSError):
            if marks <= set(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")) and session_leader(pid):
                return Process.of(pid)
    return None


def rotate(log: Path) -> None:
    """Moves a log that has grown large to NAME.1, the ones before it one further; the oldest goes."""
    if _is_large(log):
        log.replace(_place_for(log))


def rotate_open(log: Path) -> None:
    """As `rotate` of a log that its writer appends to: it is copied and emptied. Lines of that instant may be lost."""
    if _is_large(log):
        shutil.copy(log, _place_for(log))
        os.truncate(log, 0)


def last_line(log: Path) -> str:
    """The last line that says something, at most 300 characters."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


def _is_large(log: Path) -> bool:
    return log.exists() and log.stat().st_size >= _LOG_BYTES


def _place_for(log: Path) -> Path:
    """NAME.1, free for the log."""
    for number in range(_LOGS_KEPT - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
    return log.with_name(f"{log.name}.1")


def _own_pids() -> Iterator[int]:
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and folder.stat().st_uid == os.geteuid():
                yield int(folder.name)
