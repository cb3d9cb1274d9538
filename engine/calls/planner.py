"""What live calls ask of routing."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import datetime
from typing import Protocol

from engine.foundation.phone_number import PhoneNumber
from engine.routing.call_plan import CallPlan, Forward
from engine.routing.model import Line


class Planner(Protocol):
    """What a call to a number goes through. `line` looks in memory; `plan` may wait a moment for the caller's past."""

    @property
    def known(self) -> bool:
        """Whether the numbers are known at all, from the database or from the snapshot."""

    def line(self, number: PhoneNumber) -> Line | None: ...

    async def plan(self, line: Line | None, caller: PhoneNumber | None, instant: datetime) -> CallPlan: ...

    def plan_unasked(self, line: Line, caller: PhoneNumber | None, instant: datetime) -> CallPlan:
        """The plan as far as numbers and rules alone tell it: waits for nothing and counts nothing."""

    def placed(self, line: Line, second: PhoneNumber) -> Forward:
        """What a call that we place goes through once the first party has answered. Raises NotAllowed."""

    def begins(self, line: Line) -> None:
        """A call to the number is let in, and counts; asked at once after its plan."""

    def ends(self, line: Line) -> None:
        """It is over."""


async def counted(planner: Planner, line: Line | None, script: Coroutine[object, object, None]) -> None:
    """A script; while it runs, its call counts among those of its number. None: it does not count."""
    if line is None:
        await script
        return
    planner.begins(line)
    await counted_already(planner, line, script)


async def counted_already(planner: Planner, line: Line, script: Coroutine[object, object, None]) -> None:
    """The script of a call that counts since its plan was made; with its end it does not any more."""
    try:
        await script
    finally:
        planner.ends(line)
