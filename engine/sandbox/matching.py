"""Finds known sounds in a recording: candidates by correlation, their extent block by block, the best first. Pure.

Each sound found is taken out of the recording before the next is sought (matching pursuit), so that two sounds that
share notes are not heard in one another, and one under another still is found.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

import numpy as np
from numpy.typing import NDArray

from engine.sandbox.g711 import Samples

_ANCHOR = 4000  # half a second: the piece of a sound that is sought first
_ALIKE = 0.35  # normalised correlation from which a place is worth a closer look
_PLACES = 64  # per anchor
_BLOCK = 160  # 20 ms: what is confirmed, one by one
_FIT = 0.3  # share of a block's power that the sound must explain
_SHARE = 0.7  # the same for a whole stretch: another voice may resemble for a while, but not that much
_SHARE_LONG = 0.4  # nor this much for so long: then it is the sound, with another as loud over it
_LONG = 75  # blocks
_QUIET = 30.0  # RMS below which a block of a sound says nothing
_BRIDGED = 10  # blocks that may miss within a stretch: lost packets
_LOUDNESS = (0.05, 4.0)  # of the file's, between which it still counts as the same sound

_PIECE = 1 << 14  # samples that are transformed at once

Signal = NDArray[np.float32]
Spectra = NDArray[np.complexfloating]


@dataclass(frozen=True, slots=True)
class Stretch:
    """The sound `what` was in the recording from sample `begin` to sample `end`."""

    what: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class _Match:
    """A sound fits from block `first` to block `last` at `gain`, and explains that much energy."""

    first: int
    last: int
    gain: float
    energy: float


def find(samples: Samples, known: Mapping[str, Samples], shortest: int) -> list[Stretch]:
    """All stretches of at least `shortest` samples, in the order in which they explain the recording."""
    left = samples.astype(np.float32)
    sounds = {what: _whole_blocks(sound) for what, sound in known.items()}
    found: list[Stretch] = []
    # Once the loud ones are out, a soft one that they covered can be found: hence again, until nothing more is.
    while more := _pursue(left, sounds, shortest):
        found += more
    return found


def _pursue(left: Signal, sounds: Mapping[str, Signal], shortest: int) -> list[Stretch]:
    """Takes out of `left` every stretch that can be found in it now, and names them."""
    candidates: list[tuple[float, str, int]] = []  # less the energy explained, the sound, where it begins
    spectra, energies = _spectra(left), _energies(left)
    for what, sound in sounds.items():
        fits = ((offset, _fit(left, sound, offset)) for offset in _places(spectra, energies, sound))
        candidates += [(-match.energy, what, offset) for offset, match in fits if match]
    heapify(candidates)
    found: list[Stretch] = []
    while candidates:
        _, what, offset = heappop(candidates)
        match = _fit(left, sounds[what], offset)
        if match is None or (match.last - match.first + 1) * _BLOCK < shortest:
            continue
        # Back to its turn: others may have been taken out of it meanwhile, or it may lie on both sides of a gap.
        heappush(candidates, (-match.energy, what, offset))
        if -match.energy <= candidates[0][0]:
            _take_out(left, sounds[what], offset, match)
            found.append(Stretch(what, offset + match.first * _BLOCK, offset + (match.last + 1) * _BLOCK))
    return found


def _places(spectra: Spectra, energies: NDArray[np.float64], sound: Signal) -> list[int]:
    """Where the sound may begin in the recording (negative: before it), by its half-second anchors."""
    places: set[int] = set()
    for begin in range(0, len(sound), _ANCHOR):
        anchor = sound[begin : begin + _ANCHOR]
        if np.sqrt(np.mean(anchor**2)) >= _QUIET:
            places.update(int(place) - begin for place in _alike(spectra, energies, anchor))
    return sorted(places)


def _alike(spectra: Spectra, energies: NDArray[np.float64], anchor: Signal) -> NDArray[np.int64]:
    """The best places of an anchor, at most one in 20 ms."""
    length = len(energies) - 1 - _ANCHOR
    products = np.fft.irfft(spectra * np.conj(np.fft.rfft(anchor, _PIECE)), _PIECE)[:, : _PIECE - _ANCHOR]
    around = energies[len(anchor) : len(anchor) + length] - energies[:length]
    floor = len(anchor) * _QUIET**2 / 10
    own = float(np.sum(anchor.astype(np.float64) ** 2))
    alike = products.reshape(-1)[:length] / np.sqrt(np.maximum(around, floor) * own)
    cells = np.pad(alike, (0, -len(alike) % _BLOCK), constant_values=-1.0).reshape(-1, _BLOCK)
    best = cells.max(axis=1)
    order = np.argsort(best)[::-1][:_PLACES]
    order = order[best[order] >= _ALIKE]
    places: NDArray[np.int64] = order * _BLOCK + cells[order].argmax(axis=1)
    return places


def _spectra(samples: Signal) -> Spectra:
    """The recording in pieces that overlap by an anchor's length, each transformed (overlap-save)."""
    step = _PIECE - _ANCHOR
    padded = np.pad(samples, (0, -len(samples) % step + _PIECE))
    return np.fft.rfft(np.lib.stride_tricks.sliding_window_view(padded, _PIECE)[::step])


def _energies(samples: Signal) -> NDArray[np.float64]:
    """Running sum of squares, going on for an anchor's length beyond the end."""
    return np.concatenate([[0.0], np.cumsum(np.pad(samples.astype(np.float64), (0, _ANCHOR)) ** 2)])


def _fit(samples: Signal, sound: Signal, offset: int) -> _Match | None:
    """The stretch of the sound, laid at `offset`, that explains most; None when it fits nowhere."""
    heard = _cut(samples, offset, len(sound)).reshape(-1, _BLOCK)
    blocks = sound.reshape(-1, _BLOCK)
    loud = np.sqrt(np.mean(blocks**2, axis=1)) >= _QUIET
    products = np.sum(heard * blocks, axis=1)
    own = np.sum(blocks**2, axis=1)
    power = np.sum(heard**2, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        fits = loud & (products > 0) & (products**2 / (own * power) >= _FIT)
    best: _Match | None = None
    for first, last in _runs(fits, loud):
        piece = slice(first, last + 1)
        gain = float(np.median((products[piece] / np.maximum(own[piece], 1.0))[fits[piece]]))
        explained = np.where(fits[piece], 2 * gain * products[piece] - gain**2 * own[piece], 0.0)
        energy = float(explained.sum())
        share = energy / float(power[piece][fits[piece]].sum())
        sure = share >= (_SHARE_LONG if last - first >= _LONG else _SHARE)
        if sure and _LOUDNESS[0] <= gain <= _LOUDNESS[1] and (best is None or energy > best.energy):
            best = _Match(first, last, gain, energy)
    return best


def _runs(fits: NDArray[np.bool_], loud: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of blocks that fit. A pause of the sound itself does not end one, nor do a few misses; both ends are
    two blocks that fit in a row, since one alone may fit by chance."""
    sure = fits & (np.append(fits[1:], False) | np.insert(fits[:-1], 0, False))
    misses = np.cumsum(loud & ~fits)
    runs: list[tuple[int, int]] = []
    for index in np.flatnonzero(sure):
        if runs and misses[index] - misses[runs[-1][1]] <= _BRIDGED:
            runs[-1] = (runs[-1][0], int(index))
        else:
            runs.append((int(index), int(index)))
    return runs


def _take_out(samples: Signal, sound: Signal, offset: int, match: _Match) -> None:
    begin, end = match.first * _BLOCK, (match.last + 1) * _BLOCK
    into = slice(max(0, offset + begin), max(0, offset + end))
    piece = samples[into]
    start = into.start - offset
    samples[into] = piece - match.gain * sound[start : start + len(piece)]


def _cut(samples: Signal, offset: int, length: int) -> Signal:
    """`length` samples from `offset` on; beyond both ends there is silence."""
    inside = samples[max(0, offset) : max(0, offset + length)]
    before = min(length, max(0, -offset))
    return np.pad(inside, (before, length - before - len(inside)))


def _whole_blocks(sound: Samples) -> Signal:
    return np.pad(sound.astype(np.float32), (0, -len(sound) % _BLOCK))
