"""One call at one phone: its dialogue (RFC 3261 section 12), its log of SIP messages, and what it heard."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from dataclasses import replace
from enum import Enum
from typing import Any, NamedTuple

from engine.foundation.errors import Conflict, GaveUp, Invalid
from engine.sandbox import sdp, sip
from engine.sandbox.datagram import Endpoint
from engine.sandbox.line import Line
from engine.sandbox.recording import Recording
from engine.sandbox.rtp import Sound
from engine.sandbox.sip import Headers, Request, Response
from engine.sandbox.sip_values import NameAddress, Reason, Uri

ALLOW = "INVITE, ACK, BYE, CANCEL, OPTIONS"


class Direction(Enum):
    SENT = "sent"
    RECEIVED = "received"


class Logged(NamedTuple):
    """A SIP message, each repetition too, and its monotonic instant."""

    instant: float
    direction: Direction
    message: Request | Response


class Leg(ABC):
    """What a caller's and a target's leg share. Instants are monotonic seconds; None while a thing has not happened."""

    def __init__(self, line: Line, call_id: str, peer: Endpoint, sound: Sound, started_at: float) -> None:
        self.call_id = call_id
        self.started_at = started_at  # the INVITE was sent (caller) or received (target)
        self.rang_at: float | None = None  # first 180 or 183
        self.answered_at: float | None = None  # the 200
        self.ended_at: float | None = None
        self.hung_up_here = False  # by this side: our BYE, CANCEL or refusal
        self.final_code: int | None = None  # final answer to the INVITE; None: there was none
        self.reasons: tuple[Reason, ...] = ()
        self.sip_log: list[Logged] = []
        self.party = line.party(sound)
        self._line = line
        self._peer = peer
        self._cseq = 0
        self._tag = sip.new_tag()
        self._local = self._remote = ""  # From/To as we write them
        self._remote_target = ""
        self._route: tuple[str, ...] = ()
        self._replies: dict[tuple[str, str], tuple[Response, Endpoint]] = {}
        self._insisting: dict[str, asyncio.Task[None]] = {}
        self._news = asyncio.Event()

    @property
    def is_over(self) -> bool:
        return self.ended_at is not None

    @property
    def reason(self) -> Reason | None:
        """The first Reason header of what ended the call; None when it had none."""
        return self.reasons[0] if self.reasons else None

    @property
    def talk_seconds(self) -> float:
        """From the 200 to the end, or to now."""
        return 0.0 if self.answered_at is None else (self.ended_at or time.monotonic()) - self.answered_at

    @property
    def unsaid(self) -> float:
        """Seconds since the 200 for which it was silent, because the machine had no time for it."""
        return (
            0.0 if self.answered_at is None else self._line.unsaid(self.answered_at, self.ended_at or time.monotonic())
        )

    @property
    def recording(self) -> Recording:
        """All that was heard from the INVITE to the end, or to now."""
        return self.party.recording(self.started_at, self.ended_at or time.monotonic())

    def say(self, sound: Sound) -> None:
        """A tone in Hz, samples or silence, from now on."""
        self.party.say(sound)

    def press(self, digits: str) -> None:
        """Keys as RFC 4733 events."""
        self.party.press(digits)

    async def answered(self, within: float = 10.0) -> None:
        """Raises Conflict when the call ended unanswered, GaveUp when `within` seconds were not enough."""
        await self._until(lambda: self.answered_at is not None, "answered", within)

    async def ended(self, within: float = 60.0) -> None:
        """Raises GaveUp when `within` seconds were not enough."""
        await self._until(lambda: self.is_over, "ended", within)

    async def hang_up(self) -> None:
        """Ends the call however far it is, and returns when it is over. No harm when it is over already."""
        if self.is_over:
            return
        self.hung_up_here = True
        self._let_go()
        await self.ended(self._line.habits.patience + 1)

    def abandon(self) -> None:
        """Says and hears nothing more, without a goodbye: the carrier closes."""
        for what in list(self._insisting):
            self._stop(what)
        self._end(time.monotonic(), ())

    def receive(self, message: Request | Response, source: Endpoint, instant: float) -> None:
        """A message of this Call-ID."""
        self.sip_log.append(Logged(instant, Direction.RECEIVED, message))
        if isinstance(message, Response):
            self._take_response(message, instant)
        elif known := self._replies.get((message.via.branch, message.method)):
            self._send(*known)
        else:
            self._take_request(message, source, instant)

    @abstractmethod
    def _let_go(self) -> None:
        """Says what ends the call, by how far it is."""

    @abstractmethod
    def _take_response(self, response: Response, instant: float) -> None:
        """What the other side answered."""

    def _take_request(self, request: Request, source: Endpoint, instant: float) -> None:
        if request.method == "ACK":
            self._take_ack(request)
        elif request.to_tag != self._tag or request.from_tag != self._remote_tag or self.answered_at is None:
            self._reply(request, 481, source)
        elif request.method == "BYE":
            self._reply(request, 200, source)
            self._end(instant, request.reasons)
        elif request.method == "INVITE":
            self._take_new_offer(request, source)
        elif request.method == "OPTIONS":
            self._reply(request, 200, source)
        else:
            self._reply(request, 405, source)

    def _take_ack(self, ack: Request) -> None:
        self._stop(f"answer {ack.cseq[0]}")
        if ack.body:
            self._connect(ack.body)

    def _take_new_offer(self, request: Request, source: Endpoint) -> None:
        """A re-INVITE: the other side may move its sound; ours stays as it was."""
        if request.body and not self._connect(request.body):
            self._answer(request, 488, source)
        else:
            self._answer(request, 200, source, self._description())

    def _connect(self, body: bytes) -> bool:
        """False when there is nothing in it that we could talk to."""
        try:
            theirs = sdp.parse(body)
            sdp.answer(theirs, self.party.ours)
        except Invalid:
            return False
        self.party.connect(theirs)
        return True

    def _description(self) -> bytes:
        """Our SDP: an answer when the other side's is known, else an offer."""
        return sdp.build(self.party.description())

    def _reply(self, request: Request, code: int, source: Endpoint, body: bytes = b"", extra: Headers = ()) -> Response:
        response = sip.response_to(request, code, source, self._tag)
        headers = [*response.headers, *extra]
        headers += [("Allow", ALLOW)] if code in (200, 405) else []
        headers += [("Contact", self._line.contact)] if request.method == "INVITE" and code < 300 else []
        headers += [("Content-Type", "application/sdp")] if body else []
        response = replace(response, headers=tuple(headers), body=body)
        hop = (source[0], source[1] if "rport" in request.via.parameters else request.via.port)
        self._replies[request.via.branch, request.method] = (response, hop)
        self._send(response, hop)
        return response

    def _answer(self, invite: Request, code: int, source: Endpoint, body: bytes = b"", extra: Headers = ()) -> None:
        """A final answer to an INVITE, said again until its ACK comes."""
        response = self._reply(invite, code, source, body, extra)
        hop = self._replies[invite.via.branch, "INVITE"][1]
        self._insist(f"answer {invite.cseq[0]}", self._answering(response, hop))

    async def _answering(self, response: Response, hop: Endpoint) -> None:
        await self._repeat(response, hop)
        if response.code < 300 and not self.is_over:  # RFC 3261 section 13.3.1.4: no ACK, so no call
            self._say_bye()

    def _say_bye(self) -> None:
        self.hung_up_here = True
        bye = self._request("BYE")
        self._send(bye, self._hop)
        self._insist("BYE", self._saying_bye(bye))

    async def _saying_bye(self, bye: Request) -> None:
        await self._repeat(bye, self._hop)
        self._end(time.monotonic(), ())

    def _request(self, method: str) -> Request:
        """A request within the dialogue."""
        if method != "ACK":
            self._cseq += 1
        headers = [
            ("Via", self._via(sip.new_branch())),
            *(("Route", route) for route in self._route),
            ("Max-Forwards", "70"),
            ("From", self._local),
            ("To", self._remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{self._cseq} {method}"),
        ]
        return Request(headers=tuple(headers), method=method, uri=self._remote_target)

    def _via(self, branch: str) -> str:
        host, port = self._line.address
        return f"SIP/2.0/UDP {host}:{port};branch={branch};rport"

    @property
    def _hop(self) -> Endpoint:
        """Where requests within the dialogue go: the first Route, else the other side's Contact."""
        try:
            uri = NameAddress.parse(self._route[0]).uri if self._route else Uri.parse(self._remote_target)
        except Invalid:
            return self._peer
        return (uri.host, uri.port or 5060) if uri.host.replace(".", "").isdigit() else self._peer

    @property
    def _remote_tag(self) -> str:
        return NameAddress.parse(self._remote).parameters.get("tag", "")

    def _send(self, message: Request | Response, hop: Endpoint) -> float:
        instant = self._line.socket.send(message.build(), hop)
        self.sip_log.append(Logged(instant, Direction.SENT, message))
        return instant

    async def _repeat(self, message: Request | Response, hop: Endpoint, longest: float | None = None) -> None:
        """Sends again after T1, 2 T1, 4 T1 …, at most `longest` (T2) apart; returns when 64 T1 are over."""
        habits = self._line.habits
        pause, left = habits.t1, habits.patience
        while left > pause:
            await asyncio.sleep(pause)
            self._send(message, hop)
            left -= pause
            pause = min(2 * pause, longest or habits.t2)
        await asyncio.sleep(left)

    def _insist(self, what: str, repeating: Coroutine[Any, Any, None]) -> None:
        self._insisting[what] = self._line.tasks.start(what, repeating)

    def _stop(self, what: str) -> None:
        if task := self._insisting.pop(what, None):
            task.cancel()

    def _end(self, instant: float, reasons: tuple[Reason, ...]) -> None:
        if self.is_over:
            return
        self.ended_at = instant
        self.reasons = self.reasons or reasons
        self._stop("behaviour")
        self._line.dismiss(self.party)
        self._tell()

    def _tell(self) -> None:
        """Wakes all who wait for something about this call."""
        self._news.set()
        self._news = asyncio.Event()

    async def _until(self, holds: Callable[[], bool], what: str, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                while not holds():
                    if self.is_over:
                        raise Conflict(f"the call ended with {self.final_code} before it was {what}")
                    await self._news.wait()
        except TimeoutError:
            raise GaveUp(f"the call was not {what} within {within:g} s") from None
