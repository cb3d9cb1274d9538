"""Call records on disk before anything else knows of them: what was written here survives the death of the
process, and what was synced survives a power cut.

The folder holds numbered files of lines (`segment.py`). Every line may be written and read twice: a closed call
stays closed and a drained one drained, whichever line is seen first.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import structlog

from engine.cdr.dead_spool import Packed
from engine.cdr.left_behind import LeftBehind, read_back
from engine.cdr.model import Arrival, CallRecord, OpenCall, Progress
from engine.cdr.pending import Pending
from engine.cdr.segment import Alive, Arrived, Broken, Came, Closed, Drained, Place, Segment
from engine.cdr.writer import Writer
from engine.foundation.clock import Clock
from engine.foundation.errors import Conflict, Invalid
from engine.foundation.files import sync_folder
from engine.foundation.locks import got_lock

_AGAIN = 1.0
"""Seconds until files are opened again of which none could be."""
_NOT_THE_FILES_FAULT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

log = structlog.get_logger(__name__)


class Spool:
    """The call records of one engine that are not in the database yet. One process owns the folder.

    A disk that takes nothing harms no call: no method raises for it; `healthy` and `reason` tell, and entries
    wait in memory until there is room. All methods belong to one event loop.
    """

    def __init__(self, folder: Path, lock: int, clock: Clock, left: LeftBehind) -> None:
        self.left_open: list[OpenCall] = list(left.open.values())
        """Calls of an earlier life that arrived and were never closed: to be adopted, or closed as lost."""
        self.damaged: list[Path] = list(left.unreadable)
        """Files with broken lines found at the start; what was whole in them has been taken over."""
        self._lock = lock
        self._disk = ThreadPoolExecutor(1, "spool")
        self._pending = Pending(left.open, left.closed)
        self._writer = Writer(folder, clock, self._disk, self._pending)
        self._writer.segments = left.segments
        self._writer.next_number = left.next_number
        self._arrivals: dict[UUID, int] = {}
        """Where those of open calls stand among all that was written."""
        self._something_closed = asyncio.Event()
        if left.closed:
            self._something_closed.set()

    @classmethod
    def open(cls, folder: Path, node: str, clock: Clock) -> Spool:
        """Takes the folder for `node` and reads what an earlier life left in it.

        Blocks for as long as the reading takes. Raises Conflict when another process has the folder, Invalid when it
        cannot be used.
        """
        return cls.of(folder, clock, take(folder, node))

    @classmethod
    def of(cls, folder: Path, clock: Clock, taken: Taken) -> Spool:
        """The spool of a folder that was taken, perhaps in a thread."""
        left = taken.left
        spool = cls(folder, taken.lock, clock, left)
        for path in left.unreadable:
            log.error("a file of the spool cannot be read and is left as it is", file=str(path))
        for segment in left.damaged:
            spool._rescue(segment, left)
        spool._writer.remove_empty()
        return spool

    @property
    def healthy(self) -> bool:
        """Whether the disk takes and keeps what is written."""
        return not self.reason

    @property
    def reason(self) -> str:
        """Why it is not healthy; empty when it is."""
        return self._writer.reason

    @property
    def waiting(self) -> int:
        """How many closed calls are not drained."""
        return len(self._pending.closed)

    @property
    def held(self) -> int:
        """How many entries are only in memory because the disk takes none."""
        return len(self._writer.held)

    @property
    def lost(self) -> int:
        """How many entries were given up because the disk took none and memory was full (HELD_LIMIT)."""
        return self._writer.lost

    def arrived(self, arrival: Arrival) -> None:
        """A call has come. On return the operating system has it: this process may die."""
        call = OpenCall(arrival=arrival, last_alive=arrival.arrived_at)
        self._pending.open[arrival.call_id] = call
        self._arrivals[arrival.call_id] = self._writer.append(Arrived(call))

    def alive(self, call_ids: Collection[UUID], at: datetime) -> None:
        """These calls live at `at`: should nobody see them end, they lasted until then at least."""
        known = tuple(call_id for call_id in call_ids if call_id in self._pending.open)
        for call_id in known:
            self._pending.open[call_id] = self._pending.open[call_id].seen_at(at)
        self._writer.write_held()
        if known and not self.held:
            self._writer.append(Alive(known, at))

    def progress(self, call_id: UUID, progress: Progress) -> None:
        """An open call has come so far. On return the operating system has it: this process may die."""
        if call := self._pending.open.get(call_id):
            self._pending.open[call_id] = call.come_to(progress)
            self._writer.append(Came(call_id, progress))

    async def give_away(self, call_ids: Iterable[UUID]) -> None:
        """These calls are somebody else's now, who also writes their records."""
        await self.drained(call_ids)

    def closed(self, record: CallRecord) -> None:
        """A call has ended. Closing it again changes nothing while it waits to be drained."""
        if record.call_id in self._pending.closed:
            return
        self._pending.open.pop(record.call_id, None)
        self._arrivals.pop(record.call_id, None)
        self._pending.closed[record.call_id] = record
        self._writer.append(Closed(record))
        self._something_closed.set()

    async def synced(self) -> None:
        """Returns when all that was written so far would survive a power cut, or the disk refuses (`healthy`).

        One sync serves all who wait; those who come while it runs share the next.
        """
        await self._writer.synced()

    async def arrival_synced(self, call_id: UUID) -> None:
        """As `synced`, for what was written up to the arrival of an open call: mostly a sync for others has done it."""
        await self._writer.synced(self._arrivals.get(call_id))

    def sync_soon(self) -> None:
        """Begins a sync in a moment, so that whoever asks for it later need not wait."""
        self._writer.sync_soon()

    async def next_batch(self, limit: int, gather: float = 0.0) -> list[CallRecord]:
        """Waits for closed calls and returns the oldest, `limit` at most; the same ones until drained.

        While there are fewer, it gives others `gather` seconds to join them.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._something_closed.wait()
            if gather and len(self._pending.closed) < limit:
                await asyncio.sleep(gather)
            chosen = list(islice(self._pending.closed.items(), limit))
            if not chosen:
                self._something_closed.clear()
                continue
            try:
                records, unreadable = await loop.run_in_executor(self._disk, _read, chosen)
            except OSError as error:
                log.warning("the spool cannot be read now and is tried again", reason=error.strerror)
                await asyncio.sleep(_AGAIN)
                continue
            if unreadable:
                log.error("call records cannot be read from the spool", calls=[str(call) for call in unreadable])
                self._forget(unreadable)
            if records:
                return records

    async def drained(self, call_ids: Iterable[UUID]) -> None:
        """These calls need no spool any more; files that no call needs are removed."""
        gone = tuple(call_ids)
        self._writer.append(Drained(gone))
        self._forget(gone)
        await self._carry_forward()
        self._writer.remove_empty()

    async def take_in(self, packed: Packed) -> list[OpenCall]:
        """The packed file of a dead engine's spool becomes ours, in one step; its open calls.

        On return that would survive a power cut, if the disk keeps names. Raises OSError: then nothing changed.
        """
        old = self._writer.take_in(packed.segment)
        self._pending.open.update(packed.open)
        self._pending.closed.update(packed.closed)
        if packed.closed:
            self._something_closed.set()
        loop = asyncio.get_running_loop()
        try:
            for folder in (packed.segment.path.parent, old):
                await loop.run_in_executor(self._disk, sync_folder, folder)
        except OSError as error:
            log.error("the disk does not keep the name of a file of the spool", reason=error.strerror)
        return list(packed.open.values())

    async def close(self) -> None:
        """Syncs and gives the folder back. What is open or not drained stays in it."""
        await self._writer.close()
        self._disk.shutdown()
        os.close(self._lock)

    def _forget(self, call_ids: Sequence[UUID]) -> None:
        self._pending.forget(call_ids)
        for call_id in call_ids:
            self._arrivals.pop(call_id, None)
        for segment in self._writer.segments:
            segment.calls.difference_update(call_ids)

    async def _carry_forward(self) -> None:
        """When only live calls keep the oldest file, writes them again, so that a long call cannot hold it."""
        oldest = self._writer.segments[0] if self._writer.segments else None
        live = self._pending.open
        if oldest is None or oldest is self._writer.current:
            return
        if not oldest.calls or not oldest.calls <= live.keys():
            return
        for call_id in tuple(oldest.calls):
            self._writer.append(Arrived(live[call_id]))
        await self.synced()
        if self.healthy:
            oldest.calls.clear()

    def _rescue(self, segment: Segment, left: LeftBehind) -> None:
        """Writes what is whole in a damaged file into a new one and sets the damaged one aside for people."""
        inside = [(call, place) for call, place in left.closed.items() if place.segment is segment]
        try:
            records, _ = _read(inside)
        except OSError as error:
            log.error("a damaged file of the spool cannot be read now", reason=error.strerror)
            return
        for record in records:
            self._writer.append(Closed(record))
        for call_id in segment.calls & left.open.keys():
            self._writer.append(Arrived(left.open[call_id]))
        self._writer.append(Drained(tuple(left.drained)))
        try:
            if self._writer.current:
                self._writer.current.sync()
            if self.healthy:
                self._writer.segments.remove(segment)
                segment.set_aside()
        except OSError as error:
            log.error("a damaged file of the spool cannot be set aside", reason=error.strerror)
        log.error("a file of the spool has broken lines; the others are taken over", file=str(segment.path))
        self.damaged.append(segment.path)


class Taken(NamedTuple):
    """A folder that is ours, and what was found in it."""

    lock: int
    """Its descriptor: the folder is ours until that is closed."""
    left: LeftBehind


def take(folder: Path, node: str) -> Taken:
    """Takes the folder for `node` and reads what an earlier life left in it, on disk from now on. May be large: blocks.

    Raises Conflict when another process has the folder, Invalid when it cannot be used.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = _lock(folder, node)
        try:
            left = read_back(folder)
        except OSError:
            os.close(lock)
            raise
    except OSError as error:
        raise Invalid(f"spool folder {folder}: unusable ({error.strerror}); let this user read and write it") from None
    for segment in left.segments:
        with suppress(OSError):
            segment.sync()
    return Taken(lock, left)


def _lock(folder: Path, node: str) -> int:
    """Locks the folder until the descriptor returned is closed. Raises Conflict."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    if not got_lock(lock):
        owner = os.read(lock, 100).decode(errors="replace").strip()
        os.close(lock)
        raise Conflict(
            f"spool folder {folder}: another engine uses it ({owner}); stop that one or set another DARI_HOME"
        )
    _say_owner(lock, f"node {node}, process {os.getpid()}")
    return lock


def _say_owner(lock: int, owner: str) -> None:
    """For the message above only: a full disk may refuse it."""
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, owner.encode(), 0)
    except OSError as error:
        log.warning("the spool's owner cannot be noted", reason=error.strerror)


def _read(calls: Sequence[tuple[UUID, CallRecord | Place]]) -> tuple[list[CallRecord], list[UUID]]:
    """The records, in order, and the calls whose line cannot be read any more.

    Raises OSError when it is this process or this machine that can open no file now: the lines are there.
    """
    records: list[CallRecord] = []
    unreadable: list[UUID] = []
    for call_id, where in calls:
        if isinstance(where, CallRecord):
            records.append(where)
            continue
        try:
            entry = where.segment.entry(where.offset, where.length)
        except Broken:
            entry = None
        except OSError as error:
            if error.errno in _NOT_THE_FILES_FAULT:
                raise
            entry = None
        if isinstance(entry, Closed):
            records.append(entry.record)
        else:
            unreadable.append(call_id)
    return records, unreadable
