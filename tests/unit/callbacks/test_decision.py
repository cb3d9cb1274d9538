from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.accounts.model import Module
from engine.callbacks.decision import Decision, EndedCall, HoldMessage, SendMessage, decide, foreseen
from engine.callbacks.rules import LATEST, SAID_IN_CALL_ONCE_IN, gist
from engine.callbacks.wishes import Wish
from engine.cdr.model import CallRecord, Direction, Result, Side, Step, StepKind
from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Purpose
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import Treatment
from tests.answered_call import CALLER, NOW, SENDER, TEXT, answered_call, asked_for, number_with_text, promised

FUNCTIONS = "the functions that it needs are on"
LAST = [
    "no other message of the call says the same",
    "sender is registered",
    "text fits",
    "information, not advertising",
    "the call ended a short while ago",
]
RULES = {
    Purpose.CALLBACK: [
        "a text is set on the number",
        "the call was answered",
        "the call was long enough",
        FUNCTIONS,
        "the caller's number is known",
        "recipient is a mobile number",
        "no message within the repeat window",
        *LAST,
    ],
    Purpose.CONSENT: [
        "the caller asked for it in the call",
        "the number is in service for the account",
        FUNCTIONS,
        "the caller's number is known",
        "recipient is a mobile number",
        "no message asked for a short while ago",
        *LAST,
    ],
    Purpose.TEXT_ONLY: [
        "nobody was reached and the caller was promised a message",
        "the number is in service for the account",
        FUNCTIONS,
        "the caller's number is known",
        "recipient is a mobile number",
        "no promised message a short while ago",
        *LAST,
    ],
}
CALL = answered_call()
SHOP = number_with_text()
ASKED = asked_for(CALL)
PROMISED = promised(CALL)
VIRTUAL_SENDER = PhoneNumber("05071234567")
change = msgspec.structs.replace


def refused(decision: Decision) -> list[str]:
    return [check.rule for check in decision.certificate if not check.passed]


def decisions(
    call: CallRecord, number: ServiceNumber | None = SHOP, senders: frozenset[PhoneNumber] = frozenset({SENDER})
) -> dict[Purpose, Decision]:
    ended = EndedCall(call, number, senders)
    return {wish.purpose: decision for wish, decision in foreseen(ended, {}, NOW)}


def callback(call: CallRecord, number: ServiceNumber = SHOP) -> Decision:
    return decisions(call, number, frozenset({SENDER, VIRTUAL_SENDER}))[Purpose.CALLBACK]


@pytest.mark.parametrize(
    ("call", "purpose"), [(CALL, Purpose.CALLBACK), (ASKED, Purpose.CONSENT), (PROMISED, Purpose.TEXT_ONLY)]
)
def test_a_message_is_sent_when_every_rule_passes_and_all_are_in_the_certificate(
    call: CallRecord, purpose: Purpose
) -> None:
    decision = decisions(call)[purpose]
    assert isinstance(decision, SendMessage)
    assert [check.rule for check in decision.certificate] == RULES[purpose]
    assert all(check.passed and check.version and check.evidence for check in decision.certificate)


@pytest.mark.parametrize(
    ("rule", "call", "number"),
    [
        ("a text is set on the number", change(CALL, callback=""), SHOP),
        ("the call was answered", change(CALL, result=Result.BUSY), SHOP),
        ("the call was answered", change(CALL, result=Result.LOST), SHOP),
        ("the call was answered", change(CALL, result=Result.VOICEMAIL), SHOP),
        ("the call was long enough", change(CALL, talk_seconds=9.9), SHOP),
        ("the caller's number is known", change(CALL, caller=None), SHOP),
        ("recipient is a mobile number", change(CALL, caller=PhoneNumber("0312345678")), SHOP),
        ("recipient is a mobile number", change(CALL, caller=PhoneNumber("07012345678")), SHOP),
        ("no other message of the call says the same", asked_for(CALL, TEXT), SHOP),
        ("no other message of the call says the same", asked_for(CALL, TEXT.replace(" ", "\n")), SHOP),
        ("sender is registered", CALL, change(SHOP, sender=PhoneNumber("0211112222"))),
        ("sender is registered", CALL, change(SHOP, sender=VIRTUAL_SENDER)),
        ("sender is registered", CALL, change(SHOP, sender=None)),
        ("text fits", CALL, change(SHOP, callback="가" * 46)),
        ("text fits", change(CALL, callback="가" * 46), SHOP),
        ("text fits", CALL, change(SHOP, callback="고맙습니다 🙂")),
        ("text fits", CALL, change(SHOP, callback="{number}" + "가" * 39)),
        ("information, not advertising", CALL, change(SHOP, callback="(광고) 다리꽃집 할인")),
        ("information, not advertising", change(CALL, callback="(광고) 다리꽃집 할인"), SHOP),
        ("the call ended a short while ago", answered_call(NOW - LATEST - timedelta(seconds=1)), SHOP),
    ],
)
def test_one_broken_rule_holds_the_callback_and_names_itself(
    rule: str, call: CallRecord, number: ServiceNumber
) -> None:
    decision = callback(call, number)
    assert isinstance(decision, HoldMessage)
    assert refused(decision)[0] == rule
    assert decision.reason
    assert decision.reason_ko
    assert [check.rule for check in decision.certificate] == RULES[Purpose.CALLBACK]


NOTICED = change(SHOP, treatment=Treatment(store_notice=True))
HEARD = Step(
    kind=StepKind.STORE_NOTICE,
    to=(Side.CALLER,),
    sound="ko/store-info-notice",
    started_at=NOW,
    ended_at=NOW,
    whole=True,
)


@pytest.mark.parametrize(
    ("off", "call", "number", "held"),
    [
        (Module.CALLBACK, CALL, SHOP, {Purpose.CALLBACK}),
        (Module.CALLBACK, asked_for(CALL, "약도"), SHOP, {Purpose.CALLBACK, Purpose.CONSENT}),
        (Module.CALLBACK, PROMISED, SHOP, {Purpose.CALLBACK, Purpose.TEXT_ONLY}),
        (Module.STORE_MESSAGE, CALL, SHOP, set()),
        (Module.STORE_MESSAGE, CALL, NOTICED, {Purpose.CALLBACK}),
        (Module.STORE_MESSAGE, change(CALL, steps=(HEARD,)), SHOP, {Purpose.CALLBACK}),
        (Module.STORE_MESSAGE, asked_for(CALL, "약도"), NOTICED, {Purpose.CALLBACK}),
        (Module.RECORDING, CALL, NOTICED, set()),
    ],
)
def test_a_function_that_is_off_holds_what_needs_it_and_names_itself(
    off: Module, call: CallRecord, number: ServiceNumber, held: set[Purpose]
) -> None:
    ended = EndedCall(call, number, {SENDER}, frozenset({off}))
    decided = {wish.purpose: decision for wish, decision in foreseen(ended, {}, NOW)}
    lacking = {purpose for purpose, decision in decided.items() if FUNCTIONS in refused(decision)}
    assert lacking == held
    for purpose in held:
        [check] = [check for check in decided[purpose].certificate if check.rule == FUNCTIONS]
        assert check.evidence == f"{off.value} is off"


@pytest.mark.parametrize("promise", [asked_for, promised])
@pytest.mark.parametrize(
    ("rule", "changes", "text"),
    [
        ("the caller's number is known", {"caller": None}, "길"),
        ("recipient is a mobile number", {"caller": PhoneNumber("0212345678")}, "길"),
        ("text fits", {}, "가" * 46),
        ("text fits", {}, " "),
        ("information, not advertising", {}, "[광고] 할인"),
        ("the call ended a short while ago", {"ended_at": NOW - LATEST - timedelta(seconds=1)}, "길"),
    ],
)
def test_what_was_promised_still_keeps_to_the_law(promise, rule, changes, text) -> None:  # type: ignore[no-untyped-def]
    purpose = Purpose.CONSENT if promise is asked_for else Purpose.TEXT_ONLY
    decision = decisions(change(promise(CALL, text), **changes))[purpose]
    assert isinstance(decision, HoldMessage)
    assert refused(decision)[0] == rule
    assert decision.reason
    assert decision.reason_ko


@pytest.mark.parametrize(("call", "purpose"), [(ASKED, Purpose.CONSENT), (PROMISED, Purpose.TEXT_ONLY)])
def test_what_was_promised_is_held_with_the_reason_when_the_number_is_gone_or_has_no_sender(
    call: CallRecord, purpose: Purpose
) -> None:
    gone = decisions(call, None)[purpose]
    assert isinstance(gone, HoldMessage)
    assert gone.reason == "the number is not its owner's any more: it was released or has another owner"
    mute = decisions(call, change(SHOP, sender=None, callback=None))[purpose]
    assert isinstance(mute, HoldMessage)
    assert mute.reason == "the sender number may not be used: no sender number is set"


@pytest.mark.parametrize(
    "call",
    [
        change(ASKED, talk_seconds=1.0),
        change(ASKED, result=Result.NO_ANSWER, talk_seconds=0.0, answered_at=None),
        change(ASKED, result=Result.CALLER_GAVE_UP, talk_seconds=0.0),
    ],
)
def test_who_asked_gets_it_however_short_the_talk(call: CallRecord) -> None:
    decided = decisions(call)
    assert isinstance(decided[Purpose.CONSENT], SendMessage)
    assert isinstance(decided[Purpose.CALLBACK], HoldMessage)


def test_the_certificate_of_what_was_asked_for_holds_key_instant_and_version_of_the_sound() -> None:
    basis = decisions(ASKED)[Purpose.CONSENT].certificate[0]
    assert basis.evidence == (
        f"pressed 1 at 2026-11-21 12:00:00+09:00, after the talk, having heard ko/consent-offer (SHA-256 {'5e' * 32})"
    )
    assert ASKED.consent
    early = change(ASKED, consent=change(ASKED.consent, before_talk=True))
    assert ", before the talk, " in decisions(early)[Purpose.CONSENT].certificate[0].evidence


@pytest.mark.parametrize("result", [result for result in Result if result is not Result.ANSWERED])
def test_a_promised_text_goes_however_the_call_failed(result: Result) -> None:
    assert isinstance(decisions(change(PROMISED, result=result))[Purpose.TEXT_ONLY], SendMessage)


def test_a_promised_text_is_held_when_somebody_was_reached_after_all() -> None:
    decision = decisions(change(PROMISED, result=Result.ANSWERED))[Purpose.TEXT_ONLY]
    assert isinstance(decision, HoldMessage)
    assert refused(decision) == ["nobody was reached and the caller was promised a message"]


@pytest.mark.parametrize(
    ("call", "purpose", "rule", "refusal_ko"),
    [
        (
            PROMISED,
            Purpose.TEXT_ONLY,
            "no promised message a short while ago",
            "이 고객에게는 조금 전 전화에서 안내한 문자를 이미 보냈습니다.",
        ),
        (
            ASKED,
            Purpose.CONSENT,
            "no message asked for a short while ago",
            "이 고객에게는 조금 전 전화에서 요청하신 문자를 이미 보냈습니다.",
        ),
    ],
)
@given(ago=st.timedeltas(timedelta(0), timedelta(hours=1)))
def test_what_was_said_in_the_call_goes_once_in_ten_minutes_whatever_the_repeat_window(
    call: CallRecord, purpose: Purpose, rule: str, refusal_ko: str, ago: timedelta
) -> None:
    last = dict.fromkeys(Purpose, NOW) | {purpose: NOW - ago}
    [(wish, decision), _] = foreseen(EndedCall(call, SHOP, {SENDER}), last, NOW)
    assert wish.purpose is purpose
    if ago >= SAID_IN_CALL_ONCE_IN:
        assert isinstance(decision, SendMessage)
    else:
        assert isinstance(decision, HoldMessage)
        assert refused(decision) == [rule]
        assert decision.reason_ko == refusal_ko


def test_a_callback_with_other_words_goes_beside_what_was_asked_for() -> None:
    assert all(isinstance(decision, SendMessage) for decision in decisions(ASKED).values())


def test_a_message_that_says_the_same_as_one_that_goes_is_held_and_the_shop_is_told_why() -> None:
    ended = EndedCall(CALL, SHOP, {SENDER})
    assert isinstance(decide(ended, Wish(Purpose.CALLBACK, TEXT), None, set(), NOW), SendMessage)
    said = decide(ended, Wish(Purpose.CALLBACK, TEXT), None, {gist(TEXT)}, NOW)
    assert isinstance(said, HoldMessage)
    assert said.reason == "another message of this call says the same: the text goes to the caller already"
    assert said.reason_ko == "같은 내용의 문자를 이 통화에서 이미 보내 다시 보내지 않았습니다."


def test_limits_are_inside_what_is_allowed() -> None:
    call = change(answered_call(NOW - LATEST), talk_seconds=10.0)
    ended = EndedCall(call, SHOP, {SENDER})
    last_at = NOW - timedelta(days=7)
    assert isinstance(decide(ended, Wish(Purpose.CALLBACK, "가" * 45), last_at, set(), NOW), SendMessage)


def test_the_first_refusal_gives_the_reason_and_the_rest_are_still_asked() -> None:
    call = change(CALL, result=Result.NO_ANSWER, talk_seconds=0.0, caller=None)
    decision = decisions(call, SHOP, frozenset())[Purpose.CALLBACK]
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


def test_a_callback_that_a_rule_took_away_is_held_and_says_so() -> None:
    decision = callback(change(CALL, callback="", rules=("밤",)))
    assert isinstance(decision, HoldMessage)
    assert decision.reason == "the number sends no message after this call: a rule says that none is sent"


@pytest.mark.parametrize(
    ("call", "number"),
    [
        (CALL, None),
        (CALL, change(SHOP, callback=None)),
        (change(CALL, callback=""), change(SHOP, callback=None)),
        (change(ASKED, direction=Direction.OUTGOING), SHOP),
    ],
)
def test_where_nobody_wants_a_message_there_is_nothing_to_decide(
    call: CallRecord, number: ServiceNumber | None
) -> None:
    assert decisions(call, number) == {}


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        (NumberKind.VIRTUAL, "05071234567"),
        (NumberKind.OWN, "0312345678"),
        (NumberKind.MESSAGE_RECEIVING, "15881234"),
        (NumberKind.OPT_OUT, "0801234567"),
    ],
)
@pytest.mark.parametrize("call", [CALL, ASKED, PROMISED])
def test_numbers_of_every_kind_bring_the_same_messages(kind: NumberKind, number: str, call: CallRecord) -> None:
    called = PhoneNumber(number)
    same = decisions(change(call, number=called, number_kind=kind), change(SHOP, number=called, kind=kind))
    assert same == decisions(call)


def test_certificates_hold_no_whole_phone_number_and_no_text() -> None:
    held = callback(CALL, change(SHOP, sender=PhoneNumber("01099998888")))
    for decision in (held, *decisions(ASKED).values(), *decisions(PROMISED).values()):
        kept = msgspec.json.encode([decision]).decode()
        for secret in (CALLER, SENDER, "01099998888", "010-9999", "2345-6789", TEXT, "종로", "연락드리겠"):
            assert secret not in kept


@given(days=st.integers(0, 366), ago=st.timedeltas(timedelta(0), timedelta(days=400)))
def test_the_window_holds_exactly_the_messages_inside_it(days: int, ago: timedelta) -> None:
    ended = EndedCall(CALL, change(SHOP, repeat_window_days=days), {SENDER})
    [(_, decision)] = foreseen(ended, {Purpose.CALLBACK: NOW - ago}, NOW)
    outside = days == 0 or ago >= timedelta(days=days)
    assert isinstance(decision, SendMessage) is outside
    assert refused(decision) == ([] if outside else ["no message within the repeat window"])


texts = st.sampled_from(["길", " 길 ", "가게 정보", "{label} 고맙습니다", "0507-1234-5678 고맙습니다", "(광고) 길"])
calls = st.builds(
    change,
    st.sampled_from([CALL, ASKED, PROMISED, asked_for(PROMISED)]),
    result=st.sampled_from(Result),
    talk_seconds=st.floats(0, 100),
    caller=st.sampled_from([None, CALLER, PhoneNumber("0212345678"), PhoneNumber("")]),
    callback=st.none() | st.just("") | texts,
    text_only=st.none() | texts,
    ended_at=st.timedeltas(timedelta(minutes=-1), timedelta(hours=1)).map(lambda late: NOW - late),
    consent=st.none() | texts.map(lambda text: asked_for(CALL, text).consent),
)
numbers = st.none() | st.builds(change, st.just(SHOP), callback=st.none() | texts | st.text(max_size=100))


@given(
    call=calls,
    number=numbers,
    senders=st.sets(st.just(SENDER)),
    last=st.dictionaries(st.sampled_from(Purpose), st.timedeltas(timedelta(0), timedelta(days=9))),
)
def test_whatever_comes_a_call_brings_one_message_of_a_purpose_and_never_two_of_one_text(
    call: CallRecord, number: ServiceNumber | None, senders: set[PhoneNumber], last: dict[Purpose, timedelta]
) -> None:
    decided = foreseen(EndedCall(call, number, senders), {purpose: NOW - ago for purpose, ago in last.items()}, NOW)
    purposes = [wish.purpose for wish, _ in decided]
    assert len(set(purposes)) == len(purposes)
    assert (Purpose.CONSENT in purposes) is (call.consent is not None)
    assert (Purpose.TEXT_ONLY in purposes) is (call.text_only is not None)
    sent = [gist(wish.text) for wish, decision in decided if isinstance(decision, SendMessage)]
    assert len(set(sent)) == len(sent)
    for wish, decision in decided:
        assert [check.rule for check in decision.certificate] == RULES[wish.purpose]
        assert isinstance(decision, SendMessage) == (refused(decision) == [])
        if refused(decision) == ["no other message of the call says the same"]:
            assert gist(wish.text) in sent
