from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from engine.foundation.phone_number import PhoneNumber
from engine.messages.rules import (
    SENDER,
    TEXT,
    in_force,
    is_information,
    recipient_is_mobile,
    sender_is_registered,
    text_fits,
)

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
OURS = PhoneNumber("0212345678")


@pytest.mark.parametrize(
    "text",
    [
        "(광고) 다리꽃집",
        "(광 고)다리꽃집",
        "[광고] 다리꽃집",
        "（광고）다리꽃집",
        "<광.고>다리꽃집",
        "【광고】다리꽃집",
        "다리꽃집 (광고)",
        "(\u200b광\u200b고)다리꽃집",
        "(廣告)다리꽃집",
        "(AD) 다리꽃집",
        "다리꽃집 무료수신거부 080-123-4567",
        "무료 거부 0801234567",
    ],
)
def test_a_text_that_looks_like_advertising_is_none_of_information(text: str) -> None:
    assert not is_information(text, NOW).passed


@pytest.mark.parametrize(
    "text",
    ["다리꽃집입니다", "다리광고기획입니다. 전화 고맙습니다", "광고 문의 02-123-4567", "영업 (09-21시)", "(ADT 옆)"],
)
def test_information_about_a_shop_is_information_even_one_that_sells_advertising(text: str) -> None:
    assert is_information(text, NOW).passed


@pytest.mark.parametrize("number", ["01012345678", "0111234567", "01912345678"])
def test_mobile_numbers_get_messages(number: str) -> None:
    assert recipient_is_mobile(PhoneNumber(number), NOW).passed


@pytest.mark.parametrize("number", ["0212345678", "050712345678", "07012345678", "15881234", "112", "00821012345678"])
def test_other_numbers_get_none(number: str) -> None:
    assert not recipient_is_mobile(PhoneNumber(number), NOW).passed


def test_only_registered_senders_pass() -> None:
    assert sender_is_registered(OURS, {OURS}, NOW).passed
    assert not sender_is_registered(OURS, set(), NOW).passed
    assert not sender_is_registered(None, {OURS}, NOW).passed


@pytest.mark.parametrize("number", ["05071234567", "050712345678", "0507"])
def test_a_050_number_is_no_sender_even_when_registered(number: str) -> None:
    verdict = sender_is_registered(PhoneNumber(number), {PhoneNumber(number)}, NOW)
    assert not verdict.passed
    assert "050 number" in verdict.reason


@pytest.mark.parametrize("number", ["1588123", "010123456789"])
def test_a_sender_has_eight_to_eleven_digits(number: str) -> None:
    assert not sender_is_registered(PhoneNumber(number), {PhoneNumber(number)}, NOW).passed


def test_a_text_fits_by_its_bytes() -> None:
    assert text_fits("가" * 45, NOW).evidence == "90 of 90 bytes"
    assert not text_fits("가" * 45 + "a", NOW).passed
    assert not text_fits("", NOW).passed
    assert not text_fits(None, NOW).passed
    assert not text_fits("🙂", NOW).passed


def test_a_new_edition_begins_at_midnight_in_korea() -> None:
    later = replace(TEXT[0], version="sms-text/2", since=date(2027, 1, 1), limit=140)
    editions = (*TEXT, later)
    assert in_force(editions, datetime(2026, 12, 31, 14, 59, 59, tzinfo=UTC)) is TEXT[0]
    assert in_force(editions, datetime(2026, 12, 31, 15, 0, tzinfo=UTC)) is later


def test_days_before_the_first_edition_are_judged_by_it() -> None:
    assert in_force(SENDER, datetime(2001, 1, 1, tzinfo=UTC)) is SENDER[0]
