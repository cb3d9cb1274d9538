"""Taking sounds in: every usual kind of file, one loudness, and a clear word when a file is of no use."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.foundation.errors import Invalid, NotFound, TryLater
from engine.prompts.catalogue import (
    exists,
    forms_of,
    install,
    keep,
    keep_samples,
    note_spoken,
    path_of,
    seconds,
    spoken,
    sweep,
    wide_samples,
)
from engine.prompts.telephone_sound import LEVEL, RATE, WIDE_RATE, active_level, alaw, read_wav
from engine.sandbox import g711
from engine.sandbox.sdp import Codec
from engine.settings import PRODUCT_FILES
from tests.tones import strongest, tone, write_audio

NOW = datetime(2026, 11, 21, tzinfo=UTC)


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
    assert all(file.stat().st_mode & 0o777 == 0o644 for file in forms_of(name, sounds))
    assert all(folder.stat().st_mode & 0o777 == 0o755 for folder in (sounds, sounds / "own"))
    assert sorted(path.name for path in (sounds / "own").iterdir()) == [
        name.removeprefix("own/") + form for form in (".alaw", ".wav", ".wav16")
    ]


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


def test_the_three_forms_are_the_same_sound(tmp_path: Path, sounds: Path) -> None:
    high = tone(1000, 1, 48_000, 0.3) + tone(6000, 1, 48_000, 0.3)
    name = keep(write_audio(tmp_path / "a.wav", high, rate=48_000), sounds, field="ringback")
    path = path_of(name, sounds)
    wide, narrow = read_wav(path.with_suffix(".wav16"), WIDE_RATE), read_wav(path)
    assert len(wide) == 2 * len(narrow) == pytest.approx(WIDE_RATE, abs=100)
    assert power(wide, 6000, WIDE_RATE) == pytest.approx(power(wide, 1000, WIDE_RATE), rel=0.1)
    assert power(narrow, 2000, RATE) < power(narrow, 1000, RATE) / 1e6  # where 6 kHz would be folded to
    carried = g711.decode(Codec.PCMA, path.with_suffix(".alaw").read_bytes()) / 32768
    error = carried - narrow
    assert 10 * np.log10(np.mean(narrow**2) / np.mean(error**2)) > 33  # what A-law itself loses


def power(samples: NDArray[np.float64], frequency: float, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    place = round(frequency * len(samples) / rate)
    return float(spectrum[place - 3 : place + 4].sum())


def test_a_law_is_within_half_a_step_of_every_sample_and_keeps_every_level() -> None:
    samples = np.arange(-32768, 32768)
    carried = g711.decode(Codec.PCMA, alaw(samples / 32768)).astype(int)
    assert (np.abs(carried - samples) <= np.maximum(8, np.abs(samples) / 32 + 1)).all()
    every = bytes(range(256))
    assert alaw(g711.decode(Codec.PCMA, every) / 32768) == every


def test_a_shipped_sound_gets_its_other_forms_when_it_is_installed(sounds: Path) -> None:
    install(PRODUCT_FILES / "prompts", sounds)
    path = path_of("ko/closed", sounds)
    assert len(wide_samples("ko/closed", sounds)) == 2 * len(read_wav(path))
    assert path.with_suffix(".alaw").stat().st_size == len(read_wav(path))
    path.with_suffix(".alaw").write_bytes(b"damaged")
    install(PRODUCT_FILES / "prompts", sounds)
    assert path.with_suffix(".alaw").stat().st_size == len(read_wav(path))


def test_a_sound_that_is_half_there_is_made_whole(tmp_path: Path, sounds: Path) -> None:
    file = write_audio(tmp_path / "a.wav", tone(700, 1))
    name = keep(file, sounds, field="ringback")
    path_of(name, sounds).unlink()  # as a power cut before the last form leaves it
    assert not exists(name, sounds)
    assert keep(file, sounds, field="ringback") == name
    assert len(forms_of(name, sounds)) == 3


def aged(path: Path, days: float) -> None:
    then = (NOW - timedelta(days=days)).timestamp()
    os.utime(path, (then, then))


def one_sound(tmp_path: Path, sounds: Path, frequency: int, days: float) -> str:
    name = keep(write_audio(tmp_path / f"{frequency}.wav", tone(frequency, 1)), sounds, field="ringback")
    aged(path_of(name, sounds), days)
    return name


def test_a_sweep_removes_what_is_old_and_used_by_nobody(tmp_path: Path, sounds: Path) -> None:
    install(PRODUCT_FILES / "prompts", sounds)
    used, unused = one_sound(tmp_path, sounds, 700, 90), one_sound(tmp_path, sounds, 800, 90)
    fresh = one_sound(tmp_path, sounds, 900, 1)
    assert sweep(sounds, {used}, NOW) == 1
    assert exists(used, sounds)
    assert exists(fresh, sounds)
    assert forms_of(unused, sounds) == []
    assert exists("ko/failed", sounds)
    assert sweep(sounds, set(), NOW + timedelta(days=60)) == 2


def test_a_sound_taken_in_again_is_as_new(tmp_path: Path, sounds: Path) -> None:
    name = one_sound(tmp_path, sounds, 700, 90)
    keep(tmp_path / "700.wav", sounds, field="ringback")
    assert sweep(sounds, set(), datetime.now(UTC)) == 0
    assert exists(name, sounds)


def test_what_is_spoken_in_calls_stays_and_what_no_longer_is_goes(tmp_path: Path, sounds: Path) -> None:
    often, seldom = one_sound(tmp_path, sounds, 700, 90), one_sound(tmp_path, sounds, 800, 90)
    for key, name in (("aa11", often), ("bb22", seldom)):
        note_spoken(key, name, sounds)
        aged(sounds / "spoken" / key[:2] / key, 40)
    assert spoken("aa11", sounds, NOW) == often  # which counts as use
    assert sweep(sounds, set(), NOW) == 1
    assert spoken("aa11", sounds, NOW) == often
    assert spoken("bb22", sounds, NOW) is None
    assert not (sounds / "spoken/bb/bb22").exists()


def test_a_damaged_note_counts_as_none(sounds: Path) -> None:
    note_spoken("aa11", "own/x", sounds)
    for content in (b"\xff\xff", b"../../secret", b""):
        (sounds / "spoken/aa/aa11").write_bytes(content)
        assert spoken("aa11", sounds, NOW) is None


def test_samples_are_kept_as_they_are(sounds: Path) -> None:
    quiet = np.sin(np.arange(WIDE_RATE) / 10) / 100
    name = keep_samples(quiet, sounds)
    assert np.abs(wide_samples(name, sounds) - quiet).max() < 1 / 32768


def test_one_sound_is_taken_in_by_several_at_once(sounds: Path) -> None:
    samples = np.sin(np.arange(WIDE_RATE) / 10) / 100
    with ThreadPoolExecutor(8) as threads:
        (name,) = set(threads.map(lambda _: keep_samples(samples, sounds), range(24)))
    assert len(forms_of(name, sounds)) == 3
    assert len(list((sounds / "own").iterdir())) == 3


def test_a_folder_that_takes_no_sounds_is_said_so(tmp_path: Path, sounds: Path) -> None:
    sounds.write_text("in the way")
    with pytest.raises(TryLater, match="sounds: their folder takes none"):
        keep_samples(np.sin(np.arange(WIDE_RATE) / 10) / 100, sounds)
