"""A program that takes over a dead engine's spool and is killed on the way, at every line of ours that it comes to.

python -m tests.taker FOLDER lines: for each line a copy of FOLDER/template, and one taker that is killed there.
python -m tests.taker FOLDER relay SEED…: a copy for each seed, and takers, killed at random lines, until one is done.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

from engine.calls import takeover
from engine.calls.takeover import Sibling, Takeover
from engine.cdr import dead_spool, segment, spool, writer
from engine.cdr.model import OpenCall
from engine.cdr.spool import Spool
from engine.foundation import files
from engine.foundation.clock import SystemClock

_WATCHED = {module.__file__ for module in (takeover, dead_spool, segment, spool, writer, files)}
_TIMES_EACH = 2
"""How often a line of a loop counts."""
_MOST_LINES = 500
"""More than a taker comes to: some are not killed."""


class Death:
    """Kills this process at its `line`-th line of ours, whichever thread comes to it."""

    def __init__(self, line: int) -> None:
        self._left = line
        self._seen: Counter[tuple[str, int]] = Counter()

    def watch(self, frame: FrameType, event: str, _argument: Any) -> Any:
        if frame.f_code.co_filename not in _WATCHED:
            return None
        if event == "line":
            place = (frame.f_code.co_filename, frame.f_lineno)
            self._seen[place] += 1
            self._left -= self._seen[place] <= _TIMES_EACH
            if self._left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.watch


async def take(folder: Path, line: int) -> None:
    """One taker's whole life."""
    clock = SystemClock()
    own = Spool.open(folder / "spool", "n1", clock)
    adopted: list[OpenCall] = []

    async def adopt(calls: Sequence[OpenCall], _app: str) -> None:
        adopted.extend(calls)

    death = Death(line)
    threading.settrace(death.watch)
    sys.settrace(death.watch)
    try:
        dead = Sibling(folder / "spool" / "engine-2", "dari-n1-2")
        await Takeover(own, list, adopt, lambda: True, clock.monotonic).take(dead)
    finally:
        sys.settrace(None)
        threading.settrace(None)
    await own.close()


def outlived(folder: Path, line: int) -> bool:
    """Whether a taker that would be killed at that line had done before it."""
    child = os.fork()
    if not child:
        code = 1
        try:
            asyncio.run(take(folder, line))
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code not in (0, -signal.SIGKILL):
        raise SystemExit(f"a taker failed at line {line}: {code}")
    return code == 0


def copied(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder / "template", folder / name))


def main(folder: Path, how: str, seeds: list[int]) -> None:
    if how == "lines":
        for line in count(1):
            if outlived(copied(folder, f"killed-{line:04}"), line):
                return
    for seed in seeds:
        chance, relay = random.Random(seed), copied(folder, f"relay-{seed}")
        while not outlived(relay, chance.randint(1, _MOST_LINES)):
            pass


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], list(map(int, sys.argv[3:])))
