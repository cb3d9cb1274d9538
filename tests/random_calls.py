"""Random numbers, rules, callers and telephones for one call each: everything that decides what a call goes through.

Rules are laid around the present instant: spans that hold now, held a moment ago, or begin soon; days that are and are
not today; callers in and out of groups; every outcome of the last call; limits met and not met. Each call has a number,
an account and telephones of its own, so that many may go on together.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import (
    CallerShown,
    ConsentOffer,
    Failure,
    Fallback,
    Limits,
    RecordMode,
    Target,
    TargetOrder,
    Then,
    Treatment,
    Whisper,
)
from engine.routing.model import (
    BLOCKED,
    WITHHELD,
    AccountRouting,
    ClosedDay,
    Condition,
    DateRange,
    DayKind,
    History,
    LastCall,
    Load,
    PastCall,
    Rule,
    TimeSpan,
)
from engine.sandbox.phone import Answers, Behaviour, Busy, NeverAnswers, Rejects, Rings

SHOP_TONES = (1100, 1040, 1170, 2900)
"""What each of a call's telephones says, by its place."""
FORBIDDEN = PhoneNumber("0601234567")
"""May not be dialled."""
ZONES = ("Asia/Seoul", "America/New_York", "Europe/Berlin", "Pacific/Auckland")
PRESSES_AFTER = 1.5

_A_DAY = timedelta(days=1)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RandomCall:
    """A call that shall be placed, and all that decides about it."""

    dialled: PhoneNumber
    caller: PhoneNumber
    withheld: bool
    number: ServiceNumber | None
    """None: nobody has it."""
    rules: tuple[Rule, ...]
    account: AccountRouting
    closed_days: tuple[ClosedDay, ...]
    history: History
    telephones: dict[PhoneNumber, Behaviour]

    @property
    def known_caller(self) -> PhoneNumber | None:
        return None if self.withheld else self.caller

    def presses_1(self, telephone: PhoneNumber) -> bool:
        behaviour = self.telephones[telephone]
        return isinstance(behaviour, Answers) and behaviour.dtmf == "1"


@dataclass(frozen=True, slots=True)
class _Maker:
    chosen: random.Random
    place: int
    now: datetime
    """On the account's wall clock."""
    telephones: tuple[PhoneNumber, ...]
    caller: PhoneNumber

    def often(self, part: float) -> bool:
        return self.chosen.random() < part

    def maybe(self, value: _T, part: float) -> _T | None:
        return value if self.often(part) else None

    def one(self, *values: _T) -> _T:
        return self.chosen.choice(values)

    def treatment(self, part: float) -> Treatment:
        """Each setting is said with a chance of `part`."""
        return Treatment(
            targets=self.maybe(self.targets(), part),
            order=self.maybe(self.one(*TargetOrder), part),
            ring_seconds=self.maybe(self.one(2, 3), part),
            notice=self.maybe(self.one("test/notice", ""), part),
            fee_notice=self.maybe(self.often(0.5), part),
            store_notice=self.maybe(self.often(0.5), part),
            ringback=self.maybe(self.one(("test/ringback",), ("test/second-ringback",), ()), part),
            whisper=self.maybe(self.whisper(), part),
            accept=self.maybe(self.often(0.3), part),
            shown=self.maybe(self.one(*CallerShown), part),
            recording=self.maybe(self.one(*RecordMode), part),
            announcement=self.maybe(self.one("ko/closed", ""), part / 4),
            busy=self.maybe(("test/busy",), part),
            fallbacks=self.maybe(self.fallbacks(), part),
            callback=self.maybe(self.one("문자", ""), part),
            consent=self.maybe(ConsentOffer(text="약도"), part / 4),
            label=self.maybe(self.one("whisper", "spoken"), part),
        )

    def targets(self) -> tuple[Target, ...]:
        numbers = self.chosen.sample(self.telephones, self.chosen.randint(1, 3))
        if self.often(0.1):
            numbers = [*numbers[1:], FORBIDDEN]
        return tuple(
            Target(number=number, ring_seconds=self.one(None, 2, 3), share=self.one(0, 20, 80)) for number in numbers
        )

    def whisper(self) -> Whisper:
        """A text is the name of its sound in these tests: `test/whisper`, when the label is known."""
        return self.one(Whisper(sound="test/whisper"), Whisper(text="test/{label}"), Whisper())

    def fallbacks(self) -> tuple[Fallback, ...]:
        return tuple(self.fallback() for _ in range(self.chosen.randint(0, 3)))

    def fallback(self) -> Fallback:
        on = tuple(self.chosen.sample(list(Failure), self.chosen.randint(0, 3)))
        return self.one(
            Fallback(then=Then.RING, on=on, targets=(Target(number=self.one(*self.telephones), ring_seconds=2),)),
            Fallback(then=Then.ANNOUNCE, on=on, sounds=("test/spoken",)),
            Fallback(then=Then.VOICEMAIL, on=on),
            Fallback(then=Then.TEXT, on=on, text="곧 연락드립니다"),
        )

    def rules(self) -> tuple[Rule, ...]:
        return tuple(
            Rule(
                name=f"rule {place}",
                condition=self.condition(),
                treatment=self.treatment(0.25),
                enabled=self.often(0.9),
            )
            for place in range(self.chosen.randint(0, 5))
        )

    def condition(self) -> Condition:
        today = self.now.date()
        days = [today + count * _A_DAY for count in (-1, 0, 0, 1)]
        return Condition(
            weekdays=self.maybe(tuple({self.one(*days).isoweekday() for _ in range(2)}), 0.3) or (),
            times=self.maybe(tuple(self.span() for _ in range(self.chosen.randint(1, 2))), 0.6) or (),
            dates=self.maybe((self.dates(self.one(*days)),), 0.2) or (),
            days=self.maybe((self.one(*DayKind),), 0.2) or (),
            callers=self.maybe((self.one("vip", "others", WITHHELD),), 0.3) or (),
            last_call=self.maybe(self.last_call(), 0.3),
        )

    def span(self) -> TimeSpan:
        """Around now, often with an edge within the call's own seconds."""
        edge = self.now + timedelta(seconds=self.one(-3600, -60, -1, 1, 2, 3, 60, 3600))
        other = edge + timedelta(hours=self.one(-20, -3, 2, 3, 12))
        start, end = self.one((edge, other), (other, edge))
        return TimeSpan(start=start.time().replace(microsecond=0), end=end.time().replace(microsecond=0))

    def dates(self, day: date) -> DateRange:
        return DateRange(first=day, last=day + self.one(0, 3) * _A_DAY)

    def last_call(self) -> LastCall:
        results = (Result.ANSWERED, Result.BUSY, Result.NO_ANSWER)
        return LastCall(results=tuple(self.chosen.sample(results, 2)), within_hours=self.one(1, 24))

    def history(self) -> History:
        calls = [
            PastCall(
                at=self.now.astimezone(UTC) - timedelta(hours=self.one(0.5, 5, 30, 200)),
                result=self.one(Result.ANSWERED, Result.BUSY, Result.NO_ANSWER),
                target=self.one(*self.telephones),
                talk_seconds=self.one(0.0, 30.0),
            )
            for _ in range(self.chosen.randint(0, 3))
        ]
        newest_first = tuple(sorted(calls, key=lambda call: call.at, reverse=True))
        return History(known=self.often(0.9), calls=newest_first, number=self.load(), account=self.load())

    def load(self) -> Load:
        return Load(*(self.chosen.randint(0, 4) for _ in range(3)))

    def limits(self) -> Limits:
        return Limits(
            at_once=self.maybe(self.one(2, 5), 0.2),
            per_hour=self.maybe(self.one(2, 5), 0.1),
            per_day=self.maybe(self.one(2, 5), 0.1),
        )

    def behaviour(self, tone: int) -> Behaviour:
        after = self.one(0.0, 0.2)
        person = Answers(after_seconds=after, tone=tone, dtmf="1", dtmf_after=PRESSES_AFTER)
        machine = Answers(after_seconds=after, tone=tone)
        kinds: tuple[Behaviour, ...] = (
            person, person, machine, Busy(), Rejects(603), Rejects(404), Rings(0.3, 480), NeverAnswers(),
        )  # fmt: skip
        return self.one(*kinds)

    def account(self, zone: str) -> AccountRouting:
        groups = {
            name: frozenset({self.caller} if self.often(part) else ())
            for name, part in (("vip", 0.5), ("others", 0.2), (BLOCKED, 0.04))
        }
        closed = (ClosedDay(weekday=self.now.isoweekday()),) if self.often(0.2) else ()
        return AccountRouting(
            account_id=UUID(int=self.place + 1), zone=zone, limits=self.limits(), closed_days=closed, groups=groups
        )


def random_call(chosen: random.Random, place: int, now: datetime) -> RandomCall:
    """The `place`-th call, from 0; its rules lie around `now`."""
    zone = chosen.choice((ZONES[0], ZONES[0], *ZONES))
    telephones = tuple(PhoneNumber(f"02{30000000 + 10 * place + own}") for own in range(len(SHOP_TONES)))
    caller = PhoneNumber(f"010{50000000 + place}")
    make = _Maker(chosen, place, now.astimezone(ZoneInfo(zone)), telephones, caller)
    dialled = PhoneNumber(f"0507{10000000 + place}")
    account = make.account(zone)
    number = ServiceNumber(
        number=dialled,
        kind=NumberKind.VIRTUAL,
        account_id=account.account_id,
        target=make.one(*telephones, *telephones, FORBIDDEN),
        treatment=make.treatment(0.5),
        limits=make.limits(),
    )
    return RandomCall(
        dialled=dialled,
        caller=caller,
        withheld=make.often(0.15),
        number=make.maybe(number, 0.97),
        rules=make.rules(),
        account=account,
        closed_days=(ClosedDay(day=make.now.date()),) if make.often(0.2) else (),
        history=make.history(),
        telephones={number: make.behaviour(tone) for number, tone in zip(telephones, SHOP_TONES, strict=True)},
    )
