"""A caller's telephone, at the carrier's side of the trunk."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.sandbox import sip
from engine.sandbox.datagram import Endpoint
from engine.sandbox.leg import ALLOW, Leg
from engine.sandbox.line import Line
from engine.sandbox.rtp import Sound
from engine.sandbox.sip import Request, Response
from engine.sandbox.sip_values import NameAddress


@dataclass(frozen=True, slots=True)
class Call:
    """What a caller dials and shows. `user_part` stands raw, whatever it holds, where the caller's number would."""

    number: str
    from_number: str = "01012345678"
    tone: Sound = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    privacy: bool = False
    user_part: str | None = None


class CallerLeg(Leg):
    """A call that the carrier sends to Dari. It begins with `dial`."""

    def __init__(self, line: Line, call: Call, dari: Endpoint) -> None:
        host = line.address[0]
        super().__init__(line, f"{secrets.token_hex(12)}@{host}", dari, call.tone, time.monotonic())
        self.number = call.number
        self.provisionals: list[tuple[float, int]] = []  # instant and code of each 18x, repetitions too
        self._cancelling = self._cancelled = False
        self._ack: Request | None = None  # of the 200; said again when that comes again
        self._cseq = 1
        self._remote_target = f"sip:{call.number}@{dari[0]}:{dari[1]}"
        self._remote = f"<{self._remote_target}>"
        user = call.from_number if call.user_part is None else call.user_part
        shown = '"Anonymous" <sip:anonymous@anonymous.invalid>' if call.privacy or not user else f"<sip:{user}@{host}>"
        self._local = f"{shown};tag={self._tag}"
        self._invite = self._first_request(call, f"<sip:{user}@{host}>" if user else "")

    @property
    def post_dial_delay(self) -> float | None:
        """Seconds from the INVITE to the first 180 or 183."""
        return self._after_invite(self.rang_at)

    @property
    def answer_delay(self) -> float | None:
        """Seconds from the INVITE to the 200."""
        return self._after_invite(self.answered_at)

    @property
    def first_packet_delay(self) -> float | None:
        """Seconds from the INVITE to the first RTP packet, silent or not."""
        return self._after_invite(self.party.first_packet())

    @property
    def first_audio_delay(self) -> float | None:
        """Seconds from the INVITE to the first RTP packet with sound in it."""
        return self._after_invite(self.party.first_sound())

    def dial(self) -> None:
        """Sends the INVITE, and again until something comes back."""
        self.started_at = self._send(self._invite, self._peer)
        self._insist("INVITE", self._inviting())

    async def provisional(self, code: int | None = None, within: float = 10.0) -> int:
        """The first 18x, or the first `code`. Raises Conflict when the call ended first, GaveUp when time did."""
        await self._until(lambda: bool(self._codes(code)), f"answered with {code or '18x'}", within)
        return self._codes(code)[0]

    async def cancel(self) -> None:
        """Gives up before the answer, and returns when the call is over. An answer that crosses it is hung up."""
        await self.hang_up()

    def _let_go(self) -> None:
        if self.answered_at is not None:
            self._say_bye()
        else:
            self._cancelling = True
            if any(isinstance(message, Response) for _, _, message in self.sip_log):
                self._say_cancel()  # else it must wait for the first response (RFC 3261 section 9.1)

    def _take_response(self, response: Response, instant: float) -> None:
        method = response.cseq[1]
        if method != "INVITE":
            self._take_goodbye(response, method, instant)
        elif response.code < 200:
            self._take_provisional(response, instant)
        elif response.code < 300:
            self._take_answer(response, instant)
        else:
            self._stop("INVITE")
            self._send(self._refusal_ack(response), self._peer)
            self._finish(response, instant)

    def _take_goodbye(self, response: Response, method: str, instant: float) -> None:
        self._stop(method)
        if method == "BYE":
            self._end(instant, ())

    def _take_provisional(self, response: Response, instant: float) -> None:
        self._stop("INVITE")
        if self._cancelling:
            self._say_cancel()
        if response.code == 100 or self.is_over:
            return
        self.provisionals.append((instant, response.code))
        if self.rang_at is None and response.code in (180, 183):
            self.rang_at = instant
        if response.body and self._connect(response.body):
            self.party.speaking = self._line.habits.speak_early
        self._tell()

    def _take_answer(self, response: Response, instant: float) -> None:
        self._stop("INVITE")
        if self._ack is not None:
            self._send(self._ack, self._hop)
            return
        self._remote = response.get("To")
        self._route = tuple(reversed(response.listed("Record-Route")))
        if contact := response.listed("Contact"):
            self._remote_target = str(NameAddress.parse(contact[0]).uri)
        self._ack = self._request("ACK")
        self._send(self._ack, self._hop)
        self.final_code = response.code
        if response.body:
            self._connect(response.body)
        if not self.is_over:
            self.answered_at = instant
            self.party.speaking = True
            self._tell()
        if self._cancelling or self.is_over:
            self._say_bye()

    def _finish(self, response: Response, instant: float) -> None:
        if self.final_code is None:
            self.final_code = response.code
            self._end(instant, response.reasons)

    async def _inviting(self) -> None:
        await self._repeat(self._invite, self._peer, longest=math.inf)
        self._end(time.monotonic(), ())

    def _say_cancel(self) -> None:
        if self._cancelled:
            return
        self._cancelled = True
        cancel = self._within_invite("CANCEL", self._invite.get("To"))
        self._send(cancel, self._peer)
        self._insist("CANCEL", self._repeat(cancel, self._peer))

    def _refusal_ack(self, response: Response) -> Request:
        return self._within_invite("ACK", response.get("To"))

    def _within_invite(self, method: str, to: str) -> Request:
        """CANCEL, and the ACK of a refusal: of the INVITE's own transaction."""
        invite = self._invite
        headers = (
            ("Via", invite.get("Via")),
            ("Max-Forwards", "70"),
            ("From", invite.get("From")),
            ("To", to),
            ("Call-ID", self.call_id),
            ("CSeq", f"{invite.cseq[0]} {method}"),
        )
        return Request(headers=headers, method=method, uri=invite.uri)

    def _first_request(self, call: Call, identity: str) -> Request:
        headers = [
            ("Via", self._via(sip.new_branch())),
            ("Max-Forwards", "70"),
            ("From", self._local),
            ("To", self._remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self._cseq} INVITE"),
            ("Contact", self._line.contact),
            ("Allow", ALLOW),
            *([("P-Asserted-Identity", identity)] if identity else []),
            *([("Privacy", "id")] if call.privacy else []),
            *call.headers.items(),
            ("Content-Type", "application/sdp"),
        ]
        return Request(headers=tuple(headers), body=self._description(), method="INVITE", uri=self._remote_target)

    def _codes(self, code: int | None) -> list[int]:
        return [given for _, given in self.provisionals if code in (None, given)]

    def _after_invite(self, instant: float | None) -> float | None:
        return None if instant is None else instant - self.started_at
