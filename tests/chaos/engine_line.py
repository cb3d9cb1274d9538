"""An engine in this process, a real Asterisk, and between the two everything that can go wrong on a line.

The engine speaks ARI through a proxy of bytes and then one of commands and events, AMI through a proxy of bytes. Calls
of every kind come from the sandbox's carrier, which no fault touches.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from uuid import UUID

import msgspec

from engine.cdr.model import CallRecord, Result, StepKind
from engine.foundation.errors import DariError
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.tasks import Tasks
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import Fallback, RecordMode, Then, Treatment, Whisper
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.phone import Answers, Behaviour, Busy, NeverAnswers
from engine.trunks.model import Trunk
from tests.call_oracle import TAKEN, Oracle, Watched
from tests.chaos.hearing import Gap, Span, gaps_in
from tests.chaos.processes import STRIKING, Hand, note_stand_stills
from tests.chaos.proxy import AriProxy, TcpProxy
from tests.engine_rig import Rig, engine_on, lines_of, make_sounds
from tests.eventually import eventually
from tests.real_asterisk import CallLine, RunningAsterisk, loopback, start_asterisk

SHORT = 0.5
"""Seconds that each sound lasts."""
CLAIM_MILLISECONDS = 1500
"""After which the dialplan goes on alone: long enough for a busy machine, short enough to be waited for."""
WAITS = 4.0
"""Seconds after which a caller gives up who does: longer than any comparison may take to find them."""
_CALLER, _SHOP = 500, 1100
"""What they say, in Hz."""
_SETTLED = 0.5
"""Seconds after the answer, and before now, in which sound may still be on its way."""
PATIENCE = 40.0
"""Seconds after which a caller counts as left alone where no fault lasts."""
_TALK_LIMIT = 600.0
"""Seconds: no fault lasts so long that the engine would end a talk itself."""
_SPREAD = 4.0
"""Seconds over which calls begin, so that they stand in every phase at the end of them; longer when they are many."""
_AT_MOST = 12.0
"""Calls that begin in a second."""


class Ends(Enum):
    """Who ends a call, and when."""

    CALLER = "the caller, when it has talked"
    SHOP = "the shop, when it has talked"
    GIVES_UP = "the caller, who does not wait for the answer"
    DARI = "Dari"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a call goes through."""

    name: str
    treatment: Treatment
    shop: Behaviour
    ends: Ends
    results: frozenset[Result]
    """What its record may say, whatever happens to events."""
    talks: float = 2.5


def _may_be(*results: Result) -> frozenset[Result]:
    return frozenset(results)


_SOON = Answers(after_seconds=0.3)
_TALK = _may_be(Result.ANSWERED)
KINDS = (
    Kind("talk", Treatment(), _SOON, Ends.CALLER, _TALK),
    Kind("shop ends it", Treatment(), Answers(after_seconds=0.3, talk_seconds=2.0), Ends.SHOP, _TALK),
    Kind("rings long", Treatment(ring_seconds=30), Answers(after_seconds=2.5), Ends.CALLER, _TALK),
    Kind("whisper", Treatment(whisper=Whisper(sound="test/whisper"), notice="test/notice"), _SOON, Ends.CALLER, _TALK),
    Kind("recorded", Treatment(recording=RecordMode.ALWAYS), _SOON, Ends.CALLER, _TALK),
    Kind("gives up", Treatment(), NeverAnswers(), Ends.GIVES_UP, _may_be(Result.CALLER_GAVE_UP)),
    Kind("no answer", Treatment(ring_seconds=4), NeverAnswers(), Ends.DARI, _may_be(Result.NO_ANSWER)),
    Kind("busy", Treatment(), Busy(), Ends.DARI, _may_be(Result.BUSY)),
    Kind("closed", Treatment(announcement="ko/closed"), _SOON, Ends.DARI, _may_be(Result.CLOSED)),
    Kind(
        "voicemail", Treatment(fallbacks=(Fallback(then=Then.VOICEMAIL),)), Busy(), Ends.CALLER,
        _may_be(Result.VOICEMAIL),
    ),
)  # fmt: skip
BY_NAME = {kind.name: kind for kind in KINDS}


@dataclass(slots=True, eq=False)
class Made:
    """A call, as its telephones know it."""

    kind: Kind
    caller: PhoneNumber
    leg: CallerLeg
    carrier: Carrier
    also: frozenset[Result] = frozenset()
    """What its record may say besides."""
    left_alone: bool = False
    """Nobody answered or refused it, or ended it, for as long as anybody would wait."""

    @property
    def watched(self) -> Watched:
        targets = tuple(target for target in self.carrier.targets if target.shown_number == self.caller)
        return Watched(self.leg, targets)


@dataclass(slots=True)
class Line:
    """The engine behind its proxies."""

    asterisk: RunningAsterisk
    rig: Rig
    carrier: Carrier
    bytes: TcpProxy
    """ARI's bytes, commands and events alike."""
    ari: AriProxy
    manager: TcpProxy
    oracle: Oracle
    chosen: random.Random
    patience: float = PATIENCE
    """Seconds after which a caller whom nobody answers or refuses counts as left alone, and leaves."""
    alone: list[Made] = field(default_factory=list)
    """Calls that no engine took: the dialplan went on by itself."""
    stood_still: list[Span] = field(default_factory=list)
    """When this process, engine and telephones alike, got no turn."""

    async def call(self, kind: Kind) -> Made:
        """A call; its INVITE is out."""
        caller = _next_caller()
        return Made(kind, caller, await self.carrier.call(number_of(kind), from_number=caller), self.carrier)

    async def connected(self, kind: Kind) -> Made:
        """A call whose two parties hear each other, and no command of which is on its way."""
        made = await self.call(kind)
        await self.rig.until_step(made.leg, StepKind.CONNECT)
        return made

    async def _line_of(self, call: Made) -> CallLine:
        """Asterisk's own."""
        return (await lines_of(self.asterisk, self.rig, [call.leg.call_id]))[call.leg.call_id]

    async def until_taken(self) -> list[Made]:
        """All is well again: calls are taken. Those that were placed to see it."""
        placed: list[Made] = []

        async def taken() -> bool:
            placed.append(await self.go_through(await self.call(BY_NAME["talk"])))
            return (await self._line_of(placed[-1])).engine in TAKEN

        await eventually(taken)
        return placed

    async def go_through(self, made: Made) -> Made:
        """What its caller does, to the end."""
        try:
            async with asyncio.timeout(self.patience):
                await self._behave(made)
        except TimeoutError:
            made.left_alone = True
            await made.leg.hang_up()
        return made

    async def _to_its_end(self, made: Made) -> None:
        await self.go_through(made)

    async def _behave(self, made: Made) -> None:
        leg, kind = made.leg, made.kind
        if kind.ends is Ends.GIVES_UP:
            await asyncio.sleep(WAITS)
            await leg.hang_up()
        elif kind.ends is Ends.CALLER:
            with suppress(DariError):  # Conflict: refused
                await leg.answered(self.patience)
                await asyncio.sleep(kind.talks)
                await leg.hang_up()
        with suppress(DariError):
            await leg.ended(self.patience)

    async def calls(self, kinds: Sequence[Kind], every: float) -> list[Made]:
        """One call of each, begun `every` seconds apart, to their ends."""
        going = []
        async with asyncio.TaskGroup() as group:
            for kind in kinds:
                made = await self.call(kind)
                going.append(group.create_task(self.go_through(made), name=f"carrier:{kind.name}"))
                await asyncio.sleep(every * self.chosen.uniform(0.5, 1.5))
        return [task.result() for task in going]

    @asynccontextmanager
    async def under_way(self, how_many: int) -> AsyncIterator[list[Made]]:
        """So many calls of all kinds stand anywhere in what they go through when the block begins: a random instant.

        Leaving it waits for their ends.
        """
        made: list[Made] = []
        spread = max(_SPREAD, how_many / _AT_MOST) if how_many else 0.0
        begins = sorted(self.chosen.uniform(0.0, spread) for _ in range(how_many))
        fault_at, tasks = time.monotonic() + spread, Tasks("carrier")
        going = []
        try:
            for kind, begin in zip(self.some(how_many), begins, strict=True):
                await asyncio.sleep(fault_at - spread + begin - time.monotonic())
                made.append(await self.call(kind))
                going.append(tasks.start(kind.name, self._to_its_end(made[-1])))
            await asyncio.sleep(fault_at - time.monotonic())
            yield made
            await asyncio.gather(*going)
        finally:
            await tasks.close()

    def some(self, how_many: int) -> list[Kind]:
        """Kinds in a random order, each as often as the others."""
        kinds = [KINDS[number % len(KINDS)] for number in range(how_many)]
        self.chosen.shuffle(kinds)
        return kinds

    async def verdict(self, made: Sequence[Made]) -> Mapping[str, CallRecord]:
        """Everything that must hold when these calls are over; their records by SIP Call-ID.

        Those that no engine took must have been answered or refused by the dialplan, and have no record here.
        """
        assert [call.kind.name for call in made if call.left_alone] == [], "callers were left alone"
        taken: list[Made] = []
        for call in made:
            line = await self._line_of(call)
            (taken if line.engine in TAKEN else self.alone).append(call)
        for call in self.alone:
            assert call.leg.final_code is not None, call.kind.name
        records = await self.oracle.verdict([call.watched for call in taken])
        for call in taken:
            found = records[call.leg.call_id].result
            assert found in call.kind.results | call.also, f"{call.kind.name}: {found} ({records[call.leg.call_id]})"
        return records


@asynccontextmanager
async def line_to(
    asterisk: RunningAsterisk,
    carrier: Carrier,
    home: Path,
    seed: int,
    *,
    compared_every: float = 30.0,
    patience: float = 5.0,
    bare: bool = False,
    hand: Hand = STRIKING,
) -> AsyncIterator[Line]:
    """An engine of its own on `asterisk`; the calls go on inside. Seconds mean what they do for `engine_on`.

    `bare`: the engine speaks to Asterisk without the proxies between. A `hand` that spares makes them do nothing.
    """
    for kind in KINDS:
        carrier.shop(_shop_of(kind), kind.shop)
    async with AsyncExitStack() as stack:
        ari = await stack.enter_async_context(AriProxy(asterisk.settings.ari_address, hand=hand))
        in_front = await stack.enter_async_context(TcpProxy(ari.address, hand=hand))
        manager = await stack.enter_async_context(TcpProxy(asterisk.ami_address, hand=hand))
        settings = replace(asterisk.settings, ari_address=in_front.address, ami_address=manager.address)
        if bare:
            settings = asterisk.settings
        numbers = [_number(kind) for kind in KINDS]
        rig = await stack.enter_async_context(
            engine_on(
                replace(asterisk, settings=settings),
                home,
                numbers,
                carrier,
                compared_every=compared_every,
                patience=patience,
                talk_limit=_TALK_LIMIT,
            )
        )
        oracle = Oracle(rig, asterisk, not_the_engines=("carrier:", "oracle:", "proxy", "Task-"))
        line = Line(asterisk, rig, carrier, in_front, ari, manager, oracle, random.Random(seed))
        watch = Tasks("oracle")
        watch.start("stand-stills noted", note_stand_stills(line.stood_still))
        stack.push_async_callback(watch.close)
        async with oracle.watching():
            yield line


@asynccontextmanager
async def asterisk_at(subject: int, folder: Path) -> AsyncIterator[tuple[RunningAsterisk, Carrier]]:
    """A real Asterisk and the carrier that calls through it, at 127.x.`subject`.y."""
    server, carrier_ip = loopback(subject, 1), loopback(subject, 2)
    make_sounds(folder / "sounds", SHORT)
    trunk = Trunk(name="carrier", match=(carrier_ip,), contact=f"sip:{carrier_ip}:5070")
    running = await start_asterisk(folder, server, [trunk], claim_milliseconds=CLAIM_MILLISECONDS)
    try:
        async with Carrier(carrier_ip, 5070, (server, 5060)) as carrier:
            await eventually(carrier.is_known)
            yield running, carrier
    finally:
        await running.stop()


def gaps_in_talk(call: Made, excused: Sequence[Span]) -> list[Gap]:
    """Where, from the answer until now, either side did not hear the other's tone. The talk goes on."""
    [target] = call.watched.targets
    assert call.leg.answered_at is not None
    assert not call.leg.is_over, "a talk was ended"
    span = (call.leg.answered_at + _SETTLED, time.monotonic() - _SETTLED)
    return [
        *gaps_in(call.leg.recording, _SHOP, span, excused),
        *gaps_in(target.recording, _CALLER, span, excused),
    ]


def number_of(kind: Kind) -> PhoneNumber:
    """What is dialled for a call of that kind."""
    return PhoneNumber(f"0507300{KINDS.index(kind):04d}")


def _shop_of(kind: Kind) -> PhoneNumber:
    return PhoneNumber(f"02333300{KINDS.index(kind):02d}")


def _number(kind: Kind) -> ServiceNumber:
    plain = Treatment(ringback=("test/ringback",), recording=RecordMode.NEVER)
    said = {name: value for name in plain.__struct_fields__ if (value := getattr(kind.treatment, name)) is not None}
    return ServiceNumber(
        number=number_of(kind),
        kind=NumberKind.VIRTUAL,
        account_id=UUID("01900000-0000-7000-8000-000000000001"),
        target=_shop_of(kind),
        treatment=msgspec.structs.replace(plain, **said),
    )


_callers = iter(range(10_000_000, 99_999_999))


def _next_caller() -> PhoneNumber:
    return PhoneNumber(f"010{next(_callers)}")
