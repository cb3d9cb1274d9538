"""Who and what is connected to FakeAsterisk: its legs, the telephones that it can call, and callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

from engine.asterisk.events import Channel, DialplanPlace, Party

# Measured on Asterisk 22.10.1: the cause that we hang up with -> what an unanswered caller gets; any other: 603.
SIP_CODE_OF_CAUSE = {
    1: 404,
    2: 404,
    3: 404,
    17: 486,
    18: 408,
    19: 480,
    20: 480,
    21: 403,
    22: 410,
    27: 502,
    28: 484,
    34: 503,
    38: 500,
    42: 503,
    58: 488,
    127: 500,
}
# The SIP code of a phone that refuses -> the cause that we are told; any other: 38.
CAUSE_OF_SIP_CODE = {
    403: 21,
    404: 1,
    408: 18,
    410: 22,
    480: 19,
    484: 28,
    486: 17,
    488: 58,
    500: 38,
    502: 27,
    503: 34,
    600: 17,
    603: 21,
    604: 1,
}


@dataclass(slots=True)
class Heard:
    """What one party heard: `sound:NAME`, `music:CLASS` or `bridge:ID`, from when to when (virtual seconds)."""

    what: str
    began: float
    ended: float | None = None
    whole: bool = False


@dataclass(slots=True, eq=False)
class Leg:
    """One channel."""

    id: str
    name: str
    state: str
    caller: str
    created: str
    sip_call_id: str
    exten: str = ""
    app_data: str = ""
    context: str = "from-trunk"
    """Where in the dialplan it is."""
    application: str = ""
    """What the dialplan runs there; empty: what follows from all else."""
    is_subscribed: bool = False
    """Whether its ChannelDestroyed is told: so for legs that the application made, not for those it claimed."""
    is_offered: bool = False
    """Whether it waits for an application to claim it."""
    in_app: bool = False
    gone: bool = False
    bridge: str | None = None
    variables: dict[str, str] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    answers: list[tuple[float, int]] = field(default_factory=list)
    """The SIP codes that the other side got from us, and when."""
    spies_on: str = ""
    """The channel whose sound it is to hear; it ends with that one."""
    whispers: str = "none"
    keeps_music: bool = False
    """Whether its music began when it was up already: that goes on in a bridge, over whatever is heard there."""
    playing: str | None = None
    own_recording: tuple[str, str] | None = None
    """Name and end key of the recording of this channel alone."""
    commands: asyncio.Queue[tuple[Callable[[], Awaitable[None]], asyncio.Future[None]]] = field(
        default_factory=asyncio.Queue
    )
    waiting: set[asyncio.Future[None]] = field(default_factory=set)
    """Commands whose caller waits for their end."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def channel(self) -> Channel:
        """As ARI shows it now."""
        return Channel(
            id=self.id,
            name=self.name,
            state=self.state,
            protocol_id=self.sip_call_id,
            caller=Party(number=self.caller),
            dialplan=DialplanPlace(
                context=self.context,
                exten=self.exten,
                priority=1,
                app_name=self._application(),
                app_data=self.app_data,
            ),
            creationtime=self.created,
        )

    def _application(self) -> str:
        if self.application:
            return self.application
        if self.context == "dari-alone":
            return "Dial"
        return "StasisBroadcast" if self.exten else "Stasis" if self.in_app else "AppDial2"

    def hears(self, what: str, now: float, *, over_music: bool = False) -> None:
        """From now on `what`; music stops for whatever comes, unless that comes over it."""
        if not over_music:
            self.stops_hearing("music:", now)
        self.heard.append(Heard(what, now))

    def stops_hearing(self, what: str, now: float, *, whole: bool = False) -> None:
        """Ends whatever it hears whose name starts with `what`."""
        for heard in self.heard:
            if heard.ended is None and heard.what.startswith(what):
                heard.ended, heard.whole = now, whole

    def gets(self, code: int, now: float) -> None:
        """The other side gets a SIP answer; nothing after a final one."""
        if not any(sent >= 200 for _, sent in self.answers):
            self.answers.append((now, code))


@dataclass(slots=True, eq=False)
class FakePhone:
    """A telephone behind the trunk, and what it does when called."""

    number: str
    rings_after: float | None
    answers_after: float | None
    sip_code: int | None = None
    hangs_up_after: float | None = None
    legs: list[Leg] = field(default_factory=list)
    """The legs on which it was called, oldest first."""

    @property
    def heard(self) -> list[Heard]:
        """What it heard in its last call."""
        return self.legs[-1].heard


class FakeCaller:
    """Somebody who calls us through the trunk."""

    def __init__(self, leg: Leg, hang_up: Callable[[Leg], None]) -> None:
        self.leg = leg
        self._hang_up = hang_up

    @property
    def heard(self) -> list[Heard]:
        """What the caller heard, in order."""
        return self.leg.heard

    @property
    def answers(self) -> list[tuple[float, int]]:
        """Which SIP answers the caller got, and when."""
        return self.leg.answers

    @property
    def final_code(self) -> int | None:
        """The final SIP answer; None while there is none."""
        return next((code for _, code in self.leg.answers if code >= 200), None)

    def hang_up(self) -> None:
        """CANCEL before the answer, BYE after it; nothing when the call is over."""
        self._hang_up(self.leg)

    async def until_over(self) -> None:
        """Waits until the caller's call is over, whoever ended it."""
        await self.leg.over.wait()


class FakeMedia:
    """The sound of a channel, as chan_websocket brings it: a frame each 20 ms while the channel is in a bridge."""

    def __init__(self, leg: Leg, end: Callable[[], None]) -> None:
        self.sent: list[bytes] = []
        self._leg = leg
        self._end = end

    async def frames(self) -> AsyncIterator[bytes]:
        while not self._leg.gone:
            with suppress(TimeoutError):
                async with asyncio.timeout(0.02):
                    await self._leg.over.wait()
            if self._leg.bridge is not None:
                yield bytes(640)

    async def send(self, frame: bytes) -> None:
        if not self._leg.gone:
            self.sent.append(frame)

    async def close(self) -> None:
        if not self._leg.gone:
            self._end()
