"""Finished recordings are waited for, checked, and sealed once and whole."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from uuid import UUID

import pytest

from engine.foundation.errors import TryLater
from engine.foundation.ids import new_id
from engine.recordings.archive import header_of
from engine.recordings.keep import GIVE_UP_SECONDS, Left, alone, digest_of, finished_sound, shortfall, write_sealed
from engine.recordings.model import RecordingKind, call_and_kind, file_name
from engine.recordings.sealed import Damaged, Header, SealedFile
from engine.recordings.sound import NoSound, Sound, raw_stereo
from tests.sounds_left import age, leave, leave_wav, talk, voice

ARRIVED = datetime(2026, 11, 2, 3, 4, 5, tzinfo=UTC)
CALL = new_id(ARRIVED)
KEY = b"k" * 32
HEADER = Header.fresh(UUID(int=1), CALL, RecordingKind.TALK, 1)


def looked_at(path: Path, kind: RecordingKind = RecordingKind.TALK, expected: float | None = None) -> Sound:
    return finished_sound(Left(str(CALL), kind, (path,), expected), path)


def test_a_file_that_still_grows_is_left_alone(tmp_path: Path) -> None:
    leave(tmp_path / "a.raw", talk(3.0), quiet=0.0)
    with pytest.raises(TryLater, match="still being recorded"):
        looked_at(tmp_path / "a.raw", expected=3.0)


@pytest.mark.parametrize("seconds", [1.0, 6.0])
def test_a_file_of_another_length_is_waited_for_and_then_taken_as_it_is(seconds: float, tmp_path: Path) -> None:
    leave(tmp_path / "a.raw", talk(seconds), quiet=5.0)
    with pytest.raises(TryLater, match="not complete"):
        looked_at(tmp_path / "a.raw", expected=3.0)
    age(tmp_path / "a.raw", GIVE_UP_SECONDS + 1)
    assert looked_at(tmp_path / "a.raw", expected=3.0).seconds == seconds


@pytest.mark.parametrize("seconds", [2.0, 3.0, 4.0])
def test_a_file_within_a_second_of_the_talk_is_taken_at_once(seconds: float, tmp_path: Path) -> None:
    leave(tmp_path / "a.raw", talk(seconds), quiet=5.0)
    assert looked_at(tmp_path / "a.raw", expected=3.0).seconds == seconds


def test_what_is_missing_is_said_in_words_for_the_record() -> None:
    assert shortfall(1.25, 3.0) == "1.2 s were recorded, 3.0 s were expected"
    assert shortfall(2.25, 3.0) == shortfall(99.0, None) == ""


def test_a_file_without_sound_is_told(tmp_path: Path) -> None:
    leave(tmp_path / "a.raw", b"\1\2\3")
    with pytest.raises(NoSound, match="Asterisk recorded no sound"):
        looked_at(tmp_path / "a.raw", expected=3.0)


@pytest.mark.parametrize(
    ("sound", "reason"),
    [
        (voice(0.9), r"left no message: 0\.9 s"),
        (voice(5.0, loud=0.0), "only silence"),
        (voice(5.0, loud=50.0), "only silence"),
        (voice(0.2) + voice(4.0, loud=0.0), "only silence"),
    ],
)
def test_a_voicemail_in_which_nobody_speaks_is_none(tmp_path: Path, sound: bytes, reason: str) -> None:
    leave_wav(tmp_path / "a.voicemail.wav", sound)
    with pytest.raises(NoSound, match=reason):
        looked_at(tmp_path / "a.voicemail.wav", RecordingKind.VOICEMAIL)


def test_a_voicemail_is_taken_in_either_form(tmp_path: Path) -> None:
    leave_wav(tmp_path / "a.voicemail.wav", voice(2.0))
    leave(tmp_path / "a.voicemail.raw", talk(2.0))
    for name in ("a.voicemail.wav", "a.voicemail.raw"):
        sound = looked_at(tmp_path / name, RecordingKind.VOICEMAIL)
        assert (sound.seconds, sound.channels_out) == (2.0, 1)


def sealed_at(path: Path, seconds: float = 3.0) -> bytes:
    """Seals a talk; the WAV that must be inside."""
    raw = path.parent.parent / "a.raw"
    leave(raw, talk(seconds))
    sound = raw_stereo(raw)
    sealed = write_sealed(sound, HEADER, KEY, path)
    assert sealed.size == path.stat().st_size
    assert sealed.sha256 == digest_of(path, HEADER, KEY)
    return b"".join(sound.wav())


def test_a_sealed_file_is_whole_its_owners_alone_and_alone_in_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "2026" / "a.wav.enc"
    wav = sealed_at(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]
    assert header_of(path) == HEADER
    with path.open("rb") as file:
        assert b"".join(SealedFile(file, HEADER, KEY).pieces()) == wav


def test_sealing_again_replaces_it(tmp_path: Path) -> None:
    path = tmp_path / "2026" / "a.wav.enc"
    sealed_at(path, 3.0)
    sealed_at(path, 4.0)
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_no_part_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    (tmp_path / "2026").mkdir()
    with pytest.raises(OSError, match=os.strerror(28)):
        sealed_at(tmp_path / "2026" / "a.wav.enc")
    assert list((tmp_path / "2026").iterdir()) == []


def test_a_disk_that_gives_back_something_else_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = os.fsync

    def spoil(descriptor: int) -> None:
        flush(descriptor)
        if os.fstat(descriptor).st_size > 100 and not stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.pwrite(descriptor, b"\0\0\0\0", 200)

    monkeypatch.setattr(os, "fsync", spoil)
    (tmp_path / "2026").mkdir()
    with pytest.raises((OSError, Damaged)):
        sealed_at(tmp_path / "2026" / "a.wav.enc")
    assert list((tmp_path / "2026").iterdir()) == []


def test_of_two_workers_one_has_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    leave(path, b"sound")
    with alone(path) as there:
        assert there
        with pytest.raises(TryLater, match="another worker"), alone(path):
            pass
        path.unlink()
    with alone(path) as there:
        assert not there


@pytest.mark.parametrize("kind", RecordingKind)
def test_a_name_says_day_call_and_kind(kind: RecordingKind) -> None:
    seoul = timezone(timedelta(hours=9))
    name = file_name(CALL, kind, datetime(2026, 11, 3, 8, 59, tzinfo=seoul))
    assert name.startswith(f"2026/11/02/{CALL}")
    assert call_and_kind(name) == (CALL, kind)
    for wrong in (f"{CALL}", f"{CALL}.wav", "a.wav.enc", "", f".{CALL}.wav.enc.0.part"):
        assert call_and_kind(wrong) is None
