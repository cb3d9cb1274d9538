"""One file of the spool: lines of a checksum and a JSON entry, appended, synced, read back, at last removed."""

from __future__ import annotations

import errno
import os
from binascii import crc32
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec

from engine.cdr.model import CallRecord, OpenCall, Progress
from engine.foundation.files import sync_folder

SUFFIX = ".spool"


class Arrived(msgspec.Struct, frozen=True, tag="arrived"):
    """A call came in; also written again when its first line's file is to be removed."""

    call: OpenCall


class Alive(msgspec.Struct, frozen=True, tag="alive"):
    """These calls lived at that instant."""

    call_ids: tuple[UUID, ...]
    at: datetime


class Came(msgspec.Struct, frozen=True, tag="progress"):
    """A call has come so far."""

    call_id: UUID
    progress: Progress


class Closed(msgspec.Struct, frozen=True, tag="closed"):
    """A call has ended."""

    record: CallRecord


class Drained(msgspec.Struct, frozen=True, tag="drained"):
    """Calls that are not this spool's any more: they are in the database, refused by it, or another engine's."""

    call_ids: tuple[UUID, ...]


Entry = Arrived | Alive | Came | Closed | Drained

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


class Broken(Exception):  # noqa: N818 - never leaves this folder
    """A line that is not what was written."""


def encode(entry: Entry) -> bytes:
    """The line of an entry: CRC32 in eight hexadecimal digits, a space, JSON, a line feed."""
    body = _encoder.encode(entry)
    return b"%08x %b\n" % (crc32(body), body)


def decode(line: bytes) -> Entry:
    """The entry of a whole line. Raises Broken."""
    body = line[9:-1]
    if line[-1:] != b"\n" or line[:9] != b"%08x " % crc32(body):
        raise Broken("the checksum does not fit")
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise Broken(str(error)) from error


class Segment:
    """A file of the spool. Only the newest of a spool is written to, and only that one is kept open."""

    def __init__(self, path: Path, size: int, descriptor: int | None = None) -> None:
        self.path = path
        self.size = size
        self.calls: set[UUID] = set()
        """Calls with a line in this file that still matter."""
        self.unsynced: list[Entry] = []
        """Entries that a power cut could still take."""
        self._descriptor = descriptor
        """None: it is not written to."""
        self._named = False
        self._torn = False

    @classmethod
    def create(cls, folder: Path, number: int) -> Segment:
        """A new, empty file. Raises OSError."""
        path = folder / f"{number:012d}{SUFFIX}"
        return cls(path, 0, os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND, 0o600))

    @classmethod
    def reopen(cls, path: Path) -> Segment:
        """A file of an earlier life, to be read only. Raises OSError."""
        return cls(path, path.stat().st_size)

    def append(self, line: bytes) -> int:
        """Gives the line to the operating system; returns where it begins. Raises OSError: nothing appended."""
        if self._descriptor is None:
            raise OSError(errno.EBADF, "the file is not written to any more", str(self.path))
        if self._torn:
            os.ftruncate(self._descriptor, self.size)
        self._torn = True
        offset, rest = self.size, line
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        self._torn = False
        self.size += len(line)
        return offset

    def sync(self) -> None:
        """Makes what was appended, and the file's name, survive a power cut. Raises OSError."""
        if self._descriptor is None:
            with self.path.open("rb") as file:
                os.fdatasync(file.fileno())
        else:
            os.fdatasync(self._descriptor)
        if not self._named:
            sync_folder(self.path.parent)
            self._named = True

    def entry(self, offset: int, length: int) -> Entry:
        """The entry whose line lies there. Raises Broken, OSError.

        A thread may call it whatever happens to the file meanwhile.
        """
        with self.path.open("rb", buffering=0) as file:
            return decode(os.pread(file.fileno(), length, offset))

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Every line with the offset where it begins; the last may lack its line feed."""
        offset = 0
        with self.path.open("rb") as file:
            for line in file:
                yield offset, line
                offset += len(line)

    def move(self, folder: Path, number: int) -> Path:
        """Puts the file into another spool's folder, in one step; the folder that it was in. Raises OSError."""
        old = self.path.parent
        self.path = self.path.rename(folder / f"{number:012d}{SUFFIX}")
        return old

    def set_aside(self) -> Path:
        """Renames the file so that no later start reads it, and returns its new path."""
        self.path = self.path.rename(self.path.with_name(self.path.name + ".damaged"))
        self.close()
        return self.path

    def remove(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing is written to it any more; it can be read as before."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor = None


class Place(NamedTuple):
    """Where a line lies."""

    segment: Segment
    offset: int
    length: int
