from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.foundation.errors import Invalid
from engine.foundation.message_text import check_text, sendable


def test_a_hangul_letter_is_two_bytes_and_a_latin_one() -> None:
    assert len(sendable("다리 dari")) == 9


def test_ninety_bytes_fit_and_one_more_does_not() -> None:
    assert check_text("가" * 45) == "가" * 45
    with pytest.raises(Invalid, match="callback: the message has 91 bytes, 90 fit"):
        check_text("가" * 45 + "a", "callback")


@pytest.mark.parametrize("text", ["", " \n ", "\u3000"])
def test_an_empty_text_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="empty"):
        check_text(text)


@pytest.mark.parametrize(
    ("text", "named"),
    [("a–b", r"“–” U\+2013"), ("🙂", r"U\+1F642"), ("a\x00b", "a control character"), ("\ud800", r"U\+D800")],
)
def test_a_character_without_bytes_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(Invalid, match=named):
        check_text(text)


def test_letters_taken_apart_are_put_together() -> None:
    assert check_text(unicodedata.normalize("NFD", "다리꽃집")) == "다리꽃집"


def test_letters_outside_the_old_code_fit_too() -> None:
    assert len(sendable("뷁똠쀍")) == 6


@given(st.text(max_size=60))
def test_what_is_accepted_comes_back_from_its_bytes(text: str) -> None:
    try:
        kept = check_text(text)
    except Invalid:
        return
    assert sendable(kept).decode("cp949") == kept
    assert len(kept.encode("cp949")) <= 90
