"""What live calls ask: the plan of each, with the caller's past where it matters, and the limits kept."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from engine.foundation.phone_number import PhoneNumber
from engine.routing.cache import RoutingCache
from engine.routing.call_plan import CallPlan, Forward
from engine.routing.history import CallHistory, needs_history
from engine.routing.load import LoadBook
from engine.routing.model import History, Line
from engine.routing.placed import placed
from engine.routing.plan import plan


class Planner:
    """Plans live calls. Numbers and rules are in memory; only the caller's past asks the database."""

    def __init__(
        self, cache: RoutingCache, past: CallHistory, book: LoadBook, ring_seconds: int, tick: Callable[[], float]
    ) -> None:
        """`ring_seconds` is the system's ring time; `tick` the clock of `book`."""
        self._cache = cache
        self._past = past
        self._book = book
        self._ring_seconds = ring_seconds
        self._tick = tick

    @property
    def known(self) -> bool:
        """Whether the numbers are known at all, from the database or from the snapshot."""
        return self._cache.known

    def line(self, number: PhoneNumber) -> Line | None:
        """The number as last known; None: not in service."""
        return self._cache.find(number)

    async def plan(self, line: Line | None, caller: PhoneNumber | None, instant: datetime) -> CallPlan:
        """What a call goes through. Two that come together are counted one after the other: see `begins`."""
        if line is None:
            return plan(None, caller, instant, History(), self._ring_seconds)
        number, account = line.number.number, line.number.account_id
        past = await self._past.of(number, caller, instant) if caller and needs_history(line) else ()
        now = self._tick()
        history = History(
            known=past is not None,
            calls=past or (),
            number=self._book.load(number, now),
            account=self._book.load(account, now),
        )
        return plan(line, caller, instant, history, self._ring_seconds)

    def plan_unasked(self, line: Line, caller: PhoneNumber | None, instant: datetime) -> CallPlan:
        """What a call of before went through, as far as numbers and rules alone tell it.

        Neither the caller's past nor how many calls there are now has a say in it, and live calls notice nothing.
        """
        return plan(line, caller, instant, History(known=False), self._ring_seconds)

    def placed(self, line: Line, second: PhoneNumber) -> Forward:
        """What a call that Dari places goes through once the first party has answered. Raises NotAllowed."""
        return placed(line, second, self._ring_seconds)

    def begins(self, line: Line) -> None:
        """A call is let in: it counts. To be called before anything else is awaited after `plan`."""
        self._book.begin(line.number.number, line.number.account_id, self._tick())

    def ends(self, line: Line) -> None:
        """A call that was let in is over."""
        self._book.end(line.number.number, line.number.account_id)
