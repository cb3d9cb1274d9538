"""What the sandbox gateway has accepted, in a file that outlives it: a restart forgets nothing."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from io import FileIO
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import msgspec

from engine.foundation.errors import Conflict, Invalid
from engine.foundation.locks import got_lock
from engine.sandbox.gateway_rules import Order

_Line = TypeVar("_Line", bound=msgspec.Struct)


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One accepted message."""

    at: datetime
    reference: str
    order: Order


class _HandedOver(msgspec.Struct, frozen=True, kw_only=True):
    id: UUID
    at: datetime


class Journal:
    """messages.jsonl, one line per accepted message, and receipts.jsonl, one per receipt that was taken.

    A line is on the disk before the verb that writes it returns. One process at a time.
    """

    def __init__(self, messages: FileIO, receipts: FileIO, disk: Executor) -> None:
        self._disk = disk
        self._messages = messages
        self._receipts = receipts
        self._accepted = {kept.order.id: kept for kept in _read(messages, Kept)}
        self._handed_over = {line.id for line in _read(receipts, _HandedOver)}

    def find(self, message_id: UUID) -> Kept | None:
        return self._accepted.get(message_id)

    def everything(self) -> list[Kept]:
        """All accepted messages, the oldest first."""
        return list(self._accepted.values())

    def without_receipt(self) -> list[Kept]:
        """Accepted messages whose delivery receipt nobody has taken yet."""
        return [kept for key, kept in self._accepted.items() if key not in self._handed_over]

    async def accept(self, kept: Kept) -> None:
        """Raises OSError when it cannot be kept: then it is not accepted."""
        await self._append(self._messages, kept)
        self._accepted[kept.order.id] = kept

    async def hand_over(self, message_id: UUID, at: datetime) -> None:
        """Remembers that the receipt was taken. Raises OSError when it cannot: it will be sent again."""
        await self._append(self._receipts, _HandedOver(id=message_id, at=at))
        self._handed_over.add(message_id)

    async def _append(self, file: FileIO, line: msgspec.Struct) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, _append, file, line)


@contextmanager
def journal(folder: Path) -> Iterator[Journal]:
    """The journal in `folder`. Raises Conflict when another gateway has it, Invalid when a file is no journal."""
    folder.mkdir(parents=True, exist_ok=True)
    # Closed in reverse: what the disk's thread has begun is finished before its file is closed.
    with (
        _open(folder / "messages.jsonl") as messages,
        _open(folder / "receipts.jsonl") as receipts,
        ThreadPoolExecutor(1, "gateway journal") as disk,
    ):
        yield Journal(messages, receipts, disk)


def _open(path: Path) -> FileIO:
    file = FileIO(path, "a+")
    path.chmod(0o600)
    if not got_lock(file):
        file.close()
        raise Conflict(f"{path}: another message gateway uses this folder; stop it or name another")
    return file


def _read(file: FileIO, kind: type[_Line]) -> list[_Line]:
    """The lines of a journal. A last line without its end was never answered for: it is cut off."""
    file.seek(0)
    whole, _, torn = file.readall().rpartition(b"\n")
    try:
        lines = [msgspec.json.decode(line, type=kind) for line in whole.splitlines()]
    except msgspec.DecodeError as error:
        raise Invalid(f"{file.name}: not a journal of the message gateway ({error}); move it away") from None
    if torn:
        if not torn.startswith(b"{"):
            raise Invalid(f"{file.name}: not a journal of the message gateway; move it away")
        file.truncate(len(whole) + 1 if whole else 0)
    return lines


def _append(file: FileIO, line: msgspec.Struct) -> None:
    """All of the line, or, when the disk does not take it, nothing and an OSError."""
    end = os.fstat(file.fileno()).st_size
    data = msgspec.json.encode(line) + b"\n"
    try:
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.fileno())
    except OSError:
        file.truncate(end)
        raise
