"""What Asterisk left, read as it is."""

from __future__ import annotations

import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from engine.recordings.sound import NoSound, raw_stereo, seconds_in, wav, wav_header
from tests.sounds_left import inside, leave, leave_wav, talk, voice, with_silent_right


def made(pieces: list[bytes], folder: Path) -> tuple[int, int, bytes]:
    (folder / "made.wav").write_bytes(b"".join(pieces))
    return inside(folder / "made.wav")


def test_raw_stereo_becomes_a_wav_with_the_caller_left(tmp_path: Path) -> None:
    left = leave(tmp_path / "a.raw", talk(2.5) + b"\1\2\3")
    sound = raw_stereo(tmp_path / "a.raw")
    assert sound.seconds == 2.5
    assert made(list(sound.wav()), tmp_path) == (2, 8000, left[:-3])


def test_a_recording_from_the_targets_leg_is_turned(tmp_path: Path) -> None:
    caller = voice(150.0)  # more than is read at once
    leave(tmp_path / "a.turned.raw", with_silent_right(caller))
    _, _, samples = made(list(raw_stereo(tmp_path / "a.turned.raw").wav()), tmp_path)
    stereo = np.frombuffer(samples, "<i2").reshape(-1, 2)
    assert not stereo[:, 0].any()
    assert stereo[:, 1].tobytes() == caller


def test_of_a_voicemail_in_stereo_only_the_caller_is_taken(tmp_path: Path) -> None:
    mono = voice(150.0)  # more than is read at once
    leave(tmp_path / "a.raw", with_silent_right(mono))
    assert made(list(raw_stereo(tmp_path / "a.raw", left_only=True).wav()), tmp_path) == (1, 8000, mono)


def test_a_wav_of_asterisk_is_read_whatever_stands_before_its_sound(tmp_path: Path) -> None:
    mono = voice(1.5)
    whole = leave_wav(tmp_path / "a.wav", mono)
    leave(tmp_path / "b.wav", whole[:36] + struct.pack("<4sI", b"LIST", 3) + b"abc\0" + whole[36:])
    for name in ("a.wav", "b.wav"):
        assert made(list(wav(tmp_path / name).wav()), tmp_path) == (1, 8000, mono)


def test_a_wav_whose_length_was_never_filled_in_goes_to_its_end(tmp_path: Path) -> None:
    leave(tmp_path / "a.wav", wav_header(1, 0) + voice(1.5))
    assert wav(tmp_path / "a.wav").seconds == 1.5


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no WAV file"),
        (b"this is no sound" * 9, "no WAV file"),
        (wav_header(1, 800)[:20], "without format"),
        (wav_header(1, 800)[:36], "without sound"),
    ],
)
def test_what_is_no_wav_is_told(tmp_path: Path, content: bytes, reason: str) -> None:
    leave(tmp_path / "a.wav", content)
    with pytest.raises(NoSound, match=reason):
        wav(tmp_path / "a.wav")


def test_a_wav_at_another_rate_is_told(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(voice(1.0))
    with pytest.raises(NoSound, match="8 kHz"):
        wav(tmp_path / "a.wav")


def test_a_file_that_becomes_shorter_meanwhile_is_not_taken_for_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.raw"
    leave(file, talk(2.0))
    sound = raw_stereo(file)
    leave(file, talk(1.0))
    with pytest.raises(OSError, match="shorter"):
        list(sound.wav())


@pytest.mark.parametrize(("loud", "spoken"), [(0.0, 0.0), (40.0, 0.0), (800.0, 2.0), (20_000.0, 2.0)])
def test_speech_is_what_is_louder_than_a_lines_noise(tmp_path: Path, loud: float, spoken: float) -> None:
    leave_wav(tmp_path / "a.wav", voice(1.01, loud=0.0) + voice(2.0, loud=loud) + voice(1.0, loud=0.0))
    assert wav(tmp_path / "a.wav").speech_seconds() == pytest.approx(spoken, abs=0.05)


def test_our_own_wav_tells_its_length_and_nothing_else_does() -> None:
    assert seconds_in(44 + 4 * 8000 * 3, wav_header(2, 8000 * 3)) == 3.0
    assert seconds_in(44 + 2 * 8000 * 3, wav_header(1, 8000 * 3)) == 3.0
    for size, header in ((44 + 99, wav_header(2, 8000)), (44, b"x" * 44), (10, b"RIFF")):
        with pytest.raises(NoSound):
            seconds_in(size, header)
