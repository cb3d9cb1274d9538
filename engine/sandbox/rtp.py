"""A party's sound: one UDP socket that hears and speaks G.711 in packets of 20 ms."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections import deque
from collections.abc import Iterator

import numpy as np

from engine.foundation.errors import Invalid
from engine.sandbox import g711
from engine.sandbox.datagram import DatagramSocket, Endpoint
from engine.sandbox.g711 import Samples
from engine.sandbox.recording import RATE, Arrival, Recording, lay_out
from engine.sandbox.rtp_packet import KEYS, Packet, event_payload
from engine.sandbox.sdp import TELEPHONE_EVENT, Codec, Media, answer

Sound = int | Samples | None  # a tone in Hz for ever; samples, once, then silence; silence

FRAME = RATE * 20 // 1000  # samples per packet
_BEAT = FRAME / RATE
_CATCH_UP = 0.5  # seconds; a machine that stood still longer does not send all it missed
_KEY_FRAMES = 8  # a key is held 160 ms
_PAUSE_FRAMES = 4  # between two keys
_AMPLITUDE = 8000  # of tones: -12 dBFS
_LOUD = 200  # RMS above which a packet is sound and not silence, about -44 dBFS


def tone(hertz: int, seconds: float = 1.0, amplitude: int = _AMPLITUDE) -> Samples:
    """A sine. One second of it loops without a click, because `hertz` is whole."""
    return np.round(amplitude * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.int16)


def even_ports(first: int, last: int) -> Iterator[int]:
    """RTP ports for ever, from a random place on. Even ones only: RTCP of a port comes to the next odd one."""
    ports = range(first + first % 2, last + 1, 2)
    begin = secrets.randbelow(len(ports))
    return itertools.cycle([*ports[begin:], *ports[:begin]])


class Party:
    """Hears from the moment it exists; speaks once it is connected and told to start."""

    def __init__(self, ip: str, ports: Iterator[int], codecs: tuple[Codec, ...], sound: Sound) -> None:
        """Raises Invalid when no port is free."""
        self._socket = self._open(ip, ports)
        self.ours = Media(ip, self._socket.address[1], codecs)
        self.arrivals: list[Arrival] = []
        self.sources: set[Endpoint] = set()
        self.strange = 0  # datagrams that were no RTP
        self.speaking = False
        self._theirs: Media | None = None
        self._sound = sound
        self._frames: list[bytes] = []
        self._frame = 0
        self._keys: deque[tuple[str, int]] = deque()  # per packet: the key and how many packets it has been held
        self._key_began = 0
        self._source = secrets.randbits(32)
        self._sequence = secrets.randbits(16)
        self._timestamp = secrets.randbits(32)
        self._fresh = True

    def connect(self, theirs: Media) -> None:
        """Where our sound goes and in which codec; a later offer moves it."""
        self._theirs = theirs
        self.say(self._sound)

    def description(self) -> Media:
        """What we say of ourselves: an answer when the other side is known, else an offer."""
        return self.ours if self._theirs is None else answer(self._theirs, self.ours)

    def say(self, sound: Sound) -> None:
        """From the next packet on."""
        self._sound, self._frame = sound, 0
        self._frames = _encoded(sound, self._codec)

    def press(self, digits: str) -> None:
        """Keys, one after another, each 160 ms, with 80 ms between them. Raises Invalid for what is no key."""
        for digit in digits.upper():
            if digit not in KEYS:
                raise Invalid(f"key {digit!r} is on no telephone; use {KEYS}")
            self._keys.extend((digit, held) for held in range(1, _KEY_FRAMES + 1))
            self._keys.extend([("", 0)] * _PAUSE_FRAMES)

    def send_packet(self) -> None:
        """The next 20 ms. Nothing goes out before `connect`, after `close`, while not speaking or on hold."""
        if not self.speaking or self._theirs is None or not self._theirs.port or self._theirs.host == "0.0.0.0":  # noqa: S104 - RFC 2543's way of holding, not a bind
            return
        if self._keys:
            self._send_key(self._theirs, *self._keys.popleft())
        else:
            self._send(self._theirs, self._codec.value, self._next_frame(), self._timestamp)
        self._timestamp = (self._timestamp + FRAME) % (1 << 32)

    def recording(self, start: float, end: float) -> Recording:
        """What was heard between two monotonic instants."""
        return lay_out(self.arrivals, start, end, self._event)

    def first_packet(self) -> float | None:
        """The instant of the first RTP packet."""
        return self.arrivals[0].instant if self.arrivals else None

    def first_sound(self) -> float | None:
        """The instant of the first packet that is louder than silence."""
        return next((arrival.instant for arrival in self.arrivals if _is_loud(arrival.packet)), None)

    def close(self) -> None:
        self.speaking = False
        self._socket.close()

    @property
    def _codec(self) -> Codec:
        theirs = self._theirs.codecs if self._theirs else self.ours.codecs
        return next((codec for codec in theirs if codec in self.ours.codecs), self.ours.codecs[0])

    @property
    def _event(self) -> int:
        """Both sides use one payload type for DTMF: the offer's, which an answer repeats."""
        theirs = self._theirs.telephone_event if self._theirs else None
        return TELEPHONE_EVENT if theirs is None else theirs

    def _open(self, ip: str, ports: Iterator[int]) -> DatagramSocket:
        failure = ""
        for port in itertools.islice(ports, 200):
            try:
                return DatagramSocket((ip, port), self._hear)
            except Invalid as error:
                failure = str(error)
        raise Invalid(f"no free RTP port among 200: {failure}")

    def _hear(self, data: bytes, source: Endpoint, instant: float) -> None:
        packet = Packet.parse(data)
        if packet is None:
            self.strange += 1
            return
        self.sources.add(source)
        self.arrivals.append(Arrival(instant, packet))

    def _next_frame(self) -> bytes:
        frame = self._frame
        self._frame += 1
        if isinstance(self._sound, int):
            return self._frames[frame % len(self._frames)]
        return self._frames[min(frame, len(self._frames) - 1)]

    def _send_key(self, theirs: Media, digit: str, held: int) -> None:
        if held == 1:
            self._key_began = self._timestamp
        if digit and theirs.telephone_event is not None:
            last = held == _KEY_FRAMES
            payload = event_payload(digit, held * FRAME, last=last)
            for _ in range(3 if last else 1):  # RFC 4733: the end is said three times, in case of loss
                self._fresh = held == 1
                self._send(theirs, theirs.telephone_event, payload, self._key_began)
        self._fresh = True  # sound after a key begins anew

    def _send(self, theirs: Media, payload_type: int, payload: bytes, timestamp: int) -> None:
        packet = Packet(payload_type, self._sequence, timestamp, self._source, payload, marker=self._fresh)
        self._socket.send(packet.build(), theirs.address)
        self._sequence = (self._sequence + 1) % (1 << 16)
        self._fresh = False


class Beat:
    """Every 20 ms by the monotonic clock all parties send their next packet; one task, however many calls."""

    def __init__(self) -> None:
        self._parties: set[Party] = set()
        self._unsaid: list[tuple[float, float]] = []
        """Seconds that were never sent, by the instant at which a machine without time for us gave them up."""

    def unsaid(self, begin: float, end: float) -> float:
        """Seconds between two monotonic instants that every party left out."""
        return sum(seconds for instant, seconds in self._unsaid if begin <= instant <= end)

    def join(self, party: Party) -> None:
        self._parties.add(party)

    def leave(self, party: Party) -> None:
        self._parties.discard(party)

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += _BEAT
            if (late := loop.time() - due - _CATCH_UP) > 0:
                self._unsaid.append((loop.time(), late))
                due += late
            await asyncio.sleep(due - loop.time())
            for party in self._parties:
                party.send_packet()


def _encoded(sound: Sound, codec: Codec) -> list[bytes]:
    """Packets' payloads; samples end with one packet of silence, which then goes on."""
    if sound is None:
        samples = np.zeros(FRAME, np.int16)
    elif isinstance(sound, int):
        samples = tone(sound)
    else:
        samples = np.pad(sound, (0, -len(sound) % FRAME + FRAME))
    payload = g711.encode(codec, samples)
    return [payload[begin : begin + FRAME] for begin in range(0, len(payload), FRAME)]


def _is_loud(packet: Packet) -> bool:
    codec = next((codec for codec in Codec if codec.value == packet.payload_type), None)
    if codec is None or not packet.payload:
        return False
    return float(np.sqrt(np.mean(np.square(g711.decode(codec, packet.payload).astype(np.float64))))) > _LOUD
