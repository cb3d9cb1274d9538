"""Numbers as Koreans say them."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine.prompts.spoken_korean import digits, native, sino, spelled_out


@pytest.mark.parametrize(
    ("written", "said"),
    [
        # The product's own sentences.
        ("이번 주 3번째 전화, 지난 통화 11월 14일", "이번 주 세 번째 전화, 지난 통화 십일월 십사일"),
        ("1번을 누르시면 약도를 보내드립니다", "일 번을 누르시면 약도를 보내드립니다"),
        # Phone numbers.
        ("0507-1234-5678", "공오공칠, 일이삼사, 오육칠팔"),
        ("050-1234-5678", "공오공, 일이삼사, 오육칠팔"),
        ("050712345678", "공오공칠, 일이삼사, 오육칠팔"),
        ("05071234567로", "공오공, 칠일이삼, 사오육칠로"),
        ("010 번호", "공일공 번호"),
        ("01012345678", "공일공, 일이삼사, 오육칠팔"),
        ("02-345-6789", "공이, 삼사오, 육칠팔구"),
        ("(02) 345-6789", "공이, 삼사오, 육칠팔구"),
        ("+82 10-1234-5678", "공일공, 일이삼사, 오육칠팔"),
        ("+821012345678", "공일공, 일이삼사, 오육칠팔"),
        ("1588-1234", "일오팔팔, 일이삼사"),
        ("15881234로", "일오팔팔, 일이삼사로"),
        ("119에 신고", "일일구에 신고"),
        ("114번", "일일사번"),
        # Counts.
        ("2명", "두 명"),
        ("손님 20명", "손님 스무 명"),
        ("21마리", "스물한 마리"),
        ("101명", "백한 명"),
        ("123명", "백이십삼 명"),
        ("1,234개", "천이백삼십사 개"),
        ("김밥 2줄 3인분", "김밥 두 줄 삼 인분"),
        ("3개 3개월", "세 개 삼 개월"),
        ("1번째 2번째 20번째", "첫 번째 두 번째 스무 번째"),
        ("지난주 3번 전화", "지난주 세 번 전화"),
        ("2번 누르세요", "이 번 누르세요"),
        ("두 분과 2분께서, 3분 뒤", "두 분과 두 분께서, 삼 분 뒤"),
        ("2대표", "이대표"),
        # Dates.
        ("11월 14일", "십일월 십사일"),
        ("6월 6일 10월", "유월 육일 시월"),
        ("2026-11-14", "이천이십육년 십일월 십사일"),
        ("2026.1.2", "이천이십육년 일월 이일"),
        ("2026년 06월 01일", "이천이십육년 유월 일일"),
        ("11/14(토)", "십일월 십사일(토)"),
        ("2026년", "이천이십육년"),
        ("3박 4일", "삼 박 사일"),
        # Times.
        ("09:30", "아홉 시 삼십 분"),
        ("오후 2:05", "오후 두 시 오 분"),
        ("12시", "열두 시"),
        ("14시 30분", "십사 시 삼십 분"),
        ("0시", "영 시"),
        ("24시간", "스물네 시간"),
        ("10~12시", "열 시에서 열두 시"),
        ("10:00~20:00", "열 시에서 이십 시"),
        ("9시~오후 6시", "아홉 시에서 오후 여섯 시"),
        # Money and measures.
        ("12,000원", "만 이천 원"),
        ("₩9,900", "구천구백 원"),
        ("5만원", "오만 원"),
        ("1만 2천원", "만 이천 원"),
        ("3억 5,000만 원", "삼억 오천만 원"),
        ("10000원~20000원", "만 원에서 이만 원"),
        ("10%", "십 퍼센트"),
        ("12.5%", "십이 점 오 퍼센트"),
        ("30%p", "삼십 퍼센트포인트"),
        ("0.5kg", "영 점 오 킬로그램"),
        ("3.05", "삼 점 영오"),
        ("-3도", "영하 삼 도"),
        ("25℃", "이십오 도"),
        ("1/2", "이분의 일"),
        ("제3회 101동 1203호", "제삼 회 백일 동 천이백삼 호"),
        # Names.
        ("A-1", "A-일"),
        ("12-34-56", "일이, 삼사, 오육"),
        ("007", "공공칠"),
        ("０１０－１２３４－５６７８", "공일공, 일이삼사, 오육칠팔"),
        ("②번", "이 번"),
        ("٣개", "세 개"),
        ("숫자가 없는 글", "숫자가 없는 글"),
        ("", ""),
    ],
)
def test_as_it_is_said(written: str, said: str) -> None:
    assert spelled_out(written) == said


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "영"),
        (1, "일"),
        (10, "십"),
        (11, "십일"),
        (100, "백"),
        (1_000, "천"),
        (10_000, "만"),
        (11_000, "만 천"),
        (20_000, "이만"),
        (100_000_000, "일억"),
        (100_010_000, "일억 일만"),
        (123_456_789, "일억 이천삼백사십오만 육천칠백팔십구"),
        (10**12, "일조"),
        (10**20 - 1, "구천구백구십구경 구천구백구십구조 구천구백구십구억 구천구백구십구만 구천구백구십구"),
    ],
)
def test_sino_korean_numbers(number: int, words: str) -> None:
    assert sino(number) == words


def test_native_numbers() -> None:
    assert [native(number) for number in (1, 2, 3, 4, 10, 11, 19, 20, 21, 99, 100, 112, 150)] == (
        ["한", "두", "세", "네", "열", "열한", "열아홉", "스무", "스물한", "아흔아홉", "백", "백열두", "백오십"]
    )


DIGITS = {word: value for value, word in enumerate("영일이삼사오육칠팔구")}
UNITS = {"십": 10, "백": 100, "천": 1000}
LARGE = {"만": 10**4, "억": 10**8, "조": 10**12, "경": 10**16}


def value_of(words: str) -> int:
    """An independent listener: what number a Sino-Korean word means."""
    total = group = digit = 0
    for letter in words.replace(" ", ""):
        if letter in DIGITS:
            digit = DIGITS[letter]
        elif letter in UNITS:
            group, digit = group + (digit or 1) * UNITS[letter], 0
        else:
            total, group, digit = total + (group + digit or 1) * LARGE[letter], 0, 0
    return total + group + digit


@given(st.integers(0, 10**20 - 1) | st.integers(0, 20_000))
def test_a_listener_hears_the_number_that_was_meant(number: int) -> None:
    assert value_of(sino(number)) == number


@given(st.integers(0, 10**20 - 1), st.sampled_from(["원", " 원"]))
def test_money_means_the_same_with_and_without_commas(number: int, unit: str) -> None:
    said = spelled_out(f"{number:,}{unit}")
    assert said.endswith(" 원")
    assert value_of(said.removesuffix(" 원")) == number
    if not re.match("0[0-9]|1[568][0-9]{6}", str(number)):
        assert spelled_out(f"{number}{unit}") == said


@given(st.integers(1, 99))
def test_native_numbers_are_all_different(number: int) -> None:
    assert {native(other) for other in range(1, 100) if other != number}.isdisjoint({native(number)})


@given(st.from_regex("0[0-9]{1,3}-[0-9]{3,4}-[0-9]{4}", fullmatch=True))
def test_every_digit_of_a_phone_number_is_heard_in_its_order(number: str) -> None:
    said = spelled_out(f"번호는 {number}입니다").removeprefix("번호는 ").removesuffix("입니다")
    heard = "".join(str("공일이삼사오육칠팔구".index(letter)) for letter in said if letter not in ", ")
    assert heard == number.replace("-", "")
    assert said == digits(number)


@given(st.dates())
def test_a_date_is_the_same_however_it_is_written(day: object) -> None:
    year, month, of_month = (int(part) for part in str(day).split("-"))
    if year >= 1000:
        assert spelled_out(f"{year}-{month:02}-{of_month:02}") == spelled_out(f"{year}년 {month}월 {of_month}일")


KOREAN = st.text(alphabet="0123456789,.-~/:% 년월일시분초원개명번째층호만억천요A(제오후전화₩+²③½", max_size=40)


@given(KOREAN | st.text(max_size=60))
@example("3ᆨ")
@example("1,234,5")
@example("9" * 400)
@example("0-0~0/0:0.0,0")
def test_no_digit_is_left_and_saying_it_again_changes_nothing(text: str) -> None:
    said = spelled_out(text)
    assert not any(letter.isdecimal() for letter in said)
    assert spelled_out(said) == said
