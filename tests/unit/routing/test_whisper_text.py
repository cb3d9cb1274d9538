"""What the target is told, with what is known of the caller."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import Treatment, Whisper
from engine.routing.call_plan import WhisperPlan
from engine.routing.model import History, PastCall
from engine.routing.opening import situation
from engine.routing.whisper_text import filled_in, ordinal, whispered
from tests.routing_lines import CALLER, NOTHING, SEOUL, SHOP, WEDNESDAY, line

FULL = "{label}에서 온 주문 전화입니다. 이번 주 {count_this_week} 전화, 지난 통화 {last_talk}"


def told(
    text: str, *, label: str | None = None, caller: PhoneNumber | None = CALLER, history: History = NOTHING
) -> WhisperPlan | None:
    call = situation(line(), caller, WEDNESDAY.astimezone(UTC), history)
    return whispered(Treatment(whisper=Whisper(text=text), label=label), call)


def past(text: str, talk: float = 60.0) -> PastCall:
    at = datetime.fromisoformat(text).replace(tzinfo=SEOUL)
    return PastCall(at, Result.ANSWERED if talk else Result.BUSY, SHOP, talk)


KNOWN = History(calls=(past("2026-11-17 09:00", 0.0), past("2026-11-16 00:00", 0.0), past("2026-11-14 23:59")))


def test_every_fact_is_filled_in() -> None:
    text = "배달앱에서 온 주문 전화입니다. 이번 주 세 번째 전화, 지난 통화 11월 14일"
    assert told(FULL, label="배달앱", history=KNOWN) == WhisperPlan(text=text)


@pytest.mark.parametrize(
    ("text", "label", "caller", "history", "heard"),
    [
        (FULL, None, CALLER, NOTHING, "이번 주 첫 번째 전화"),
        (FULL, "배달앱", None, NOTHING, "배달앱에서 온 주문 전화입니다."),
        (FULL, "배달앱", CALLER, History(known=False, calls=KNOWN.calls), "배달앱에서 온 주문 전화입니다."),
        ("전화입니다[, 지난 통화 {last_talk}].", None, CALLER, NOTHING, "전화입니다."),
        ("전화입니다[, 지난 통화 {last_talk}].", None, CALLER, KNOWN, "전화입니다, 지난 통화 11월 14일."),
        ("[{label} ]전화 왔습니다", None, CALLER, NOTHING, "전화 왔습니다"),
        ("전화 {unheard_of} 왔습니다! 받으세요", "배달앱", CALLER, KNOWN, "받으세요"),
        ("주문 전화입니다", None, None, NOTHING, "주문 전화입니다"),
        ("[괄호", None, None, NOTHING, "[괄호"),
    ],
)
def test_what_is_not_known_is_left_out(
    text: str, label: str | None, caller: PhoneNumber | None, history: History, heard: str
) -> None:
    assert told(text, label=label, caller=caller, history=history) == WhisperPlan(text=heard)


@pytest.mark.parametrize("text", ["{label}", "[{last_talk}]!", "{label}. [{last_talk}]", ""])
def test_nothing_is_whispered_when_nothing_is_left(text: str) -> None:
    assert told(text) is None


def test_the_week_begins_on_monday_in_the_account_s_zone() -> None:
    monday = datetime(2026, 11, 16, tzinfo=SEOUL)
    before, after = (PastCall(monday + timedelta(seconds=s), Result.BUSY, None, 0.0) for s in (-1, 0))
    assert told("{count_this_week}", history=History(calls=(before,))) == WhisperPlan(text="첫 번째")
    assert told("{count_this_week}", history=History(calls=(after, before))) == WhisperPlan(text="두 번째")


def test_a_sound_is_whispered_as_it_is_and_nothing_when_the_rule_says_nothing() -> None:
    call = situation(line(), CALLER, WEDNESDAY.astimezone(UTC), NOTHING)
    assert whispered(Treatment(whisper=Whisper(sound="own/a")), call) == WhisperPlan(sound="own/a")
    assert whispered(Treatment(whisper=Whisper()), call) is None
    assert whispered(Treatment(), call) is None


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (1, "첫"), (2, "두"), (3, "세"), (9, "아홉"), (10, "열"), (11, "열한"), (19, "열아홉"), (20, "스무"),
        (21, "스물한"), (30, "서른"), (51, "쉰한"), (99, "아흔아홉"), (100, "100"),
    ],
)  # fmt: skip
def test_ordinals_are_korean(count: int, words: str) -> None:
    assert ordinal(count) == f"{words} 번째"


@given(st.text(max_size=60), st.dictionaries(st.sampled_from(["label", "a"]), st.text(max_size=5)))
def test_any_text_can_be_filled_in_and_a_plain_one_keeps_its_words(text: str, facts: dict[str, str]) -> None:
    filled_in(text, facts)
    plain = "".join(character for character in text if character.isalnum() or character == " ")
    assert filled_in(plain, facts).split() == plain.split()
