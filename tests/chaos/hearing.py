"""Whether a party heard what it should the whole time: tones of whole multiples of 50 Hz, looked at every 20 ms. Pure.

20 ms hold a whole number of periods of each such tone: tones do not disturb each other, wherever a frame begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine.sandbox.recording import RATE, Recording

FRAME = RATE // 50
"""Samples."""
SECONDS = FRAME / RATE
WORTH_COUNTING = 0.2
"""Seconds of a gap that people notice."""
_LOUD_ENOUGH = 1000.0
"""Amplitude of a tone that counts; telephones here speak with 8,000."""
_SOUND = 200.0
"""RMS from which on a frame is sound and not silence, about -44 dBFS."""

Span = tuple[float, float]
"""Monotonic instants."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch without what should be heard."""

    begin: float
    """Monotonic."""
    seconds: float


def gaps_in(recording: Recording, hertz: int, span: Span, excused: Sequence[Span] = ()) -> list[Gap]:
    """Where the tone was missing for longer than WORTH_COUNTING within `span`; gaps that meet an excused one go."""
    piece = _piece(recording, span)
    frames = _frames(piece)
    wave = np.exp(-2j * np.pi * hertz * np.arange(FRAME) / RATE)
    missing = np.abs(frames @ wave) * 2 / FRAME < _LOUD_ENOUGH
    return [gap for gap in _runs(missing, piece.start) if gap.seconds > WORTH_COUNTING and not _meets(gap, excused)]


def longest_silence(recording: Recording, span: Span, excused: Sequence[Span] = ()) -> Gap:
    """The longest stretch within `span` in which nothing at all was heard."""
    piece = _piece(recording, span)
    quiet = np.sqrt(np.mean(np.square(_frames(piece)), axis=1)) < _SOUND
    found = [gap for gap in _runs(quiet, piece.start) if not _meets(gap, excused)]
    return max(found, key=lambda gap: gap.seconds, default=Gap(piece.start, 0.0))


def _piece(recording: Recording, span: Span) -> Recording:
    begin, end = (max(0.0, instant - recording.start) for instant in span)
    return recording.between(begin, max(begin, end))


def _frames(recording: Recording) -> NDArray[np.float64]:
    whole = len(recording.samples) // FRAME
    return recording.samples[: whole * FRAME].astype(np.float64).reshape(whole, FRAME)


def _runs(flags: NDArray[np.bool_], start: float) -> list[Gap]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    begins = list(pairwise(edges))[::2]
    return [Gap(start + float(first) * SECONDS, float(last - first) * SECONDS) for first, last in begins]


def _meets(gap: Gap, excused: Sequence[Span]) -> bool:
    return any(begin <= gap.begin + gap.seconds and gap.begin <= end for begin, end in excused)
