"""Writes the live log of calls. `call_log_reader` reads it.

One process writes one NAME (the engine `calls`, the jobs role `messages`).
"""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import msgspec
import structlog

from engine.events.call_log import CallEvent, line, printable, without_numbers

log = structlog.get_logger(__name__)

_LONGEST_DETAIL = 200
_LOOKED_EVERY = 1.0
"""Seconds between two looks whether somebody moved a file away: lines of that second are in the moved one."""


class CallLog:
    """NAME.log for `tail -f` and NAME.jsonl for programs, in one folder, both rotated by size.

    Whatever happens to the files, `write` returns: a call never suffers from its log. What could not be
    written is counted in `lost`.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        mask: bool,
        max_bytes: int,
        files: int,
        within: float = 0.0,
        tell: Callable[[CallEvent], None] | None = None,
    ) -> None:
        """`files` rotated ones are kept of each: NAME.log.1 is the youngest. `tell` gets each event, unmasked.

        Events of `within` seconds are written together, which takes them out of the way of calls; that needs a running
        event loop, and `close`.
        """
        self._mask = mask
        self._within = within
        self._waiting: list[CallEvent] = []
        self._soon: asyncio.TimerHandle | None = None
        self._tell = tell
        self._lines = _RotatedFile(folder / f"{name}.log", max_bytes, files)
        self._objects = _RotatedFile(folder / f"{name}.jsonl", max_bytes, files)
        self._failing = False
        self.lost = 0

    def write(self, event: CallEvent) -> None:
        """Tells of the event at once, and appends it to both files soon."""
        if self._tell is not None:
            self._tell(event)
        self._waiting.append(event)
        if not self._within:
            self._append()
        elif self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(self._within, self._append)

    def close(self) -> None:
        """Nothing is left to be written."""
        if self._soon is not None:
            self._soon.cancel()
        if self._waiting:
            self._append()
        self._lines.close()
        self._objects.close()

    def _append(self) -> None:
        self._soon = None
        events, self._waiting = [self._as_written(event) for event in self._waiting], []
        try:
            self._lines.append(b"".join(line(event).encode() + b"\n" for event in events))
            self._objects.append(b"".join(msgspec.json.encode(event) + b"\n" for event in events))
        except OSError as error:
            self.lost += len(events)
            if not self._failing:
                log.warning("call log cannot be written", file=error.filename, reason=error.strerror)
            self._failing = True
        else:
            if self._failing:
                log.warning("call log is written again", lost=self.lost)
            self._failing = False

    def _as_written(self, event: CallEvent) -> CallEvent:
        detail = printable(event.detail)[:_LONGEST_DETAIL]
        if detail != event.detail:
            event = msgspec.structs.replace(event, detail=detail)
        return without_numbers(event) if self._mask else event


class _RotatedFile:
    """Whole lines appended to one path, opened again when somebody moved it away. Raises OSError."""

    def __init__(self, path: Path, max_bytes: int, files: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._files = files
        self._file: BinaryIO | None = None
        self._looked = 0.0
        self._torn = False
        """Whether the file may end inside a line: after a full disk, or a death of the last writer."""

    def append(self, text: bytes) -> None:
        file = self._open_file()
        if file.tell() + len(text) > self._max_bytes and file.tell():
            self._rotate()
            file = self._open_file()
        data = b"\n" + text if self._torn else text
        self._torn = True
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, "written only in part; the disk is full", str(self._path))
        self._torn = False

    def close(self) -> None:
        if self._file:
            self._file.close()
        self._file = None

    def _open_file(self) -> BinaryIO:
        now = time.monotonic()
        if self._file and (self._torn or now - self._looked >= _LOOKED_EVERY):
            self._looked = now
            if not self._is_still_there(self._file):
                self.close()
        if not self._file:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            file = self._path.open("ab+", buffering=0)
            self._torn = file.tell() > 0 and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n"
            self._file = file
        return self._file

    def _is_still_there(self, file: BinaryIO) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        self.close()
        for age in range(self._files - 1, 0, -1):
            older = self._rotated(age)
            if older.exists():
                older.replace(self._rotated(age + 1))
        self._path.replace(self._rotated(1))

    def _rotated(self, age: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{age}")
