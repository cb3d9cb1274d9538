"""Music classes: made once, whoever asks, and new when their sound changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.foundation.errors import Invalid, NotFound, TryLater
from engine.prompts.catalogue import keep, path_of
from engine.prompts.music import Music
from engine.settings import PRODUCT_FILES
from tests.tones import tone, write_audio

NOW = datetime(2026, 11, 21, tzinfo=UTC)
SCHEMA = (PRODUCT_FILES / "asterisk-conf" / "music.sql").read_text("utf-8")


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    return tmp_path / "sounds"


@pytest.fixture
def sound(tmp_path: Path, sounds: Path) -> str:
    return keep(write_audio(tmp_path / "a.wav", tone(700, 1)), sounds, field="ringback")


def music_of(tmp_path: Path) -> Music:
    return Music(tmp_path / "music.sqlite3", tmp_path / "sounds", SCHEMA)


def rows(tmp_path: Path) -> list[tuple[str, str, str]]:
    with closing(sqlite3.connect(tmp_path / "music.sqlite3")) as database:
        return list(database.execute("SELECT name, mode, directory FROM musiconhold ORDER BY name"))


def test_a_class_is_a_row_and_a_folder_with_that_one_sound(tmp_path: Path, sounds: Path, sound: str) -> None:
    name = music_of(tmp_path).ensure(sound)
    assert rows(tmp_path) == [(name, "files", str(sounds / "music" / name))]
    folder = sounds / "music" / name
    assert sorted(file.name for file in folder.iterdir()) == ["sound.alaw", "sound.wav", "sound.wav16"]
    for file in folder.iterdir():
        assert file.read_bytes() == path_of(sound, sounds).with_suffix(file.suffix).read_bytes()
        assert file.stat().st_mode & 0o777 == 0o644
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_list_is_a_folder_whose_names_have_its_order(tmp_path: Path, sounds: Path, sound: str) -> None:
    other = keep(write_audio(tmp_path / "b.wav", tone(900, 1)), sounds, field="ringback")
    music = music_of(tmp_path)
    name = music.ensure((other, sound, other))
    files = sorted((sounds / "music" / name).glob("*.wav"))
    assert [file.read_bytes() for file in files] == [
        path_of(each, sounds).read_bytes() for each in (other, sound, other)
    ]
    assert [file.name[:4] for file in files] == ["000-", "001-", "002-"]
    assert len(list((sounds / "music" / name).iterdir())) == 9
    assert music.ensure((sound, other, other)) != name == music_of(tmp_path).ensure((other, sound, other))
    assert music.ensure((sound,)) == music.ensure(sound)


@pytest.mark.parametrize("sounds_of_list", [(), ("own/x",) * 101])
def test_a_list_of_none_or_too_many_is_refused(tmp_path: Path, sounds_of_list: tuple[str, ...]) -> None:
    with pytest.raises(Invalid, match="1 to 100"):
        music_of(tmp_path).ensure(sounds_of_list)


async def test_one_missing_sound_of_a_list_is_told(tmp_path: Path, sound: str) -> None:
    with pytest.raises(NotFound, match="own/none"):
        await music_of(tmp_path).music_class((sound, "own/none"))


def test_a_form_that_came_later_makes_a_class_of_its_own(tmp_path: Path, sounds: Path, sound: str) -> None:
    form = path_of(sound, sounds).with_suffix(".alaw")
    away = form.rename(tmp_path / "away")
    music = music_of(tmp_path)
    without = music.ensure(sound)
    away.rename(form)
    assert music.ensure(sound) != without


def test_asking_again_and_from_another_process_changes_nothing(tmp_path: Path, sound: str) -> None:
    music = music_of(tmp_path)
    assert music.ensure(sound) == music.ensure(sound) == music_of(tmp_path).ensure(sound)
    assert len(rows(tmp_path)) == 1


def test_many_at_once_make_one_class(tmp_path: Path, sounds: Path, sound: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(lambda _: music_of(tmp_path).ensure(sound), range(16)))
    assert len(names) == 1
    assert [path.name for path in (sounds / "music").iterdir()] == [*names]
    assert len(rows(tmp_path)) == 1


def test_a_changed_file_is_a_new_class_and_the_old_one_stays(tmp_path: Path, sounds: Path, sound: str) -> None:
    music = music_of(tmp_path)
    former = music.ensure(sound)
    other = keep(write_audio(tmp_path / "b.wav", tone(900, 1)), sounds, field="ringback")
    path_of(other, sounds).replace(path_of(sound, sounds))
    changed = music.ensure(sound)
    assert changed != former
    assert len(rows(tmp_path)) == 2
    kept = {(sounds / "music" / name / "sound.wav").read_bytes() for name in (former, changed)}
    assert len(kept) == 2


def test_a_class_follows_the_sounds_folder_when_that_has_moved(tmp_path: Path, sounds: Path, sound: str) -> None:
    name = music_of(tmp_path).ensure(sound)
    sounds.rename(tmp_path / "moved")
    assert Music(tmp_path / "music.sqlite3", tmp_path / "moved", SCHEMA).ensure(sound) == name
    assert rows(tmp_path) == [(name, "files", str(tmp_path / "moved" / "music" / name))]


def test_a_sweep_removes_classes_that_have_been_unused_for_a_day(tmp_path: Path, sounds: Path, sound: str) -> None:
    other = keep(write_audio(tmp_path / "b.wav", tone(900, 1)), sounds, field="ringback")
    music = music_of(tmp_path)
    single, several = music.ensure(sound), music.ensure((sound, other))
    used: list[str | tuple[str, ...]] = [(sound, other), "own/gone"]
    assert music.sweep(used, NOW) == 0
    assert music.sweep(used, NOW + timedelta(hours=23)) == 0
    assert music.sweep(used, NOW + timedelta(hours=24)) == 1
    assert [row[0] for row in rows(tmp_path)] == [several]
    assert [path.name for path in (sounds / "music").iterdir()] == [several]
    assert music.ensure(sound) == single  # though this process has made it before
    assert (sounds / "music" / single / "sound.wav").is_file()
    assert len(rows(tmp_path)) == 2


def test_a_class_that_is_used_again_starts_its_grace_anew(tmp_path: Path, sound: str) -> None:
    music = music_of(tmp_path)
    music.ensure(sound)
    assert music.sweep([], NOW) == 0
    assert music.sweep([sound], NOW + timedelta(hours=12)) == 0
    assert music.sweep([], NOW + timedelta(hours=30)) == 0
    assert music.sweep([], NOW + timedelta(hours=54)) == 1


async def test_a_missing_sound_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="own/none"):
        await music_of(tmp_path).music_class("own/none")


async def test_a_known_class_needs_no_database(tmp_path: Path, sound: str) -> None:
    music = music_of(tmp_path)
    name = await music.music_class(sound)
    (tmp_path / "music.sqlite3").unlink()
    assert await music.music_class(sound) == name


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[None]:
    with closing(sqlite3.connect(tmp_path / "music.sqlite3")) as database:
        database.execute("BEGIN EXCLUSIVE")
        yield


@pytest.mark.usefixtures("locked")
def test_a_locked_table_is_told_after_a_short_wait(tmp_path: Path, sound: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.prompts.music._BUSY_SECONDS", 0.05)
    with pytest.raises(TryLater, match=r"music\.sqlite3: database is locked"):
        music_of(tmp_path).ensure(sound)


def test_a_table_or_folder_that_cannot_be_used_is_told_as_try_later(tmp_path: Path, sounds: Path, sound: str) -> None:
    (tmp_path / "music.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(TryLater, match=r"music\.sqlite3"):
        music_of(tmp_path).ensure(sound)
    (sounds / "music").rename(tmp_path / "away")
    (sounds / "music").write_bytes(b"")
    with pytest.raises(TryLater, match="ringback folder"):
        music_of(tmp_path).ensure(sound)
