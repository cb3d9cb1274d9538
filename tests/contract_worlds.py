"""Two worlds for the same tests: FakeAsterisk, and a real Asterisk with a carrier's telephones."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from engine.asterisk.commands import Ari
from engine.asterisk.connection import Connected, Connection, Disconnected
from engine.asterisk.events import (
    CallBroadcast,
    Event,
    PlaybackFinished,
    PlaybackStarted,
    StasisEnd,
    StasisStart,
    channel_ids,
)
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.phone import Answers, Behaviour, Busy, NeverAnswers, Rejects, Rings, Silent
from engine.sandbox.sip import Response
from tests.fake_asterisk import FakeAsterisk
from tests.fake_parties import FakeCaller

APP = "dari-test"
NUMBER = "05012345678"
PHONE = "0212345678"
SHORT, LONG, MISSING = "test/short", "test/long", "test/missing"
SECONDS = {SHORT: 0.4, LONG: 3.0, "ko/no-engine": 0.2}
PATIENCE = 30.0
"""Seconds after which what was awaited counts as never happening."""

E = TypeVar("E", bound=Event)


class Inbox:
    """Every event that came, in order."""

    def __init__(self, connection: Connection) -> None:
        self.events: list[Event | Connected | Disconnected] = []
        self.connection = connection
        self._news = asyncio.Event()

    async def read(self) -> None:
        """For ever."""
        async for event in self.connection.events():
            self.events.append(event)
            self._news.set()

    async def until(self, happened: Callable[[], bool], what: str) -> None:
        """Waits for what events show."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not happened():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"{what} did not come; there were {self.events}") from None

    async def next(self, kind: type[E], about: str) -> E:
        """The first event of that kind about a channel or playback, when it comes."""
        await self.until(lambda: bool(self.of(kind, about)), f"{kind.__name__} about {about}")
        return self.of(kind, about)[0]

    def of(self, kind: type[E], about: str) -> list[E]:
        """The events of that kind about a channel or playback so far."""
        return [event for event in self.events if isinstance(event, kind) and about in _subjects(event)]

    def kinds(self, about: str) -> list[str]:
        """What happened to a channel or playback so far, by name."""
        told = [event for event in self.events if not isinstance(event, Connected | Disconnected)]
        return [type(event).__name__ for event in told if about in _subjects(event)]

    def position(self, event: Event) -> int:
        """Where in the order of events."""
        return next(place for place, other in enumerate(self.events) if other is event)


def _subjects(event: Event) -> tuple[str, ...]:
    if isinstance(event, PlaybackStarted | PlaybackFinished):
        return (event.playback.id, *channel_ids(event))
    return channel_ids(event)


class Caller(Protocol):
    """Somebody who calls in."""

    @property
    def codes(self) -> list[int]:
        """The SIP answers so far, 100 and repetitions left out."""
        ...

    async def hang_up(self) -> None: ...

    async def until_over(self) -> None: ...


class World:
    """An Asterisk, its events, and a way to place calls."""

    def __init__(self, ari: Ari, connection: Connection, record: Callable[[str, str, str], Awaitable[None]]) -> None:
        self.ari = ari
        self.inbox = Inbox(connection)
        self.record = record

    def sound(self, name: str) -> str:
        """What the engine would name to play it."""
        return name

    async def music(self) -> str:
        """A music class."""
        return "ringback"

    def phone(self, behaviour: Behaviour) -> str:
        """Puts a telephone at PHONE; gives the endpoint to dial."""
        raise NotImplementedError

    def dial_in(self) -> Awaitable[Caller]:
        """A call to NUMBER."""
        raise NotImplementedError

    async def offered(self) -> tuple[str, Caller]:
        """A call that is offered and not claimed yet: its channel, and who calls."""
        before = len(self.inbox.events)
        caller = await self.dial_in()

        def offers() -> list[CallBroadcast]:
            return [event for event in self.inbox.events[before:] if isinstance(event, CallBroadcast)]

        await self.inbox.until(lambda: bool(offers()), "CallBroadcast")
        return offers()[0].channel.id, caller

    async def incoming(self) -> tuple[str, Caller]:
        """A call that is ours: its channel, and who calls."""
        channel, caller = await self.offered()
        await self.ari.claim(channel)
        await self.inbox.next(StasisStart, channel)
        return channel, caller

    async def answered_target(self, channel: str, behaviour: Answers | None = None) -> None:
        """Calls the phone, which answers."""
        endpoint = self.phone(behaviour or Answers(0.1))
        await self.ari.originate(channel, endpoint, caller_id="0212340000", ring_seconds=5)
        await self.inbox.next(StasisStart, channel)

    async def bridged(self, bridge: str, target: str, behaviour: Answers | None = None) -> tuple[str, Caller]:
        """A caller and an answered target, connected."""
        channel, caller = await self.incoming()
        await self.answered_target(target, behaviour)
        await self.ari.answer(channel)
        await self.ari.create_bridge(bridge)
        await self.ari.add_to_bridge(bridge, channel, target)
        return channel, caller

    async def hung_up(self, channel: str, cause: int = 16) -> None:
        """Ends a channel of the application, and waits until that was told."""
        await self.ari.hang_up(channel, cause)
        await self.inbox.next(StasisEnd, channel)


class _FakeCaller:
    def __init__(self, caller: FakeCaller) -> None:
        self._caller = caller

    @property
    def codes(self) -> list[int]:
        return [code for _, code in self._caller.answers]

    async def hang_up(self) -> None:
        self._caller.hang_up()

    async def until_over(self) -> None:
        await self._caller.until_over()


class FakeWorld(World):
    """FakeAsterisk."""

    def __init__(self, fake: FakeAsterisk) -> None:
        super().__init__(fake, fake.connection, fake.record)
        self._fake = fake
        fake.missing_sounds.add(MISSING)

    def phone(self, behaviour: Behaviour) -> str:
        match behaviour:
            case Answers():
                self._fake.phone(
                    PHONE,
                    rings_after=0.01,
                    answers_after=0.01 + behaviour.after_seconds,
                    hangs_up_after=behaviour.talk_seconds,
                )
            case Busy():
                self._fake.phone(PHONE, sip_code=486)
            case Rejects(code):
                self._fake.phone(PHONE, sip_code=code)
            case Rings(seconds, code):
                self._fake.phone(PHONE, rings_after=0.01, answers_after=seconds, sip_code=code)
            case NeverAnswers():
                self._fake.phone(PHONE, rings_after=0.01, answers_after=None)
            case Silent():
                self._fake.phone(PHONE, silent=True)
        return f"PJSIP/{PHONE}@carrier"

    async def dial_in(self) -> Caller:
        return _FakeCaller(self._fake.incoming(NUMBER))


class _RealCaller:
    def __init__(self, leg: CallerLeg) -> None:
        self._leg = leg

    @property
    def codes(self) -> list[int]:
        answers = [logged.message for logged in self._leg.sip_log if isinstance(logged.message, Response)]
        codes = [answer.code for answer in answers if answer.cseq[1] == "INVITE" and answer.code > 100]
        return [code for place, code in enumerate(codes) if place == 0 or codes[place - 1] != code]

    async def hang_up(self) -> None:
        await self._leg.hang_up()

    async def until_over(self) -> None:
        await self._leg.ended(within=PATIENCE)


class RealWorld(World):
    """A real Asterisk, with a carrier of the sandbox at its trunk `carrier`."""

    def __init__(
        self,
        ari: Ari,
        connection: Connection,
        record: Callable[[str, str, str], Awaitable[None]],
        carrier: Carrier,
        sounds: str,
        music: Callable[[str], Awaitable[str]],
    ) -> None:
        super().__init__(ari, connection, record)
        self._carrier = carrier
        self._sounds = sounds
        self._music = music

    def sound(self, name: str) -> str:
        return f"{self._sounds}/{name}"

    async def music(self) -> str:
        return await self._music(SHORT)

    def phone(self, behaviour: Behaviour) -> str:
        self._carrier.shop(PHONE, behaviour)
        return f"PJSIP/{PHONE}@carrier"

    async def dial_in(self) -> Caller:
        return _RealCaller(await self._carrier.call(NUMBER))
