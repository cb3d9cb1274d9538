from __future__ import annotations

from dataclasses import replace
from datetime import date, time, timedelta

import msgspec
import pytest

from engine.accounts.model import Module
from engine.callbacks.evidence import Evidence
from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.messages.model import Purpose
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
from engine.routing.model import Condition, DateRange, History, Line, Load, Rule, TimeSpan
from engine.routing.plan import plan
from engine.whatif.explanation import Asking, Explanation, Forwarding, StageKind, explain
from engine.whatif.telling import sections, title
from tests.hand_made_line import CALLER, MORNING, NUMBER, RING_SECONDS, SECOND, SENDER, TARGET, line_of

CLOSED = Rule(
    name="성탄절",
    condition=Condition(dates=(DateRange(first=date(2026, 12, 25), last=date(2026, 12, 25)),)),
    treatment=Treatment(announcement="own/closed"),
)
EVENING = Rule(
    name="저녁",
    condition=Condition(times=(TimeSpan(start=time(18), end=time(22)),)),
    treatment=Treatment(ringback=("own/evening",), callback="저녁 문자"),
)


def explained(
    line: Line | None,
    caller: PhoneNumber | None = CALLER,
    history: History | None = None,
    evidence: Evidence | None = None,
    talk: float = 60.0,
) -> Explanation:
    past = history or History()
    made = plan(line, caller, MORNING, past, RING_SECONDS)
    known = evidence if evidence is not None else Evidence({SENDER})
    return explain(Asking(NUMBER, caller, MORNING), line, past, made, known, source="a test", talk_seconds=talk)


def forwarded(line: Line, history: History | None = None) -> Forwarding:
    forwarding = explained(line, history=history).forwarding
    assert forwarding is not None
    return forwarding


def said(told: Explanation) -> str:
    """Everything in words."""
    lines = [f"{line.mark} {line.about} {line.text}" for part in sections(told) for line in part.lines]
    return "\n".join([title(told), *(part.title for part in sections(told)), *lines])


def test_each_rule_says_whether_it_holds_and_why_and_what_it_decides() -> None:
    morning = msgspec.structs.replace(EVENING, name="낮", condition=Condition(weekdays=(1,)))
    told = explained(line_of(rules=[CLOSED, EVENING, morning]))
    assert [(rule.rule, rule.holds, rule.settings) for rule in told.rules] == [
        ("성탄절", False, ()),
        ("저녁", False, ()),
        ("낮", True, ("ringback", "callback")),
    ]
    assert all(rule.why for rule in told.rules)
    assert "decides ringback, callback" in said(told)


def test_a_number_that_nobody_has() -> None:
    told = explained(None)
    assert not told.in_service
    assert told.announcement is not None
    assert (told.announcement.sound, told.announcement.cause) == ("ko/not-in-service", 1)
    assert (told.forwarding, told.messages, told.limits) == (None, (), None)
    assert "nobody has this number" in said(told)


def test_an_announcement_of_a_rule_rings_nobody_and_sends_nothing() -> None:
    always = msgspec.structs.replace(CLOSED, condition=Condition())
    told = explained(line_of(rules=[always], callback="문자", sender=SENDER))
    assert told.announcement is not None
    assert (told.announcement.sound, told.announcement.result) == ("own/closed", Result.CLOSED)
    assert told.messages == ()


def test_who_rings_in_which_order_for_how_long_and_after_which_failure() -> None:
    chain = (
        Fallback(then=Then.RING, on=(Failure.BUSY,), targets=(Target(number=PhoneNumber("01022223333")),)),
        Fallback(then=Then.VOICEMAIL, on=(Failure.NO_ANSWER,), sounds=("own/greeting",)),
    )
    together = Treatment(
        targets=(Target(number=TARGET, ring_seconds=12), Target(number=SECOND)),
        order=TargetOrder.ALL_AT_ONCE,
        fallbacks=chain,
    )
    told = forwarded(line_of(together))
    assert [[(one.number, one.seconds) for one in stage.telephones] for stage in told.stages[:2]] == [
        [(TARGET, 12), (SECOND, RING_SECONDS)],
        [("01022223333", RING_SECONDS)],
    ]
    assert [(stage.kind, stage.after) for stage in told.stages[:3]] == [
        (StageKind.RING, None),
        (StageKind.RING, (Failure.BUSY,)),
        (StageKind.VOICEMAIL, (Failure.NO_ANSWER,)),
    ]


def test_what_happens_when_nobody_answers_for_each_way_of_failing() -> None:
    chain = (
        Fallback(then=Then.RING, on=(Failure.BUSY,), targets=(Target(number=SECOND),)),
        Fallback(then=Then.VOICEMAIL, on=(Failure.NO_ANSWER,)),
        Fallback(then=Then.TEXT, on=(Failure.REJECTED,), text="곧 전화드리겠습니다."),
    )
    ways = {way.failure: way for way in forwarded(line_of(Treatment(fallbacks=chain, busy=("own/busy",)))).if_nobody}
    assert (ways[Failure.BUSY].stages, ways[Failure.BUSY].result, ways[Failure.BUSY].cause) == (
        (1, 2, 5),
        Result.BUSY,
        17,
    )
    assert (ways[Failure.NO_ANSWER].stages, ways[Failure.NO_ANSWER].result) == ((1, 3), Result.VOICEMAIL)
    assert (ways[Failure.REJECTED].stages, ways[Failure.REJECTED].cause) == ((1, 4), 21)
    assert ways[Failure.UNREACHABLE].stages == (1,)
    assert Failure.NOT_ACCEPTED not in ways, "nobody is asked to press 1"


def test_over_the_limit_only_the_chain_is_left() -> None:
    told = explained(line_of(limits=Limits(at_once=2)), history=History(number=Load(at_once=2)))
    assert told.forwarding is not None
    assert told.forwarding.over_limit
    assert [way.failure for way in told.forwarding.if_nobody] == [Failure.OVER_LIMIT]
    assert told.messages == ()
    assert "2 of 2 at once" in said(told)
    assert "too many calls" in said(told)


def test_what_the_target_is_told_and_sees() -> None:
    told = forwarded(
        line_of(
            Treatment(
                whisper=Whisper(text="{label}에서 온 전화"),
                label="배달앱",
                accept=True,
                recording=RecordMode.ALWAYS,
                shown=CallerShown.NUMBER,
                consent=ConsentOffer(text="약도"),
            )
        )
    )
    assert told.whisper_text == "배달앱에서 온 전화"
    assert (told.press_1, told.target_sees, told.recording) == (True, NUMBER, RecordMode.ALWAYS)
    assert told.recording_notice_to_target == "ko/recording-notice-target"
    assert [(notice.sound, notice.whole) for notice in told.notices] == [("ko/recording-notice", True)]
    assert told.consent == ConsentOffer(text="약도")


def test_a_withheld_caller_stays_withheld() -> None:
    told = explained(line_of(), caller=None)
    assert told.forwarding is not None
    assert told.forwarding.target_sees is None
    assert "called by a withheld number" in title(told)
    assert "it is withheld" in said(told)


def test_the_message_is_decided_as_after_a_real_call() -> None:
    (message,) = explained(line_of(callback="감사합니다", sender=SENDER)).messages
    assert (message.sent, message.text, message.purpose) == (True, "감사합니다", Purpose.CALLBACK)
    assert all(check.passed for check in message.certificate)


@pytest.mark.parametrize(
    ("talk", "evidence", "reason"),
    [
        (3.0, Evidence({SENDER}), "too short"),
        (60.0, Evidence(), "sender"),
        (60.0, Evidence({SENDER}, {Purpose.CALLBACK: MORNING - timedelta(days=1)}), "repeat window"),
    ],
)
def test_why_no_message_would_be_sent(talk: float, evidence: Evidence, reason: str) -> None:
    (message,) = explained(line_of(callback="감사합니다", sender=SENDER), evidence=evidence, talk=talk).messages
    assert not message.sent
    assert reason in message.reason
    assert message.reason_ko


def test_a_rules_text_stands_in_place_of_the_numbers() -> None:
    now = msgspec.structs.replace(EVENING, condition=Condition())
    (message,) = explained(line_of(rules=[now], callback="감사합니다", sender=SENDER)).messages
    assert message.text == "저녁 문자"


def test_the_message_that_a_caller_is_promised_who_reaches_nobody() -> None:
    chain = (Fallback(then=Then.TEXT, on=(Failure.NO_ANSWER,), text="곧 전화드리겠습니다."),)
    (message,) = explained(line_of(Treatment(fallbacks=chain), sender=SENDER)).messages
    assert (message.purpose, message.talk_seconds, message.sent) == (Purpose.TEXT_ONLY, None, True)


OFFERED = Treatment(
    consent=ConsentOffer(text="약도: {number}"), fallbacks=(Fallback(then=Then.TEXT, text="곧 전화드리겠습니다."),)
)


def test_the_message_for_whoever_presses_1_is_decided_too() -> None:
    told = explained(line_of(OFFERED, callback="감사합니다", sender=SENDER))
    assert [(message.purpose, message.talk_seconds, message.sent) for message in told.messages] == [
        (Purpose.CALLBACK, 60.0, True),
        (Purpose.CONSENT, 60.0, True),
        (Purpose.TEXT_ONLY, None, True),
    ]
    assert told.messages[1].text == "약도: 0507-1234-5678"
    assert "The message after a talk of 60 s and a press of 1" in said(told)
    held = explained(line_of(OFFERED, sender=SENDER), evidence=Evidence()).messages[0]
    assert (held.purpose, held.sent) == (Purpose.CONSENT, False)
    assert "sender" in held.reason


@pytest.mark.parametrize(("caller", "why"), [(TARGET, "is no mobile"), (None, "is withheld")])
def test_why_nothing_is_promised_to_a_caller_who_can_get_no_message(caller: PhoneNumber | None, why: str) -> None:
    told = explained(line_of(OFFERED, sender=SENDER), caller=caller)
    assert told.messages == ()
    assert told.forwarding is not None
    assert told.forwarding.consent is None
    assert f"no offer: the caller's number {why}" in said(told)
    assert f"no text is promised: the caller's number {why}" in said(told)
    assert "no offer" not in said(explained(line_of(OFFERED, sender=SENDER)))


def test_without_the_database_the_assumptions_are_said() -> None:
    line = line_of(callback="감사합니다", sender=SENDER)
    past = History(known=False)
    made = plan(line, CALLER, MORNING, past, RING_SECONDS)
    told = explain(Asking(NUMBER, CALLER, MORNING), line, past, made, None, source="snapshot", talk_seconds=60.0)
    assert not told.evidence_known
    assert "the database is away" in said(told)
    assert "not known" in said(told)


def test_it_goes_through_json_and_back() -> None:
    told = explained(line_of(Treatment(busy=("own/busy",)), [CLOSED, EVENING], callback="문자", sender=SENDER))
    assert msgspec.json.decode(msgspec.json.encode(told), type=Explanation) == told


def _without(line: Line, *off: Module) -> Line:
    return replace(line, account=msgspec.structs.replace(line.account, off=frozenset(off)))


def test_what_is_switched_off_is_told() -> None:
    refused = explained(_without(line_of(), Module.CALLS))
    assert refused.announcement is not None
    assert (refused.announcement.result, refused.switched_off) == (Result.SWITCHED_OFF, (Module.CALLS,))
    assert "callers hear that the number is not in service" in said(refused)
    recorded = explained(_without(line_of(Treatment(recording=RecordMode.ALWAYS)), Module.RECORDING))
    assert recorded.switched_off == (Module.RECORDING,)
    assert "off recording switched off for the account: the talk is not recorded" in said(recorded)
    assert explained(line_of(Treatment(recording=RecordMode.ALWAYS))).switched_off == ()


def test_a_message_that_is_switched_off_is_held_in_the_forecast_too() -> None:
    with_text = line_of(callback="고맙습니다.", sender=SENDER)
    [message] = explained(_without(with_text, Module.CALLBACK)).messages
    assert not message.sent
    assert "callback is off" in message.reason
    assert explained(with_text).messages[0].sent
