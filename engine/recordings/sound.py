"""What Asterisk left of a call: raw stereo or WAV, read as it is and given on as a WAV file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engine.foundation.errors import GaveUp

RATE = 8_000
SAMPLE_BYTES = 2
_STEREO = 2
_READ = 1 << 20
_WAV = struct.Struct("<4sI4s4sIHHIIHH4sI")
_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")
_PCM = 1
_SPEECH_FRAME = RATE // 50
_SPEECH_FLOOR = 184.0
"""RMS of 20 ms, −45 dBFS: above a line's noise (−55 and less), below quiet speech (−35)."""

WAV_HEADER_BYTES = _WAV.size


TURNED = ".turned.raw"
"""How the name of a recording ends whose left side is the target."""


class NoSound(GaveUp):
    """A file of Asterisk's holds no sound; the text is in words for the call's record."""


@dataclass(frozen=True, slots=True)
class Sound:
    """16-bit samples at 8 kHz in a file, from byte `start` on; only whole frames count."""

    path: Path
    start: int
    frames: int
    channels: int
    left_only: bool = False
    """Only the first channel is given on: on the other one nobody spoke."""
    turned: bool = False
    """The two channels are given on the other way round."""

    @property
    def seconds(self) -> float:
        return self.frames / RATE

    @property
    def channels_out(self) -> int:
        return 1 if self.left_only else self.channels

    def wav(self) -> Iterator[bytes]:
        """As a WAV file, piece by piece. Raises OSError, also when the file is shorter than it was."""
        yield wav_header(self.channels_out, self.frames)
        yield from self.samples()

    def samples(self) -> Iterator[bytes]:
        frame = SAMPLE_BYTES * self.channels
        left = self.frames * frame
        with self.path.open("rb") as file:
            file.seek(self.start)
            while left:
                piece = file.read(min(left, _READ // frame * frame))
                if not piece or len(piece) % frame:
                    raise OSError(f"{self.path} became shorter while it was read")
                left -= len(piece)
                yield self._given_on(piece)

    def _given_on(self, piece: bytes) -> bytes:
        if self.channels == 1 or not (self.left_only or self.turned):
            return piece
        channels = np.frombuffer(piece, "<i2").reshape(-1, self.channels)
        return (channels[:, 0] if self.left_only else channels[:, ::-1]).tobytes()

    def speech_seconds(self) -> float:
        """How long something is heard that is louder than a line's noise."""
        loud, rest = 0, np.empty(0, np.float64)
        width = _SPEECH_FRAME * self.channels_out
        for piece in self.samples():
            samples = np.concatenate([rest, np.frombuffer(piece, "<i2").astype(np.float64)])
            whole = len(samples) // width
            blocks, rest = samples[: whole * width].reshape(whole, width), samples[whole * width :]
            loud += int(np.count_nonzero(np.sqrt((blocks**2).mean(axis=1)) >= _SPEECH_FLOOR)) if whole else 0
        return loud * _SPEECH_FRAME / RATE


def wav_header(channels: int, frames: int) -> bytes:
    """The 44 bytes before `frames` frames of 16-bit samples at 8 kHz."""
    frame = SAMPLE_BYTES * channels
    data = frames * frame
    return _WAV.pack(
        b"RIFF", 36 + data, b"WAVE", b"fmt ", 16, _PCM, channels, RATE, RATE * frame, frame, 16, b"data", data
    )


def seconds_in(wav_size: int, header: bytes) -> float:
    """How long a WAV file of ours is, by its size and its first 44 bytes. Raises NoSound for another file."""
    if len(header) != WAV_HEADER_BYTES or header[:4] != b"RIFF":
        raise NoSound("it holds no WAV file")
    channels = int(_WAV.unpack(header)[6])
    if header != wav_header(channels, (wav_size - WAV_HEADER_BYTES) // (SAMPLE_BYTES * max(channels, 1))):
        raise NoSound("its WAV file is not whole")
    return (wav_size - WAV_HEADER_BYTES) / (SAMPLE_BYTES * channels * RATE)


def raw_stereo(path: Path, *, left_only: bool = False) -> Sound:
    """MixMonitor's `D` file: left the caller, right the target; one named TURNED is from the target's leg, turned.

    Half a frame at its end is left out.
    """
    turned = path.name.endswith(TURNED)
    return Sound(path, 0, path.stat().st_size // (_STEREO * SAMPLE_BYTES), _STEREO, left_only, turned)


def wav(path: Path, *, left_only: bool = False) -> Sound:
    """A WAV file as Asterisk writes it; one whose lengths were never filled in goes to its end. Raises NoSound."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            raise NoSound("Asterisk left no WAV file")
        channels = 0
        while len(chunk := file.read(_CHUNK.size)) == _CHUNK.size:
            name, length = _CHUNK.unpack(chunk)
            if name == b"fmt ":
                channels = _channels(file, length)
            elif name == b"data" and channels:
                told = length if 0 < length <= size - file.tell() else size - file.tell()
                return Sound(path, file.tell(), told // (SAMPLE_BYTES * channels), channels, left_only)
            else:
                file.seek(length + length % 2, 1)
    raise NoSound("Asterisk left a WAV file without sound")


def _channels(file: BinaryIO, length: int) -> int:
    form = file.read(length + length % 2)
    if len(form) < _FORMAT.size:
        raise NoSound("Asterisk left a WAV file without format")
    coding, channels, rate, _, _, bits = _FORMAT.unpack(form[: _FORMAT.size])
    if (coding, rate, bits) != (_PCM, RATE, 8 * SAMPLE_BYTES) or channels not in (1, 2):
        raise NoSound("Asterisk left a WAV file that is not 8 kHz of 16 bits")
    return int(channels)
