"""What counts as a gap, on sounds made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.sandbox.recording import RATE, Recording
from tests.chaos.hearing import gaps_in, longest_silence

START = 100.0
"""The monotonic instant of the first sample."""


def heard(*parts: tuple[int, float]) -> Recording:
    """Tones in Hz, 0 for silence, for their seconds."""
    samples: list[NDArray[np.float64]] = []
    for hertz, seconds in parts:
        instants = np.arange(round(seconds * RATE)) / RATE
        samples.append(8000 * np.sin(2 * np.pi * hertz * instants))
    return Recording(START, np.concatenate(samples).astype(np.int16))


def test_a_tone_that_goes_on_has_no_gap() -> None:
    assert gaps_in(heard((500, 3.0)), 500, (START, START + 3.0)) == []


@pytest.mark.parametrize("between", [0, 550], ids=["silence", "another tone"])
def test_what_is_missing_longer_than_200_ms_is_a_gap(between: int) -> None:
    [gap] = gaps_in(heard((500, 1.0), (between, 0.5), (500, 1.0)), 500, (START, START + 2.5))
    assert gap.begin == pytest.approx(START + 1.0, abs=0.03)
    assert gap.seconds == pytest.approx(0.5, abs=0.05)


def test_short_gaps_excused_ones_and_those_outside_are_none() -> None:
    recording = heard((500, 1.0), (0, 0.15), (500, 1.0), (0, 0.5), (500, 1.0), (0, 1.0))
    span = (START, START + 3.6)
    assert len(gaps_in(recording, 500, span)) == 1
    assert gaps_in(recording, 500, span, [(START + 2.0, START + 2.2)]) == []


def test_the_longest_silence_is_that_of_any_sound() -> None:
    recording = heard((500, 1.0), (0, 0.4), (700, 1.0), (0, 1.2), (500, 1.0))
    assert longest_silence(recording, (START, START + 4.6)).seconds == pytest.approx(1.2, abs=0.05)
    assert longest_silence(recording, (START, START + 1.0)).seconds == 0.0
