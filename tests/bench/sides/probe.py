"""Our own telephones at both ends of a few calls: instants are the kernel's, to a tenth of a millisecond."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from engine.foundation.errors import Conflict, GaveUp
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.datagram import Endpoint
from engine.sandbox.phone import Answers, TargetLeg
from tests.bench.load import Load, give_up
from tests.eventually import eventually

PORT = 5070
QUICK, RINGS = "9001", "9002"
"""Last four digits of the numbers whose target answers at once, and after `RINGING`."""
RINGING = 0.5
_RINGS_OF = 3
"""Of so many calls one rings; the others, which are answered at once, tell the setup time."""
_REFUSED = 503


@dataclass(slots=True)
class Probed:
    """What became of the probe's calls; delays in seconds."""

    answered: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    ringing: list[float] = field(default_factory=list)
    audio: list[float] = field(default_factory=list)
    reached: list[float] = field(default_factory=list)
    answer: list[float] = field(default_factory=list)
    passed_on: list[float] = field(default_factory=list)
    refusal: list[float] = field(default_factory=list)
    """INVITE to 503."""
    own: list[float] = field(default_factory=list)
    """From the target's INVITE to its 200, where it answers at once: our own time, and no part of `answer`."""
    unpunctual: list[float] = field(default_factory=list)
    """By how much INVITEs were sent too late."""
    setups: list[tuple[float, float | None]] = field(default_factory=list)
    """Of each call that is answered at once, as they ended: its instant, and its `answer`; None: it failed."""

    @property
    def placed(self) -> int:
        return self.answered + self.failed.total()


class FineProbe:
    """Calls from a trunk of its own to its own telephones."""

    def __init__(self, carrier: Carrier, numbers: tuple[str, str], patience: float) -> None:
        """`numbers` end with QUICK and RINGS; `patience` is how many seconds a caller waits for the answer."""
        self.probed = Probed()
        self._carrier = carrier
        self._numbers = numbers
        self._patience = patience
        carrier.shop(f"02345{QUICK}", Answers(tone=None))
        carrier.shop(f"02345{RINGS}", Answers(after_seconds=RINGING, tone=None))

    async def until_taken(self, within: float = 60.0) -> None:
        """Calls both numbers until each has been answered once. Raises GaveUp."""
        await eventually(self._carrier.is_known)
        deadline = time.monotonic() + within
        for place in (0, 1):
            before = self.probed.answered
            while self.probed.answered == before:
                if time.monotonic() > deadline:
                    raise GaveUp(f"no call was answered within {within:g} s: {dict(self.probed.failed)}")
                await self._call(place, 0.0, self.probed)
                await asyncio.sleep(0.2)

    async def calls(self, load: Load, *, no_more: asyncio.Event | None = None, into: Probed | None = None) -> None:
        """An even trickle, every third to the number that rings, until all are over; none begins after `no_more`.

        What becomes of them is told `into`, or in `probed`.
        """
        begin, no_more, told = time.monotonic(), no_more or asyncio.Event(), into or self.probed
        async with asyncio.TaskGroup() as calls:
            for one in range(load.calls):
                due = begin + one / load.rate
                with suppress(TimeoutError):
                    async with asyncio.timeout(max(0.0, due - time.monotonic())):
                        await no_more.wait()
                        return
                told.unpunctual.append(time.monotonic() - due)
                calls.create_task(self._call(int(one % _RINGS_OF == 1), load.hold, told))

    async def _call(self, place: int, hold: float, told: Probed) -> None:
        shown = f"0102{len(self._carrier.callers):07}"
        caller = await self._carrier.call(self._numbers[place], shown, tone=None)
        failure = ""
        try:
            await caller.answered(self._patience)
            target = next((leg for leg in reversed(self._carrier.targets) if leg.shown_number == shown), None)
            for leg in filter(None, (caller, target)):
                leg.party.speaking = False  # its sound would cost Asterisk as much as the call
            await asyncio.sleep(hold)
            failure = "hung up by the other side" if caller.is_over else ""
            _take(told, caller, target, is_quick=place == 0)
            await caller.hang_up()
        except Conflict:
            failure = str(caller.final_code)
            if caller.final_code == _REFUSED and caller.ended_at is not None:
                told.refusal.append(caller.ended_at - caller.started_at)
        except GaveUp:
            failure = "no answer"
            await give_up(caller)
        if failure:
            told.failed[failure] += 1
            if place == 0:
                told.setups.append((caller.started_at, None))
        else:
            told.answered += 1


def _take(probed: Probed, caller: CallerLeg, target: TargetLeg | None, *, is_quick: bool) -> None:
    if caller.post_dial_delay is not None:
        probed.ringing.append(caller.post_dial_delay)
    if target is not None:
        probed.reached.append(target.started_at - caller.started_at)
        if target.answered_at is not None and caller.answered_at is not None:
            probed.passed_on.append(caller.answered_at - target.answered_at)
    if is_quick and caller.answer_delay is not None:
        own = 0.0 if target is None or target.answered_at is None else target.answered_at - target.started_at
        probed.own.append(own)
        probed.answer.append(caller.answer_delay - own)
        probed.setups.append((caller.started_at, caller.answer_delay - own))
    early = caller.first_audio_delay
    if not is_quick and early is not None and caller.answer_delay is not None and early < caller.answer_delay:
        probed.audio.append(early)


@asynccontextmanager
async def fine_probe(ip: str, dari: Endpoint, numbers: tuple[str, str], patience: float) -> AsyncIterator[FineProbe]:
    """A carrier with telephones at both ends, open while the block runs."""
    async with Carrier(ip, PORT, dari) as carrier:
        yield FineProbe(carrier, numbers, patience)
