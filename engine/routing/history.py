"""What this caller's earlier calls to the number were, for as long as a call may wait for it: a moment."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.cdr.search import calls_let_in, calls_of_caller
from engine.foundation.database import transaction
from engine.foundation.errors import DariError
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.tasks import Tasks
from engine.numbers.treatment import COUNT_THIS_WEEK, LAST_TALK, TargetOrder, Treatment
from engine.routing.load import LoadBook
from engine.routing.model import Line, PastCall

log = structlog.get_logger(__name__)

PATIENCE = 0.15
"""Seconds that a call waits for its history at most."""
REACHES_BACK = timedelta(days=90)
MOST = 50

_UNASKED_AFTER_MISS = 1.0  # seconds in which no call waits for a database that has just not answered
_AT_ONCE = 4  # questions without an answer yet: a database that hangs holds no more of our connections
_FACTS = tuple(f"{{{fact}}}" for fact in (COUNT_THIS_WEEK, LAST_TALK))


class CallHistory:
    """Asks the database, and never lets a call wait longer than `patience`. Close it at the end."""

    def __init__(self, database: AsyncEngine, patience: float = PATIENCE) -> None:
        self._database = database
        self._patience = patience
        self._tasks = Tasks("history")
        self._ask_again_at = 0.0

    async def of(self, number: PhoneNumber, caller: PhoneNumber, now: datetime) -> tuple[PastCall, ...] | None:
        """The caller's calls to `number`, newest first; None when they did not come in time."""
        clock = asyncio.get_running_loop().time
        if len(self._tasks) >= _AT_ONCE or clock() < self._ask_again_at:
            return None
        answer: asyncio.Future[tuple[PastCall, ...] | None] = asyncio.get_running_loop().create_future()
        self._tasks.start("calls of a caller", self._ask(number, caller, now, answer))
        # Only the waiting ends, not the question: taking it back would itself wait for a database that hangs.
        await asyncio.wait([answer], timeout=self._patience)
        found = answer.result() if answer.done() else None
        if found is None:
            self._ask_again_at = clock() + _UNASKED_AFTER_MISS
        return found

    async def close(self) -> None:
        """Gives up what is still asked."""
        await self._tasks.close()

    async def _ask(
        self,
        number: PhoneNumber,
        caller: PhoneNumber,
        now: datetime,
        answer: asyncio.Future[tuple[PastCall, ...] | None],
    ) -> None:
        found: tuple[PastCall, ...] | None = None
        try:
            async with transaction(self._database) as connection:
                calls = await calls_of_caller(connection, number, caller, since=now - REACHES_BACK, limit=MOST)
            found = tuple(PastCall(*call) for call in calls)
        except DariError as error:
            log.warning("calls go on without the caller's history", reason=str(error))
        finally:
            if not answer.done():
                answer.set_result(found)


async def seed_loads(
    book: LoadBook, database: AsyncEngine, limited: tuple[list[PhoneNumber], list[UUID]], now: datetime, tick: float
) -> None:
    """Enters the last day's calls of the numbers and accounts that have limits; `tick` is `now` on the book's clock.

    Once, at the start. Raises TryLater.
    """
    if not any(limited):
        return
    numbers, accounts = set(limited[0]), set(limited[1])
    async with transaction(database) as connection:
        calls = await calls_let_in(connection, numbers, accounts, since=now - timedelta(days=1))
    began: dict[PhoneNumber | UUID, list[float]] = {}
    for call in calls:
        for key in (call.number, call.account_id):
            if key is not None and (key in numbers or key in accounts):
                began.setdefault(key, []).append(tick - (now - call.at).total_seconds())
    for key, ticks in began.items():
        book.seed(key, ticks)


def needs_history(line: Line) -> bool:
    """Whether anything about the line's calls depends on earlier ones: only then is the database asked."""
    rules = [rule for rule in line.rules if rule.enabled]
    return any(rule.condition.last_call for rule in rules) or any(
        map(_looks_back, (line.number.treatment, *(rule.treatment for rule in rules)))
    )


def _looks_back(treatment: Treatment) -> bool:
    text = treatment.whisper.text if treatment.whisper else None
    return treatment.order is TargetOrder.LAST_TALKED or any(fact in (text or "") for fact in _FACTS)
