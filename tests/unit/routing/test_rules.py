"""What a rule may be set to at all."""

from __future__ import annotations

from datetime import UTC, time

import msgspec
import pytest

from engine.cdr.model import Result
from engine.foundation.errors import DariError, Invalid, NotAllowed
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import Target, Treatment
from engine.routing.model import ClosedDay, Condition, DateRange, LastCall, Rule, TimeSpan
from engine.routing.rules import MOST_RULES, check_closed_day, checked_rule, checked_rules
from tests.routing_lines import NUMBER, WEDNESDAY, dates, rule

TUNE = Treatment(ringback=("own/a",))


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\nb", "a\x00"])
def test_a_name_is_short_and_printable(name: str) -> None:
    with pytest.raises(Invalid, match="1 to 60 printable"):
        checked_rule(rule(name, treatment=TUNE), NUMBER)


def test_a_name_is_kept_composed() -> None:
    assert checked_rule(rule(" \u1112\u1172일 ", treatment=TUNE), NUMBER).name == "휴일"


@pytest.mark.parametrize(
    ("condition", "named"),
    [
        (Condition(weekdays=(0,)), "weekdays"),
        (Condition(weekdays=(1, 8)), "weekdays"),
        (Condition(dates=(DateRange(first=WEDNESDAY.date(), last=WEDNESDAY.date().replace(day=1)),)), "dates"),
        (Condition(dates=(dates("2026-01-01", "2026-01-01"),) * 51), "dates"),
        (Condition(times=(TimeSpan(start=time(9, tzinfo=UTC), end=time(10)),)), "times"),
        (Condition(callers=("",)), "callers"),
        (Condition(last_call=LastCall(results=())), "last call"),
        (Condition(last_call=LastCall(results=(Result.BUSY,), within_hours=0)), "last call"),
        (Condition(last_call=LastCall(results=(Result.BUSY,), within_hours=2161)), "last call"),
    ],
)
def test_conditions_that_are_none(condition: Condition, named: str) -> None:
    with pytest.raises(Invalid, match=f"rule 'odd': {named}: "):
        checked_rule(rule("odd", condition, TUNE), NUMBER)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (Treatment(targets=(Target(number=PhoneNumber("112")),)), NotAllowed),
        (Treatment(targets=(Target(number=NUMBER),)), DariError),
        (Treatment(callback="가" * 46), Invalid),
        (Treatment(ring_seconds=2), Invalid),
        (Treatment(ringback=("../etc",)), Invalid),
    ],
)
def test_treatments_are_checked_and_the_rule_is_named(said: Treatment, error: type[DariError]) -> None:
    with pytest.raises(error, match="rule 'odd': "):
        checked_rule(rule("odd", treatment=said), NUMBER)


def test_names_are_unique_and_rules_are_few() -> None:
    rules = [rule(f"rule {n}", treatment=TUNE) for n in range(MOST_RULES)]
    assert checked_rules(rules, NUMBER) == tuple(rules)
    with pytest.raises(Invalid, match="at most 50"):
        checked_rules([*rules, rule("one more", treatment=TUNE)], NUMBER)
    with pytest.raises(Invalid, match="'rule 0': two rules"):
        checked_rules([rules[0], rule("rule 0 ", treatment=TUNE)], NUMBER)


def test_a_rule_comes_back_from_the_wire_as_it_was() -> None:
    kept = rule("야간", Condition(weekdays=(5,), times=(TimeSpan(start=time(22), end=time(4)),)), TUNE)
    assert msgspec.json.decode(msgspec.json.encode(kept), type=Rule) == kept


@pytest.mark.parametrize(
    "closed",
    [
        ClosedDay(),
        ClosedDay(day=WEDNESDAY.date(), weekday=1),
        ClosedDay(day=WEDNESDAY.date(), weeks=(1,)),
        ClosedDay(weekday=8),
        ClosedDay(weekday=1, weeks=(6,)),
        ClosedDay(weekday=1, weeks=(0,)),
    ],
)
def test_closed_days_that_are_none(closed: ClosedDay) -> None:
    with pytest.raises(Invalid):
        check_closed_day(closed)


@pytest.mark.parametrize(
    "closed", [ClosedDay(day=WEDNESDAY.date()), ClosedDay(weekday=7), ClosedDay(weekday=1, weeks=(2, 4))]
)
def test_closed_days_that_are(closed: ClosedDay) -> None:
    check_closed_day(closed)


def test_no_rule_switches_the_store_notice_off() -> None:
    with pytest.raises(Invalid, match=r"rule 'quiet': the store notice cannot be switched off .* settings of"):
        checked_rule(rule("quiet", treatment=Treatment(store_notice=False)), NUMBER)
    assert checked_rule(rule("loud", treatment=Treatment(store_notice=True)), NUMBER).treatment.store_notice
