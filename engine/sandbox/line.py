"""What all calls of one carrier share: the SIP socket, the timers, the beat of their RTP, their background tasks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.foundation.tasks import Tasks
from engine.sandbox.datagram import DatagramSocket, Endpoint
from engine.sandbox.rtp import Beat, Party, Sound, even_ports
from engine.sandbox.sdp import Codec


@dataclass(frozen=True, slots=True)
class Habits:
    """How a carrier's phones behave; seconds. T1 and T2 are those of RFC 3261."""

    t1: float = 0.5
    t2: float = 4.0
    codecs: tuple[Codec, ...] = (Codec.PCMA, Codec.PCMU)
    speak_early: bool = False  # callers speak as soon as there is early media, not only once answered
    rtp_ports: tuple[int, int] = (20000, 31998)

    @property
    def patience(self) -> float:
        """Timers B, F and H: when a message that nobody answers is given up."""
        return 64 * self.t1


class Line:
    """Open from `open` to `close`."""

    def __init__(self, address: Endpoint, habits: Habits, receive: Callable[[bytes, Endpoint, float], None]) -> None:
        """Raises Invalid when the address is taken."""
        self.habits = habits
        self.tasks = Tasks("carrier")
        self.socket = DatagramSocket(address, receive)
        self.address = self.socket.address
        self._beat = Beat()
        self._ports = even_ports(*habits.rtp_ports)
        self.tasks.start("beat", self._beat.run())

    @property
    def contact(self) -> str:
        return f"<sip:carrier@{self.address[0]}:{self.address[1]}>"

    def party(self, sound: Sound) -> Party:
        """A new party, hearing already."""
        party = Party(self.address[0], self._ports, self.habits.codecs, sound)
        self._beat.join(party)
        return party

    def unsaid(self, begin: float, end: float) -> float:
        """Seconds of sound between two monotonic instants that the machine had no time to send."""
        return self._beat.unsaid(begin, end)

    def dismiss(self, party: Party) -> None:
        """It hears and speaks no more."""
        self._beat.leave(party)
        party.close()

    async def close(self) -> None:
        await self.tasks.close()
        self.socket.close()
