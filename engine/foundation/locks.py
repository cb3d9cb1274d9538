"""The kernel's locks on files: freed when whoever has one closes the file or dies, never before."""

from __future__ import annotations

import fcntl
from typing import Protocol


class OpenFile(Protocol):
    def fileno(self) -> int: ...


def got_lock(file: int | OpenFile) -> bool:
    """Whether the whole of an open file is ours from now on; False: another one has it. Never waits."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
