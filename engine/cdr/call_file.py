"""Asterisk's own call records, a CSV file with a row per channel: the second source, which no death of ours touches.

All here reads files and blocks: it is made for a thread.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engine.cdr.call_row import ROW, Row, parse, rows_in, split

_CHUNK = 1 << 18
_HEAD = 4096
_NAMED_AT = re.compile(r"(?:.*-)?([0-9]{9,11})\.[0-9]+")
_PACKED = (".gz", ".bz2", ".xz", ".zst")
_CLOCKS_DIFFER = timedelta(minutes=1)


class CallFile:
    """The file that Asterisk appends to, and what it has been renamed to: all beside it whose names begin like its.

    Files are read whatever they are called, so that anybody may rename them at any time.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def find(self, channel: str, since: datetime | None = None) -> Row | None:
        """The row of a channel; None when it has not ended, or Asterisk died before it did. As `find_all`."""
        return self.find_all([channel], since).get(channel)

    def find_all(self, channels: Collection[str], since: datetime | None = None) -> dict[str, Row]:
        """The rows of those of the channels that have one; looked for from the end, and no further back than needed.

        `since` is before the oldest of them began; without it, their ids tell. Raises OSError when a file that is
        there cannot be read.
        """
        wanted = {channel.encode(): channel for channel in channels}
        since = since or _oldest(channels)
        found: dict[str, Row] = {}
        for path in reversed(self.files()):
            for records in _backwards(path):
                for record in records:
                    channel = wanted.get(record[1 : record.index(b'"', 1)]) if wanted else None
                    row = parse(record) if channel is not None else None
                    if channel is not None and row is not None:
                        found.setdefault(channel, row)
                if len(found) == len(wanted) or (since and _ended_before(records, since - _CLOCKS_DIFFER)):
                    return found
        return found

    def rows(self, since: datetime) -> Iterator[Row]:
        """Every row that can be read of the channels that ended at or after `since`. Raises OSError."""
        for path in reversed(self.files()):
            for records in _backwards(path):
                yield from (row for record in records for row in rows_in(record) if row.ended_at >= since)
                if _ended_before(records, since - _CLOCKS_DIFFER):
                    return

    def files(self) -> list[Path]:
        """Oldest first. Raises OSError, but for a folder that Asterisk has not made yet."""
        found: list[tuple[bool, int, Path]] = []
        try:
            for path in self.path.parent.iterdir():
                if path.name.startswith(self.path.name) and path.suffix not in _PACKED:
                    with suppress(FileNotFoundError):
                        found.append((path == self.path, path.stat().st_mtime_ns, path))
        except FileNotFoundError:
            return []
        return [path for _, _, path in sorted(found)]

    def began(self) -> datetime | None:
        """When the channel of the file's first row ended; None when it has none. Raises OSError."""
        try:
            with self.path.open("rb", buffering=0) as file:
                head = file.read(_HEAD)
        except FileNotFoundError:
            return None
        return next((row.ended_at for record in split(head)[:1] for row in rows_in(record)), None)

    def forget(self, before: datetime) -> None:
        """Removes the renamed files, as `rotate` names them, that were last written to before then. Raises OSError."""
        for path in self.files():
            with suppress(FileNotFoundError):
                is_ours = path.suffix[1:].isdecimal() and path.with_suffix("") == self.path
                if is_ours and path.stat().st_mtime < before.timestamp():
                    path.unlink()

    def rotate(self, files: int) -> None:
        """Renames the file, so that Asterisk begins a new one, and keeps `files` renamed ones: NAME.1 is the youngest.

        Raises OSError.
        """
        for age in range(files, 0, -1):
            with suppress(FileNotFoundError):
                self._rotated(age).replace(self._rotated(age + 1))
        with suppress(FileNotFoundError):
            self.path.replace(self._rotated(1))
        self._rotated(files + 1).unlink(missing_ok=True)

    def _rotated(self, age: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{age}")


def _backwards(path: Path) -> Iterator[list[bytes]]:
    """The rows of a file from its end, in pieces; those of a piece in the file's order."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        end, rest = os.fstat(file.fileno()).st_size, b""
        while end > 0:
            start = max(end - _CHUNK, 0)
            data = os.pread(file.fileno(), end - start, start) + rest
            first = ROW.search(data, 0 if start == 0 else 1)
            if first is None:
                rest = data
            else:
                rest = data[: first.start()]
                yield [record for record in split(data[first.start() :]) if record.count(b'"') > 1]
            end = start


def _ended_before(records: Sequence[bytes], instant: datetime) -> bool:
    """Whether all channels of these rows had ended before `instant`: they are written in the order of their ends."""
    last = next((row for record in reversed(records) for row in rows_in(record)), None)
    return last is not None and last.ended_at < instant


def _oldest(channels: Collection[str]) -> datetime | None:
    """When the oldest of these channels was made; None when one of them does not tell."""
    named = [_NAMED_AT.fullmatch(channel) for channel in channels]
    instants = [datetime.fromtimestamp(int(match[1]), UTC) for match in named if match]
    return min(instants) if instants and len(instants) == len(named) else None
