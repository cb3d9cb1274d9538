"""The plainest SIP telephone for tests: one UDP socket for messages, one for sound, no retransmissions."""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np

from engine.sandbox import g711
from engine.sandbox.sdp import Codec

_RATE = 8000


@dataclass
class Call:
    """What a caller saw and heard."""

    call_id: str
    answers: list[str] = field(default_factory=list)
    """Every response, whole."""
    heard: bytes = b""
    """A-law payload of all RTP."""

    @property
    def codes(self) -> list[int]:
        return [int(answer.split()[1]) for answer in self.answers]

    def tones(self, first: float = 0.0, last: float = 3600.0) -> set[int]:
        """Frequencies that stand out between two seconds of what was heard, to the nearest 50 Hz."""
        part = self.heard[round(first * _RATE) : round(last * _RATE)]
        if len(part) < _RATE // 8:
            return set()
        spectrum = np.abs(np.fft.rfft(g711.decode(Codec.PCMA, part)))
        bins = np.flatnonzero(spectrum > spectrum.max() / 3)
        return {round(index * _RATE / len(part) / 50) * 50 for index in bins}


class Telephone:
    """Lives on `ip`, SIP on `port`, sound on the next even port but one."""

    def __init__(self, ip: str, port: int = 5070) -> None:
        self.ip, self.port, self.sound_port = ip, port, port + 2
        self._sip, self._sound = _bound(ip, port), _bound(ip, self.sound_port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sip.close()
        self._sound.close()

    async def call(self, server: str, user: str, seconds: float = 8.0, call_id: str | None = None) -> Call:
        """Sends INVITE and takes responses and sound until a final response, or until `seconds` have passed."""
        call = Call(call_id or f"{secrets.token_hex(8)}@{self.ip}")
        listening = asyncio.ensure_future(self._listen(call))
        try:
            async with asyncio.timeout(seconds):
                await self._send(server, self._request("INVITE", server, user, call, self._sdp()))
                while not call.codes or call.codes[-1] < 200:
                    call.answers.append(await self._answer_to(call))
                await self._send(server, self._request("ACK", server, user, call))
        except TimeoutError:
            pass
        finally:
            listening.cancel()
        return call

    async def cancel(self, server: str, user: str, call: Call) -> None:
        """Gives a call up."""
        await self._send(server, self._request("CANCEL", server, user, call))

    async def answer_once(self) -> str:
        """Takes one INVITE with 180 and 200 and its BYE with 200; the INVITE."""
        loop = asyncio.get_running_loop()
        invite = ""
        while True:
            data, source = await loop.sock_recvfrom(self._sip, 65535)
            message = data.decode()
            method = message.split()[0]
            if method == "INVITE":
                invite = message
                await loop.sock_sendto(self._sip, self._response(message, "180 Ringing"), source)
                await loop.sock_sendto(self._sip, self._response(message, "200 OK", self._sdp()), source)
            elif method == "BYE":
                await loop.sock_sendto(self._sip, self._response(message, "200 OK"), source)
                return invite

    async def _listen(self, call: Call) -> None:
        loop = asyncio.get_running_loop()
        while True:
            packet = await loop.sock_recv(self._sound, 2048)
            call.heard += packet[12:]

    async def _answer_to(self, call: Call) -> str:
        """The next response; those to earlier calls may still come again and are left out."""
        loop = asyncio.get_running_loop()
        while f"Call-ID: {call.call_id}\r" not in (message := (await loop.sock_recv(self._sip, 65535)).decode()):
            pass
        return message

    async def _send(self, server: str, message: bytes) -> None:
        host, _, port = server.rpartition(":")
        await asyncio.get_running_loop().sock_sendto(self._sip, message, (host, int(port)))

    def _request(self, method: str, server: str, user: str, call: Call, body: str = "") -> bytes:
        to = next((found[1] for found in map(_TO.search, call.answers[-1:]) if found), f"<sip:{server}>")
        lines = [
            f"{method} sip:{user}@{server} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.ip}:{self.port};branch=z9hG4bK{call.call_id[:16]}",
            f"From: <sip:01012345678@{self.ip}>;tag=caller",
            f"To: {to}",
            f"Call-ID: {call.call_id}",
            f"CSeq: 1 {method}",
            f"Contact: <sip:{self.ip}:{self.port}>",
            "Max-Forwards: 70",
        ]
        return _message(lines, body)

    def _response(self, request: str, status: str, body: str = "") -> bytes:
        kept = [line for line in request.split("\r\n") if re.match(r"(Via|From|Call-ID|CSeq):", line)]
        to = next(line for line in request.split("\r\n") if line.startswith("To:"))
        tag = "" if ";tag=" in to else ";tag=called"
        lines = [f"SIP/2.0 {status}", *kept, to + tag, f"Contact: <sip:{self.ip}:{self.port}>"]
        return _message(lines, body)

    def _sdp(self) -> str:
        return "\r\n".join(
            [
                "v=0",
                f"o=- 1 1 IN IP4 {self.ip}",
                "s=-",
                f"c=IN IP4 {self.ip}",
                "t=0 0",
                f"m=audio {self.sound_port} RTP/AVP 8",
                "a=rtpmap:8 PCMA/8000",
                "",
            ]
        )


_TO = re.compile(r"^To: (.*?)\r$", re.MULTILINE)


def _message(lines: list[str], body: str) -> bytes:
    described = ["Content-Type: application/sdp"] if body else []
    return "\r\n".join([*lines, *described, f"Content-Length: {len(body)}", "", body]).encode()


def _bound(ip: str, port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    opened.setblocking(False)
    opened.bind((ip, port))
    return opened
