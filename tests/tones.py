"""Sounds that a test can tell from one another."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def tone(frequency: float, seconds: float, rate: int = 8000, loudness: float = 0.3) -> NDArray[np.int16]:
    """A pure tone as 16-bit samples."""
    instants = np.arange(int(seconds * rate)) / rate
    return np.asarray(np.sin(2 * np.pi * frequency * instants) * loudness * 32767, dtype=np.int16)


def write_audio(path: Path, samples: NDArray[np.int16], *, codec: str = "pcm_s16le", rate: int = 8000) -> Path:
    """One channel of samples as an audio file; the container is the one of the file name's ending."""
    frame = av.AudioFrame.from_ndarray(samples[None, :], format="s16", layout="mono")
    frame.rate = rate
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, av.AudioStream)
        stream.layout = "mono"
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, "mono", rate, frame_size=context.frame_size or 0)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return path


def strongest(samples: NDArray[np.float64], rate: int = 8000) -> float:
    """The frequency that stands out most."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))
