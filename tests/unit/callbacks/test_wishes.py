from __future__ import annotations

import msgspec
import pytest

from engine.callbacks.wishes import Wish, callback_wish, wishes
from engine.cdr.model import CallRecord
from engine.messages.model import Purpose
from engine.numbers.treatment import Treatment
from tests.answered_call import NUMBER, TEXT, answered_call, asked_for, number_with_text, promised

CALL = answered_call()
SHOP = number_with_text()
change = msgspec.structs.replace


@pytest.mark.parametrize(
    ("call", "wished"),
    [
        (CALL, [Wish(Purpose.CALLBACK, TEXT)]),
        (change(CALL, callback="밤에는 이 글"), [Wish(Purpose.CALLBACK, "밤에는 이 글")]),
        (change(CALL, callback=""), [Wish(Purpose.CALLBACK, "")]),
        (asked_for(CALL, "길"), [Wish(Purpose.CONSENT, "길"), Wish(Purpose.CALLBACK, TEXT)]),
        (promised(CALL, "곧"), [Wish(Purpose.TEXT_ONLY, "곧"), Wish(Purpose.CALLBACK, TEXT)]),
        (promised(CALL, ""), [Wish(Purpose.CALLBACK, TEXT)]),
    ],
)
def test_promises_come_first_and_a_rule_replaces_the_numbers_text(call: CallRecord, wished: list[Wish]) -> None:
    assert list(wishes(call, SHOP)) == wished


def test_a_rule_gives_a_text_to_a_number_that_has_none() -> None:
    call = change(CALL, callback="오늘만")
    assert wishes(call, change(SHOP, callback=None)) == (Wish(Purpose.CALLBACK, "오늘만"),)


def test_every_text_is_filled_with_the_calls_facts_in_korean_time() -> None:
    text = "{label} {number} {called_at}"
    call = asked_for(promised(change(CALL, callback=text), text), text)
    number = change(SHOP, treatment=Treatment(label="배달앱"))
    told = {wish.text for wish in wishes(call, number)}
    assert told == {"배달앱 0507-1234-5678 11월 21일 11:59"}
    assert len(wishes(call, number)) == len(Purpose)


@pytest.mark.parametrize(
    ("rule", "own", "text"), [(None, None, ""), ("", "가", ""), (None, "가", "가"), ("나", "가", "나")]
)
def test_a_callback_may_be_asked_about_whether_a_text_is_set_or_not(
    rule: str | None, own: str | None, text: str
) -> None:
    assert callback_wish(change(CALL, callback=rule), change(SHOP, callback=own)) == Wish(Purpose.CALLBACK, text)


def test_a_number_that_is_gone_still_has_its_promises_to_account_for() -> None:
    call = asked_for(CALL, "{label} 길")
    assert call.number == NUMBER
    assert wishes(call, None) == (Wish(Purpose.CONSENT, "0507-1234-5678 길"),)
