"""Session descriptions (RFC 4566, offer and answer of RFC 3264) for one audio stream in G.711. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from engine.foundation.errors import Invalid


class Codec(Enum):
    """The codecs of a Korean trunk; the value is the static RTP payload type (RFC 3551)."""

    PCMA = 8
    PCMU = 0


TELEPHONE_EVENT = 101  # the payload type that we offer for DTMF (RFC 4733)


@dataclass(frozen=True, slots=True)
class Media:
    """What one side is ready to take: where its sound shall go, its codecs by preference, DTMF's payload type."""

    host: str
    port: int
    codecs: tuple[Codec, ...]
    telephone_event: int | None = TELEPHONE_EVENT
    sends: bool = True  # False: on hold or listening only

    @property
    def address(self) -> tuple[str, int]:
        return self.host, self.port


def build(media: Media, version: int = 1) -> bytes:
    """The SDP body that says `media`."""
    names = {codec.value: f"{codec.name}/8000" for codec in media.codecs}
    if media.telephone_event is not None:
        names[media.telephone_event] = "telephone-event/8000"
    lines = [
        "v=0",
        f"o=- {media.port} {version} IN IP4 {media.host}",
        "s=-",
        f"c=IN IP4 {media.host}",
        "t=0 0",
        f"m=audio {media.port} RTP/AVP {' '.join(map(str, names))}",
        *(f"a=rtpmap:{payload} {name}" for payload, name in names.items()),
        *([f"a=fmtp:{media.telephone_event} 0-15"] if media.telephone_event is not None else []),
        "a=ptime:20",
        "a=sendrecv" if media.sends else "a=recvonly",
        "",
    ]
    return "\r\n".join(lines).encode()


def parse(body: bytes) -> Media:
    """The first audio stream of an SDP body. Raises Invalid when there is none that we could talk to."""
    lines = [line.partition("=") for line in body.decode(errors="replace").splitlines() if line]
    if not lines or lines[0] != ("v", "=", "0"):
        raise Invalid("SDP that does not begin with v=0")
    session: list[tuple[str, str]] = []
    streams: list[list[tuple[str, str]]] = []
    for kind, _, value in lines:
        if kind == "m":
            streams.append([])
        (streams[-1] if streams else session).append((kind, value))
    for stream in streams:
        match = re.fullmatch(r"audio (\d+)(?:/\d+)? RTP/AVP ([\d ]+)", stream[0][1])
        if match and int(match[1]) <= 65535:
            return _audio(session, stream, int(match[1]), [int(payload) for payload in match[2].split()])
    raise Invalid("SDP without an audio stream over RTP/AVP")


def answer(offer: Media, ours: Media) -> Media:
    """Our side after an offer: only what both can, in the offerer's order. Raises Invalid when no codec fits."""
    shared = tuple(codec for codec in offer.codecs if codec in ours.codecs)
    if not shared:
        raise Invalid("SDP offer without PCMA or PCMU; the trunk must allow alaw or ulaw")
    return Media(ours.host, ours.port, shared[:1], offer.telephone_event, ours.sends)


def _audio(session: list[tuple[str, str]], stream: list[tuple[str, str]], port: int, payloads: list[int]) -> Media:
    connection = [value for kind, value in session + stream if kind == "c"]
    match = re.fullmatch(r"IN IP4 ([\d.]+)\S*", connection[-1]) if connection else None
    if not match:
        raise Invalid("SDP without an IPv4 connection line (c=IN IP4 …)")
    attributes = [value for kind, value in session + stream if kind == "a"]
    known = {codec.value: codec for codec in Codec}
    event = next((int(a[7:].split()[0]) for a in attributes if re.match(r"rtpmap:\d+ telephone-event/8000", a)), None)
    silent = any(a in ("recvonly", "inactive") for a in attributes)
    return Media(match[1], port, tuple(known[p] for p in payloads if p in known), event, not silent)
