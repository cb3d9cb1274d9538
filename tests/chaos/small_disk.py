"""Disks that are full: small ones of a test's own, which everybody on the machine may use who is told their place.

A `tmpfs` in a mount namespace that a process of ours keeps; others reach it through that process's /proc/PID/root. It
goes with its keeper, and the keeper with the test. What is wanted of the machine: Linux, `unshare`, and leave to make a
user namespace (or root).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from engine.foundation.tasks import Tasks
from tests.chaos.processes import STRIKING, Hand
from tests.chaos.proof import Proof

_MEGABYTES = 64
_FILLED_EVERY = 0.02
"""Seconds; whoever removes a file makes room for no longer than that."""
_ZEROS = bytes(65536)
_MOUNT = f"mount -t tmpfs -o size={_MEGABYTES}m,mode=700 tmpfs /tmp && echo ready && exec cat"


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A file system of its own, empty at first."""

    folder: Path

    @property
    def is_full(self) -> bool:
        return os.statvfs(self.folder).f_bavail == 0

    def fill(self) -> None:
        """Takes all the room that there is."""
        with suppress(OSError), (self.folder / "ballast").open("ab", buffering=0) as ballast:
            while True:
                ballast.write(_ZEROS)

    async def keep_full(self) -> None:
        """Until cancelled."""
        while True:
            self.fill()
            await asyncio.sleep(_FILLED_EVERY)


@dataclass(slots=True)
class Full:
    """That there is no room on a disk."""

    disk: SmallDisk
    since: float
    """Monotonic."""
    hand: Hand

    @property
    def proof(self) -> Proof:
        """While it lasts."""
        if self.hand.strikes:
            self.disk.fill()  # somebody may have removed a file just now
        seconds = max(time.monotonic() - self.since, 1e-6)
        return Proof(f"no room in {self.disk.folder}", seconds if self.disk.is_full else 0.0, "s")


@asynccontextmanager
async def full(disk: SmallDisk, hand: Hand = STRIKING) -> AsyncIterator[Full]:
    """There is no room on it within the block, and enough afterwards."""
    tasks, fault = Tasks("small disk"), Full(disk, time.monotonic(), hand)
    if hand.strikes:
        disk.fill()
        tasks.start("ballast", disk.keep_full())
    try:
        yield fault
    finally:
        await tasks.close()
        (disk.folder / "ballast").unlink(missing_ok=True)


@contextmanager
def small_disk() -> Iterator[SmallDisk | None]:
    """A disk; None on a machine where nobody may have one."""
    if shutil.which("unshare") is None:
        yield None
        return
    keeper = subprocess.Popen(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", _MOUNT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    with keeper:
        assert keeper.stdout is not None
        is_there = bool(keeper.stdout.readline())
        yield SmallDisk(Path(f"/proc/{keeper.pid}/root/tmp")) if is_there else None
        keeper.kill()
