"""The sounds in prompts/: every text has its sound, of the right kind and level, made from the text as it is now."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from engine.prompts.speech.espeak import find_espeak
from engine.prompts.spoken_korean import spelled_out
from engine.prompts.telephone_sound import LEVEL, RATE, active_level, read_wav
from engine.routing import call_plan, plan
from engine.settings import PRODUCT_FILES, read_settings
from tests.tones import strongest

PROMPTS = PRODUCT_FILES / "prompts"
SOUNDS = PROMPTS / "sounds"
ROOT = Path(__file__).parent.parent.parent.parent
TEXTS = tomllib.loads((PROMPTS / "texts.toml").read_text("utf-8"))
TONES = ("ko/ringback-tone", "ko/beep", "demo/ringback")
NAMES = sorted([*TEXTS, *TONES])


def test_every_sound_file_has_a_text_or_is_a_tone() -> None:
    files = [str(path.relative_to(SOUNDS).with_suffix("")) for path in SOUNDS.rglob("*.wav")]
    assert sorted(files) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_sound_is_telephone_sound_at_the_level_of_prompts(name: str) -> None:
    sound = read_wav(SOUNDS / f"{name}.wav")
    assert len(sound) > 0.3 * RATE
    assert 20 * np.log10(active_level(sound) / LEVEL) == pytest.approx(0, abs=0.5)
    assert np.abs(sound).max() < 10 ** (-3 / 20)
    assert abs(sound.mean()) < 0.002


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_speech_begins_and_ends_without_dead_air(name: str) -> None:
    sound = read_wav(SOUNDS / f"{name}.wav")
    for edge in (sound[: RATE // 5], sound[-RATE // 5 :]):
        assert active_level(edge) > LEVEL / 10


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_the_sound_was_made_from_the_text_as_it_is_now(name: str) -> None:
    made = json.loads((SOUNDS / "made.json").read_text())
    told = hashlib.sha256(TEXTS[name]["text"].encode()).hexdigest()
    assert made.get(name) == told, f"the text of {name} changed; run prompts/make-prompts"


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_texts_are_korean_with_every_number_spelled_out(name: str) -> None:
    assert re.fullmatch(r"[가-힣 ,.]+", TEXTS[name]["text"])
    assert TEXTS[name]["english"]


@pytest.mark.parametrize(
    ("name", "longest"),
    [
        (plan.RECORDING_NOTICE_TO_CALLER, 2.2),
        (call_plan.RECORDING_NOTICE_TO_TARGET, 2.2),
        ("ko/connecting", 1.2),
        ("ko/store-info-notice", 3.3),
        ("ko/press-1-to-accept", 3.0),
        ("ko/fee-notice", 3.5),
        ("ko/listening-notice", 4.2),
        ("demo/whisper", 2.5),
        ("demo/whisper-short", 2.5),
    ],
)
def test_what_delays_the_talk_is_short(name: str, longest: float) -> None:
    assert len(read_wav(SOUNDS / f"{name}.wav")) / RATE <= longest


def test_every_sound_that_the_engine_names_is_shipped() -> None:
    code = "".join(file.read_text("utf-8") for file in (ROOT / "engine").rglob("*.py"))
    named = set(re.findall(r'= "((?:ko|demo)/[a-z0-9-]+)"', code))
    assert {plan.NOT_IN_SERVICE, plan.STANDARD_RINGBACK} <= named <= set(NAMES)


def test_the_ringing_tone_is_the_korean_one() -> None:
    tone = read_wav(SOUNDS / "ko/ringback-tone.wav")
    assert len(tone) == 3 * RATE
    spectrum = np.abs(np.fft.rfft(tone[:RATE]))
    assert sorted(np.argsort(spectrum)[-2:]) == [440, 480]
    assert not tone[RATE:].any()


def test_the_beep_is_a_clean_tone() -> None:
    beep = read_wav(SOUNDS / "ko/beep.wav")
    assert len(beep) / RATE == pytest.approx(0.4)
    assert strongest(beep) == pytest.approx(1000, abs=3)


def test_the_store_information_notice_says_exactly_the_fixed_text() -> None:
    assert TEXTS["ko/store-info-notice"]["text"] == "통화가 끝나면 가게정보가 문자로 발송됩니다."


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_the_texts_need_no_reading_of_numbers(name: str) -> None:
    assert spelled_out(TEXTS[name]["text"]) == TEXTS[name]["text"]


def test_the_demo_ringback_goes_round_without_a_click() -> None:
    tune = read_wav(SOUNDS / "demo/ringback.wav")
    assert 6 <= len(tune) / RATE <= 8
    steepest = np.abs(np.diff(tune)).max()
    assert abs(tune[0] - tune[-1]) <= steepest
    around = np.concatenate([tune[-400:], tune[:400]])
    assert np.abs(np.diff(around)).max() <= steepest
    assert 200 < strongest(tune) < 1500


def test_making_the_sounds_again_gives_the_same_bytes(tmp_path: Path) -> None:
    espeak = str(find_espeak(read_settings().asterisk_files, os.environ.get("ESPEAK", "")))
    for turn in ("first", "second"):
        command = [sys.executable, str(PROMPTS / "make-prompts"), "--espeak", espeak, str(tmp_path / turn)]
        subprocess.run(command, check=True, capture_output=True)
    for file in (tmp_path / "first").rglob("*.*"):
        assert file.read_bytes() == (tmp_path / "second" / file.relative_to(tmp_path / "first")).read_bytes()
    assert len(list((tmp_path / "second").rglob("*.wav"))) == len(NAMES)


def test_without_espeak_the_script_says_what_is_missing(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, PROMPTS / "make-prompts", "--espeak", "/no/espeak-ng", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 1
    assert told.stderr == "make-prompts: there is no /no/espeak-ng: install espeak-ng or name it with --espeak\n"
