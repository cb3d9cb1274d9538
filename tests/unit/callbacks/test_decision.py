from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.callbacks.decision import LATEST, HoldMessage, SendMessage, decide
from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from tests.answered_call import CALLER, NOW, SENDER, TEXT, answered_call, number_with_text

RULES = [
    "a text is set on the number",
    "the call was answered",
    "the call was long enough",
    "the caller's number is known",
    "recipient is a mobile number",
    "no message within the repeat window",
    "sender is registered",
    "text fits",
    "information, not advertising",
    "the call ended a short while ago",
]
CALL = answered_call()
SHOP = number_with_text()
change = msgspec.structs.replace


def refused(decision: SendMessage | HoldMessage) -> list[str]:
    return [check.rule for check in decision.certificate if not check.passed]


def test_a_message_is_sent_when_every_rule_passes_and_all_are_in_the_certificate() -> None:
    decision = decide(CALL, SHOP, {SENDER}, None, NOW)
    assert isinstance(decision, SendMessage)
    assert [check.rule for check in decision.certificate] == RULES
    assert all(check.passed and check.version and check.evidence for check in decision.certificate)


@pytest.mark.parametrize(
    ("rule", "call", "number"),
    [
        ("a text is set on the number", CALL, change(SHOP, callback=None)),
        ("the call was answered", change(CALL, result=Result.BUSY), SHOP),
        ("the call was answered", change(CALL, result=Result.LOST), SHOP),
        ("the call was long enough", change(CALL, talk_seconds=9.9), SHOP),
        ("the caller's number is known", change(CALL, caller=None), SHOP),
        ("recipient is a mobile number", change(CALL, caller=PhoneNumber("0312345678")), SHOP),
        ("recipient is a mobile number", change(CALL, caller=PhoneNumber("07012345678")), SHOP),
        ("sender is registered", CALL, change(SHOP, sender=PhoneNumber("0211112222"))),
        ("sender is registered", CALL, change(SHOP, sender=PhoneNumber("05071234567"))),
        ("sender is registered", CALL, change(SHOP, sender=None)),
        ("text fits", CALL, change(SHOP, callback="가" * 46)),
        ("text fits", CALL, change(SHOP, callback="고맙습니다 🙂")),
        ("information, not advertising", CALL, change(SHOP, callback="(광고) 다리꽃집 할인")),
        ("the call ended a short while ago", answered_call(NOW - LATEST - timedelta(seconds=1)), SHOP),
    ],
)
def test_one_broken_rule_holds_the_message_and_names_itself(rule, call, number) -> None:  # type: ignore[no-untyped-def]
    decision = decide(call, number, {SENDER, PhoneNumber("05071234567")}, None, NOW)
    assert isinstance(decision, HoldMessage)
    assert refused(decision)[0] == rule
    assert decision.reason
    assert decision.reason_ko
    assert [check.rule for check in decision.certificate] == RULES


def test_limits_are_inside_what_is_allowed() -> None:
    call = change(answered_call(NOW - LATEST), talk_seconds=10.0)
    number = change(SHOP, callback="가" * 45)
    assert isinstance(decide(call, number, {SENDER}, NOW - timedelta(days=7), NOW), SendMessage)


def test_the_first_refusal_gives_the_reason_and_the_rest_are_still_asked() -> None:
    call = change(CALL, result=Result.NO_ANSWER, talk_seconds=0.0, caller=None)
    decision = decide(call, SHOP, set(), None, NOW)
    assert isinstance(decision, HoldMessage)
    assert refused(decision) == [
        "the call was answered",
        "the call was long enough",
        "the caller's number is known",
        "recipient is a mobile number",
        "sender is registered",
    ]
    assert decision.reason == "the call was not answered: the result is “no answer”"
    assert decision.reason_ko == "연결되지 않은 전화여서 문자를 보내지 않았습니다."


def test_a_number_that_nobody_has_sends_nothing() -> None:
    decision = decide(CALL, None, {SENDER}, None, NOW)
    assert isinstance(decision, HoldMessage)
    assert decision.reason == "the number sends no message after calls: the number is not in service"


def test_certificates_hold_no_whole_phone_number_and_no_text() -> None:
    held = decide(CALL, change(SHOP, sender=PhoneNumber("01099998888")), {SENDER}, NOW, NOW)
    sent = decide(CALL, SHOP, {SENDER}, None, NOW)
    for decision in (held, sent):
        kept = msgspec.json.encode([decision]).decode()
        for secret in (CALLER, SENDER, "01099998888", "010-9999", "2345-6789", TEXT):
            assert secret not in kept


@given(days=st.integers(0, 366), ago=st.timedeltas(timedelta(0), timedelta(days=400)))
def test_the_window_holds_exactly_the_messages_inside_it(days: int, ago: timedelta) -> None:
    decision = decide(CALL, change(SHOP, repeat_window_days=days), {SENDER}, NOW - ago, NOW)
    outside = days == 0 or ago >= timedelta(days=days)
    assert isinstance(decision, SendMessage) is outside
    assert refused(decision) == ([] if outside else ["no message within the repeat window"])


@given(
    answered=st.booleans(),
    talk=st.floats(0, 100),
    caller=st.sampled_from([None, CALLER, PhoneNumber("0212345678"), PhoneNumber("")]),
    text=st.none() | st.text(max_size=100),
    registered=st.sets(st.just(SENDER)),
    late=st.timedeltas(timedelta(minutes=-1), timedelta(hours=1)),
)
def test_whatever_comes_the_certificate_is_whole_and_in_order(
    answered: bool,
    talk: float,
    caller: PhoneNumber | None,
    text: str | None,
    registered: set[PhoneNumber],
    late: timedelta,
) -> None:
    call = change(
        CALL,
        result=Result.ANSWERED if answered else Result.BUSY,
        talk_seconds=talk,
        caller=caller,
        ended_at=NOW - late,
    )
    decision = decide(call, change(SHOP, callback=text), registered, None, NOW)
    assert [check.rule for check in decision.certificate] == RULES
    assert isinstance(decision, SendMessage) == (refused(decision) == [])
