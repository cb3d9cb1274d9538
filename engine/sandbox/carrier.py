"""The carrier of the sandbox: callers and shops behind one SIP address, as a trunk's other end. It believes no one.

Its front desk (`desk`) takes registrations, asks for passwords when told to, and answers OPTIONS.

async with Carrier("127.0.0.2", 5070, ("127.0.0.1", 5060)) as carrier:
    shop = carrier.shop("0212345678", Answers(after_seconds=2))
    caller = await carrier.call("05071234567", tone=500)
    await caller.answered()
    target = await shop.next_call()
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from engine.foundation.errors import GaveUp, Invalid
from engine.sandbox import sip
from engine.sandbox.caller import Call, CallerLeg
from engine.sandbox.datagram import Endpoint
from engine.sandbox.front_desk import FrontDesk
from engine.sandbox.line import Habits, Line
from engine.sandbox.phone import Behaviour, Rejects, TargetLeg
from engine.sandbox.rtp import Sound
from engine.sandbox.sip import Request, Response
from engine.sandbox.sip_values import Uri

_STRANGER = 403
_GOODBYE = 2.0  # seconds that calls still up have to end in order when the carrier closes


@dataclass(frozen=True, slots=True)
class Stray:
    """A datagram that fitted no call and no shop, and why."""

    instant: float
    source: Endpoint
    data: bytes
    why: str


@dataclass(slots=True)
class Shop:
    """A number behind the carrier. Its behaviour may be changed; it holds for the next call."""

    number: str
    behaviour: Behaviour
    calls: list[TargetLeg] = field(default_factory=list)  # all, in the order of arrival
    _waiting: asyncio.Queue[TargetLeg] = field(default_factory=asyncio.Queue)

    async def next_call(self, within: float = 10.0) -> TargetLeg:
        """The oldest call not asked for yet. Raises GaveUp when none came within that many seconds."""
        try:
            async with asyncio.timeout(within):
                return await self._waiting.get()
        except TimeoutError:
            raise GaveUp(f"no call came to shop {self.number} within {within:g} s") from None

    def ring(self, leg: TargetLeg) -> None:
        self.calls.append(leg)
        self._waiting.put_nowait(leg)


class Carrier:
    """Used with `async with`; every call's facts stay readable afterwards."""

    def __init__(self, ip: str, port: int, dari_address: Endpoint, habits: Habits | None = None) -> None:
        """`ip` is the trunk's address, which Dari knows it by; port 0 takes a free one."""
        self.callers: list[CallerLeg] = []
        self.targets: list[TargetLeg] = []
        self.stray: list[Stray] = []
        self.desk = FrontDesk()
        self._wanted: Endpoint = (ip, port)
        self._dari = dari_address
        self._habits = habits or Habits()
        self._shops: dict[str, Shop] = {}
        self._legs: dict[str, CallerLeg | TargetLeg] = {}
        self._knocks: dict[str, asyncio.Future[int]] = {}
        self._line: Line | None = None

    async def __aenter__(self) -> Self:
        """Raises Invalid when the address is taken."""
        self._line = Line(self._wanted, self._habits, self._receive)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Ends what still is up, so that nothing of ours stays in Asterisk."""
        live = [leg for leg in self._legs.values() if not leg.is_over]
        if live:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE):
                    await asyncio.gather(*(leg.hang_up() for leg in live), return_exceptions=True)
        for leg in self._legs.values():
            leg.abandon()
        await self._open.close()

    @property
    def address(self) -> Endpoint:
        """Where it takes SIP."""
        return self._open.address

    def shop(self, number: str, behaviour: Behaviour) -> Shop:
        """The shop at that number from now on; the same one again when it exists, with a new behaviour."""
        shop = self._shops.setdefault(number, Shop(number, behaviour))
        shop.behaviour = behaviour
        return shop

    async def call(
        self,
        number: str,
        from_number: str = "01012345678",
        tone: Sound = 500,
        headers: Mapping[str, str] | None = None,
        privacy: bool = False,
        user_part: str | None = None,
    ) -> CallerLeg:
        """A call to `number` at Dari; its INVITE is out when this returns.

        An empty `from_number` shows no number at all; `privacy` hides it from the called one but not from Dari
        (P-Asserted-Identity); `user_part` stands raw where the caller's number would.
        """
        call = Call(number, from_number, tone, headers or {}, privacy, user_part)
        leg = CallerLeg(self._open, call, self._dari)
        self._legs[leg.call_id] = leg
        self.callers.append(leg)
        leg.dial()
        return leg

    async def is_known(self, within: float = 1.0) -> bool:
        """Whether Dari takes this carrier for one of its trunks: asked by OPTIONS, which makes no call."""
        options = sip.options(self._open.address, self._dari)
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._knocks[options.call_id] = answer
        try:
            self._open.socket.send(options.build(), self._dari)
            async with asyncio.timeout(within):
                return await answer != _STRANGER
        except TimeoutError:
            return False
        finally:
            del self._knocks[options.call_id]

    @property
    def _open(self) -> Line:
        if self._line is None:
            raise Invalid("the carrier is not open; use it inside `async with Carrier(...)`")
        return self._line

    def _receive(self, data: bytes, source: Endpoint, instant: float) -> None:
        if not data.strip(b"\r\n\0"):
            return  # a keep-alive (RFC 5626)
        try:
            self._place(sip.parse(data), source, instant, data)
        except Invalid as error:
            self.stray.append(Stray(instant, source, data, str(error)))

    def _place(self, message: Request | Response, source: Endpoint, instant: float, data: bytes) -> None:
        knock = self._knocks.get(message.call_id)
        if knock and not knock.done() and isinstance(message, Response):
            knock.set_result(message.code)
        elif leg := self._legs.get(message.call_id):
            leg.receive(message, source, instant)
        elif isinstance(message, Request) and message.method == "INVITE" and not message.to_tag:
            held_up = self.desk.hold_up(message, source)
            if held_up is None:
                self._ring(message, source, instant, data)
            else:
                self._send_back(held_up, message, source)
        elif isinstance(message, Request) and message.method in ("OPTIONS", "REGISTER"):
            answer = self.desk.answer(message, source)
            if answer is not None:
                self._send_back(answer, message, source)
        elif isinstance(message, Request) and message.method == "ACK" and message.call_id in self.desk.challenged:
            pass  # it ends what asked for the password
        else:
            self._take_stranger(message, source, instant, data)

    def _ring(self, invite: Request, source: Endpoint, instant: float, data: bytes) -> None:
        shop = self._shops.get(_dialled(invite))
        if shop is None:
            self.stray.append(Stray(instant, source, data, "no shop has this number"))
        leg = TargetLeg(self._open, invite, source, shop.behaviour if shop else Rejects(404), instant)
        self._legs[leg.call_id] = leg
        self.targets.append(leg)
        leg.receive(invite, source, instant)
        if shop:
            shop.ring(leg)

    def _take_stranger(self, message: Request | Response, source: Endpoint, instant: float, data: bytes) -> None:
        self.stray.append(Stray(instant, source, data, "it belongs to no call"))
        if isinstance(message, Request) and message.method != "ACK":
            self._send_back(sip.response_to(message, 481, source, sip.new_tag()), message, source)

    def _send_back(self, answer: Response, request: Request, source: Endpoint) -> None:
        port = source[1] if "rport" in request.via.parameters else request.via.port
        self._open.socket.send(answer.build(), (source[0], port))


def _dialled(invite: Request) -> str:
    """The number in the Request-URI; empty when it has none."""
    try:
        return Uri.parse(invite.uri).user.partition(";")[0]
    except Invalid:
        return ""
