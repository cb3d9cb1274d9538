"""A rule among the others: where it comes, and what of it is different."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import Treatment
from engine.routing.model import Condition, DateRange, DayKind, Rule
from engine.routing.rule_change import RuleChange, with_added, with_changed, with_removed

NUMBER = PhoneNumber("050712345678")
CHRISTMAS = DateRange(first=date(2026, 12, 25), last=date(2026, 12, 25))


def rule(
    name: str, condition: Condition | None = None, treatment: Treatment | None = None, *, enabled: bool = True
) -> Rule:
    return Rule(name=name, condition=condition or Condition(), treatment=treatment or Treatment(), enabled=enabled)


BY_RANK = (
    rule("callers", Condition(callers=("vip",))),
    rule("dates", Condition(dates=(CHRISTMAS,))),
    rule("days", Condition(days=(DayKind.CLOSED_DAY,))),
    rule("weekdays", Condition(weekdays=(7,))),
    rule("always"),
)


def named(*names: str) -> list[Rule]:
    return [rule(name) for name in names]


def names(rules: list[Rule]) -> list[str]:
    return [one.name for one in rules]


@given(st.permutations(BY_RANK))
def test_nobody_needs_to_say_where_the_more_special_ones_come(rules: list[Rule]) -> None:
    placed: list[Rule] = []
    for one in rules:
        placed = with_added(placed, NUMBER, one)
    assert placed == list(BY_RANK)


def test_a_rule_goes_behind_those_that_are_as_special() -> None:
    assert names(with_added(named("a", "b"), NUMBER, rule("c"))) == ["a", "b", "c"]


@pytest.mark.parametrize(("position", "expected"), [(1, "cab"), (2, "acb"), (3, "abc"), (99, "abc")])
def test_a_place_that_is_said_holds(position: int, expected: str) -> None:
    assert names(with_added(named("a", "b"), NUMBER, rule("c"), position)) == list(expected)
    assert names(with_changed(named("a", "b", "c"), NUMBER, "c", RuleChange(position=position))) == list(expected)


def test_a_changed_rule_stays_where_it_is() -> None:
    old = rule("b", Condition(weekdays=(1, 2), callers=("vip",)), Treatment(accept=True))
    wanted = RuleChange(
        name="new",
        condition=Condition(weekdays=(3,)),
        treatment=Treatment(ring_seconds=9),
        clear=("callers", "accept"),
        enabled=False,
    )
    new = rule("new", Condition(weekdays=(3,)), Treatment(ring_seconds=9), enabled=False)
    assert with_changed([*named("a"), old, *named("c")], NUMBER, "b", wanted) == [*named("a"), new, *named("c")]


def test_what_cannot_be_is_refused() -> None:
    rules = named("a", "b")
    with pytest.raises(Conflict, match="'a': 0507-1234-5678 has one"):
        with_added(rules, NUMBER, rule("a"))
    with pytest.raises(Conflict, match="'b': 0507-1234-5678 has one"):
        with_changed(rules, NUMBER, "a", RuleChange(name="b"))
    with pytest.raises(Invalid, match="1 or more"):
        with_changed(rules, NUMBER, "a", RuleChange(position=0))
    with pytest.raises(NotFound, match="'z': 0507-1234-5678 has none"):
        with_removed(rules, NUMBER, "z")
    assert names(with_removed(rules, NUMBER, "a")) == ["b"]
