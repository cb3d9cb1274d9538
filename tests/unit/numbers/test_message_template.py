from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.foundation.errors import Invalid
from engine.foundation.message_text import SMS_BYTES, sendable
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.placeholders import filled
from engine.numbers.message_template import checked_template, message_facts

AT = datetime(2026, 3, 7, 9, 5)  # noqa: DTZ001 - written as it is given


def test_facts_are_written_as_people_write_them() -> None:
    assert message_facts(PhoneNumber("0212345678"), "배달앱", AT) == {
        "number": "02-1234-5678",
        "label": "배달앱",
        "called_at": "3월 7일 09:05",
    }
    assert message_facts(PhoneNumber("15881234"), None, AT)["label"] == "1588-1234"


def test_a_text_is_kept_with_its_placeholders_and_its_hangul_composed() -> None:
    assert checked_template("{label} 전화 고맙습니다", "callback") == "{label} 전화 고맙습니다"
    assert checked_template("가 {number}", "callback") == "가 {number}"


@pytest.mark.parametrize(
    ("text", "label", "named"),
    [
        ("{shop} 고맙습니다", None, "{shop}"),
        (" ", None, "the message is empty"),
        ("고맙습니다 🙂", None, "U+1F642"),
        ("{number}" + "가" * 39, None, f"{SMS_BYTES} fit"),
        ("{called_at}" + "가" * 38, None, f"{SMS_BYTES} fit"),
        ("{label}" + "가" * 39, "배달의 민족 앱", f"{SMS_BYTES} fit"),
    ],
)
def test_a_text_that_could_not_be_sent_is_refused_when_it_is_set(text: str, label: str | None, named: str) -> None:
    with pytest.raises(Invalid, match="callback: ") as refused:
        checked_template(text, "callback", label)
    assert named in str(refused.value)


def test_the_length_that_counts_is_the_filled_one() -> None:
    text = "{label}" * 10 + "가" * 20
    assert len(text.encode("cp949")) > SMS_BYTES
    assert checked_template(text, "callback", "앱") == text
    with pytest.raises(Invalid):
        checked_template(text, "callback", "배달의 민족")


@given(
    text=st.text("가{}numberlabelcalled_at ", max_size=60) | st.sampled_from(["{number}", "{called_at}"]),
    number=st.sampled_from(["050712345678", "05012345678", "0212345678", "15881234", "0801234567", "01012345678"]),
    minutes=st.integers(0, 527_039),
)
def test_what_may_be_set_fits_for_every_call(text: str, number: str, minutes: int) -> None:
    try:
        kept = checked_template(text, "callback")
    except Invalid:
        return
    at = datetime(2028, 1, 1) + timedelta(minutes=minutes)  # noqa: DTZ001 - written as it is given
    assert len(sendable(filled(kept, message_facts(PhoneNumber(number), None, at)))) <= SMS_BYTES
