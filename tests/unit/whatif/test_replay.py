from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from engine.callbacks.evidence import Evidence
from engine.cdr.model import CallRecord, Result
from engine.messages.model import Purpose
from engine.numbers.treatment import Failure, Fallback, RecordMode, Target, Then, Treatment, Whisper
from engine.routing.model import Condition, Rule
from engine.whatif.replay import NONE, RuleSet, differences, message_after, tried_with
from tests.answered_call import answered_call
from tests.hand_made_line import ACCOUNT, CALLER, MORNING, NUMBER, SECOND, SENDER, line_of, plan_of

KNOWN = Evidence({SENDER})
CLOSED = Rule(name="휴무", condition=Condition(), treatment=Treatment(announcement="own/closed"))
CALLED_BACK = line_of(callback="감사합니다", sender=SENDER)


def past_call(result: Result = Result.ANSWERED, talk: float = 42.0) -> CallRecord:
    call = answered_call(MORNING + timedelta(minutes=1), CALLER, talk)
    return msgspec.structs.replace(call, number=NUMBER, account_id=ACCOUNT, result=result)


def changes(before: Treatment, after: Treatment) -> dict[str, tuple[str, str]]:
    found = differences(plan_of(line_of(before)), plan_of(line_of(after)))
    return {change.setting: (change.before, change.after) for change in found}


def test_equal_rules_change_nothing() -> None:
    treatment = Treatment(whisper=Whisper(text="전화"), recording=RecordMode.ALWAYS, accept=True)
    assert changes(treatment, treatment) == {}


def test_each_setting_that_differs_is_told_from_what_to_what() -> None:
    assert changes(
        Treatment(ringback=("own/a",), ring_seconds=20),
        Treatment(ringback=("own/b",), ring_seconds=20, accept=True, targets=(Target(number=SECOND),)),
    ) == {
        "rings": ("02-9876-5432 for 20 s", "031-123-4567 for 20 s"),
        "ringback": ("own/a", "own/b"),
        "press 1": ("no", "yes"),
    }


def test_a_chain_is_told_with_its_conditions() -> None:
    chain = (Fallback(then=Then.VOICEMAIL, on=(Failure.BUSY, Failure.NO_ANSWER), sounds=("own/greeting",)),)
    was, is_now = changes(Treatment(), Treatment(fallbacks=chain))["if nobody answers"]
    assert "voicemail" not in was
    assert "voicemail own/greeting (after busy, no answer)" in is_now


def test_a_rule_that_closes_the_shop_is_one_change() -> None:
    (change,) = differences(plan_of(line_of()), plan_of(line_of(rules=[CLOSED])))
    assert (change.setting, change.after) == ("whether it rings", "own/closed, closed")
    assert change.before == "02-9876-5432 for 30 s"


def test_what_the_file_does_not_say_stays() -> None:
    line = line_of(Treatment(accept=True), [CLOSED])
    assert tried_with(line, RuleSet()).after == line
    tried = tried_with(line, RuleSet(rules=())).after
    assert (tried.rules, tried.number.treatment.accept) == ((), True)
    assert tried_with(line, RuleSet(treatment=Treatment())).after.number.treatment.accept is None
    assert tried_with(line, RuleSet(rules=())).before == line


@pytest.mark.parametrize(
    ("call", "rules", "evidence", "message"),
    [
        (past_call(), [], KNOWN, "“감사합니다”"),
        (past_call(), [CLOSED], KNOWN, NONE),
        (past_call(talk=3), [], KNOWN, NONE),
        (past_call(Result.BUSY, talk=0), [], KNOWN, NONE),
        (past_call(Result.CALLER_GAVE_UP, talk=0), [], KNOWN, NONE),
        (past_call(Result.CLOSED, talk=0), [], KNOWN, "not known: it rang nobody then"),
        (past_call(), [], Evidence({SENDER}, {Purpose.CALLBACK: MORNING - timedelta(days=1)}), NONE),
        (
            past_call(),
            [Rule(name="문자", condition=Condition(), treatment=Treatment(callback="다른 문자"))],
            KNOWN,
            "“다른 문자”",
        ),
        (past_call(), [Rule(name="문자", condition=Condition(), treatment=Treatment(callback=""))], KNOWN, NONE),
    ],
)
def test_the_message_of_a_past_call(call: CallRecord, rules: list[Rule], evidence: Evidence, message: str) -> None:
    line = tried_with(CALLED_BACK, RuleSet(rules=tuple(rules))).after
    assert message_after(call, line, plan_of(line), evidence) == message


def test_the_message_that_a_caller_was_promised() -> None:
    chain = (Fallback(then=Then.TEXT, on=(Failure.NO_ANSWER,), text="곧 전화드리겠습니다."),)
    line = line_of(Treatment(fallbacks=chain), sender=SENDER)
    assert message_after(past_call(Result.NO_ANSWER, 0), line, plan_of(line), KNOWN) == "“곧 전화드리겠습니다.”"
    assert message_after(past_call(Result.BUSY, 0), line, plan_of(line), KNOWN) == NONE
