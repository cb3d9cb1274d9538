"""A process of this machine that is never mistaken for another: its id, its start, and in which boot."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from engine.foundation.files import replace_file

_TICKS = os.sysconf("SC_CLK_TCK")
_ENDED_STATES = ("Z", "X", "x")
_STATE, _SESSION, _STARTED = 0, 3, 19  # fields of /proc/PID/stat, counted after the name in brackets


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process; `started` in clock ticks since `boot`, so that a reused pid is another process."""

    pid: int
    started: int
    boot: str

    @property
    def lives(self) -> bool:
        """Whether it still runs; a zombie does not."""
        return Process.of(self.pid) == self

    @property
    def since(self) -> datetime:
        """When it started, aware, UTC, to about a second."""
        for line in Path("/proc/stat").read_text().splitlines():
            if line.startswith("btime "):
                return datetime.fromtimestamp(int(line.split()[1]) + self.started / _TICKS, UTC)
        raise OSError("/proc/stat does not tell when this machine started")

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The process that has this pid now; None when there is none or it has ended."""
        fields = _stat(pid)
        if fields is None or fields[_STATE] in _ENDED_STATES:
            return None
        return cls(pid=pid, started=int(fields[_STARTED]), boot=_boot())

    @classmethod
    def of_child(cls, pid: int) -> Process | None:
        """Our child, which may have ended already; None once it was reaped."""
        fields = _stat(pid)
        return cls(pid=pid, started=int(fields[_STARTED]), boot=_boot()) if fields else None

    def open(self) -> int | None:
        """A pidfd of it, which the caller closes; None when it has ended."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.lives:
            return descriptor
        os.close(descriptor)
        return None

    def send(self, number: signal.Signals) -> bool:
        """Sends a signal to it and to no other process; False when it has ended."""
        descriptor = self.open()
        if descriptor is None:
            return False
        try:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
                return True
            return False
        finally:
            os.close(descriptor)


class PidFile(msgspec.Struct, frozen=True, kw_only=True):
    """What a pid file tells of a part. Its first line is the bare pid, for whoever else reads it."""

    process: Process
    restarts: int = 0
    """How often the part was started again after it had died."""
    version: str = ""
    settings: dict[str, str] = {}
    """Digests of what it was started with, by name of the setting."""


def write_pid_file(path: Path, told: PidFile) -> None:
    """Puts the file there at once and whole, for its owner only."""
    replace_file(path, b"%d\n%b\n" % (told.process.pid, msgspec.json.encode(told)), 0o600)


def read_pid_file(path: Path) -> PidFile | None:
    """What the file tells, when the process it names still lives; else None."""
    try:
        told = msgspec.json.decode(path.read_bytes().partition(b"\n")[2], type=PidFile)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError):
        return None
    return told if told.process.lives else None


def session_leader(pid: int) -> bool:
    """Whether the process was started in a session of its own, as every part is."""
    fields = _stat(pid)
    return fields is not None and int(fields[_SESSION]) == pid


def _stat(pid: int) -> list[str] | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return line.rpartition(")")[2].split()  # the name may hold brackets and spaces itself


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def engine_name(number: int) -> str:
    """The name of the process that the `number`-th engine is: engine, engine-2, engine-3 …"""
    return "engine" if number == 1 else f"engine-{number}"
