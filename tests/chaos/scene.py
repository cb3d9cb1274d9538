"""Many calls at once, spread over every phase that a call goes through, so that a fault meets all of them in theirs.

Each phase has a number of its own, telephones that make it last, and a caller who does what belongs to it. All
randomness comes from one seed: which call stands where in its phase when the fault strikes.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Self
from uuid import UUID

from engine.asterisk.events import Channel
from engine.cdr.model import Result
from engine.foundation.errors import Conflict, DariError, GaveUp
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.tasks import Tasks
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import ConsentOffer, Fallback, RecordMode, Target, TargetOrder, Then, Treatment, Whisper
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.leg import Leg
from engine.sandbox.phone import Answers, Behaviour, Busy, NeverAnswers, Rings, TargetLeg
from tests.chaos.field import CONSENT_TEXT, SENDER, TEXT, Field
from tests.chaos.figures import Figures
from tests.chaos.hearing import Span
from tests.eventually import eventually

MIN_TALK = 1
"""Seconds of talk after which a message is due."""
_LEFT_ALONE = 75.0
"""Seconds after which a caller whom nobody answers or refuses counts as left alone."""
_TALKS_AT_LEAST = 2.2
_SETTLING = 1.0
"""Seconds after the answer in which sound may still begin, and before the end in which it may already be gone."""
_CALLER_TONES = tuple(range(300, 1450, 50))
_SHOP_TONES = tuple(range(1500, 3350, 50))


class Caller(Enum):
    """What a caller does."""

    TALKS = "talks until the test lets go, and hangs up"
    LEAVES = "hangs up, or gives up, around the fault"
    IS_LEFT = "the shop hangs up just after the fault"
    STAYS = "stays on when the shop has hung up, and presses 1"
    SPEAKS = "leaves a message until the test lets go"
    LISTENS = "until Dari ends the call"


@dataclass(frozen=True, slots=True)
class Phase:
    """A call that is long enough in one phase to be met there."""

    name: str
    treatment: Treatment
    telephones: tuple[Behaviour, ...]
    leads: float
    """Seconds from the INVITE until the phase begins."""
    lasts: float
    results: frozenset[Result]
    """What its record may say when no fault comes."""
    caller: Caller = Caller.TALKS
    leaves: Span = (0.0, 0.0)
    """For LEAVES and IS_LEFT: seconds before (negative) and after the fault."""
    presses_after: float | None = None
    """Seconds after its answer until the shop presses 1, again and again until it is connected."""
    message: bool = True


def _ring(after: float, **more: float) -> Answers:
    return Answers(after_seconds=after, **more)  # type: ignore[arg-type]


_SOON = Answers(after_seconds=0.2)
_NOTICES = Treatment(store_notice=True, fee_notice=True)
_ANSWERED = frozenset({Result.ANSWERED})
_GAVE_UP = frozenset({Result.CALLER_GAVE_UP})
_UNTIL_THEN = 60
"""Seconds for which targets ring where nothing else is said."""

PHASES = (
    Phase("arriving", Treatment(), (_ring(3.0),), 0.0, 0.3, _ANSWERED),
    Phase("notice", _NOTICES, (_ring(7.0),), 0.2, 5.5, _ANSWERED),
    Phase("ringing", Treatment(ringback=("test/ringback",)), (_ring(6.0),), 0.3, 5.5, _ANSWERED),
    Phase("in turn", Treatment(), (Rings(3.0, 480), _ring(3.0)), 0.3, 5.5, _ANSWERED),
    Phase(
        "all at once", Treatment(order=TargetOrder.ALL_AT_ONCE), (NeverAnswers(), _ring(5.0)), 0.3, 4.5, _ANSWERED
    ),
    Phase("whisper", Treatment(whisper=Whisper(sound="test/whisper")), (_SOON,), 0.6, 3.6, _ANSWERED),
    Phase("accept", Treatment(accept=True), (_SOON,), 0.6, 4.5, _ANSWERED, presses_after=5.0),
    Phase("connecting", _NOTICES, (_SOON,), 0.8, 5.0, _ANSWERED),
    Phase("talk", Treatment(), (_SOON,), 1.2, 4.0, _ANSWERED),
    Phase("recording", Treatment(recording=RecordMode.ALWAYS), (_SOON,), 4.0, 4.0, _ANSWERED),
    Phase(
        "consent after", Treatment(consent=ConsentOffer(text=CONSENT_TEXT)), (_ring(0.2, talk_seconds=2.0),),
        2.6, 4.0, _ANSWERED, Caller.STAYS, message=False,
    ),
    Phase(
        "voicemail", Treatment(fallbacks=(Fallback(then=Then.VOICEMAIL),)), (Busy(),),
        0.5, 7.5, frozenset({Result.VOICEMAIL}), Caller.SPEAKS, message=False,
    ),
    Phase("busy", Treatment(), (Busy(),), 0.2, 2.0, frozenset({Result.BUSY}), Caller.LISTENS, message=False),
    Phase(
        "closed", Treatment(announcement="ko/closed"), (_SOON,), 0.2, 4.0, frozenset({Result.CLOSED}),
        Caller.LISTENS, message=False,
    ),
    Phase("caller leaves", Treatment(), (_SOON,), 3.0, 2.0, _ANSWERED, Caller.LEAVES, (-0.2, 1.5)),
    Phase("shop leaves", Treatment(), (_SOON,), 3.0, 2.0, _ANSWERED, Caller.IS_LEFT, (-0.2, 1.5)),
    Phase("gives up", Treatment(), (NeverAnswers(),), 0.5, 4.0, _GAVE_UP, Caller.LEAVES, (-0.2, 1.5), message=False),
    Phase("waiting for its message", Treatment(), (_SOON,), 4.0, 1.0, _ANSWERED, Caller.LEAVES, (-1.5, -0.2)),
)  # fmt: skip
PLAIN = next(phase for phase in PHASES if phase.name == "talk")


@dataclass(slots=True)
class Placed:
    """A call of the scene, as its telephones know it."""

    phase: Phase
    caller: str
    tone: int
    system: Field
    leg: CallerLeg | None = None
    chats: float | None = None
    """Seconds of talk after which a caller who talks hangs up, whatever goes on; None: until the test lets go."""
    left_alone: bool = False
    """Nobody answered or refused it for _LEFT_ALONE seconds; then its caller gave up."""

    @property
    def targets(self) -> list[TargetLeg]:
        """Every telephone that it rang; each caller of a test has a number of their own."""
        return self.system.rung_for(self.caller)

    @property
    def is_over(self) -> bool:
        return self.leg is not None and self.leg.is_over

    def talk(self) -> tuple[CallerLeg, TargetLeg] | None:
        """The caller and the telephone that were answered together; None while or when there was no such."""
        if self.leg is None or self.leg.answered_at is None:
            return None
        together = [(_together(self.leg, leg), leg) for leg in self.targets]
        longest, target = max(together, key=lambda pair: pair[0], default=(0.0, None))
        return (self.leg, target) if target is not None and longest > 0 else None

    @property
    def talk_seconds(self) -> float:
        """For how long the two were answered together."""
        talk = self.talk()
        return _together(*talk) if talk else 0.0

    def talked_at(self, instant: float) -> bool:
        """Whether two telephones were answered and not over."""
        talk = self.talk()
        return talk is not None and all(
            leg.answered_at is not None and leg.answered_at < instant and (leg.ended_at or instant + 1) > instant
            for leg in talk
        )

    def heard_together(self) -> Span | None:
        """From when until when both sides had to hear each other; None when there was no such time."""
        talk = self.talk()
        if talk is None:
            return None
        begin = max(leg.answered_at or 0.0 for leg in talk) + _SETTLING
        end = min(leg.ended_at or time.monotonic() for leg in talk) - _SETTLING
        return (begin, end) if end > begin else None

    def story(self, fault_at: float) -> str:
        """When what happened to each of its telephones, in seconds from the fault."""
        legs: list[tuple[str, Leg]] = [(f"shop {leg.invite.uri}", leg) for leg in self.targets]
        if self.leg is not None:
            legs.insert(0, ("caller", self.leg))
        told = []
        for name, leg in legs:
            instants = {"INVITE": leg.started_at, "rang": leg.rang_at, "200": leg.answered_at, "over": leg.ended_at}
            moved = [f"{what} {at - fault_at:+.2f}" for what, at in instants.items() if at is not None]
            by = "by itself" if leg.hung_up_here else "by the other side"
            told.append(f"{name} ({leg.call_id}): {', '.join(moved)} {by}, {leg.final_code}")
        return f"{self.phase.name!r} {self.caller}: {'; '.join(told)}"

    def was_dropped(self) -> bool:
        """Whether a talk ended that neither telephone had ended."""
        talk = self.talk()
        return talk is not None and not any(leg.hung_up_here for leg in talk)


@dataclass(slots=True)
class Scene:
    """Places `calls` calls so that they stand in their phases at one instant. Used once, with `async with`."""

    system: Field
    seed: int
    calls: int
    phases: Sequence[Phase] = PHASES
    placed: list[Placed] = field(default_factory=list)
    fault_at: float = 0.0
    """Monotonic; known from the beginning on."""
    let_go: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when callers may end their calls."""
    _chosen: random.Random = field(default_factory=random.Random)
    _tasks: Tasks = field(default_factory=lambda: Tasks("carrier"))
    _going: list[asyncio.Task[None]] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        """Returns at the instant of the fault."""
        self._chosen = random.Random(self.seed)
        self.system.stood_still.clear()  # what a former scene was judged by
        order = [self.phases[number % len(self.phases)] for number in range(self.calls)]
        self._chosen.shuffle(order)
        longest = max((phase.leads + phase.lasts for phase in order), default=0.0)
        self.fault_at = time.monotonic() + longest + 0.1
        for phase in order:
            self.place(phase, self.fault_at - phase.leads - self._chosen.random() * phase.lasts)
        await asyncio.sleep(self.fault_at - time.monotonic())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nobody does anything more, and what was heard is forgotten: it is much."""
        await self._tasks.close()
        for call in self.placed:
            for leg in filter(None, (call.leg, *call.targets)):
                leg.party.arrivals.clear()

    async def known(self) -> set[str]:
        """The callers whom the engine knows now."""
        return {str(call.caller) for call in await self.system.live()}

    def expect(self, phases: Sequence[Phase], rate: float, seconds: float, after: float = 0.0) -> list[Placed]:
        """`rate` new calls a second for so long, through these phases in turn; the first comes in `after` seconds.

        One in ten talks until the test lets go, the others a few seconds: so that no more talk than telephones can do.
        """
        began = time.monotonic() + after
        placed = []
        for number in range(round(rate * seconds)):
            chats = None if number % 10 == 0 else self._chosen.uniform(_TALKS_AT_LEAST, 2 * _TALKS_AT_LEAST)
            placed.append(self.place(phases[number % len(phases)], began + number / rate, chats))
        return placed

    def place(self, phase: Phase, at: float, chats: float | None = None) -> Placed:
        """A call whose INVITE goes out at the monotonic instant `at`."""
        call = Placed(phase, _next_caller(), self._chosen.choice(_CALLER_TONES), self.system)
        call.chats = chats
        self.placed.append(call)
        self._going.append(self._tasks.start(f"{phase.name} {len(self.placed)}", self._go_through(call, at)))
        return call

    async def over(self) -> None:
        """Lets callers go, and waits until each has done what they do; nobody waits longer than _LEFT_ALONE."""
        self.let_go.set()
        await asyncio.gather(*self._going)

    async def _go_through(self, call: Placed, at: float) -> None:
        leaves = self.fault_at + self._chosen.uniform(*call.phase.leaves)
        lingers = self._chosen.uniform(0.0, 1.5)
        await asyncio.sleep(at - time.monotonic())
        call.leg = await self.system.carrier.call(number_of(call.phase), from_number=call.caller, tone=call.tone)
        match call.phase.caller:
            case Caller.TALKS:
                await self._talk(call, call.leg, lingers)
            case Caller.LEAVES:
                await asyncio.sleep(leaves - time.monotonic())
                await _hang_up(call.leg)
            case Caller.IS_LEFT:
                await asyncio.sleep(leaves - time.monotonic())
                for target in call.targets:
                    await _hang_up(target)
                await self._until_over(call, call.leg)
            case Caller.STAYS:
                await self._stay(call, call.leg)
            case Caller.SPEAKS:
                await self._answered(call, call.leg)
                await self.let_go.wait()
                await asyncio.sleep(lingers)
                await _hang_up(call.leg)
            case Caller.LISTENS:
                await self._until_over(call, call.leg)

    async def _talk(self, call: Placed, leg: CallerLeg, lingers: float) -> None:
        if call.phase.presses_after is not None:
            self._tasks.start("presses", _press(call, leg, call.phase.presses_after))
        if not await self._answered(call, leg):
            return
        if call.chats is None:
            await self.let_go.wait()
            await asyncio.sleep(max(_TALKS_AT_LEAST - leg.talk_seconds, 0.0) + lingers)
        else:
            await asyncio.sleep(call.chats)
        await _hang_up(leg)

    async def _stay(self, call: Placed, leg: CallerLeg) -> None:
        if not await self._answered(call, leg):
            return
        talk = call.talk()
        if talk is not None:
            with suppress(DariError):
                await talk[1].ended(_LEFT_ALONE)
        while not await _is_over_in(leg, 4.0):
            leg.press("1")
            if self.let_go.is_set() and not await _is_over_in(leg, 8.0):
                await _hang_up(leg)

    async def _answered(self, call: Placed, leg: CallerLeg) -> bool:
        try:
            await leg.answered(_LEFT_ALONE)
        except Conflict:
            return False
        except GaveUp:
            call.left_alone = True
            await _hang_up(leg)
            return False
        return True

    async def _until_over(self, call: Placed, leg: Leg) -> None:
        try:
            await leg.ended(_LEFT_ALONE)
        except GaveUp:
            call.left_alone = True
            await _hang_up(leg)


async def recovered(scene: Scene, known_before: set[str], figures: Figures, fault_at: float) -> list[str]:
    """An engine is registered with Asterisk, and knows of each of these callers whom Asterisk has in its application.

    How long that took from `fault_at` goes to the figures. Told are the calls that it never came to know; those that
    the dialplan runs are not an engine's. Raises TimeoutError when no engine registers at all.
    """
    system = scene.system
    unknown: list[Placed] = []

    async def registered() -> bool:
        status = await system.status()
        return status is not None and status.connected

    async def reconciled() -> bool:
        held = {channel.caller.number for channel in await system.ari.channels() if _is_held(channel)}
        missing = (held & known_before) - {str(call.caller) for call in await system.live()}
        unknown[:] = [call for call in scene.placed if call.caller in missing]
        return not unknown

    await eventually(registered)
    figures.add("engine registered again s", time.monotonic() - fault_at)
    with suppress(TimeoutError):
        await eventually(reconciled)
    figures.add("calls reconciled s", time.monotonic() - fault_at)
    return [f"engine: it never came to know a call in {call.phase.name!r} ({call.caller})" for call in unknown]


def _is_held(channel: Channel) -> bool:
    """Whether Asterisk keeps it for an engine."""
    return channel.dialplan.app_name.startswith("Stasis")


def numbers() -> list[ServiceNumber]:
    """A number for each phase; messages come from SENDER."""
    return [_number(phase) for phase in PHASES]


def number_of(phase: Phase) -> PhoneNumber:
    return PhoneNumber(f"0507200{PHASES.index(phase):04d}")


def install_telephones(carrier: Carrier) -> None:
    """Every shop of every phase, each with a tone of its own."""
    for phase in PHASES:
        for place, behaviour in enumerate(phase.telephones):
            tone = tone_of(phase, place)
            speaking = replace(behaviour, tone=tone) if isinstance(behaviour, Answers) else behaviour
            carrier.shop(_target(phase, place), speaking)


def tone_of(phase: Phase, place: int) -> int:
    """What the phase's telephone at that place says, in Hz."""
    return _SHOP_TONES[(2 * PHASES.index(phase) + place) % len(_SHOP_TONES)]


def tone_said_by(leg: TargetLeg) -> int:
    """What the telephone of that leg says, in Hz."""
    assert isinstance(leg.behaviour, Answers)
    assert isinstance(leg.behaviour.tone, int)
    return leg.behaviour.tone


def _number(phase: Phase) -> ServiceNumber:
    targets = tuple(Target(number=_target(phase, place)) for place in range(len(phase.telephones)))
    treatment = phase.treatment
    changes: dict[str, object] = {"targets": targets if len(targets) > 1 else None, "ring_seconds": _UNTIL_THEN}
    settings = {name: getattr(treatment, name) for name in treatment.__struct_fields__} | changes
    return ServiceNumber(
        number=number_of(phase),
        kind=NumberKind.VIRTUAL,
        account_id=UUID(int=0),
        target=targets[0].number,
        treatment=Treatment(**settings),
        callback=TEXT if phase.message else None,
        sender=SENDER,
        min_talk_seconds=MIN_TALK,
    )


def _target(phase: Phase, place: int) -> PhoneNumber:
    return PhoneNumber(f"0317{PHASES.index(phase):02d}{place:02d}00")


_callers = iter(range(20_000_000, 99_999_999))


def _next_caller() -> str:
    """A mobile number that no other call of this process has: nobody's message window closes on another."""
    return f"010{next(_callers)}"


async def _press(call: Placed, leg: CallerLeg, after: float) -> None:
    """The shop presses 1, and again until the caller is there."""
    while not leg.is_over and leg.answered_at is None:
        for target in call.targets:
            if target.answered_at is not None and not target.is_over and target.talk_seconds > after:
                target.press("1")
        await asyncio.sleep(2.0)


async def _is_over_in(leg: Leg, seconds: float) -> bool:
    with suppress(GaveUp):
        await leg.ended(seconds)
    return leg.is_over


async def _hang_up(leg: Leg) -> None:
    with suppress(DariError):  # GaveUp: the other side answers no more, as a dead Asterisk does
        await leg.hang_up()


def _together(one: Leg, other: Leg) -> float:
    """Seconds for which both were answered."""
    if one.answered_at is None or other.answered_at is None:
        return 0.0
    now = time.monotonic()
    return max(0.0, min(one.ended_at or now, other.ended_at or now) - max(one.answered_at, other.answered_at))
