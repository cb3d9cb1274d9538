"""How long the plan of one call takes: `.venv/bin/python -m tests.bench.plan [--json]`. Prints, asserts nothing.

In microseconds, by the wall and by the processor: a busy machine shows in the first only.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import time as clock
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID

from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import Limits, RecordMode, Target, TargetOrder, Treatment, Whisper
from engine.routing.korean_holidays import public_holidays
from engine.routing.model import (
    AccountRouting,
    ClosedDay,
    Condition,
    DateRange,
    DayKind,
    History,
    Holidays,
    LastCall,
    Line,
    PastCall,
    Rule,
    TimeSpan,
)
from engine.routing.plan import plan

ACCOUNT = UUID("0190a8a0-0000-7000-8000-000000000001")
NUMBER = PhoneNumber("050712345678")
CALLERS = [PhoneNumber(f"010{number:08d}") for number in range(200)]
SHARES = (50, 99, 99.9)
START = datetime(2026, 1, 1, tzinfo=UTC)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--calls", type=int, default=20_000)
    given = parser.parse_args(arguments)
    measured = [{"rules": rules, **_microseconds(_line(rules), given.calls)} for rules in (1, 10, 50)]
    if given.json:
        print(json.dumps(measured))
        return
    print("".join(f"{name:>12}" for name in measured[0]))
    for row in measured:
        print(f"{row['rules']:12}" + "".join(f"{value:12.1f}" for name, value in row.items() if name != "rules"))


def _microseconds(line: Line, calls: int) -> dict[str, float]:
    """Over calls of many callers at random instants of a year; the first tenth warms up."""
    lots = random.Random(1)
    asked = [(lots.choice(CALLERS), START + timedelta(seconds=lots.uniform(0, 365 * 86_400))) for _ in range(calls)]
    histories = {caller: _history(caller) for caller in CALLERS}
    took: dict[str, list[int]] = {"wall": [], "cpu": []}
    gc.collect()
    for caller, instant in asked:
        began, worked = clock.perf_counter_ns(), clock.thread_time_ns()
        plan(line, caller, instant, histories[caller], 30)
        took["cpu"].append(clock.thread_time_ns() - worked)
        took["wall"].append(clock.perf_counter_ns() - began)
    return {
        f"{name} p{share:g}": _share(times[calls // 10 :], share) for name, times in took.items() for share in SHARES
    }


def _share(nanoseconds: list[int], share: float) -> float:
    """The time, in microseconds, that so many percent of the calls did not exceed."""
    return sorted(nanoseconds)[int(len(nanoseconds) * share / 100)] / 1000


def _history(caller: PhoneNumber) -> History:
    calls = tuple(
        PastCall(START + timedelta(days=30 * back), Result.ANSWERED, PhoneNumber("0212345678"), 60.0)
        for back in range(12, 0, -1)
    )
    return History(calls=calls if int(caller) % 2 else ())


def _line(rules: int) -> Line:
    every = _rules()
    return Line(
        number=ServiceNumber(
            number=NUMBER,
            kind=NumberKind.VIRTUAL,
            account_id=ACCOUNT,
            target=PhoneNumber("0212345678"),
            treatment=Treatment(
                whisper=Whisper(text="{label}, 이번 주 {count_this_week} 전화, 지난 통화 {last_talk}"),
                label="배달앱",
                recording=RecordMode.ALWAYS,
                store_notice=True,
            ),
            limits=Limits(at_once=10, per_day=1000),
        ),
        rules=tuple(
            Rule(name=f"rule {at}", condition=condition, treatment=treatment)
            for at, (condition, treatment) in zip(range(rules), every * (rules // len(every) + 1), strict=False)
        ),
        account=AccountRouting(
            account_id=ACCOUNT,
            groups={"vip": frozenset(CALLERS[:20]), "blocked": frozenset(CALLERS[-2:])},
            closed_days=(ClosedDay(weekday=7, weeks=(2, 4)),),
        ),
        closed_days=(ClosedDay(day=date(2026, 3, 3)),),
        holidays=Holidays(days=public_holidays((2026, 2027))),
    )


def _rules() -> list[tuple[Condition, Treatment]]:
    night, lunch = TimeSpan(start=time(21), end=time(9)), TimeSpan(start=time(12), end=time(13))
    two = (Target(number=PhoneNumber("01011112222"), share=70), Target(number=PhoneNumber("01033334444"), share=30))
    return [
        (Condition(weekdays=(7,), times=(night,)), Treatment(announcement="ko/closed")),
        (Condition(callers=("vip",)), Treatment(targets=two, order=TargetOrder.LAST_TALKED)),
        (Condition(days=(DayKind.PUBLIC_HOLIDAY,)), Treatment(ringback=("own/holiday",))),
        (Condition(times=(lunch,)), Treatment(ringback=("own/lunch", "own/second"), ring_seconds=20)),
        (
            Condition(dates=(DateRange(first=date(2026, 12, 1), last=date(2026, 12, 31)),)),
            Treatment(notice="own/december"),
        ),
        (Condition(last_call=LastCall(results=(Result.BUSY, Result.NO_ANSWER))), Treatment(targets=two)),
        (Condition(weekdays=(6, 7)), Treatment(targets=two, order=TargetOrder.BY_SHARE)),
        (Condition(times=(night,)), Treatment(ringback=("own/night",), accept=True)),
        (Condition(days=(DayKind.CLOSED_DAY,)), Treatment(busy=("own/busy",))),
        (Condition(), Treatment(callback="다리분식입니다")),
    ]


if __name__ == "__main__":
    main()
