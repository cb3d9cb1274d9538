"""G.711: A-law and μ-law to linear 16-bit samples and back, by table."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from engine.sandbox.sdp import Codec

Samples = NDArray[np.int16]


def decode(codec: Codec, payload: bytes) -> Samples:
    """One sample per byte."""
    return _decoding(codec)[np.frombuffer(payload, np.uint8)]


def encode(codec: Codec, samples: Samples) -> bytes:
    """The byte of the nearest level for each sample."""
    return _encoding(codec)[samples.astype(np.int32) + 32768].tobytes()


@cache
def _decoding(codec: Codec) -> Samples:
    levels = np.array([_a_law(byte) if codec is Codec.PCMA else _mu_law(byte) for byte in range(256)])
    return levels.astype(np.int16)


@cache
def _encoding(codec: Codec) -> NDArray[np.uint8]:
    levels = _decoding(codec).astype(np.int32)
    order = np.argsort(levels, kind="stable")
    ladder = levels[order]
    nearest = np.searchsorted((ladder[:-1] + ladder[1:]) / 2, np.arange(-32768, 32768))
    return order[nearest].astype(np.uint8)


def _a_law(byte: int) -> int:
    byte ^= 0x55
    segment, step = (byte >> 4) & 7, byte & 15
    size = (step << 4) + 8 if segment == 0 else ((step << 4) + 0x108) << (segment - 1)
    return size if byte & 0x80 else -size


def _mu_law(byte: int) -> int:
    byte ^= 0xFF
    size = ((((byte & 15) << 3) + 0x84) << ((byte >> 4) & 7)) - 0x84
    return -size if byte & 0x80 else size
