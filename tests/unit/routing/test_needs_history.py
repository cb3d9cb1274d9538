"""When a call asks the database for the caller's earlier calls, and when not."""

from __future__ import annotations

from uuid import UUID

import pytest

from engine.cdr.model import Result
from engine.numbers.treatment import TargetOrder, Treatment, Whisper
from engine.routing.history import needs_history
from engine.routing.model import AccountRouting, Condition, Holidays, LastCall, Line, Rule
from tests.opened_shop import number_of

ACCOUNT = UUID(int=1)
MISSED = Condition(last_call=LastCall(results=(Result.NO_ANSWER,)))
BACKWARD = [
    Treatment(order=TargetOrder.LAST_TALKED),
    Treatment(whisper=Whisper(text="이번 주 {count_this_week}")),
    Treatment(whisper=Whisper(text="지난 통화 {last_talk}")),
]
FORWARD = [
    Treatment(),
    Treatment(order=TargetOrder.ALL_AT_ONCE),
    Treatment(whisper=Whisper(text="{label}에서 온 전화")),
    Treatment(whisper=Whisper(sound="own/last-talk")),
]


def line(treatment: Treatment, *rules: Rule) -> Line:
    number = number_of(ACCOUNT, treatment=treatment)
    return Line(number, rules, AccountRouting(account_id=ACCOUNT), (), Holidays())


def rule(condition: Condition, treatment: Treatment, *, enabled: bool = True) -> Rule:
    return Rule(name="a", condition=condition, treatment=treatment, enabled=enabled)


@pytest.mark.parametrize("treatment", BACKWARD)
def test_a_treatment_that_looks_back_needs_it_wherever_it_stands(treatment: Treatment) -> None:
    assert needs_history(line(treatment))
    assert needs_history(line(Treatment(), rule(Condition(), treatment)))
    assert not needs_history(line(Treatment(), rule(Condition(), treatment, enabled=False)))


@pytest.mark.parametrize("treatment", FORWARD)
def test_any_other_treatment_does_not(treatment: Treatment) -> None:
    assert not needs_history(line(treatment, rule(Condition(weekdays=(1,)), treatment)))


def test_a_rule_that_asks_about_the_last_call_needs_it() -> None:
    assert needs_history(line(Treatment(), rule(MISSED, Treatment())))
    assert not needs_history(line(Treatment(), rule(MISSED, Treatment(), enabled=False)))
