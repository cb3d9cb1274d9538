"""What routing goes by: a number's rules, its account's calendar and groups, and what has happened so far. Values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time
from enum import Enum
from uuid import UUID

import msgspec

from engine.accounts.model import Module
from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import ServiceNumber
from engine.numbers.treatment import Limits, Treatment

BLOCKED = "blocked"
"""The group of callers who are turned away before any rule is asked."""
WITHHELD = "withheld"
"""Stands in a condition for callers whose number is not known."""


class TimeSpan(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Hours on the account's wall clock, from `start` up to but without `end`. `end` <= `start`: past midnight.

    A span past midnight belongs to the day on which it starts: Friday 22:00-04:00 still matches on Saturday at 03:00.
    """

    start: time
    end: time


class DateRange(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Days from `first` to `last`, both included."""

    first: date
    last: date


class DayKind(Enum):
    """What a day is, for the account."""

    PUBLIC_HOLIDAY = "public holiday"
    CLOSED_DAY = "closed day"
    """휴무일, the shop's own."""
    OPEN_DAY = "open day"
    """Neither."""


class LastCall(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How this caller's last call to the number ended, and at most how long ago."""

    results: tuple[Result, ...]
    within_hours: int = 24


class Condition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """When a rule holds: every part that is said must hold; within a part any one of its values."""

    weekdays: tuple[int, ...] = ()
    """ISO: 1 Monday to 7 Sunday."""
    times: tuple[TimeSpan, ...] = ()
    dates: tuple[DateRange, ...] = ()
    days: tuple[DayKind, ...] = ()
    callers: tuple[str, ...] = ()
    """Names of the account's groups, or WITHHELD."""
    last_call: LastCall | None = None


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One of a number's rules. The order of a number's rules decides: of two that say the same setting, the first."""

    name: str
    condition: Condition
    treatment: Treatment
    enabled: bool = True


class ClosedDay(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """휴무일: a date, or a weekday, every week or in certain weeks of the month. Either `day` or `weekday` is given."""

    day: date | None = None
    weekday: int | None = None
    """ISO: 1 Monday to 7 Sunday."""
    weeks: tuple[int, ...] = ()
    """Which of the month's such weekdays, 1 to 5; empty: every week."""


class AccountRouting(msgspec.Struct, frozen=True, kw_only=True):
    """What all numbers of an account have in common."""

    account_id: UUID
    zone: str = "Asia/Seoul"
    limits: Limits = Limits()
    closed_days: tuple[ClosedDay, ...] = ()
    groups: dict[str, frozenset[PhoneNumber]] = {}
    """Callers by the group's name."""
    off: frozenset[Module] = frozenset()
    """The functions that are switched off for it, here or above it."""
    prompts: dict[str, str] = {}
    """The sound of each prompt's current version, by the prompt's name."""


class Holidays(msgspec.Struct, frozen=True, kw_only=True):
    """The public holidays, by day, with their names."""

    days: dict[date, str] = {}


@dataclass(frozen=True, slots=True)
class Line:
    """A number in service with all that decides about its calls."""

    number: ServiceNumber
    rules: tuple[Rule, ...]
    """In the order in which they are asked."""
    account: AccountRouting
    closed_days: tuple[ClosedDay, ...]
    """The number's own, beside the account's."""
    holidays: Holidays


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call of the same caller to the same number."""

    at: datetime
    result: Result
    target: PhoneNumber | None
    talk_seconds: float


@dataclass(frozen=True, slots=True)
class Load:
    """How many calls there are and were, without the one that is planned."""

    at_once: int = 0
    last_hour: int = 0
    last_day: int = 0


@dataclass(frozen=True, slots=True)
class History:
    """What has happened so far, as far as it is known in time."""

    known: bool = True
    """False: the database did not tell in time. Rules that ask about the past do not hold then."""
    calls: tuple[PastCall, ...] = ()
    """This caller's, to this number, newest first; of the last 90 days, 50 at most."""
    number: Load = field(default_factory=Load)
    account: Load = field(default_factory=Load)
