"""A shop's telephone: how it behaves when it is called, and its leg of the call."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from engine.sandbox.datagram import Endpoint
from engine.sandbox.leg import Leg
from engine.sandbox.line import Line
from engine.sandbox.rtp import Sound
from engine.sandbox.sip import Request, Response
from engine.sandbox.sip_values import NameAddress


@dataclass(frozen=True, slots=True)
class Answers:
    """Rings, answers, says `tone`, presses `dtmf`; hangs up itself after `talk_seconds`, with None never."""

    after_seconds: float = 0.0
    talk_seconds: float | None = None
    tone: Sound = 1100
    dtmf: str | None = None
    dtmf_after: float = 0.5  # seconds after the answer
    early_tone: Sound = None  # its network's own ringing or announcement, as early media


@dataclass(frozen=True, slots=True)
class Busy:
    """486 at once."""


@dataclass(frozen=True, slots=True)
class NeverAnswers:
    """Rings until the caller gives up."""


@dataclass(frozen=True, slots=True)
class Rejects:
    """That code at once, without ringing."""

    code: int


@dataclass(frozen=True, slots=True)
class Silent:
    """Takes packets and answers none: a dead network."""


@dataclass(frozen=True, slots=True)
class Rings:
    """Rings, and after `seconds` refuses with `code`."""

    seconds: float
    code: int = 480


Behaviour = Answers | Busy | NeverAnswers | Rejects | Silent | Rings


class TargetLeg(Leg):
    """A call that reached a shop. It begins with `take`."""

    def __init__(self, line: Line, invite: Request, source: Endpoint, behaviour: Behaviour, at: float) -> None:
        sound = behaviour.early_tone if isinstance(behaviour, Answers) else None
        super().__init__(line, invite.call_id, source, sound, at)
        self.invite = invite
        self.behaviour = behaviour
        self.cancelled = False  # the other side gave up before the answer
        self._source = source
        self._local = f"{invite.get('To')};tag={self._tag}"
        self._remote = invite.get("From")
        self._route = tuple(invite.listed("Record-Route"))
        contact = invite.listed("Contact") or [invite.get("From")]
        self._remote_target = str(NameAddress.parse(contact[0]).uri)

    @property
    def shown_number(self) -> str:
        """The caller as the shop's display shows it: the user part of From."""
        return NameAddress.parse(self.invite.get("From")).uri.user

    def _take_request(self, request: Request, source: Endpoint, instant: float) -> None:
        if request is self.invite:
            self._insist("behaviour", self._behave())
        elif isinstance(self.behaviour, Silent) or _is_repeated(request, self.invite):
            return
        elif request.method == "CANCEL" and self.answered_at is None:
            self._take_cancel(request, source, instant)
        else:
            super()._take_request(request, source, instant)

    def _take_cancel(self, cancel: Request, source: Endpoint, instant: float) -> None:
        self._reply(cancel, 200, source)
        if not self.is_over:
            self._stop("behaviour")
            self.cancelled = True
            self.final_code = 487
            self._answer(self.invite, 487, self._source)
            self._end(instant, cancel.reasons)

    def _take_response(self, response: Response, instant: float) -> None:
        self._stop(response.cseq[1])
        if response.cseq[1] == "BYE":
            self._end(instant, ())

    def _let_go(self) -> None:
        self._stop("behaviour")
        if self.answered_at is None:
            self._refuse(480)
        else:
            self._say_bye()

    async def _behave(self) -> None:
        if isinstance(self.behaviour, Silent):
            return
        self._reply(self.invite, 100, self._source)
        if required := self.invite.get("Require"):
            self._refuse(420, ("Unsupported", required))
        elif self.invite.body and not self._connect(self.invite.body):
            self._refuse(488)
        else:
            await self._behave_as(self.behaviour)

    async def _behave_as(self, behaviour: Behaviour) -> None:
        match behaviour:
            case Answers():
                await self._answer_and_talk(behaviour)
            case Busy():
                self._refuse(486)
            case Rejects(code):
                self._refuse(code)
            case NeverAnswers():
                self._ring()
            case Rings(seconds, code):
                self._ring()
                await asyncio.sleep(seconds)
                self._refuse(code)

    async def _answer_and_talk(self, behaviour: Answers) -> None:
        self._ring(with_sound=behaviour.early_tone is not None)
        await asyncio.sleep(behaviour.after_seconds)
        self.final_code = 200
        self.answered_at = time.monotonic()
        self._answer(self.invite, 200, self._source, self._description())
        self.say(behaviour.tone)
        self.party.speaking = True
        self._tell()
        if behaviour.dtmf:
            await asyncio.sleep(behaviour.dtmf_after)
            self.press(behaviour.dtmf)
        if behaviour.talk_seconds is not None:
            await asyncio.sleep(self.answered_at + behaviour.talk_seconds - time.monotonic())
            self._say_bye()

    def _ring(self, *, with_sound: bool = False) -> None:
        code, body = (183, self._description()) if with_sound else (180, b"")
        self._reply(self.invite, code, self._source, body)
        self.rang_at = time.monotonic()
        self.party.speaking = with_sound
        self._tell()

    def _refuse(self, code: int, *extra: tuple[str, str]) -> None:
        self.final_code = code
        self.hung_up_here = True
        self._answer(self.invite, code, self._source, extra=extra)
        self._end(time.monotonic(), ())


def _is_repeated(request: Request, invite: Request) -> bool:
    """Whether it is the INVITE again, said before our first answer to it was out."""
    return (request.method, request.via.branch) == (invite.method, invite.via.branch)
