"""`dari number choose` on a real database."""

from __future__ import annotations

import pytest

from engine.foundation.database import connect
from tests.command_line import Dari, refused

FREE = ["05025551234", "050799991234", "050712341234", "050799991243", "050288887777", "050299990579"]


@pytest.fixture
async def stocked(database_url: str) -> None:
    """Six free numbers, and an account that may have them."""
    connection = await connect(database_url, command_timeout=10.0)
    try:
        await connection.execute(
            """
            INSERT INTO number_stock (number, kind, state, changed_at)
            SELECT number, '050', 'available', now() FROM unnest($1::text[]) AS number
            """,
            FREE,
        )
    finally:
        await connection.close()


@pytest.mark.usefixtures("stocked")
def test_the_best_free_numbers_are_shown_with_their_reasons_and_page_by_page(dari: Dari) -> None:
    shown = dari("number", "choose", "--like", "031-555-1234")
    assert shown.code == 0
    lines = [line for line in shown.out.splitlines() if "050" in line]
    assert [line.split()[0] for line in lines] == [
        "0502-555-1234",
        "0507-1234-1234",
        "0507-9999-1234",
        "0507-9999-1243",
        "0502-8888-7777",
        "0502-9999-0579",
    ]
    assert "exchange and last four digits are the same" in lines[0]
    assert "another order" in lines[3]
    first = dari("number", "choose", "--like", "031-555-1234", "--limit", "2", "--json")
    assert [offer["number"] for offer in first.objects] == ["05025551234", "050712341234"]
    assert first.objects[0]["reasons"][0] == {
        "code": "whole",
        "korean": "국번과 끝 네 자리가 모두 같음",
        "english": "exchange and last four digits are the same",
    }
    more = dari("number", "choose", "--like", "031-555-1234", "--limit", "2")
    assert more.err == "more with --after 0507-1234-1234\n"
    second = dari("number", "choose", "--like", "031-555-1234", "--after", "0507-1234-1234", "--json")
    assert [offer["number"] for offer in second.objects] == [
        "050799991234",
        "050799991243",
        "050288887777",
        "050299990579",
    ]


@pytest.mark.usefixtures("stocked")
def test_the_choice_is_narrowed_to_an_exchange_or_a_pattern(dari: Dari) -> None:
    of_exchange = dari("number", "choose", "--like", "1234", "--exchange", "0502", "--json").objects
    assert [offer["number"] for offer in of_exchange] == ["05025551234", "050288887777", "050299990579"]
    assert [offer["number"] for offer in dari("number", "choose", "--easy", "aaaa", "--json").objects] == [
        "050288887777"
    ]
    nothing = dari("number", "choose", "--easy", "ABBA")
    assert (nothing.code, nothing.out) == (0, "")
    assert "no such number is free" in nothing.err


@pytest.mark.usefixtures("stocked")
def test_the_best_are_kept_for_an_account_and_not_offered_any_more(dari: Dari) -> None:
    dari("number", "add", "02-1234-5678", "--target", "031-555-1234", "--account", "shop")
    kept = dari("number", "choose", "--like", "031-555-1234", "--reserve", "2", "--account", "shop", "--json")
    assert kept.code == 0, kept.err
    assert [one["number"] for one in kept.objects] == ["05025551234", "050712341234"]
    left = dari("number", "choose", "--like", "031-555-1234", "--json").objects
    assert [offer["number"] for offer in left] == FREE[1:2] + FREE[3:]
    shown = dari("number", "choose", "--easy", "AAAA", "--reserve", "1", "--account", "shop")
    assert "0502-8888-7777" in shown.out
    refused(
        dari("number", "choose", "--easy", "AAAA", "--reserve", "1", "--account", "shop"),
        "only 0 of 1 such numbers are free",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--like", "12x"], ["like: '12x'", "not a Korean phone number"]),
        (["--like", "112"], ["like: 112", "emergency"]),
        (["--easy", "ABCABC"], ["easy: 'ABCABC'", "AABB"]),
        (["--exchange", "507"], ["exchange: '507'", "0507"]),
        (["--limit", "0"], ["limit: 0", "1 to 500"]),
        (["--after", "nonsense"], ["after: 'nonsense'"]),
        (["--easy", "AAAA", "--after", "0507-1234-1234"], ["after: 0507-1234-1234", "not among the numbers wished"]),
        (["--reserve", "1"], ["reserve", "--account"]),
        (["--account", "shop"], ["reserve"]),
        (["--reserve", "1", "--account", "nobody"], ["nobody", "dari account list"]),
        (["--reserve", "21", "--account", "operator"], ["count: 21", "1 to 20"]),
        (["--reserve", "1", "--account", "operator", "--after", "0507-1234-1234"], ["after", "--reserve"]),
    ],
)
@pytest.mark.usefixtures("stocked")
def test_a_wish_that_cannot_be_is_refused_in_one_sentence(dari: Dari, arguments: list[str], words: list[str]) -> None:
    refused(dari("number", "choose", *arguments), *words)
