"""Follows Asterisk's own call records: each row once, in order, whatever becomes of the file. Blocks: for a thread."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import msgspec

from engine.cdr.call_file import CallFile
from engine.cdr.call_row import Row, is_whole, rows_in, split

_CHUNK = 1 << 18
_HEAD = 4096


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where in which file the next row begins. A file is known by its first row, whatever it is called by now."""

    file: str
    offset: int
    written_at: float
    """When the file was last written to, as it was then (seconds since 1970): files of later rows were so later."""


class Follower:
    """Reads the rows once each, in order, also across renaming, copying, cutting and a life without a reader."""

    def __init__(self, file: CallFile, place: Place | None) -> None:
        """Begins at `place`; None: with the oldest file there is."""
        self.unread = 0
        """Pieces that were no rows, or bytes of files that went away, since the start: what was missed."""
        self._file = file
        self._place = place
        self._descriptor: int | None = None
        self._was_at_end = False
        self._done: set[str] = set()

    def read(self) -> list[tuple[Place, Row]]:
        """The next rows, each with the place where it begins; none when there are no more now. Raises OSError."""
        while True:
            if not self._is_same():
                self._open()
            if self._descriptor is None or self._place is None:
                return []
            records = _whole_rows(self._descriptor, self._place.offset)
            if not records:
                self._move_on()
                return []
            self._was_at_end = False
            if rows := self._rows_of(records, self._place, os.fstat(self._descriptor).st_mtime):
                return rows

    @property
    def place(self) -> Place | None:
        """Where the next row will begin; None: nothing was ever there."""
        return self._place

    @property
    def at_end_of_newest(self) -> bool:
        """Whether all that Asterisk has written is read."""
        if self._descriptor is None or self._place is None:
            return False
        with suppress(FileNotFoundError):
            there = self._file.path.stat()
            return os.path.samestat(there, os.fstat(self._descriptor)) and there.st_size == self._place.offset
        return False

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None

    def _rows_of(self, records: Sequence[bytes], place: Place, written_at: float) -> list[tuple[Place, Row]]:
        rows: list[tuple[Place, Row]] = []
        for record in records:
            found = rows_in(record)
            self.unread += not found
            rows += [(place, row) for row in found]
            place = Place(file=place.file, offset=place.offset + len(record), written_at=written_at)
        self._place = place
        return rows

    def _is_same(self) -> bool:
        """Whether what is open still is the file of the place: it may have been emptied, and filled anew."""
        if self._descriptor is None or self._place is None:
            return False
        there = os.fstat(self._descriptor).st_size >= self._place.offset
        return there and _name_of(self._descriptor) == self._place.file

    def _open(self) -> None:
        """Opens the file of the place; when that is gone, the oldest of those that were written to later."""
        self.close()
        self._was_at_end = False
        others: list[Path] = []
        for path in reversed(self._file.files()):
            descriptor = _opened(path)
            if descriptor is None:
                continue
            name, status = _name_of(descriptor), os.fstat(descriptor)
            if self._place is not None and name == self._place.file and status.st_size >= self._place.offset:
                self._descriptor = descriptor
                return
            os.close(descriptor)
            if name is not None and (self._place is None or status.st_mtime >= self._place.written_at):
                others.append(path)
        if others:
            self.unread += self._place is not None
            self._begin(others[-1])

    def _begin(self, path: Path) -> bool:
        """Opens another file at its first row, a copy of the one that was read where that was left; False: neither."""
        descriptor = _opened(path)
        name = _name_of(descriptor) if descriptor is not None else None
        if descriptor is None or name is None or name in self._done:
            if descriptor is not None:
                os.close(descriptor)
            return False
        self.close()
        self._descriptor = descriptor
        self._was_at_end = False
        if self._place is None or name != self._place.file:
            if self._place is not None:
                self._done.add(self._place.file)
            self._place = Place(file=name, offset=0, written_at=os.fstat(descriptor).st_mtime)
        return True

    def _move_on(self) -> None:
        """To the next file, when this one is not written to any more: Asterisk may have had it open just now."""
        if self._descriptor is None or self._place is None:
            return
        here = os.fstat(self._descriptor)
        with suppress(FileNotFoundError):
            if os.path.samestat(self._file.path.stat(), here):
                return
        if not self._was_at_end:
            self._was_at_end = True
            return
        for path in self._file.files():
            with suppress(FileNotFoundError):
                there = path.stat()
                later = there.st_mtime_ns >= here.st_mtime_ns and there.st_size
                if later and not os.path.samestat(there, here) and self._begin(path):
                    return


def _whole_rows(descriptor: int, offset: int) -> list[bytes]:
    """Rows from `offset` on that are complete, some megabyte of them; together they are the file without a gap."""
    size = _CHUNK
    while True:
        data = os.pread(descriptor, size, offset)
        records = split(data)
        if len(data) < size:  # the end of the file: the last one may be written right now
            if records and not is_whole(records[-1]):
                records.pop()
            return records
        if len(records) > 1:
            return records[:-1]
        size *= 2  # one row alone: only garbage is so long


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None


def _name_of(descriptor: int) -> str | None:
    """What a file is known by: the digest of its first row. None while it has none."""
    head = os.pread(descriptor, _HEAD, 0)
    pieces = split(head)
    if len(pieces) > 1 or len(head) == _HEAD or (pieces and is_whole(pieces[0])):
        return sha256(pieces[0]).hexdigest()
    return None
