"""`dari prompt` on a real database, spoken by the real espeak-ng."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.prompts.catalogue import exists, path_of
from engine.prompts.telephone_sound import WIDE_RATE, read_wav
from engine.settings import read_settings
from tests.command_line import Dari, refused
from tests.tones import strongest, tone, write_audio


@pytest.fixture
def greeting(tmp_path: Path) -> Path:
    return write_audio(tmp_path / "greeting.mp3", tone(700, 2, 44_100), codec="mp3", rate=44_100)


def test_a_recording_is_added_listed_and_played_back(dari: Dari, greeting: Path, tmp_path: Path) -> None:
    added = dari("prompt", "add", "인사말", greeting)
    assert added.code == 0
    assert added.out.startswith("prompt 인사말: version 1, 2.")
    (listed,) = dari("prompt", "list", "--json").objects
    assert listed["name"] == "인사말"
    assert listed["current"]["source"] == "greeting.mp3"
    assert exists(listed["current"]["sound"], tmp_path / "home/sounds")
    assert "greeting.mp3" in dari("prompt", "list").out
    assert dari("prompt", "play", "인사말", "--out", tmp_path / "out.wav").code == 0
    assert strongest(read_wav(tmp_path / "out.wav", WIDE_RATE), WIDE_RATE) == pytest.approx(700, abs=3)


def test_a_text_is_spoken_mixed_and_an_earlier_version_used_again(dari: Dari, tmp_path: Path) -> None:
    spoken = dari("prompt", "speak", "welcome", "영업시간은 10~20시입니다.", "--json").objects[0]
    assert (spoken["version"], spoken["origin"], spoken["voice"]) == (1, "speech", "espeak/ko")
    assert spoken["seconds"] > 1
    music = write_audio(tmp_path / "tune.wav", tone(440, 1))
    mixed = dari(
        *("prompt", "mix", "welcome", "--music", music, "--text", "안녕하세요", "--before", "0.5", "--after", "1"),
        *("--music-level", "-10", "--ducking", "20", "--json"),
    ).objects[0]
    assert (mixed["version"], mixed["origin"], mixed["music"]) == (2, "mix", "tune.wav")
    heard = read_wav(path_of(mixed["sound"], tmp_path / "home/sounds"))
    assert strongest(heard[-6000:-2000]) == pytest.approx(440, abs=5)
    own = dari("prompt", "mix", "welcome", "--music", music, "--voice-file", music, "--json").objects[0]
    assert (own["version"], own["voice"], own["source"]) == (3, None, "tune.wav")
    assert dari("prompt", "use", "welcome", "1").out == "prompt welcome: version 1 is played from now on\n"
    versions = dari("prompt", "versions", "welcome", "--json").objects
    assert [version["version"] for version in versions] == [1, 2, 3]
    assert "over tune.wav" in dari("prompt", "versions", "welcome").out
    assert dari("prompt", "remove", "welcome", "--version", "3").out == "prompt welcome: version 3 removed\n"
    assert len(dari("prompt", "versions", "welcome", "--json").objects) == 2
    assert dari("prompt", "remove", "welcome").code == 0
    assert dari("prompt", "list").err.startswith("no prompts yet")


def test_the_same_text_is_the_same_sound(dari: Dari) -> None:
    first, second = (dari("prompt", "speak", name, "안녕하세요", "--json").objects[0] for name in ("a", "b"))
    assert first["sound"] == second["sound"]


def test_accounts_have_their_own(dari: Dari, greeting: Path) -> None:
    dari("prompt", "add", "greeting", greeting, "--account", "shop")
    assert dari("prompt", "list", "--json").objects == []
    assert len(dari("prompt", "list", "--account", "shop", "--json").objects) == 1


def test_what_cannot_be_done_is_refused_in_one_sentence(dari: Dari, greeting: Path, tmp_path: Path) -> None:
    dari("prompt", "add", "greeting", greeting)
    for arguments, words in (
        (("add", "x", "/nowhere.wav"), ("file: ", "/nowhere.wav")),
        (("add", "a/b", greeting), ("prompt: ", "slash")),
        (("speak", "x", "..."), ("text: ",)),
        (("speak", "x", "안녕", "--voice", "nobody"), ("voice nobody", "there is espeak")),
        (("mix", "x", "--music", greeting), ("--voice-file", "--text")),
        (("mix", "x", "--music", greeting, "--voice-file", greeting, "--voice", "espeak"), ("--voice",)),
        (("mix", "x", "--music", "/nowhere.wav", "--voice-file", greeting), ("music: ", "/nowhere.wav")),
        (("mix", "x", "--music", greeting, "--text", "안녕", "--ducking", "99"), ("mix: ",)),
        (("versions", "x"), ("not in this account",)),
        (("use", "greeting", "2"), ("no version 2",)),
        (("remove", "greeting", "--version", "1"), ("current one",)),
        (("play", "greeting", "--out", tmp_path / "no/folder.wav"), ("folder.wav",)),
    ):
        refused(dari("prompt", *arguments), *words)
    assert [listed["name"] for listed in dari("prompt", "list", "--json").objects] == ["greeting"]


def test_without_a_speaker_recordings_still_work(
    dari: Dari, greeting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("DARI_ASTERISK_FILES", str(tmp_path))
    refused(dari("prompt", "speak", "x", "안녕"), "espeak-ng", "get-asterisk")
    assert dari("prompt", "add", "x", greeting).code == 0
    assert dari("prompt", "mix", "x", "--music", greeting, "--voice-file", greeting).code == 0


def test_the_level_of_a_prompt_is_that_of_all_prompts(dari: Dari, tmp_path: Path) -> None:
    sound = dari("prompt", "speak", "x", "안녕하세요", "--json").objects[0]["sound"]
    heard = read_wav(path_of(sound, read_settings().paths.sounds))
    assert 0.03 < np.sqrt(np.mean(heard**2)) < 0.15
