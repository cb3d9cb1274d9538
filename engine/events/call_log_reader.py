"""Reads the live call logs of a folder: what was last, and what comes, in the order in which it happened."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

import msgspec

from engine.events.call_log import CallEvent

_events = msgspec.json.Decoder(CallEvent)


def read(
    folder: Path, last: int | None = None, wanted: Callable[[CallEvent], bool] = lambda _: True
) -> list[CallEvent]:
    """The `last` events that are wanted (None: all that are kept), oldest first. No folder: no events."""
    events = sorted((event for path in _logs(folder) for event in _last_of(path, last, wanted)), key=_instant)
    return events if last is None else events[max(0, len(events) - last) :]


async def follow(
    folder: Path, *, last: int = 0, wanted: Callable[[CallEvent], bool] = lambda _: True, every: float = 0.2
) -> AsyncGenerator[CallEvent, None]:
    """The `last` wanted events, then every one that is written, without end; looks every so many seconds.

    Survives rotation, a log that appears later, and a last line that is not whole yet.
    """
    tails = {path: _Tail(path, from_start=False) for path in _logs(folder)}
    shown = read(folder, last, wanted)
    try:
        for event in shown:
            yield event
        while True:
            for path in _logs(folder):
                if path not in tails:
                    tails[path] = _Tail(path, from_start=True)
            for event in sorted((event for tail in tails.values() for event in tail.new()), key=_instant):
                if wanted(event) and event not in shown:
                    yield event
            shown = []  # only the first look can meet again what `read` gave
            await asyncio.sleep(every)
    finally:
        for tail in tails.values():
            tail.close()


def _instant(event: CallEvent) -> datetime:
    return event.at


def _logs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def _last_of(path: Path, last: int | None, wanted: Callable[[CallEvent], bool]) -> list[CallEvent]:
    """From one log and its rotated files, the youngest file first, so that a short look reads little."""
    events: list[CallEvent] = []
    for file in _opened(path):
        with file:
            if last is None or len(events) < last:
                events = [event for event in _decoded(file.read().split(b"\n")) if wanted(event)] + events
    return events


def _opened(path: Path) -> Iterator[BinaryIO]:
    """The log, then the files it was rotated to, from the youngest to the oldest, each once.

    A rotation meanwhile only moves files to a higher age: going up meets some twice, but misses none.
    """
    ages = [int(old.suffix[1:]) for old in path.parent.glob(f"{path.name}.*") if old.suffix[1:].isdigit()]
    rotated = [path.with_name(f"{path.name}.{age}") for age in range(1, max(ages, default=0) + 2)]
    met = set()
    for generation in [path, *rotated]:
        try:
            file = generation.open("rb")
        except FileNotFoundError:
            continue
        if _identity(file) in met:
            file.close()
            continue
        met.add(_identity(file))
        yield file


def _identity(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _decoded(lines: list[bytes]) -> Iterator[CallEvent]:
    """The events among the lines; one cut short by a full disk or a death is passed over."""
    for text in lines:
        try:
            yield _events.decode(text)
        except msgspec.DecodeError:
            continue


class _Tail:
    """One log, read on from where it was left. Keeps the file open, so that a rotation loses nothing."""

    def __init__(self, path: Path, *, from_start: bool) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._rest = b""
        if not from_start:
            self._file = next(_opened(path), None)
        if self._file:
            self._file.seek(0, os.SEEK_END)

    def new(self) -> list[CallEvent]:
        """What was written since the last look, through every rotation in between."""
        younger = self._younger()
        lines = self._whole_lines()
        for file in younger:
            self.close()
            self._file, self._rest = file, b""
            lines += self._whole_lines()
        return list(_decoded(lines))

    def close(self) -> None:
        if self._file:
            self._file.close()

    def _younger(self) -> list[BinaryIO]:
        """The files that came after the one in hand, oldest first; none while that one is being written."""
        younger: list[BinaryIO] = []
        for file in _opened(self._path):
            if self._file and _identity(file) == _identity(self._file):
                file.close()
                break
            younger.insert(0, file)
        return younger

    def _whole_lines(self) -> list[bytes]:
        if not self._file:
            return []
        if os.fstat(self._file.fileno()).st_size < self._file.tell():  # emptied in place
            self._file.seek(0)
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return lines
