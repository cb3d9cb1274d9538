"""Which number is offered before which, and why."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.easy_patterns import Easy
from engine.numbers.similar import Span, Wish, endings, order, rank, reasons, spans, wish

SHOP = "0315551234"

LIKES = st.one_of(
    st.none(),
    st.from_regex(r"[0-9]{4}", fullmatch=True),
    st.from_regex(r"031[2-9][0-9]{6,7}", fullmatch=True),
    st.from_regex(r"02[2-9][0-9]{6,7}", fullmatch=True),
    st.from_regex(r"010[0-9]{8}", fullmatch=True),
    st.from_regex(r"15[0-9]{6}", fullmatch=True),
    st.from_regex(r"0507[0-9]{7,8}", fullmatch=True),
)
# Few digits, so that numbers are often like one another.
FREE = st.from_regex(r"050[27]([0-3]{7}|[0-3]{8}|1234[0-9]{4}|[0-9]{8})", fullmatch=True).map(PhoneNumber)
WISHES = st.builds(
    Wish, like=LIKES, easy=st.none() | st.sampled_from(Easy), exchange=st.none() | st.sampled_from(["0502", "0507"])
)


def holding(found: list[Span], number: PhoneNumber) -> list[int]:
    return [at for at, span in enumerate(found) if span.low <= number[::-1] < span.high]


def codes(like: str | None, number: str) -> list[str]:
    return [reason.code for reason in reasons(like, PhoneNumber(number))]


def test_the_likest_number_stands_first() -> None:
    best_first = [
        "05025551234",  # exchange and last four
        "050712341234",  # the exchange repeats them
        "050799551234",  # last six
        "050799951234",  # last five
        "050799991234",  # last four
        "050799992234",  # last three, the digit next to the shop's
        "050799998234",  # last three
        "050799991243",  # two digits change places
        "050799993412",  # all in other places
        "050799991134",  # one digit off, by one
        "050799991239",  # one digit off, by five
        "050799997777",  # easy
        "050799991122",
        "050799991112",
        "050799999057",  # nothing but free
    ]
    numbers = [PhoneNumber(number) for number in best_first]
    assert sorted(set(numbers), key=lambda number: order(wish(SHOP), number)) == numbers
    places = [rank(wish(SHOP), number) for number in numbers]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize(
    ("like", "number", "expected"),
    [
        (SHOP, "05025551234", ["whole", "ladder"]),
        ("0223451234", "050723451234", ["whole", "ladder"]),
        ("15881234", "050715881234", ["whole", "ladder"]),
        ("01012349057", "050712349057", ["whole"]),
        (SHOP, "050712341234", ["last_4", "twin", "ladder"]),
        (SHOP, "050799551234", ["last_6", "ladder"]),
        (SHOP, "050799951234", ["last_5", "ladder"]),
        ("9057", "050712349057", ["last_4"]),
        (SHOP, "050799992234", ["last_3"]),
        (SHOP, "050799994321", ["other_order", "ladder"]),
        (SHOP, "050799991334", ["one_off"]),
        (SHOP, "050799997777", ["aaaa"]),
        (SHOP, "050777777777", ["twin", "aaaa"]),
        (SHOP, "050799998282", ["spoken", "abab"]),
        (SHOP, "050799991004", ["spoken"]),
        (SHOP, "050799991221", ["abba"]),
        (SHOP, "050799999057", []),
        (None, "050799991234", ["ladder"]),
    ],
)
def test_each_number_says_why(like: str | None, number: str, expected: list[str]) -> None:
    assert codes(like, number) == expected


def test_reasons_are_told_in_korean_and_english() -> None:
    whole, spoken = reasons("0315558282", PhoneNumber("05025558282"))[:2]
    assert (whole.korean, whole.english) == (
        "국번과 끝 네 자리가 모두 같음",
        "exchange and last four digits are the same",
    )
    assert "빨리빨리" in spoken.korean
    (last,) = reasons("0315559057", PhoneNumber("050799959057"))
    assert (last.korean, last.english) == ("끝 5자리가 같음", "last 5 digits are the same")


@given(like=LIKES, number=FREE)
def test_whatever_leads_the_rest_has_a_reason_and_the_rest_has_none(like: str | None, number: PhoneNumber) -> None:
    wished = Wish(like=like)
    assert bool(reasons(like, number)) == (endings(like, None)[rank(wished, number) or 0] != "") or codes(
        like, number
    ) == ["twin"]


@given(wished=WISHES, number=FREE)
def test_each_number_wished_is_in_exactly_one_span(wished: Wish, number: PhoneNumber) -> None:
    within = of_all_exchanges(wished)
    assert len(holding(list(spans(within)), number)) == (0 if rank(within, number) is None else 1)


@given(wished=WISHES, one=FREE, other=FREE)
def test_spans_follow_the_ranking_and_go_on_behind_any_number(
    wished: Wish, one: PhoneNumber, other: PhoneNumber
) -> None:
    wished = of_all_exchanges(wished)
    if rank(wished, one) is None or rank(wished, other) is None:
        return
    behind = order(wished, other) > order(wished, one)
    assert bool(holding(list(spans(wished, one)), other)) == behind
    every = list(spans(wished))
    if one != other:
        key_one, key_other = ((holding(every, number)[0], number[::-1]) for number in (one, other))
        assert (key_other > key_one) == behind


def of_all_exchanges(wished: Wish) -> Wish:
    """Spans are of all exchanges."""
    return Wish(like=wished.like, easy=wished.easy)


def test_only_what_is_wished_is_ranked() -> None:
    only = wish(SHOP, easy="aabb", exchange="0507")
    assert rank(only, PhoneNumber("050799991122")) is not None
    assert rank(only, PhoneNumber("050299991122")) is None
    assert rank(only, PhoneNumber("050799991234")) is None
    assert all(ending[-4] == ending[-3] and ending[-2] == ending[-1] for ending in endings(only.like, only.easy))
    with pytest.raises(Invalid, match=r"^after: 0507-9999-1234 is not among the numbers wished"):
        spans(only, PhoneNumber("050799991234"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"like": "abc"}, "like: 'abc' is not a Korean phone number"),
        ({"like": ""}, "like: '' is not"),
        ({"like": "112"}, "like: 112 is no shop's number (emergency)"),
        ({"like": "060-700-1234"}, "premium"),
        ({"like": "+1 212 555 1234"}, "international"),
        ({"like": "١٢٣٤"}, "is not a Korean phone number"),
        ({"easy": "ABBC"}, "easy: 'ABBC' is no pattern; name one of AAAA, ABCD"),
        ({"digits": 10}, "digits: 10 must be 11 or 12"),
        ({"exchange": "050"}, "exchange: '050' must be the first four digits"),
        ({"exchange": "05o7"}, "exchange: '05o7' must be"),
        ({"exchange": "٠٥٠٧"}, "must be the first four digits"),
    ],
)
def test_a_wish_that_cannot_be_names_field_value_and_rule(given: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as told:
        wish(**given)
    assert words in str(told.value)


def test_a_number_of_another_length_is_not_wished() -> None:
    for digits, number in ((11, "05071231234"), (12, "050712341234")):
        assert rank(Wish(like="1234", digits=digits), PhoneNumber(number)) is not None
        assert rank(Wish(like="1234", digits=23 - digits), PhoneNumber(number)) is None


def test_a_wish_is_taken_as_people_write_it() -> None:
    assert wish("031-555-1234", "abab", "0507") == Wish(like=SHOP, easy=Easy.ABAB, exchange="0507")
    assert wish("+82 31 555 1234").like == SHOP
    assert wish("1234").like == "1234"
    assert wish() == Wish()
