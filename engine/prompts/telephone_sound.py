"""Sound as a telephone carries it: 8 kHz, one channel, 16 bit, at one loudness.

Samples are floats of -1 to 1. The loudness is that of RFC 7874 section 4 (ITU-T G.169, G.115): -19 dBm0
while somebody speaks, which is a root mean square of 2600 in 16-bit samples. Prompts, music and talk then
sound equally loud in a call.
"""

from __future__ import annotations

import io
import os
import stat
import wave
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from engine.foundation.files import replace_file

Samples = NDArray[np.float64]

RATE = 8000
LEVEL = 2600 / 32768
"""Root mean square of the active parts."""
_PEAK = 10 ** (-3 / 20)
"""No sample is above -3 dBFS, so that no codec on the way clips."""
_KNEE = 0.35
"""Peaks above are bent, not cut: a loud click does not make the rest too quiet."""
_SILENCE = 10 ** (-55 / 20)
_LOUDEST_GAIN = 10 ** (40 / 20)
_BLOCK = RATE // 20
# Sound only: no playlists, which would read other files and addresses.
_FORMATS = "aac,aiff,amr,asf,au,caf,flac,matroska,mov,mp3,ogg,w64,wav"


class NoSound(Exception):  # noqa: N818
    """The file cannot be used as a sound; the text is the reason, without the file's name."""


def decoded(file: Path, longest: float) -> Samples:
    """Any audio file that FFmpeg's libraries read, as telephone samples. Raises NoSound, OSError.

    `longest` in seconds: decoding stops there, and the file is refused.
    """
    blocks: list[Samples] = []
    length = 0
    for block in _blocks(file):
        blocks.append(block)
        length += len(block)
        if length > longest * RATE:
            raise NoSound(f"it is longer than {longest:g} s")
    if not length:
        raise NoSound("it holds no sound")
    return np.concatenate(blocks)


def _blocks(file: Path) -> Iterator[Samples]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
    with open(file, "rb", opener=_regular) as source:  # Path.open takes no opener
        if not os.fstat(source.fileno()).st_size:
            raise NoSound("it is empty")
        try:
            with av.open(source, "r", options={"format_whitelist": _FORMATS}) as container:
                if not container.streams.audio:
                    raise NoSound("it has no audio in it")
                for frame in container.decode(container.streams.audio[0]):
                    yield from _resampled(resampler, frame)
                yield from _resampled(resampler, None)
        except (av.error.FFmpegError, ValueError) as error:
            raise NoSound("it is not an audio file that can be read") from error


def _resampled(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> Iterator[Samples]:
    for piece in resampler.resample(frame):
        yield piece.to_ndarray()[0] / 32768


def _regular(path: str, flags: int) -> int:
    """Opens files only: a pipe or a device might never end."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind) or stat.S_ISDIR(kind):  # of a folder, `open` itself says what it is
        return descriptor
    os.close(descriptor)
    raise NoSound("it is no ordinary file")


def active_level(samples: Samples) -> float:
    """Root mean square of the parts that are heard: blocks of 50 ms at most 20 dB under the loudest one."""
    if not len(samples):
        return 0.0
    padded = np.pad(samples, (0, -len(samples) % _BLOCK))
    power = np.mean(padded.reshape(-1, _BLOCK) ** 2, axis=1)
    heard = power[power >= max(power.max() / 100, _SILENCE**2)]
    return float(np.sqrt(heard.mean())) if len(heard) else 0.0


def at_level(samples: Samples) -> Samples:
    """The same at the prompts' loudness. Raises NoSound when there is only silence."""
    level = active_level(samples)
    if level < LEVEL / _LOUDEST_GAIN:
        raise NoSound("it holds only silence")
    return _bent(samples * (LEVEL / level))


def _bent(samples: Samples) -> Samples:
    """Everything up to the knee as it is, what is above pressed in under the peak."""
    size = np.abs(samples)
    above = np.maximum(size - _KNEE, 0)
    room = _PEAK - _KNEE
    return np.sign(samples) * (np.minimum(size, _KNEE) + room * np.tanh(above / room))


def trimmed(samples: Samples, keep: float = 0.03) -> Samples:
    """Without the silence before and after, but for `keep` seconds."""
    heard = np.flatnonzero(np.abs(samples) > active_level(samples) / 30)
    if not len(heard):
        return samples
    margin = int(keep * RATE)
    return samples[max(0, heard[0] - margin) : heard[-1] + margin]


def pcm(samples: Samples) -> bytes:
    """16-bit little-endian samples."""
    return np.round(np.clip(samples, -1, 32767 / 32768) * 32768).astype("<i2").tobytes()


def write_wav(path: Path, data: bytes) -> None:
    """`pcm` data as a WAV file."""
    content = io.BytesIO()
    with wave.open(content, "wb") as sound:
        sound.setparams((1, 2, RATE, 0, "NONE", ""))
        sound.writeframes(data)
    put(path, content.getvalue())


def put(path: Path, content: bytes) -> None:
    """A file that is there whole or not at all, and readable by everybody (Asterisk's user)."""
    make_folder(path.parent)
    replace_file(path, content, 0o644, sync=True)


def make_folder(folder: Path) -> None:
    """Makes the folder and those above it that are missing, open to everybody whatever this process's umask is."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)


def read_wav(path: Path) -> Samples:
    """A WAV file of this kind. Raises NoSound for any other, OSError."""
    try:
        with wave.open(str(path), "rb") as sound:
            if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (RATE, 1, 2):
                raise NoSound("it is not 8 kHz, one channel, 16 bit")
            return np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 32768
    except (wave.Error, EOFError) as error:
        raise NoSound("it is not a WAV file") from error
