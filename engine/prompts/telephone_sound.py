"""Sound as a telephone carries it: one channel, 16 bit, 8 kHz and for wideband 16 kHz, at one loudness.

Samples are floats of -1 to 1. The loudness is that of RFC 7874 section 4 (ITU-T G.169, G.115): -19 dBm0
while somebody speaks, which is a root mean square of 2600 in 16-bit samples. Prompts, music and talk then
sound equally loud in a call. It is not -19 LUFS (ITU-R BS.1770): that measure weighs frequencies which no telephone
carries and belongs to broadcasts that are loud for themselves. At 1 kHz it is 3 dB more than the talk beside it.
"""

from __future__ import annotations

import io
import os
import stat
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from engine.foundation.files import replace_file

Samples = NDArray[np.float64]

RATE = 8000
WIDE_RATE = 16000
"""Samples per second of telephone sound, and of the wideband kind."""
LEVEL = 2600 / 32768
"""Root mean square of the active parts."""
_PEAK = 10 ** (-3 / 20)
"""No sample is above -3 dBFS, so that no codec on the way clips."""
_KNEE = 0.35
"""Peaks above are bent, not cut: a loud click does not make the rest too quiet."""
_SILENCE = 10 ** (-55 / 20)
_LOUDEST_GAIN = 10 ** (40 / 20)
_BLOCKS_PER_SECOND = 20
# Sound only: no playlists, which would read other files and addresses.
_FORMATS = "aac,aiff,amr,asf,au,caf,flac,matroska,mov,mp3,ogg,w64,wav"


class NoSound(Exception):  # noqa: N818
    """The file cannot be used as a sound; the text is the reason, without the file's name."""


def decoded(file: Path, longest: float, rate: int = RATE) -> Samples:
    """Any audio file that FFmpeg's libraries read, as samples at `rate`. Raises NoSound, OSError.

    `longest` in seconds: decoding stops there, and the file is refused.
    """
    with open(file, "rb", opener=_regular) as source:  # Path.open takes no opener
        if not os.fstat(source.fileno()).st_size:
            raise NoSound("it is empty")
        return _gathered(source, longest, rate)


def decoded_bytes(content: bytes, longest: float, rate: int = RATE) -> Samples:
    """As `decoded`, of an audio file's content."""
    if not content:
        raise NoSound("it is empty")
    return _gathered(io.BytesIO(content), longest, rate)


def _gathered(source: BinaryIO, longest: float, rate: int) -> Samples:
    blocks: list[Samples] = []
    length = 0
    for block in _blocks(source, rate):
        blocks.append(block)
        length += len(block)
        if length > longest * rate:
            raise NoSound(f"it is longer than {longest:g} s")
    if not length:
        raise NoSound("it holds no sound")
    return np.concatenate(blocks)


def _blocks(source: BinaryIO, rate: int) -> Iterator[Samples]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
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


def active_level(samples: Samples, rate: int = RATE) -> float:
    """Root mean square of the parts that are heard: blocks of 50 ms at most 20 dB under the loudest one."""
    if not len(samples):
        return 0.0
    block = rate // _BLOCKS_PER_SECOND
    padded = np.pad(samples, (0, -len(samples) % block))
    power = np.mean(padded.reshape(-1, block) ** 2, axis=1)
    heard = power[power >= max(power.max() / 100, _SILENCE**2)]
    return float(np.sqrt(heard.mean())) if len(heard) else 0.0


def at_level(samples: Samples, rate: int = RATE) -> Samples:
    """The same at the prompts' loudness. Raises NoSound when there is only silence."""
    level = active_level(samples, rate)
    if level < LEVEL / _LOUDEST_GAIN:
        raise NoSound("it holds only silence")
    return limited(samples * (LEVEL / level))


def limited(samples: Samples) -> Samples:
    """Everything up to the knee as it is, what is above pressed in under the peak."""
    size = np.abs(samples)
    above = np.maximum(size - _KNEE, 0)
    room = _PEAK - _KNEE
    return np.sign(samples) * (np.minimum(size, _KNEE) + room * np.tanh(above / room))


def trimmed(samples: Samples, keep: float = 0.03, rate: int = RATE) -> Samples:
    """Without the silence before and after, but for `keep` seconds."""
    heard = np.flatnonzero(np.abs(samples) > active_level(samples, rate) / 30)
    if not len(heard):
        return samples
    margin = int(keep * rate)
    return samples[max(0, heard[0] - margin) : heard[-1] + margin]


def narrowed(wide: Samples) -> Samples:
    """Wideband samples as 8 kHz ones."""
    return np.clip(np.convolve(wide, _HALF_BAND, "same")[::2], -_PEAK, _PEAK)


def widened(narrow: Samples) -> Samples:
    """8 kHz samples as wideband ones; what a narrow band has lost stays lost."""
    stretched = np.zeros(2 * len(narrow))
    stretched[::2] = 2 * narrow
    return np.clip(np.convolve(stretched, _HALF_BAND, "same"), -_PEAK, _PEAK)


def _low_pass(length: int, cut: float) -> Samples:
    """A windowed sinc: passes what is under `cut` (cycles per sample)."""
    places = np.arange(length) - length // 2
    taps = np.sinc(2 * cut * places) * np.blackman(length)
    return np.asarray(taps / taps.sum())


_HALF_BAND = _low_pass(191, 3750 / WIDE_RATE)
"""Flat to 3.5 kHz, more than 60 dB down from 4 kHz on, where the telephone band ends."""


def pcm(samples: Samples) -> bytes:
    """16-bit little-endian samples."""
    return np.round(np.clip(samples, -1, 32767 / 32768) * 32768).astype("<i2").tobytes()


def alaw(samples: Samples) -> bytes:
    """The same as ITU-T G.711 A-law, a byte per sample: what a carrier's line takes as it is."""
    size = np.minimum(np.abs(np.round(samples * 32768)).astype(np.int32), 32767) >> 3  # 12 bits of magnitude
    segment = np.maximum(np.frexp(size)[1] - 5, 0)
    step = np.where(segment > 1, size >> np.maximum(segment, 1), size >> 1) & 15
    code = (segment << 4) | step
    return bytes(np.where(samples >= 0, code ^ 0xD5, code ^ 0x55).astype(np.uint8))


def write_wav(path: Path, data: bytes, rate: int = RATE) -> None:
    """`pcm` data as a WAV file."""
    put(path, wav(data, rate))


def wav(data: bytes, rate: int = RATE) -> bytes:
    """`pcm` data with a WAV file's header before it."""
    content = io.BytesIO()
    with wave.open(content, "wb") as sound:
        sound.setparams((1, 2, rate, 0, "NONE", ""))
        sound.writeframes(data)
    return content.getvalue()


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


def read_wav(path: Path, rate: int = RATE) -> Samples:
    """A WAV file of this kind. Raises NoSound for any other, OSError."""
    try:
        with wave.open(str(path), "rb") as sound:
            if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (rate, 1, 2):
                raise NoSound(f"it is not {rate // 1000} kHz, one channel, 16 bit")
            return np.frombuffer(sound.readframes(sound.getnframes()), "<i2") / 32768
    except (wave.Error, EOFError) as error:
        raise NoSound("it is not a WAV file") from error
