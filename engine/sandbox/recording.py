"""What one party heard: its RTP packets laid on a timeline. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from engine.sandbox import g711
from engine.sandbox.g711 import Samples
from engine.sandbox.rtp_packet import Packet, event_digit
from engine.sandbox.sdp import Codec

RATE = 8000  # samples per second, everywhere here
_FRAME = RATE * 20 // 1000  # samples per packet
_BURST = 25  # packets: half a second, the longest hold-up that is healed
_TOLERANCE = RATE * 20 // 1000  # a stream that is further than this off its timeline begins a new one

_CODECS = {codec.value: codec for codec in Codec}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet and the monotonic instant at which the kernel had it."""

    instant: float
    packet: Packet


@dataclass(frozen=True, slots=True)
class Recording:
    """8 kHz mono; sample 0 is at the monotonic instant `start`. Where nothing arrived there is silence."""

    start: float
    samples: Samples
    packets: int = 0
    lost: int = 0
    digits: tuple[tuple[float, str], ...] = ()  # seconds from `start` and the key

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / RATE

    def between(self, begin: float, end: float) -> Recording:
        """The piece from `begin` to `end`, both in seconds from `start`; packet counts are not cut."""
        piece = self.samples[round(begin * RATE) : round(end * RATE)]
        digits = tuple((at - begin, key) for at, key in self.digits if begin <= at < end)
        return Recording(self.start + begin, piece, self.packets, self.lost, digits)

    def since(self, instant: float) -> Recording:
        """The piece from a monotonic instant on; its seconds count from there."""
        return self.between(max(0.0, instant - self.start), self.duration)


def lay_out(arrivals: Iterable[Arrival], start: float, end: float, telephone_event: int | None) -> Recording:
    """The recording from `start` to `end`.

    Within a stream (SSRC) packets lie by their timestamps, exact to the sample, as a telephone's buffer lays them:
    reordering and hold-ups that are caught up within half a second are healed. A stream whose time goes on 20 ms or
    more off that line is laid anew by arrival. Streams that overlap are heard together.
    """
    length = max(0, round((end - start) * RATE))
    streams: defaultdict[int, list[Arrival]] = defaultdict(list)
    for arrival in arrivals:
        if arrival.instant <= end:
            streams[arrival.packet.source].append(arrival)
    mixed = np.zeros(length, np.int32)
    for stream in streams.values():
        mixed += _layer(stream, start, length)
    return Recording(
        start=start,
        samples=np.clip(mixed, -32768, 32767).astype(np.int16),
        packets=sum(map(len, streams.values())),
        lost=sum(map(_lost, streams.values())),
        digits=tuple(sorted(key for stream in streams.values() for key in _digits(stream, start, telephone_event))),
    )


def _layer(stream: list[Arrival], start: float, length: int) -> Samples:
    layer = np.zeros(length, np.int16)
    stream = [arrival for arrival in stream if arrival.packet.payload_type in _CODECS]
    lateness = _lateness(stream, start)
    offset: int | None = None  # of the timeline from the stream's own timestamps
    earliest = 0  # nothing of a talk spurt can be heard before its first packet is there
    for index, arrival in enumerate(stream):
        arrived = round((arrival.instant - start) * RATE)
        if offset is None or arrival.packet.marker:
            earliest = max(0, arrived)
        soonest = min(lateness[index : _end_of_burst(stream, lateness, index)])
        if offset is None or abs(soonest - offset) > _TOLERANCE:
            offset = soonest
        begin = arrived - lateness[index] + offset
        samples = g711.decode(_CODECS[arrival.packet.payload_type], arrival.packet.payload)
        shown = samples[max(0, earliest - begin) : max(0, length - begin)]
        begin = max(earliest, begin)
        layer[begin : begin + len(shown)] = shown
    return layer


def _lateness(stream: list[Arrival], start: float) -> list[int]:
    """Arrival less timestamp of each packet, in samples; only differences mean something."""
    timestamp = stream[0].packet.timestamp if stream else 0
    lateness = []
    for arrival in stream:
        timestamp += _signed(arrival.packet.timestamp - timestamp, 32)
        lateness.append(round((arrival.instant - start) * RATE) - timestamp)
    return lateness


def _end_of_burst(stream: list[Arrival], lateness: list[int], index: int) -> int:
    """The end of the packets by which a stream that was held up may have caught up again."""
    end = index + 1
    while (
        end < min(len(stream), index + _BURST)
        and not stream[end].packet.marker  # another talk spurt has a time of its own
        and lateness[index] - lateness[end] < _BURST * _FRAME
    ):
        end += 1
    return end


def _lost(stream: list[Arrival]) -> int:
    last = stream[0].packet.sequence
    seen = {last}
    for arrival in stream[1:]:
        # Counted on beyond 65535, so that a long call's sequence does not fold onto itself.
        last += _signed(arrival.packet.sequence - last, 16)
        seen.add(last)
    return max(seen) - min(seen) + 1 - len(seen)


def _digits(stream: list[Arrival], start: float, telephone_event: int | None) -> list[tuple[float, str]]:
    keys: dict[int, tuple[float, str]] = {}  # all packets of one key share its timestamp
    for arrival in stream:
        digit = event_digit(arrival.packet.payload) if arrival.packet.payload_type == telephone_event else None
        if digit is not None:
            keys.setdefault(arrival.packet.timestamp, (arrival.instant - start, digit))
    return list(keys.values())


def _signed(difference: int, bits: int) -> int:
    """The shortest way round a counter of that many bits."""
    half = 1 << (bits - 1)
    return (difference + half) % (1 << bits) - half
