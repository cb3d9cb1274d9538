"""What a gateway does on a bad day, on demand: tests hand a plan to the gateway that they start."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from enum import Enum


class Fault(Enum):
    """What happens to one POST /messages."""

    BUSY = "503, nothing taken"
    CUT_BEFORE = "connection cut, nothing taken"
    CUT_AFTER = "taken, then the connection cut"
    LATE = "taken, no answer until `Faults.go_on` is set"
    BROKEN = "taken, then 500"
    GARBAGE = "taken, then an answer that is no JSON"


@dataclass(slots=True)
class Faults:
    """One fault per POST, in order; none when used up. `happened` proves that they did."""

    posts: deque[Fault] = field(default_factory=deque)
    receipt_copies: int = 1
    """How often each receipt is sent; 0: never."""
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    happened: list[Fault] = field(default_factory=list)

    def next_post(self) -> Fault | None:
        if not self.posts:
            return None
        fault = self.posts.popleft()
        self.happened.append(fault)
        return fault
