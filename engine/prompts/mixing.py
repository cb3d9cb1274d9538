"""A voice over background music: the music gives way while somebody speaks, and comes and goes softly.

Wideband samples in and out. The voice keeps the prompts' loudness; everything else is heard relative to it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from engine.foundation.errors import Invalid
from engine.prompts.telephone_sound import LEVEL, WIDE_RATE, Samples, limited, pcm

with warnings.catch_warnings():  # of audioop, and of an ffmpeg program, which plain samples do not need
    warnings.simplefilter("ignore")
    from pydub import AudioSegment

_STEP = WIDE_RATE // 100
"""Samples for which the music's loudness is set at once: 10 ms."""
_MILLISECOND = WIDE_RATE // 1000
_QUIET, _SPEAKING = -30.0, -18.0
"""dB under the voice's own level: music gives way from the first on, wholly at the second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How a voice stands in its music. Seconds; dB relative to the voice."""

    music_level: float = -6.0
    """The music where nobody speaks."""
    ducking: float = 12.0
    """How much softer the music is under the voice."""
    attack: float = 0.15
    """In which time the music has given way; it begins so much before the voice."""
    release: float = 0.8
    """In which time it has come back; longer than a speaker's pauses, so that it does not pump."""
    before: float = 1.0
    after: float = 2.0
    """Music alone before the voice and after it."""
    fade_in: float = 0.5
    fade_out: float = 1.5

    def __post_init__(self) -> None:
        """Raises Invalid for what cannot be mixed."""
        times = (self.attack, self.release, self.before, self.after, self.fade_in, self.fade_out)
        if not all(0 <= time <= 30 for time in times):
            raise Invalid("mix: times must be 0 to 30 seconds")
        if not (-40 <= self.music_level <= 6 and 0 <= self.ducking <= 60):
            raise Invalid("mix: the music's level must be -40 to 6 dB and its ducking 0 to 60 dB")


def mixed(voice: Samples, music: Samples, mix: Mix | None = None) -> Samples:
    """The voice over the music, which begins again or is cut to last as long. Both come at the prompts' loudness."""
    wanted = mix or Mix()
    before, after = (np.zeros(round(seconds * WIDE_RATE)) for seconds in (wanted.before, wanted.after))
    length = len(before) + len(voice) + len(after)
    placed = np.concatenate([before, voice, after, np.zeros(-length % _MILLISECOND)])  # pydub cuts by milliseconds
    bed = _as_long(_segment(music), placed).apply_gain(wanted.music_level)
    ducked = _segment(_samples(bed) * ducking(placed, wanted))
    fade_in, fade_out = (min(max(round(1000 * time), 1), len(ducked)) for time in (wanted.fade_in, wanted.fade_out))
    soft = ducked.fade_in(fade_in).fade_out(fade_out)
    return limited(_samples(soft) + placed)[:length]


def ducking(voice: Samples, mix: Mix) -> Samples:
    """What to multiply the music with, sample by sample: it follows the voice's loudness, with attack and release."""
    steps = np.pad(voice, (0, -len(voice) % _STEP)).reshape(-1, _STEP)
    level = 20 * np.log10(np.maximum(np.sqrt(np.mean(steps**2, axis=1)), 1e-6) / LEVEL)
    wanted = -mix.ducking * np.clip((level - _QUIET) / (_SPEAKING - _QUIET), 0, 1)
    ahead = round(100 * mix.attack)  # it has given way when the voice begins, and stays so to the voice's end
    wanted = sliding_window_view(np.append(wanted, np.zeros(ahead)), ahead + 1).min(axis=1)
    decibels = _smoothed(wanted, mix)
    places = (np.arange(len(steps)) + 0.5) * _STEP
    return np.asarray(10 ** (np.interp(np.arange(len(voice)), places, decibels) / 20))


def _smoothed(wanted: Samples, mix: Mix) -> Samples:
    """Falls no faster than the attack allows, rises no faster than the release: straight lines in dB."""
    falling, rising = (mix.ducking * 0.01 / max(time, 0.01) for time in (mix.attack, mix.release))
    now, gains = 0.0, []
    for target in wanted:
        now = max(target, now - falling) if target < now else min(target, now + rising)
        gains.append(now)
    return np.array(gains)


def _as_long(music: AudioSegment, voice: Samples) -> AudioSegment:
    """The music again and again, cut to the voice's samples."""
    wanted = len(voice)
    times = -(-wanted // int(music.frame_count()))
    return (music * times).get_sample_slice(0, wanted)


def _segment(samples: Samples) -> AudioSegment:
    return AudioSegment(data=pcm(samples), sample_width=2, frame_rate=WIDE_RATE, channels=1)


def _samples(segment: AudioSegment) -> Samples:
    return np.frombuffer(segment.raw_data, "<i2") / 32768
