"""Which passwords are taken, and how they are kept."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest
from argon2 import PasswordHasher
from argon2.profiles import CHEAPEST

from engine.accounts import passwords
from engine.accounts.passwords import check_password, hashed, matches, outdated
from engine.foundation.errors import Invalid, TryLater

GOOD = "말은 나면 제주도로"


@pytest.mark.parametrize(
    "password", [GOOD, "correct horse battery", "x7#kQ!m2Lp", "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊ", "kim likes kimchi"]
)
def test_a_password_that_is_not_guessed_is_taken(password: str) -> None:
    check_password(password, "kim@example.com")


@pytest.mark.parametrize(
    "password",
    [
        "",
        "short",
        "123456789",
        "x" * 129,
        "aaaaaaaaaaaa",
        "abababababab",
        "1234567890",
        "0987654321",
        "qwertyuiop",
        "ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔ",
        "Password123",
        "hanbit.dental1",
    ],
)
def test_one_that_is_tried_first_is_refused(password: str) -> None:
    with pytest.raises(Invalid, match=r"^password: "):
        check_password(password, "hanbit.dental@example.com")


async def test_a_password_is_kept_as_argon2id_with_a_salt_of_its_own() -> None:
    first, second = await asyncio.gather(hashed(GOOD), hashed(GOOD))
    assert first != second
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert await matches(first, GOOD)
    assert not await matches(first, GOOD + " ")
    assert not outdated(first)
    assert GOOD not in first


async def test_the_same_letters_match_however_a_keyboard_composed_them() -> None:
    kept = await hashed(unicodedata.normalize("NFD", GOOD))
    assert await matches(kept, unicodedata.normalize("NFC", GOOD))


async def test_where_there_is_no_password_none_matches_and_as_much_work_is_done() -> None:
    assert not await matches(None, GOOD)
    assert not outdated(passwords._NOBODYS)


@pytest.mark.parametrize("kept", ["", "plain", "$argon2id$v=19$m=65536,t=3,p=4$x"])
async def test_what_is_no_hash_matches_nothing(kept: str) -> None:
    assert not await matches(kept, GOOD)


async def test_any_text_can_be_typed() -> None:
    kept = await hashed(GOOD)
    for typed in ("", "\0", "\ud800", "x" * 1_000_000):
        assert not await matches(kept, typed)


def test_a_hash_with_less_work_is_outdated() -> None:
    assert outdated(PasswordHasher.from_parameters(CHEAPEST).hash(GOOD))


async def test_beyond_some_that_wait_people_are_sent_away_and_the_others_are_served() -> None:
    kept = PasswordHasher.from_parameters(CHEAPEST).hash(GOOD)
    answers = await asyncio.gather(*(matches(kept, GOOD) for _ in range(100)), return_exceptions=True)
    sent_away = [answer for answer in answers if isinstance(answer, TryLater)]
    assert answers.count(True) == 52
    assert len(sent_away) == 48
    assert await matches(kept, GOOD)
