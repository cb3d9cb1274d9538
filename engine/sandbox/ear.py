"""What can be heard in a recording: tones by their frequency, known sounds by their shape. Pure but for wav files.

All seconds count from the recording's first sample.
"""

from __future__ import annotations

import wave
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.foundation.errors import Invalid
from engine.sandbox.g711 import Samples
from engine.sandbox.matching import Stretch, find
from engine.sandbox.recording import RATE, Recording

_WINDOW = RATE * 50 // 1000  # resolves tones 60 Hz apart
_HOP = RATE * 10 // 1000
_AT_ONCE = 3000  # windows: half a minute, to stay small in memory
_OFF_TUNE = 25  # Hz; a tone must be stronger than what is this far beside it
_LEAK = 0.05  # of the strongest tone's amplitude: less than that is its skirt, not another tone
_EDGE = 0.5  # of a tone's full amplitude: where it begins and ends


@dataclass(frozen=True, slots=True)
class Heard:
    """`what` was heard from `start` to `end`, in seconds."""

    what: str
    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start


def tones(
    recording: Recording,
    frequencies: Sequence[int],
    *,
    level: float = -45.0,
    purity: float = 0.3,
    shortest: float = 0.1,
    merge: float = 0.08,
) -> list[Heard]:
    """When each of `frequencies` (Hz, at least 60 apart) was heard; `what` is like "500 Hz".

    A tone counts from `level` (dBFS) on, when it makes up at least `purity` of all power that is not one of the other
    tones: speech and music hold every frequency, yet are no tone. Pauses up to `merge` seconds (lost packets) are
    bridged; what is then shorter than `shortest` is dropped.
    """
    wanted = sorted(set(frequencies))
    if any(after - before < 60 for before, after in pairwise(wanted)):
        raise Invalid(f"tones {wanted} are too close to be told apart; choose them 60 Hz apart")
    windows = _windows(recording.samples)
    floor = 32768 * 10 ** (level / 20)
    parts = [
        _amplitudes(windows[begin : begin + _AT_ONCE] * np.hanning(_WINDOW), wanted, floor, purity)
        for begin in range(0, len(windows), _AT_ONCE)
    ]
    amplitudes, is_tone = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    heard = []
    for column, frequency in enumerate(wanted):
        for first, last in _runs(is_tone[:, column], round(merge * RATE / _HOP)):
            start, end = _edges(amplitudes[:, column], first, last)
            if end - start >= shortest:
                heard.append(Heard(f"{frequency} Hz", start, end))
    return sorted(heard, key=lambda one: (one.start, one.what))


def sounds(
    recording: Recording, known: Mapping[str, Samples], *, shortest: float = 0.5, merge: float = 0.25
) -> list[Heard]:
    """Which of the known sounds (8 kHz samples by name) were heard, from their first to their last audible moment.

    A sound may begin anywhere, be cut short, repeat, be louder or softer than its file, miss some packets, or have
    another, softer one under it. Pieces of one sound with at most `merge` seconds between them are one hearing.
    """
    stretches = find(recording.samples, known, round(shortest * RATE / 2))
    heard = []
    for what, pieces in groupby(sorted(stretches, key=lambda one: (one.what, one.begin)), key=lambda one: one.what):
        heard += [one for one in _joined(what, pieces, merge) if one.seconds >= shortest]
    return sorted(heard, key=lambda one: (one.start, one.what))


def describe(heard: Iterable[Heard]) -> str:
    """Like "notice 2.1 s, ringback 3.4 s, shop 2.0 s"; pauses within one sound do not count. "nothing" for nothing."""
    parts = [
        f"{what} {sum(one.seconds for one in pieces):.1f} s" for what, pieces in groupby(heard, lambda one: one.what)
    ]
    return ", ".join(parts) or "nothing"


def read(path: Path) -> Samples:
    """The samples of a wav file. Raises Invalid unless it is 8 kHz, mono, 16 bits."""
    try:
        with wave.open(str(path), "rb") as file:
            if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
                raise Invalid(f"sound {path} must be 8 kHz, mono, 16 bits; convert it")
            return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
    except (OSError, wave.Error, EOFError) as error:
        raise Invalid(f"sound {path} cannot be read as wav: {error}") from None


def save(recording: Recording, path: Path) -> None:
    """Writes it as a wav file; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(recording.samples.astype("<i2").tobytes())


def _windows(samples: Samples) -> NDArray[np.float64]:
    """One row per 10 ms, each of the 50 ms around its instant."""
    padded = np.pad(samples.astype(np.float64), _WINDOW // 2)
    return np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]


def _amplitudes(
    windows: NDArray[np.float64], frequencies: Sequence[int], floor: float, purity: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Per window and tone: its amplitude, and whether it is heard.

    All tones are fitted at once (least squares), so that one does not count as another's noise.
    """
    fade = np.hanning(_WINDOW)[:, None]
    waves = fade * _waves(frequencies)
    weights = windows @ np.linalg.pinv(waves).T
    amplitudes = np.hypot(weights[:, 0::2], weights[:, 1::2])
    beside = np.maximum(
        _strength(windows, [frequency - _OFF_TUNE for frequency in frequencies]),
        _strength(windows, [frequency + _OFF_TUNE for frequency in frequencies]),
    )
    tone_power = amplitudes**2 * (fade**2).sum() / 2
    rest = np.maximum((windows - weights @ waves.T) ** 2, 0).sum(axis=1, keepdims=True)
    strongest = amplitudes.max(axis=1, initial=0.0, keepdims=True)
    is_tone = (
        (amplitudes >= floor)
        & (amplitudes >= _LEAK * strongest)
        & ((_strength(windows, frequencies) >= beside) | (amplitudes < strongest))
        & (tone_power >= purity * (tone_power + rest))
    )
    return amplitudes, is_tone


def _waves(frequencies: Sequence[int]) -> NDArray[np.float64]:
    """Cosine and sine of each frequency, side by side."""
    phases = 2 * np.pi * np.outer(np.arange(_WINDOW) / RATE, frequencies)
    return np.stack([np.cos(phases), np.sin(phases)], axis=2).reshape(_WINDOW, -1)


def _strength(windows: NDArray[np.float64], frequencies: Sequence[int]) -> NDArray[np.float64]:
    """How much of each frequency there is, each asked alone (Goertzel's measure)."""
    parts = windows @ _waves(frequencies)
    return np.hypot(parts[:, 0::2], parts[:, 1::2])


def _runs(flags: NDArray[np.bool_], bridged: int) -> list[tuple[int, int]]:
    """First and last index of each run of True; runs with up to `bridged` False between them are one."""
    runs: list[tuple[int, int]] = []
    for index in np.flatnonzero(flags):
        if runs and index - runs[-1][1] <= bridged + 1:
            runs[-1] = (runs[-1][0], int(index))
        else:
            runs.append((int(index), int(index)))
    return runs


def _edges(amplitudes: NDArray[np.float64], first: int, last: int) -> tuple[float, float]:
    """Where the tone is at half its strength; a window half filled shows half of it."""
    run = amplitudes[first : last + 1]
    strong = first + np.flatnonzero(run >= _EDGE * np.median(run))
    return float(strong[0] * _HOP / RATE), float(strong[-1] * _HOP / RATE)


def _joined(what: str, pieces: Iterable[Stretch], merge: float) -> list[Heard]:
    """Stretches of one sound, in order, as hearings."""
    heard: list[Heard] = []
    for piece in pieces:
        start, end = piece.begin / RATE, piece.end / RATE
        if heard and start - heard[-1].end <= merge:
            heard[-1] = Heard(what, heard[-1].start, max(end, heard[-1].end))
        else:
            heard.append(Heard(what, start, end))
    return heard
