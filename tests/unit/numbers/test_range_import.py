"""What the lines of an imported file are."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.foundation.errors import Invalid
from engine.numbers.number_range import NumberRange, checked_name, checked_prefix
from engine.numbers.range_import import Found, Refused, read_lines, read_text

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def a_range(place: int, prefix: str, digits: int) -> NumberRange:
    return NumberRange(id=UUID(int=place), name=prefix, prefix=prefix, digits=digits, added_by="x", added_at=NOW)


TWELVE, ELEVEN = a_range(1, "05071", 12), a_range(2, "0502", 11)
RANGES = (TWELVE, ELEVEN)


def reasons(text: str) -> list[tuple[int, str, str]]:
    return [(one.line, one.value, one.reason) for one in read_lines(text, RANGES)[1]]


def numbers(text: str) -> list[tuple[int, str, UUID]]:
    return [(one.line, one.number, one.range_id) for one in read_lines(text, RANGES)[0]]


def test_numbers_are_taken_as_people_write_them_with_or_without_a_heading() -> None:
    plain = "0507-1234-5678\n0502 345 6789\n\n050712345679\n"
    expected = [
        (1, "050712345678", TWELVE.id),
        (2, "05023456789", ELEVEN.id),
        (4, "050712345679", TWELVE.id),
    ]
    assert numbers(plain) == expected
    headed = "carrier,번호,note\nA,0507-1234-5678,x\nB,05023456789,\n"
    assert [number for _, number, _ in numbers(headed)] == ["050712345678", "05023456789"]
    assert [line for line, _, _ in numbers(headed)] == [2, 3]


def test_each_refused_line_is_told_with_its_value_and_reason() -> None:
    text = "\n".join(
        [
            "050712345678",
            "0507-1234-5678",
            "50712345670",
            "hello",
            "01012345678",
            "0507123456",
            "050812345678",
            "050712345671,x",
            "0507１2345678",
            '"050712345672"',
        ]
    )
    told = reasons(text)
    assert [(line, reason) for line, _, reason in told] == [
        (2, "it stands in line 1 already"),
        (3, "its leading 0 is missing; format the column as text"),
        (4, "it is no number: only digits, hyphens and spaces may stand there"),
        (5, "it must begin with 0502 to 0508"),
        (6, "it has 10 digits and must have 11 or 12"),
        (7, "it lies in no range; add that with `dari range add`"),
        (8, "it is no number: only digits, hyphens and spaces may stand there"),
        (9, "it is no number: only digits, hyphens and spaces may stand there"),
    ]
    assert [value for _, value, _ in told][1:3] == ["50712345670", "hello"]
    assert numbers(text) == [(1, "050712345678", TWELVE.id), (10, "050712345672", TWELVE.id)]


def test_a_missing_column_and_a_long_value_are_told_too() -> None:
    told = reasons("name,number\nonly-a-name\nb," + "9" * 500 + "\n")
    assert told[0] == (2, "", "it is no number: only digits, hyphens and spaces may stand there")
    assert len(told[1][1]) == 60


@given(st.lists(st.text(alphabet='0123456789 -,x\t"가', max_size=16), max_size=30))
def test_every_line_that_holds_something_is_either_taken_or_refused(lines: list[str]) -> None:
    text = "\n".join(lines)
    try:
        found, refused = read_lines(text, RANGES)
    except Invalid:
        return
    told = [one.line for one in found] + [one.line for one in refused]
    assert len(told) == len(set(told))
    assert len({one.number for one in found}) == len(found)
    assert set(told) <= set(range(1, text.count("\n") + 2))


def test_text_is_read_as_spreadsheets_write_it() -> None:
    assert read_text("﻿번호\n0507".encode()) == "번호\n0507"
    assert read_text("번호\n0507".encode("cp949")) == "번호\n0507"
    for content in ("번호\n0507".encode("utf-16"), b"\xff\xfe\xfd\x80\xff", b"0507\0"):
        with pytest.raises(Invalid, match="UTF-8"):
            read_text(content)


@pytest.mark.parametrize(
    ("prefix", "digits"), [("0509", 12), ("050", 12), ("0507", 10), ("0507123456", 12), ("05a7", 12), ("", 11)]
)
def test_a_range_that_cannot_be_is_refused(prefix: str, digits: int) -> None:
    with pytest.raises(Invalid):
        checked_prefix(prefix, digits)


def test_a_prefix_and_a_name_are_kept_plain() -> None:
    assert checked_prefix("0507-12", 12) == "050712"
    assert checked_name("  main ") == "main"
    for name in ("", " ", "x" * 61, "a\nb"):
        with pytest.raises(Invalid):
            checked_name(name)


def test_what_was_read_says_what_it_is() -> None:
    found, refused = read_lines("050712345678\nx", RANGES)
    assert found == [Found(1, found[0].number, TWELVE.id)]
    assert refused == [Refused(2, "x", "it is no number: only digits, hyphens and spaces may stand there")]
