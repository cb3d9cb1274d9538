"""Keeps in Asterisk's own database what calls go through while no engine is there (dialplan, context dari-alone).

Written through the manager, in the words of `engine.routing.alone_text`. Only differences are written, slowly enough
that calls notice nothing; what somebody has just changed goes first. Who writes: one engine at a time, and two that do
write the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

import structlog

from engine.calls.asterisk_values import A_SECOND, Database, Values, in_parts
from engine.cdr.model import Result
from engine.foundation.clock import Clock
from engine.foundation.errors import DariError, Invalid, TryLater
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import ServiceNumber
from engine.routing.alone import (
    Entry,
    Groups,
    asks_for_withheld,
    entries_in_steps,
    groups_asked_for,
    kind_name,
    kinds_of_callers,
)
from engine.routing.alone_text import (
    BLOCKED_CALLER,
    NOTICES,
    WHOLE,
    Sounds,
    caller_key,
    number_key,
    number_values,
    owner_of,
    trunk_values,
)
from engine.routing.call_plan import RECORDING_NOTICE_TO_TARGET, Forward
from engine.routing.model import BLOCKED, AccountRouting, Line
from engine.routing.plan import RECORDING_NOTICE_TO_CALLER
from engine.trunks.model import Trunk

log = structlog.get_logger(__name__)

DAILY = 86_400.0
"""Seconds after which all is made anew: another day is appended, and texts that were spoken meanwhile are heard."""

_REST = 3.0
"""Times as long as was worked: everything is made anew with a quarter of the processor."""
_STEPS = 10
"""Instants that are planned before live calls have their turn: some 5 ms with the most rules there may be."""
_SLICE = 50
"""Numbers that are made before what has just changed has its turn."""
_LOOKED_AT = 2_000
"""Keys that are looked at before calls have their turn."""
_AGAIN = 2.0
_TRUNKS = "trunks"


class Numbers(Protocol):
    """What routing knows."""

    @property
    def known(self) -> bool: ...

    def find(self, number: PhoneNumber) -> Line | None: ...

    def numbers(self) -> list[ServiceNumber]: ...

    def accounts(self) -> list[AccountRouting]: ...


@dataclass(frozen=True, slots=True)
class Means:
    """What turns a plan into something that plays."""

    music_class: Callable[[tuple[str, ...]], Awaitable[str]]
    """Raises DariError when there is none to be had."""
    spoken: Callable[[str], str | None]
    cause: Callable[[Result], int]
    ring_seconds: int
    whole: Callable[[str], int | None]
    """The bytes of a sound's file; None when it is not there as a whole."""


class Fallback:
    """Keeps the database equal to what is known. Run `keep` as a task; the other verbs tell it what happened."""

    def __init__(
        self,
        database: Database,
        numbers: Numbers,
        trunks: Callable[[], list[Trunk] | None],
        means: Means,
        clock: Clock,
        *,
        a_second: int = A_SECOND,
    ) -> None:
        """`trunks` gives None as long as they are not known."""
        self._values = Values(database, a_second)
        self._numbers = numbers
        self._trunks = trunks
        self._means = means
        self._clock = clock
        self._music: dict[tuple[str, ...], str | None] = {}
        self._asked: dict[UUID, Groups] = {}
        """The groups that an account's numbers ask for."""
        self._kinds: dict[UUID, list[Groups]] = {}
        self._waiting: dict[str, None] = {}
        """What changed, in its order: a number, an account, "trunks", or "" for all."""
        self._news = asyncio.Event()
        self._reread = True
        self._worked = 0.0
        """Seconds spent on making values, for which there was no rest yet."""
        self._since = 0.0
        """When the work began that goes on."""
        self._idle = False
        self._failing = False

    @property
    def idle(self) -> bool:
        """Whether everything is there as it is known."""
        return self._idle and not self._waiting and not self._reread

    def changed(self, what: str) -> None:
        """A number (digits) or an account (id) is other than before; "": anything may be."""
        self._waiting[what] = None
        self._news.set()

    def trunks_changed(self) -> None:
        """Calls go out by other trunks."""
        self.changed(_TRUNKS)

    def reconnected(self) -> None:
        """Asterisk may have lost what it had."""
        self._reread = True
        self._news.set()

    async def keep(self) -> None:
        """Writes everything, then what changes. Runs until cancelled."""
        while True:
            try:
                await self._keep()
            except DariError as error:
                if not self._failing:
                    log.warning("routes for the time without an engine are not written, again soon", reason=str(error))
                self._reread = self._failing = True
                await asyncio.sleep(error.after if isinstance(error, TryLater) else _AGAIN)

    async def _keep(self) -> None:
        while not self._numbers.known:
            await self._some_news()
        began = self._clock.monotonic()
        if self._reread:
            self._reread = False
            await self._values.read()
        self._waiting.pop("", None)
        await self._write_all()
        self._failing = False
        seconds = round(self._clock.monotonic() - began, 1)
        log.info("routes for the time without an engine are written", seconds=seconds)
        while not (self._reread or "" in self._waiting):
            await self._write_changes()
            self._idle = True
            try:
                async with asyncio.timeout(max(began + DAILY - self._clock.monotonic(), 0.0)):
                    await self._some_news()
            except TimeoutError:
                return
            finally:
                self._idle = False

    async def _some_news(self) -> None:
        await self._news.wait()
        self._news.clear()

    async def _write_all(self) -> None:
        self._music.clear()
        await self._write_trunks()
        await self._write_notices()
        numbers = self._numbers.numbers()
        await self._ask(numbers)
        for account in self._numbers.accounts():
            await self._write_callers(account)
        for part in in_parts(numbers, _SLICE):
            await self._write_slowly(number.number for number in part)
            await self._write_changes()
        await self._drop_strangers()
        await self._values.put([(WHOLE, "1")])

    async def _ask(self, numbers: Sequence[ServiceNumber]) -> None:
        """Which groups the numbers of each account ask for."""
        asked: dict[UUID, Groups] = {}
        for part in in_parts(numbers, _LOOKED_AT):
            for number in part:
                if line := self._numbers.find(number.number):
                    asked[number.account_id] = asked.get(number.account_id, frozenset()) | groups_asked_for(line)
            await asyncio.sleep(0)
        self._asked = asked

    async def _drop_strangers(self) -> None:
        """What is there of numbers and accounts that are not there any more."""
        accounts = {str(account.account_id) for account in self._numbers.accounts()}
        for part in in_parts(list(self._values), _LOOKED_AT):
            gone = [
                key
                for key in part
                if (key[0] == "n" and self._numbers.find(PhoneNumber(owner_of(key).partition("/")[2])) is None)
                or (key[0] == "c" and owner_of(key) not in accounts)
            ]
            await self._values.drop(gone)
            await asyncio.sleep(0)

    async def _write_changes(self) -> None:
        """What people have changed, without what waits for a pass over everything."""
        while any(self._waiting):
            await self._write_changed_numbers()
            changes = [what for what in self._waiting if what]
            for what in changes:
                del self._waiting[what]
            if _TRUNKS in changes:
                await self._write_trunks()
            for account in (what for what in changes if what != _TRUNKS):
                await self._write_account(UUID(account))

    async def _write_changed_numbers(self) -> None:
        """Also in the middle of something longer."""
        while number := next((what for what in self._waiting if what.isdigit()), None):
            del self._waiting[number]
            await self._write_number(PhoneNumber(number))

    async def _write_number(self, number: PhoneNumber) -> None:
        line = self._numbers.find(number)
        if line is not None:
            account = line.account.account_id
            asked = groups_asked_for(line)
            if not asked <= self._asked.get(account, frozenset()):
                self._asked[account] = self._asked.get(account, frozenset()) | asked
                await self._write_account(account)
                return
        await self._write_numbers([number])

    async def _write_account(self, account_id: UUID) -> None:
        """The account's callers, then all its numbers: its calendar, prompts and limits are theirs."""
        found = next((account for account in self._numbers.accounts() if account.account_id == account_id), None)
        await self._write_callers(found or AccountRouting(account_id=account_id))
        self._music.clear()
        for part in in_parts(self._numbers.numbers(), _LOOKED_AT):
            own_numbers = [number.number for number in part if number.account_id == account_id]
            for few in in_parts(own_numbers, _SLICE):
                await self._write_slowly(few)
                await self._write_changed_numbers()
            await asyncio.sleep(0)

    async def _write_callers(self, account: AccountRouting) -> None:
        """Those who are blocked or of a kind."""
        own = str(account.account_id)
        asked = self._asked.get(account.account_id, frozenset())
        kinds, values = await asyncio.to_thread(_callers, account, asked)  # there may be 100,000 of them
        self._kinds[account.account_id] = sorted(set(kinds.values()), key=sorted)
        await self._values.put(values.items())
        await self._values.drop([key for key in self._values.of(own) if key not in values])

    async def _write_trunks(self) -> None:
        trunks = self._trunks()
        if trunks is None:
            return
        values = trunk_values(trunks)
        await self._values.put(values.items())
        known = [key for key in self._values if key.startswith("trunk/") and key not in values]
        await self._values.drop(known)

    async def _write_notices(self) -> None:
        """By their sizes the dialplan knows that the notices of a recording are there as a whole; else none is made."""
        sizes = [self._means.whole(sound) for sound in (RECORDING_NOTICE_TO_CALLER, RECORDING_NOTICE_TO_TARGET)]
        if all(sizes):
            await self._values.put([(NOTICES, "&".join(map(str, sizes)))])
        else:
            await self._values.drop([NOTICES] if NOTICES in self._values else [])

    async def _write_slowly(self, numbers: Iterable[PhoneNumber]) -> None:
        self._worked = 0.0
        await self._write_numbers(numbers)
        await asyncio.sleep(self._worked * _REST)

    async def _write_numbers(self, numbers: Iterable[PhoneNumber]) -> None:
        """Routes before the entries that name them, and what is not needed any more last."""
        puts: list[tuple[str, str]] = []
        drops: list[str] = []
        for number in numbers:
            owner = number_key(number)
            values = await self._made(number)
            puts += [(key, values[key]) for key in sorted(values, key=len, reverse=True)]
            drops += [key for key in self._values.of(owner) if key not in values]
            await asyncio.sleep(0)
        await self._values.put(puts)
        await self._values.drop(drops)

    async def _made(self, number: PhoneNumber) -> dict[str, str]:
        line = self._numbers.find(number)
        if line is None or not _may_call(number):
            return {}
        self._since = self._clock.monotonic()
        try:
            return await self._made_of(line)
        except Invalid as error:
            log.warning("a number has no route for the time without an engine", reason=str(error))
            return {}
        finally:
            self._worked += self._clock.monotonic() - self._since

    async def _made_of(self, line: Line) -> dict[str, str]:
        number, now = line.number.number, self._clock.now()
        common = await self._entries(line, frozenset(), now)
        values = await self._written(line, number_key(number), common)
        for kind in self._kinds_for(line):
            found = await self._entries(line, kind, now)
            if found != common:
                values |= await self._written(line, number_key(number, kind_name(kind)), found)
        return values

    async def _entries(self, line: Line, kind: Groups | None, now: datetime) -> tuple[Entry, ...]:
        """In small pieces: many rules take seconds, and live calls wait for nobody."""
        found: list[Entry] = []
        for step, entry in enumerate(entries_in_steps(line, kind, now, self._means.ring_seconds), 1):
            if entry is not None:
                found.append(entry)
            if step % _STEPS == 0:
                await asyncio.sleep((self._clock.monotonic() - self._since) * _REST)
                self._since = self._clock.monotonic()
        return tuple(found)

    def _kinds_for(self, line: Line) -> list[Groups | None]:
        asked = groups_asked_for(line)
        kinds = self._kinds.get(line.account.account_id, ()) if asked else ()
        withheld: list[Groups | None] = [None] if asks_for_withheld(line) else []
        return withheld + [kind for kind in kinds if kind & asked]

    async def _written(self, line: Line, key: str, found: tuple[Entry, ...]) -> dict[str, str]:
        for entry in found:
            if isinstance(entry.plan, Forward) and entry.plan.ringback not in self._music:
                self._music[entry.plan.ringback] = await self._music_class(entry.plan.ringback)
        sounds = Sounds(self._music.__getitem__, self._means.spoken, self._means.cause)
        limits = (line.number.limits, line.account.limits)
        return number_values(key, str(line.number.account_id), limits, found, sounds)

    async def _music_class(self, sounds: tuple[str, ...]) -> str | None:
        try:
            return await self._means.music_class(sounds)
        except DariError as error:
            log.warning("no ringback for the time without an engine", reason=str(error))
            return None


def _callers(account: AccountRouting, asked: Groups) -> tuple[dict[PhoneNumber, Groups], dict[str, str]]:
    """Callers of a kind with their kinds, and what is kept of these and of those who are blocked."""
    own = str(account.account_id)
    kinds = kinds_of_callers(account, asked)
    values = {caller_key(own, caller): kind_name(kind) for caller, kind in kinds.items() if _may_call(caller)}
    blocked = account.groups.get(BLOCKED, ())
    return kinds, values | {caller_key(own, caller): BLOCKED_CALLER for caller in blocked if _may_call(caller)}


def _may_call(number: PhoneNumber) -> bool:
    """Whether it is digits, which keys are made of."""
    return number.isascii() and number.isdigit() and len(number) >= 2
