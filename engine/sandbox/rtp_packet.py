"""One RTP packet (RFC 3550) on the wire, and the telephone events in it (RFC 4733). No I/O."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER = struct.Struct("!BBHII")
_EVENT = struct.Struct("!BBH")
KEYS = "0123456789*#ABCD"
_EVENT_VOLUME = 10  # -10 dBm0, the usual level of a telephone's keys


@dataclass(frozen=True, slots=True)
class Packet:
    """`timestamp` counts samples of 1/8000 s, modulo 2³²; `sequence` counts packets, modulo 2¹⁶."""

    payload_type: int
    sequence: int
    timestamp: int
    source: int  # SSRC: who speaks
    payload: bytes
    marker: bool = False

    @classmethod
    def parse(cls, data: bytes) -> Packet | None:
        """None when the bytes are not RTP (RTCP, STUN, anything)."""
        if len(data) < _HEADER.size or data[0] >> 6 != 2 or 200 <= data[1] <= 207:
            return None
        flags, kind, sequence, timestamp, source = _HEADER.unpack_from(data)
        begin = _HEADER.size + 4 * (flags & 0x0F)
        if flags & 0x10 and len(data) >= begin + 4:
            begin += 4 + 4 * int.from_bytes(data[begin + 2 : begin + 4], "big")
        end = len(data) - (data[-1] if flags & 0x20 else 0)
        if end < begin:
            return None
        return cls(kind & 0x7F, sequence, timestamp, source, data[begin:end], bool(kind & 0x80))

    def build(self) -> bytes:
        kind = self.payload_type | (0x80 if self.marker else 0)
        return _HEADER.pack(0x80, kind, self.sequence, self.timestamp, self.source) + self.payload


def event_payload(digit: str, samples: int, *, last: bool) -> bytes:
    """The key `digit`, held for `samples` so far; `last` when it has been let go."""
    return _EVENT.pack(KEYS.index(digit), (0x80 if last else 0) | _EVENT_VOLUME, samples)


def event_digit(payload: bytes) -> str | None:
    """The key in a telephone-event payload; None for other events (flash, fax tones) and for rubbish."""
    return KEYS[payload[0]] if len(payload) >= 4 and payload[0] < len(KEYS) else None
