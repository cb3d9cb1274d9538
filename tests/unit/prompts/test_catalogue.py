"""Taking sounds in: every usual kind of file, one loudness, and a clear word when a file is of no use."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from engine.foundation.errors import Invalid, NotFound
from engine.prompts.catalogue import exists, install, keep, path_of, seconds
from engine.prompts.telephone_sound import LEVEL, active_level, read_wav
from engine.settings import PRODUCT_FILES
from tests.tones import strongest, tone, write_audio


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return tmp_path / "sounds"


@pytest.mark.parametrize(
    ("ending", "codec", "rate"),
    [
        ("wav", "pcm_s16le", 44_100),
        ("wav", "pcm_alaw", 8000),
        ("mp3", "mp3", 44_100),
        ("ogg", "libopus", 48_000),
        ("m4a", "aac", 44_100),
        ("flac", "flac", 96_000),
    ],
)
def test_any_usual_kind_of_file_becomes_telephone_sound(
    tmp_path: Path, sounds: Path, ending: str, codec: str, rate: int
) -> None:
    file = write_audio(tmp_path / f"a.{ending}", tone(1000, 2, rate), codec=codec, rate=rate)
    name = keep(file, sounds, field="ringback")
    kept = read_wav(path_of(name, sounds))
    assert strongest(kept[800:-800]) == pytest.approx(1000, abs=3)
    assert seconds(name, sounds) == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("loudness", [0.01, 0.1, 0.99])
def test_loud_and_soft_files_come_to_the_same_level(tmp_path: Path, sounds: Path, loudness: float) -> None:
    file = write_audio(tmp_path / "a.wav", tone(700, 1, loudness=loudness))
    kept = read_wav(path_of(keep(file, sounds, field="ringback"), sounds))
    assert active_level(kept) == pytest.approx(LEVEL, rel=0.02)


def test_pauses_do_not_count_towards_the_level(tmp_path: Path, sounds: Path) -> None:
    samples = np.concatenate([tone(700, 0.5), np.zeros(16_000, np.int16), tone(700, 0.5)])
    kept = read_wav(path_of(keep(write_audio(tmp_path / "a.wav", samples), sounds, field="ringback"), sounds))
    assert active_level(kept[:4000]) == pytest.approx(LEVEL, rel=0.03)


def test_one_click_neither_clips_nor_makes_the_rest_soft(tmp_path: Path, sounds: Path) -> None:
    samples = tone(700, 1, loudness=0.02)
    samples[4000] = 32767
    kept = read_wav(path_of(keep(write_audio(tmp_path / "a.wav", samples), sounds, field="ringback"), sounds))
    assert np.abs(kept).max() < 0.71
    assert active_level(kept[:3900]) > LEVEL / 1.5


def test_the_same_sound_gets_the_same_name_and_another_one_another(tmp_path: Path, sounds: Path) -> None:
    first = keep(write_audio(tmp_path / "a.wav", tone(700, 1)), sounds, field="ringback")
    again = keep(write_audio(tmp_path / "b.wav", tone(700, 1)), sounds, field="whisper")
    other = keep(write_audio(tmp_path / "c.wav", tone(800, 1)), sounds, field="ringback")
    assert first == again != other
    assert first.startswith("own/")


def test_kept_files_are_readable_by_asterisk_and_nothing_half_done_is_left(tmp_path: Path, sounds: Path) -> None:
    former = os.umask(0o077)
    try:
        name = keep(write_audio(tmp_path / "a.wav", tone(700, 1)), sounds, field="ringback")
    finally:
        os.umask(former)
    assert path_of(name, sounds).stat().st_mode & 0o777 == 0o644
    assert all(folder.stat().st_mode & 0o777 == 0o755 for folder in (sounds, sounds / "own"))
    assert [path.name for path in (sounds / "own").iterdir()] == [f"{name.removeprefix('own/')}.wav"]


def bad_files(folder: Path) -> dict[str, Path]:
    (folder / "folder").mkdir()
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.mp3").write_text("this is no music\n" * 50)
    good = write_audio(folder / "good.wav", tone(700, 1))
    (folder / "list.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\n{good}\n#EXT-X-ENDLIST\n")
    (folder / "list.ffconcat").write_text(f"ffconcat version 1.0\nfile '{good}'\n")
    os.mkfifo(folder / "pipe")
    return {
        "there is no file": folder / "missing.wav",
        "is a folder": folder / "folder",
        "it is empty": folder / "empty.wav",
        "not an audio file": folder / "text.mp3",
        "not an audio file that": folder / "list.m3u8",
        "not an audio file that can": folder / "list.ffconcat",
        "no ordinary file": folder / "pipe",
        "embedded null byte": folder / "a\0b",
        "shorter than 0.2 s": write_audio(folder / "short.wav", tone(700, 0.1)),
        "longer than 300 s": write_audio(folder / "long.wav", np.tile(tone(700, 1), 301)),
        "only silence": write_audio(folder / "silent.wav", np.zeros(8000, np.int16)),
    }


def test_useless_files_are_refused_with_one_sentence_and_nothing_is_written(tmp_path: Path, sounds: Path) -> None:
    for reason, file in bad_files(tmp_path).items():
        with pytest.raises(Invalid) as refused:
            keep(file, sounds, field="--ringback")
        sentence = str(refused.value)
        assert reason in sentence
        assert sentence.startswith("--ringback: ")
        assert str(file) in sentence
        assert "\n" not in sentence
    assert not sounds.exists()


def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path, sounds: Path) -> None:
    file = write_audio(tmp_path / "a.wav", tone(700, 1))
    file.chmod(0)
    root = os.geteuid() == 0
    if root:
        for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
            parent.chmod(0o755)
        os.seteuid(65534)
    try:
        with pytest.raises(Invalid, match=r"may not be read by this user; change its permissions"):
            keep(file, sounds, field="whisper")
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("name", ["../secret", "ko/../../x", "/etc/passwd", "ko", "ko/failed.wav", "ko/a b", ""])
def test_what_is_no_name_never_becomes_a_path(sounds: Path, name: str) -> None:
    with pytest.raises(Invalid):
        path_of(name, sounds)


def test_shipped_sounds_are_installed_once_and_mended_when_they_differ(sounds: Path) -> None:
    install(PRODUCT_FILES / "prompts", sounds)
    assert exists("ko/not-in-service", sounds)
    before = (sounds / "ko/failed.wav").stat()
    (sounds / "ko/no-engine.wav").write_bytes(b"damaged")
    install(PRODUCT_FILES / "prompts", sounds)
    assert seconds("ko/no-engine", sounds) > 1
    assert (sounds / "ko/failed.wav").stat().st_ino == before.st_ino


def test_the_length_of_a_missing_or_foreign_sound_is_not_guessed(sounds: Path) -> None:
    with pytest.raises(NotFound, match="set the sound again"):
        seconds("own/none", sounds)
    (sounds / "own").mkdir(parents=True)
    write_audio(sounds / "own/foreign.wav", tone(700, 1, 44_100), rate=44_100)
    with pytest.raises(NotFound, match="8 kHz"):
        seconds("own/foreign", sounds)
