"""All that routing goes by, in memory: a call asks no database. Kept fresh by notifications, and by disk without one.

Besides the numbers these are their rules, their accounts' calendars and groups, and the public holidays.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.foundation.database import listen, transaction
from engine.foundation.errors import DariError, TryLater
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.tasks import Tasks
from engine.foundation.turns import rested
from engine.numbers.inventory import in_service, look_up
from engine.numbers.model import ServiceNumber
from engine.prompts.library import played, played_by_account
from engine.routing import store
from engine.routing.current_prompts import with_prompts
from engine.routing.known import Known, read_known, write_known
from engine.routing.model import AccountRouting, Line

log = structlog.get_logger(__name__)

REREAD_AFTER = 300.0
"""Seconds after which everything is read again, in case a notification was lost."""

_CHANNELS = ("dari_numbers", "dari_accounts")
_HOLIDAYS = "holidays"
_PART = re.compile(rf"[0-9]+|[0-9a-f-]{{36}}|{_HOLIDAYS}")
_WAIT_WHEN_REFUSED = 5.0
_SNAPSHOT_DELAY = 2.0  # many changes, one snapshot
_REST = 1.0
"""Times as long as a part took: what is known is read again with half of the processor at most."""


_K = TypeVar("_K")
_V = TypeVar("_V")


class RoutingCache:
    """All numbers in service, with what decides about their calls. `find` never waits; run `keep_fresh` beside it."""

    def __init__(self, snapshot: Path) -> None:
        """Starts with what `snapshot` holds."""
        self._snapshot = snapshot
        kept = read_known(snapshot)
        self._now = kept or Known()
        self._known = kept is not None
        self._changed = asyncio.Event()
        self._told: Callable[[str], None] | None = None
        self._writing = threading.Lock()

    @property
    def known(self) -> bool:
        """Whether the numbers were ever read: only then is one that is not here not in service."""
        return self._known

    def __len__(self) -> int:
        return len(self._now.numbers)

    def find(self, number: PhoneNumber) -> Line | None:
        """The number with all that decides about its calls, as last known; None: not in service."""
        return self._now.line(number)

    def numbers(self) -> list[ServiceNumber]:
        """All numbers in service, as last known."""
        return list(self._now.numbers.values())

    def accounts(self) -> list[AccountRouting]:
        """All accounts, as last known."""
        return list(self._now.accounts.values())

    def tell_of_changes(self, told: Callable[[str], None]) -> None:
        """Calls `told` with each number (digits) or account (id) that changed, or "" when anything may have."""
        self._told = told

    def limited(self) -> tuple[list[PhoneNumber], list[UUID]]:
        """The numbers, and the accounts, that may have only so many calls."""
        return self._now.limited()

    async def load(self, engine: AsyncEngine) -> bool:
        """Reads everything as of one instant. True when it is not what was known before.

        At once for the first time, when no call can be routed; later between calls. Raises TryLater and leaves what is
        known.
        """
        new, old = Known(), self._now
        news = not self._known
        rest = _REST if self._known else 0.0
        async with transaction(engine) as connection:
            await store.read_as_of_one_instant(connection)
            async for numbers in rested(in_service(connection), rest):
                news |= _take(new.numbers, old.numbers, ((number.number, number) for number in numbers))
            async for rules in rested(store.all_rules(connection), rest):
                news |= _take(new.rules, old.rules, rules)
            prompts = await played_by_account(connection)
            async for accounts in rested(store.all_accounts(connection), rest):
                whole = ((one.account_id, with_prompts(one, prompts.get(one.account_id))) for one in accounts)
                news |= _take(new.accounts, old.accounts, whole)
            new.closed_days = await store.all_closed_days_of_numbers(connection)
            new.holidays = await store.holidays_by_day(connection)
        news |= (new.closed_days, new.holidays) != (old.closed_days, old.holidays)
        changed = news or new.sizes != old.sizes
        if changed:
            self._changed.set()
        self._now, self._known = new, True
        return changed

    async def keep_fresh(self, engine: AsyncEngine, url: str) -> None:
        """Follows every change, and writes the snapshot after it. Runs until cancelled."""
        tasks = Tasks("routing")
        tasks.start("snapshot", self._keep_snapshot())
        try:
            async with aclosing(listen(url, _CHANNELS, reread_after=REREAD_AFTER)) as changes:
                async for changed in changes:
                    await self._follow(engine, changed)
        finally:
            await tasks.close()
            if self._changed.is_set():
                self.write_snapshot()

    def write_snapshot(self) -> None:
        """Puts what is known on disk, whole or not at all; made for a thread. `keep_fresh` does it after changes."""
        try:
            with self._writing:
                write_known(self._now, self._snapshot)
        except OSError as error:
            log.error("numbers cannot be kept on disk", file=str(self._snapshot), reason=error.strerror)

    async def _follow(self, engine: AsyncEngine, changed: str) -> None:
        """Reads what changed, or all for an empty text, until it succeeds. What changes meanwhile is told later."""
        while True:
            try:
                await self._read(engine, changed)
            except DariError as error:
                log.warning("numbers and rules cannot be read, going on with those known", reason=str(error))
                await asyncio.sleep(error.after if isinstance(error, TryLater) else _WAIT_WHEN_REFUSED)
            else:
                return

    async def _read(self, engine: AsyncEngine, changed: str) -> None:
        if not _PART.fullmatch(changed):
            if await self.load(engine) and self._told:
                self._told("")
            return
        await self._load_part(engine, changed)
        if self._told:
            self._told("" if changed == _HOLIDAYS else changed)

    async def _load_part(self, engine: AsyncEngine, changed: str) -> None:
        """A number is told in digits, an account by its id."""
        async with transaction(engine) as connection:
            await store.read_as_of_one_instant(connection)
            if changed == _HOLIDAYS:
                self._now.holidays = await store.holidays_by_day(connection)
            elif changed.isdigit():
                await self._load_number(connection, PhoneNumber(changed))
            else:
                await self._load_account(connection, UUID(changed))
            self._changed.set()  # with the change itself: whoever is stopped after it still writes the snapshot

    async def _load_number(self, connection: AsyncConnection, number: PhoneNumber) -> None:
        found = await look_up(connection, number)
        rules = await store.rules_of(connection, number)
        closed_days = await store.closed_days_of(connection, number)
        _put(self._now.numbers, number, found)  # only now, all of it: no call sees a part
        _put(self._now.rules, number, rules or None)
        _put(self._now.closed_days, number, closed_days or None)

    async def _load_account(self, connection: AsyncConnection, account_id: UUID) -> None:
        account = await store.account(connection, account_id)
        prompts = await played(connection, account_id)
        _put(self._now.accounts, account_id, account and with_prompts(account, prompts))

    async def _keep_snapshot(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(_SNAPSHOT_DELAY)
            self._changed.clear()
            try:
                await asyncio.to_thread(self.write_snapshot)
            except asyncio.CancelledError:
                self._changed.set()  # the thread may have failed unheard: written once more at the end
                raise


def _put(entries: dict[_K, _V], key: _K, value: _V | None) -> None:
    """None: there is none (any more)."""
    if value is None:
        entries.pop(key, None)
    else:
        entries[key] = value


def _take(into: dict[_K, _V], known: dict[_K, _V], part: Iterable[tuple[_K, _V]]) -> bool:
    """Puts a part into a dictionary; whether it has anything that is not known yet.

    What is known already stays the same object: replacing and comparing 200,000 at once would hold up calls.
    """
    news = False
    for key, value in part:
        before = known.get(key)
        if before is not None and before == value:
            into[key] = before
        else:
            into[key] = value
            news = True
    return news
