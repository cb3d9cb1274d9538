"""What the sandbox gateway has accepted, in a file that outlives it: a restart forgets nothing."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import msgspec

from engine.foundation.errors import Conflict, Invalid
from engine.foundation.gathering import Gathering
from engine.foundation.locks import got_lock
from engine.sandbox.gateway_rules import Order

_MOMENT = 0.01
"""Seconds in which messages are gathered: those that one sender has sent together."""
_LONGER_MOMENT = 0.1
"""The same for receipts that were taken: nobody waits for that."""
_AT_ONCE = 100

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

    A line is on the disk before the verb that writes it returns; those that come within a moment are brought there
    together. One process at a time.
    """

    def __init__(self, messages: FileIO, receipts: FileIO, disk: Executor) -> None:
        self._disk = disk
        self._messages = messages
        self._receipts = receipts
        self._accepted = {kept.order.id: kept for kept in _read(messages, Kept)}
        self._handed_over = {line.id for line in _read(receipts, _HandedOver)}
        self._accepting = Gathering("accepting", self._accept, within=_MOMENT, at_most=_AT_ONCE)
        self._handing_over = Gathering("handing over", self._hand_over, within=_LONGER_MOMENT, at_most=_AT_ONCE)

    def find(self, message_id: UUID) -> Kept | None:
        return self._accepted.get(message_id)

    def everything(self) -> list[Kept]:
        """All accepted messages, the oldest first."""
        return list(self._accepted.values())

    def without_receipt(self) -> list[Kept]:
        """Accepted messages whose delivery receipt nobody has taken yet."""
        return [kept for key, kept in self._accepted.items() if key not in self._handed_over]

    async def accept(self, many: Sequence[Kept]) -> Mapping[UUID, Kept]:
        """What is kept under each id from now on: the first of these, or what was accepted under that id before.

        Raises OSError when they cannot be kept: then none of them is accepted.
        """
        return await self._accepting.add(many)

    async def hand_over(self, message_id: UUID, at: datetime) -> None:
        """Remembers that the receipt was taken. Raises OSError when it cannot: it will be sent again."""
        await self._handing_over.add(_HandedOver(id=message_id, at=at))

    async def close(self) -> None:
        """Gives up what is not on the disk yet."""
        await self._accepting.close()
        await self._handing_over.close()

    async def _accept(self, lots: Sequence[Sequence[Kept]]) -> Sequence[Mapping[UUID, Kept]]:
        new: dict[UUID, Kept] = {}
        for kept in chain.from_iterable(lots):
            if kept.order.id not in self._accepted:
                new.setdefault(kept.order.id, kept)
        if new:
            await self._append(self._messages, list(new.values()))
            self._accepted |= new
        return [{kept.order.id: self._accepted[kept.order.id] for kept in lot} for lot in lots]

    async def _hand_over(self, lines: Sequence[_HandedOver]) -> Sequence[None]:
        await self._append(self._receipts, lines)
        self._handed_over.update(line.id for line in lines)
        return [None] * len(lines)

    async def _append(self, file: FileIO, lines: Sequence[msgspec.Struct]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._disk, _append, file, lines)


@asynccontextmanager
async def journal(folder: Path) -> AsyncIterator[Journal]:
    """The journal in `folder`. Raises Conflict when another gateway has it, Invalid when a file is no journal."""
    folder.mkdir(parents=True, exist_ok=True)
    # Closed in reverse: what the disk's thread has begun is finished before its file is closed.
    with (
        _open(folder / "messages.jsonl") as messages,
        _open(folder / "receipts.jsonl") as receipts,
        ThreadPoolExecutor(1, "gateway journal") as disk,
    ):
        kept = Journal(messages, receipts, disk)
        try:
            yield kept
        finally:
            await kept.close()


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


def _append(file: FileIO, lines: Sequence[msgspec.Struct]) -> None:
    """All of these lines, or, when the disk does not take them, nothing and an OSError."""
    end = os.fstat(file.fileno()).st_size
    data = b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    try:
        if file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file.fileno())
    except OSError:
        file.truncate(end)
        raise
