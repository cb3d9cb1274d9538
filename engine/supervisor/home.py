"""The folder of one system: writable, and supervised by one `dari up` at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.foundation.errors import Conflict, Invalid
from engine.foundation.locks import got_lock
from engine.foundation.process import PidFile, Process, read_pid_file, write_pid_file
from engine.foundation.sockets import make_private_folder


def check_home(home: Path, sockets: Path) -> None:
    """Makes the folders if need be: the home, and that of its sockets. Raises Invalid when one cannot serve."""
    if any(sign in str(home) for sign in "\n\r;\"'\\"):
        raise Invalid(f"DARI_HOME: {home} holds a quote, semicolon, backslash or line break; name another folder")
    check_writable(home, "DARI_HOME")
    check_writable(home / "run", "DARI_HOME")
    check_writable(home / "log", "DARI_HOME", mode=0o750)  # calls.log can be set to show whole numbers
    make_private_folder(sockets, (os.geteuid(), os.getegid()))


def check_writable(folder: Path, setting: str, *, mode: int = 0o777) -> None:
    """Makes the folder if need be, with `mode`, and tries it. Raises Invalid naming `setting`."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(mode=mode, parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise Invalid(
            f"{setting}: {folder} cannot be written ({error.strerror}); make it writable or name another folder"
        ) from None


@contextmanager
def supervise(run: Path) -> Iterator[None]:
    """Makes this process the supervisor of the home while the block runs. Raises Conflict when there is one."""
    pid_file = run / "up.pid"
    with (run / "up.lock").open("ab") as lock:
        if not got_lock(lock):
            other = supervisor_of(run)
            who = f" (pid {other.pid})" if other else ""
            raise Conflict(
                f"`dari up` already runs on {run.parent}{who}; stop it with `dari down` or set another DARI_HOME"
            )
        if me := Process.of(os.getpid()):
            write_pid_file(pid_file, PidFile(process=me))
        try:
            yield
        finally:
            pid_file.unlink(missing_ok=True)


def supervisor_of(run: Path) -> Process | None:
    """The `dari up` that runs on this home."""
    told = read_pid_file(run / "up.pid")
    return told.process if told else None
