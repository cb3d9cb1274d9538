"""A voice over music, by ear: two tones, and how loud each is when."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.foundation.errors import Invalid
from engine.prompts.mixing import Mix, ducking, mixed
from engine.prompts.telephone_sound import LEVEL, WIDE_RATE, Samples, active_level

VOICE, MUSIC = 1000, 400
HALF_SECOND = WIDE_RATE // 2


def sounding(frequency: float, seconds: float) -> Samples:
    """A tone at the prompts' loudness."""
    instants = np.arange(round(seconds * WIDE_RATE)) / WIDE_RATE
    return np.asarray(np.sin(2 * np.pi * frequency * instants) * LEVEL * np.sqrt(2))


def level_of(frequency: float, samples: Samples) -> float:
    """dB against the prompts' loudness."""
    instants = np.arange(len(samples)) / WIDE_RATE
    amplitude = 2 * abs(np.mean(samples * np.exp(-2j * np.pi * frequency * instants)))
    return float(20 * np.log10(max(amplitude / np.sqrt(2) / LEVEL, 1e-9)))


def part(samples: Samples, first: float, last: float) -> Samples:
    return samples[round(first * WIDE_RATE) : round(last * WIDE_RATE)]


PLAIN = Mix(music_level=-6, ducking=12, before=2, after=3, fade_in=0, fade_out=0, attack=0.2, release=0.5)


def test_music_is_softer_under_the_voice_by_what_was_asked_for_and_comes_back() -> None:
    heard = mixed(sounding(VOICE, 4), sounding(MUSIC, 30), PLAIN)
    assert len(heard) == 9 * WIDE_RATE
    assert level_of(MUSIC, part(heard, 0.5, 1.5)) == pytest.approx(-6, abs=0.3)
    assert level_of(MUSIC, part(heard, 3, 5)) == pytest.approx(-18, abs=0.3)
    assert level_of(MUSIC, part(heard, 7, 8.5)) == pytest.approx(-6, abs=0.3)
    assert level_of(VOICE, part(heard, 3, 5)) == pytest.approx(0, abs=0.3)
    assert level_of(VOICE, part(heard, 0.5, 1.5)) < -60


def test_music_has_given_way_when_the_voice_begins_and_comes_back_in_its_time() -> None:
    heard = mixed(sounding(VOICE, 4), sounding(MUSIC, 30), PLAIN)
    assert level_of(MUSIC, part(heard, 1.5, 1.75)) == pytest.approx(-6, abs=0.5)
    assert level_of(MUSIC, part(heard, 2.0, 2.2)) == pytest.approx(-18, abs=1.5)
    coming = [level_of(MUSIC, part(heard, at, at + 0.1)) for at in (6.0, 6.15, 6.3, 6.45)]
    assert coming == sorted(coming)
    assert coming[0] < -13
    assert level_of(MUSIC, part(heard, 6.6, 7)) == pytest.approx(-6, abs=0.5)


def test_music_follows_the_voice_s_own_loudness() -> None:
    """Not on and off: a murmur makes it give way by a part."""
    murmur = sounding(VOICE, 4) * 10 ** (-24 / 20)
    under = 20 * np.log10(part(ducking(murmur, PLAIN), 1, 3))
    assert under == pytest.approx(-6, abs=0.3)
    assert 20 * np.log10(part(ducking(murmur / 10, PLAIN), 1, 3)) == pytest.approx(0, abs=0.01)


def test_pauses_between_words_do_not_make_the_music_pump() -> None:
    word, pause = sounding(VOICE, 0.4), np.zeros(round(0.15 * WIDE_RATE))
    words = np.concatenate([np.concatenate([word, pause])] * 6)
    under = 20 * np.log10(part(ducking(words, PLAIN), 0.3, 2.8))
    assert under.max() < -8


def test_it_begins_and_ends_softly() -> None:
    fading = Mix(music_level=0, ducking=0, before=3, after=3, fade_in=1, fade_out=2)
    heard = mixed(sounding(VOICE, 1), sounding(MUSIC, 30), fading)
    beginning = [level_of(MUSIC, part(heard, at, at + 0.1)) for at in (0, 0.3, 0.6, 0.9, 1.5)]
    end = [level_of(MUSIC, part(heard, 7 - at - 0.1, 7 - at)) for at in (0, 0.5, 1, 1.5, 2.2)]
    for rising in (beginning, end):
        assert rising == sorted(rising)
        assert rising[0] < -20
        assert rising[-1] == pytest.approx(0, abs=0.3)
    assert np.abs(heard[0]) < 0.001
    assert np.abs(heard[-1]) < 0.001


def test_short_music_goes_round_and_long_music_is_cut() -> None:
    """A turn of music is half one tone, half another: both are heard, in turn, to the end."""
    turn = np.concatenate([sounding(MUSIC, 0.5), sounding(600, 0.5)])
    heard = mixed(np.zeros(HALF_SECOND * 2), turn, Mix(before=2, after=2, fade_in=0, fade_out=0, ducking=0))
    assert len(heard) == 5 * WIDE_RATE
    for second in range(5):
        assert level_of(MUSIC, part(heard, second + 0.1, second + 0.4)) == pytest.approx(-6, abs=0.5)
        assert level_of(600, part(heard, second + 0.6, second + 0.9)) == pytest.approx(-6, abs=0.5)
        assert level_of(600, part(heard, second + 0.1, second + 0.4)) < -20


def test_voice_and_music_together_do_not_clip() -> None:
    heard = mixed(sounding(VOICE, 2), sounding(MUSIC, 2), Mix(music_level=6, ducking=0))
    assert np.abs(heard).max() <= 10 ** (-3 / 20)
    assert active_level(heard, WIDE_RATE) > LEVEL


@pytest.mark.parametrize(
    "wrong",
    [{"attack": -1}, {"after": 31}, {"music_level": 7}, {"music_level": float("nan")}, {"ducking": -1}],
)
def test_what_cannot_be_mixed_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(Invalid, match="mix: "):
        Mix(**wrong)


@given(
    times=st.lists(st.floats(0, 2), min_size=6, max_size=6),
    level=st.floats(-40, 6),
    depth=st.floats(0, 60),
    voice_length=st.integers(1, 20_000),
    music_length=st.integers(1, 20_000),
)
def test_any_mix_is_as_long_as_it_should_be_and_never_too_loud(
    times: list[float], level: float, depth: float, voice_length: int, music_length: int
) -> None:
    names = ("attack", "release", "before", "after", "fade_in", "fade_out")
    mix = Mix(music_level=level, ducking=depth, **dict(zip(names, times, strict=True)))
    noise = np.random.default_rng(1).normal(0, LEVEL, max(voice_length, music_length))
    heard = mixed(noise[:voice_length], noise[:music_length], mix)
    assert len(heard) == voice_length + round(mix.before * WIDE_RATE) + round(mix.after * WIDE_RATE)
    assert np.abs(heard).max() <= 10 ** (-3 / 20)
