"""Finished recordings are kept once and whole."""

from __future__ import annotations

import os
import stat
import time
import wave
from array import array
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from engine.foundation.errors import TryLater
from engine.foundation.ids import new_id
from engine.recordings.keep import GIVE_UP_SECONDS, Kept, NotRecorded, keep, recording_name

ARRIVED = datetime(2026, 11, 2, 3, 4, 5, tzinfo=UTC)
CALL = new_id(ARRIVED)
NAME = f"2026/11/02/{CALL}.wav"


class Recorder:
    """Leaves files as Asterisk does."""

    def __init__(self, folder: Path) -> None:
        self.raw = folder / "monitor" / f"{CALL}.raw"
        self.folder = folder / "recordings"
        self.raw.parent.mkdir()

    def leave(self, seconds: float, *, quiet: float = 5.0, extra: bytes = b"") -> bytes:
        """A file of that length, the caller's samples counting up and the target's down, unchanged for `quiet` s."""
        samples = array("h")
        for n in range(int(seconds * 8000)):
            samples.append(n % 30_000)
            samples.append(-(n % 30_000))
        self.raw.write_bytes(samples.tobytes() + extra)
        then = time.time() - quiet
        os.utime(self.raw, (then, then))
        return samples.tobytes()

    async def keep(self, expected_seconds: float) -> Kept:
        return await keep(self.raw, self.folder, CALL, ARRIVED, expected_seconds)

    def files(self) -> list[str]:
        return [str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file()]


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    return Recorder(tmp_path)


def _sound(path: Path) -> tuple[tuple[int, int, int], bytes]:
    with wave.open(str(path), "rb") as sound:
        parameters = sound.getnchannels(), sound.getsampwidth(), sound.getframerate()
        return parameters, sound.readframes(sound.getnframes())


async def test_a_complete_recording_becomes_a_stereo_wav_and_the_raw_file_goes(recorder: Recorder) -> None:
    sound = recorder.leave(3.0)
    assert await recorder.keep(2.5) == Kept(NAME, 3.0, "")
    assert _sound(recorder.folder / NAME) == ((2, 2, 8000), sound)
    assert stat.S_IMODE((recorder.folder / NAME).stat().st_mode) == 0o600
    assert not recorder.raw.exists()
    assert recorder.files() == [NAME]


async def test_keeping_again_changes_nothing(recorder: Recorder) -> None:
    recorder.leave(3.0)
    first = await recorder.keep(3.0)
    assert await recorder.keep(3.0) == first
    assert recorder.files() == [NAME]


async def test_a_run_that_was_cut_off_is_made_good(recorder: Recorder) -> None:
    sound = recorder.leave(3.0)
    kept = recorder.folder / NAME
    kept.parent.mkdir(parents=True)
    kept.with_name(f".{kept.name}.part").write_bytes(b"half a file")
    kept.write_bytes(b"an older one")
    await recorder.keep(3.0)
    assert _sound(kept)[1] == sound
    assert recorder.files() == [NAME]


async def test_a_file_that_still_grows_is_left_alone(recorder: Recorder) -> None:
    recorder.leave(3.0, quiet=0.0)
    with pytest.raises(TryLater, match="still being recorded"):
        await recorder.keep(3.0)
    assert recorder.raw.exists()


@pytest.mark.parametrize("seconds", [1.0, 6.0])
async def test_a_file_of_another_length_is_waited_for_and_then_kept_with_the_reason(
    seconds: float, recorder: Recorder
) -> None:
    recorder.leave(seconds)
    with pytest.raises(TryLater, match="not complete"):
        await recorder.keep(3.0)
    recorder.leave(seconds, quiet=GIVE_UP_SECONDS + 1)
    kept = await recorder.keep(3.0)
    assert kept == Kept(NAME, seconds, f"{seconds} s were recorded, 3.0 s were expected")
    assert await recorder.keep(3.0) == kept


async def test_no_file_is_told_in_words_for_the_record(recorder: Recorder) -> None:
    with pytest.raises(NotRecorded) as told:
        await recorder.keep(3.0)
    assert told.value.reason == "Asterisk left no recording"
    assert str(CALL) in str(told.value)


async def test_a_file_without_sound_is_told_and_removed(recorder: Recorder) -> None:
    recorder.leave(0.0, quiet=GIVE_UP_SECONDS + 1)
    with pytest.raises(NotRecorded, match="no sound"):
        await recorder.keep(3.0)
    assert not recorder.raw.exists()
    assert recorder.folder.exists() is False


async def test_half_a_frame_at_the_end_is_dropped(recorder: Recorder) -> None:
    sound = recorder.leave(3.0, extra=b"\1\2\3")
    assert (await recorder.keep(3.0)).seconds == 3.0
    assert _sound(recorder.folder / NAME)[1] == sound


async def test_a_folder_that_takes_nothing_is_named_and_the_raw_file_stays(recorder: Recorder) -> None:
    recorder.leave(3.0)
    recorder.folder.write_text("a file in its place")
    with pytest.raises(TryLater, match=str(recorder.folder)):
        await recorder.keep(3.0)
    assert recorder.raw.exists()


async def test_a_full_disk_leaves_no_part_behind(recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder.leave(3.0)

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        with pytest.raises(TryLater, match=os.strerror(28)):
            await recorder.keep(3.0)
    assert recorder.raw.exists()
    assert (await recorder.keep(3.0)).reason == ""


def test_the_day_in_a_name_is_the_day_in_utc() -> None:
    seoul = timezone(timedelta(hours=9))
    assert recording_name(CALL, datetime(2026, 11, 3, 8, 59, tzinfo=seoul)) == NAME
