"""Wherever a treatment names a sound, the account's prompt of a name may stand."""

from __future__ import annotations

import pytest

from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.rules import checked_treatment
from engine.numbers.sound_names import NOT_THERE, may_be_prompt, prompts_of, sounds_of, with_sounds
from engine.numbers.treatment import ConsentOffer, Fallback, Then, Treatment, Whisper

NUMBER = PhoneNumber("050712345678")
EVERYWHERE = Treatment(
    notice="prompt:a",
    announcement="prompt:b",
    ringback=("prompt:c", "ko/ringback-tone", "prompt:a"),
    busy=("prompt:d",),
    whisper=Whisper(sound="prompt:e"),
    fallbacks=(
        Fallback(then=Then.ANNOUNCE, sounds=("prompt:f", "own/x")),
        Fallback(then=Then.TEXT, sounds=("prompt:g",), text="문자"),
    ),
    consent=ConsentOffer(text="약도", sound="prompt:인사말"),
    label="prompt:a",
)
PROMPTS = {name: f"own/{number}" for number, name in enumerate(["a", "b", "c", "d", "e", "f", "g", "인사말"])}


def test_each_prompt_becomes_its_current_sound_wherever_it_is_named() -> None:
    assert with_sounds(EVERYWHERE, PROMPTS) == Treatment(
        notice="own/0",
        announcement="own/1",
        ringback=("own/2", "ko/ringback-tone", "own/0"),
        busy=("own/3",),
        whisper=Whisper(sound="own/4"),
        fallbacks=(
            Fallback(then=Then.ANNOUNCE, sounds=("own/5", "own/x")),
            Fallback(then=Then.TEXT, sounds=("own/6",), text="문자"),
        ),
        consent=ConsentOffer(text="약도", sound="own/7"),
        label="prompt:a",
    )


def test_each_prompt_is_named_once() -> None:
    assert prompts_of(EVERYWHERE) == ["a", "b", "c", "d", "e", "f", "g", "인사말"]


def test_a_treatment_without_prompts_stays_the_same_object() -> None:
    plain = Treatment(ringback=("own/a",), notice="", whisper=Whisper(text="prompt:a"))
    assert with_sounds(plain, PROMPTS) is plain


def test_what_is_switched_off_stays_switched_off() -> None:
    off = Treatment(notice="", ringback=(), fallbacks=(), whisper=Whisper(), busy=("prompt:d",))
    assert with_sounds(off, PROMPTS) == Treatment(
        notice="", ringback=(), fallbacks=(), whisper=Whisper(), busy=("own/3",)
    )


def test_a_prompt_that_is_gone_is_a_sound_that_is_not_there() -> None:
    assert set(sounds_of(with_sounds(EVERYWHERE, {}))) == {NOT_THERE, "ko/ringback-tone", "own/x"}


@pytest.mark.parametrize("name", ["", " a", "a/b", "x" * 65, "a\nb"])
def test_names_that_no_prompt_has_are_refused(name: str) -> None:
    assert not may_be_prompt(name)
    with pytest.raises(Invalid, match=r"ringback: .* is not the name of a sound"):
        checked_treatment(Treatment(ringback=(f"prompt:{name}",)), NUMBER)


def test_prompts_are_kept_by_their_names() -> None:
    assert checked_treatment(EVERYWHERE, NUMBER) == EVERYWHERE
