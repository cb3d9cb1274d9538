"""Puts entries on disk in order, whatever the disk does."""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Executor
from pathlib import Path

import structlog

from engine.cdr.pending import Pending
from engine.cdr.segment import Closed, Entry, Place, Segment, encode
from engine.foundation.clock import Clock
from engine.foundation.tasks import Tasks

SEGMENT_BYTES = 8_000_000
"""A file that has grown so large is followed by a new one."""
SEGMENT_SECONDS = 600.0
"""So is one of this age, so that old files can go while calls are few."""
_SOON = 0.02
"""Seconds by which others may join a sync that nobody waits for yet. Nobody takes up a telephone so fast."""
HELD_LIMIT = 100_000
"""Entries kept in memory while the disk takes none (some 100 MB); further ones are lost and counted."""

log = structlog.get_logger(__name__)


class Writer:
    """Appends entries to the newest of the spool's files and syncs them.

    Raises for nothing that a disk can do: `reason` tells, and what the disk did not take waits in memory, in
    order, until it takes it.
    """

    def __init__(self, folder: Path, clock: Clock, disk: Executor, pending: Pending) -> None:
        self.segments: list[Segment] = []
        """All files of the spool, oldest first."""
        self.current: Segment | None = None
        self.held: deque[Entry] = deque()
        """Entries that are only in memory."""
        self.lost = 0
        """Entries given up because the disk took none and memory was full."""
        self.next_number = 1
        self._folder = folder
        self._clock = clock
        self._disk = disk
        self._pending = pending
        self._began = 0.0
        self._written = 0
        self._durable = 0
        self._doubted = 0
        """What was written up to here may since have been written again, behind it."""
        self._write_error = ""
        self._sync_error = ""
        self._tasks = Tasks("spool")
        self._sync: asyncio.Task[None] | None = None
        self._soon: asyncio.TimerHandle | None = None

    @property
    def reason(self) -> str:
        """Why the disk is not well; empty when it is."""
        return self._write_error or self._sync_error

    def append(self, entry: Entry) -> int:
        """Gives the entry to the operating system, after all earlier ones; holds it when the disk refuses.

        Returns its place among all that are written, for `synced`.
        """
        if len(self.held) >= HELD_LIMIT:
            self.held = deque(entry for entry in self.held if self._pending.matters(entry))
        if len(self.held) < HELD_LIMIT:
            self.held.append(entry)
        else:
            self._give_up(entry)
        place = self._written + len(self.held)
        self.write_held()
        return place

    def write_held(self) -> None:
        """Tries again to write what is held."""
        try:
            while self.held:
                self._write(self.held[0])
                self.held.popleft()
        except OSError as error:
            self._report(write=f"the spool cannot be written: {error.strerror}")
        else:
            self._report(write="")

    async def synced(self, place: int | None = None) -> None:
        """Returns when all that was written so far would survive a power cut, or the disk refuses (`reason`).

        With `place`, when all up to that would. One sync serves all who wait; those who come while it runs share the
        next.
        """
        target = self._written if place is None or place <= self._doubted else min(place, self._written)
        while self._durable < target:
            await asyncio.shield(self._syncing())
            if self.reason:
                return

    def sync_soon(self) -> None:
        """Begins a sync in a moment, so that whoever asks for it later need not wait."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(_SOON, self._sync_now)

    async def close(self) -> None:
        """Syncs what was written and closes the files."""
        if self._soon is not None:
            self._soon.cancel()
        await self.synced()
        await self._tasks.close()
        for segment in self.segments:
            segment.close()

    def take_in(self, segment: Segment) -> Path:
        """A file of another spool, on disk, becomes the newest of this one; the folder that it was in.

        What is written later of its calls goes into a file after it. Raises OSError: it stays where it is.
        """
        old = segment.move(self._folder, self.next_number)
        self.segments.append(segment)
        self.next_number += 1
        last, self.current = self.current, None
        if last and not last.unsynced:
            last.close()
        return old

    def remove_empty(self) -> None:
        """Removes the oldest files that no call needs; in order, so that `drained` outlives `arrived`."""
        while self.segments and self.segments[0] is not self.current and not self.segments[0].calls:
            try:
                self.segments.pop(0).remove()
            except OSError as error:
                log.error("a file of the spool cannot be removed", reason=error.strerror)

    def _give_up(self, entry: Entry) -> None:
        self.lost += 1
        if isinstance(entry, Closed):
            self._pending.forget([entry.record.call_id])

    def _write(self, entry: Entry) -> None:
        segment = self._segment()
        line = encode(entry)
        offset = segment.append(line)
        segment.unsynced.append(entry)
        self._written += 1
        self._pending.placed(entry, Place(segment, offset, len(line)))

    def _segment(self) -> Segment:
        """The file to write to; a new one when the last is large, old or not to be trusted."""
        now = self._clock.monotonic()
        if (
            self.current is None
            or self.current.size >= SEGMENT_BYTES
            or (now - self._began >= SEGMENT_SECONDS and self.current.size)
        ):
            last, self.current = self.current, Segment.create(self._folder, self.next_number)
            self.segments.append(self.current)
            self.next_number += 1
            self._began = now
            if last and not last.unsynced:
                last.close()
        return self.current

    def _sync_now(self) -> None:
        self._soon = None
        if self._durable < self._written:
            self._syncing()

    def _syncing(self) -> asyncio.Task[None]:
        if self._sync is None:
            self._sync = self._tasks.start("sync", self._sync_written())
        return self._sync

    async def _sync_written(self) -> None:
        """One sync of all that was written so far; when it fails, a second one, of a new file."""
        try:
            if not await self._sync_files():
                self.write_held()
                await self._sync_files()
        finally:
            self._sync = None

    async def _sync_files(self) -> bool:
        target = self._written
        for segment in [segment for segment in self.segments if segment.unsynced]:
            count = len(segment.unsynced)
            try:
                await asyncio.get_running_loop().run_in_executor(self._disk, segment.sync)
            except OSError as error:
                self._distrust(segment)
                self._report(sync=f"the spool cannot be synced: {error.strerror}")
                return False
            del segment.unsynced[:count]
            if segment is not self.current and not segment.unsynced:
                segment.close()
        self._durable = target
        self._report(sync="")
        return True

    def _distrust(self, segment: Segment) -> None:
        """After a failed sync nobody knows what the disk has: what was never synced goes into a new file."""
        if self.current is segment:
            self.current = None
        self._doubted = self._written
        for entry in segment.unsynced:
            self._pending.unplaced(entry)
        self.held.extendleft(entry for entry in reversed(segment.unsynced) if self._pending.matters(entry))
        segment.unsynced.clear()
        segment.close()

    def _report(self, *, write: str | None = None, sync: str | None = None) -> None:
        """Takes down how the disk did (an empty reason: well), and logs when that changes."""
        before = self.reason
        self._write_error = self._write_error if write is None else write
        self._sync_error = self._sync_error if sync is None else sync
        if self.reason and not before:
            log.error(self.reason, folder=str(self._folder))
        elif before and not self.reason:
            log.info("the spool is written again", lost=self.lost)
