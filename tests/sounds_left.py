"""What Asterisk leaves of a call, as tests need it."""

from __future__ import annotations

import os
import time
import wave
from pathlib import Path

import numpy as np

RATE = 8_000


def talk(seconds: float) -> bytes:
    """Interleaved stereo: the caller at 500 Hz, the target at 1,100 Hz."""
    return np.stack([_tone(500, seconds), _tone(1100, seconds)], axis=1).tobytes()


def voice(seconds: float, *, loud: float = 8000.0) -> bytes:
    """One channel at 500 Hz."""
    return _tone(500, seconds, loud).tobytes()


def with_silent_right(mono: bytes) -> bytes:
    left = np.frombuffer(mono, "<i2")
    return np.stack([left, np.zeros_like(left)], axis=1).tobytes()


def leave(path: Path, content: bytes, *, quiet: float = 60.0) -> bytes:
    """The file as Asterisk left it `quiet` seconds ago; its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    age(path, quiet)
    return content


def leave_wav(path: Path, mono: bytes, *, quiet: float = 60.0) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(mono)
    age(path, quiet)
    return path.read_bytes()


def age(path: Path, seconds: float) -> None:
    """As if nobody had written to it for so long."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def inside(file: Path) -> tuple[int, int, bytes]:
    """Channels, rate and samples of a WAV file."""
    with wave.open(str(file), "rb") as sound:
        return sound.getnchannels(), sound.getframerate(), sound.readframes(sound.getnframes())


def _tone(hertz: int, seconds: float, loud: float = 8000.0) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    samples = loud * np.sin(2 * np.pi * hertz * np.arange(round(RATE * seconds)) / RATE)
    return samples.astype(np.int16)
