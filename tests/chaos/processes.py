"""Parts of the system killed, frozen, asked to end and started again, each with the proof that it happened (I8).

A `Hand` brings faults about: signals here, and what proxies, namespaces and small disks do. `SPARING` brings none: with
it a fault test must fail for want of a fault, which each of them shows (`vacuous`).
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.foundation.process import Process
from tests.chaos.hearing import Span
from tests.chaos.proof import FaultMissed, Proof
from tests.whole_system import Home

_LOOKS_EVERY = 0.01
_TURN_EVERY = 0.05
_STOOD_STILL = 0.1
"""Seconds without a turn after which what this process heard cannot be trusted."""
_BACK_WITHIN = 60.0
"""Seconds; a supervisor that had to start a part often waits longer each time."""
_STATE = 0
"""Field of /proc/PID/stat, counted after the name in brackets."""


@dataclass(frozen=True, slots=True)
class Hand:
    """Whoever brings faults about, and how long it watches for what comes of them."""

    strikes: bool
    patience: float

    def send(self, process: Process, number: signal.Signals) -> None:
        if self.strikes:
            process.send(number)

    async def sees(self, holds: Callable[[], bool]) -> bool:
        """Whether that comes about."""
        return await _comes(holds, self.patience)


STRIKING = Hand(strikes=True, patience=20.0)
SPARING = Hand(strikes=False, patience=0.1)


@dataclass(slots=True)
class Frozen:
    """A process that is stopped."""

    process: Process
    since: float
    """Monotonic."""
    proof: Proof


@dataclass(slots=True)
class Away:
    """A part that is gone, and that nobody starts again before the block ends."""

    part: str
    former: Process
    since: float
    """Monotonic."""
    proofs: list[Proof] = field(default_factory=list)


async def killed(process: Process, hand: Hand = STRIKING, number: signal.Signals = signal.SIGKILL) -> Proof:
    """`kill -9`, or another signal that ends it; the proof is that the process has gone."""
    hand.send(process, number)
    began = time.monotonic()
    gone = await hand.sees(lambda: not process.lives)
    measured = max(time.monotonic() - began, 1e-6) if gone else 0.0
    return Proof(f"{number.name} to process {process.pid}, which has gone", measured, "s later")


async def froze(process: Process, hand: Hand = STRIKING) -> Frozen:
    """SIGSTOP; the proof is its state in /proc. Let it go on with `thawed`."""
    hand.send(process, signal.SIGSTOP)
    since = time.monotonic()
    stopped = await hand.sees(lambda: is_stopped(process))
    return Frozen(process, since, Proof(f"process {process.pid} is in state T", float(stopped), "time(s) seen"))


def thawed(frozen: Frozen) -> Proof:
    """SIGCONT, where somebody has not killed it meanwhile; the proof is for how long it stood still."""
    stood = is_stopped(frozen.process) or not frozen.process.lives
    frozen.process.send(signal.SIGCONT)
    return Proof(f"process {frozen.process.pid} stood still", time.monotonic() - frozen.since if stood else 0.0, "s")


@asynccontextmanager
async def frozen_for_the_block(process: Process, hand: Hand = STRIKING) -> AsyncIterator[Frozen]:
    """It stands still meanwhile, and never longer."""
    frozen = await froze(process, hand)
    try:
        yield frozen
    finally:
        process.send(signal.SIGCONT)


@asynccontextmanager
async def away(
    home: Home, supervisor: Process, part: str, hand: Hand = STRIKING, number: signal.Signals = signal.SIGKILL
) -> AsyncIterator[Away]:
    """The part is ended, and its supervisor stopped meanwhile, so that it stays away; it comes back afterwards."""
    former = home.parts()[part]
    async with frozen_for_the_block(supervisor, hand) as stopped:
        absent = Away(part, former, time.monotonic(), [stopped.proof])
        absent.proofs.append(await killed(former, hand, number))
        yield absent


async def back(home: Home, part: str, former: Process) -> Proof:
    """The part that was started in place of `former`, once it is there; the proof is that it is another process."""
    found: list[Process] = []

    def is_another() -> bool:
        found[:] = [process for name, process in home.parts().items() if name == part and process != former]
        return bool(found)

    began = time.monotonic()
    if not await _comes(is_another, _BACK_WITHIN):
        raise TimeoutError(f"{part} was not started again within {_BACK_WITHIN:g} s")
    seconds = max(time.monotonic() - began, 1e-6)
    return Proof(f"{part} was process {former.pid} and is {found[0].pid}", seconds, "s later")


def is_stopped(process: Process) -> bool:
    """Whether it is in state T, as the kernel tells."""
    try:
        line = Path(f"/proc/{process.pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return line.rpartition(")")[2].split()[_STATE] == "T"


async def vacuous(test: Callable[[Hand], Awaitable[object]]) -> None:
    """The test, given a hand that spares, must fail because its fault did not happen, and for no other reason.

    It is given no calls, and nothing to wait for.
    """
    with pytest.raises(FaultMissed):
        await test(SPARING)


async def note_stand_stills(noted: list[Span]) -> None:
    """When this process, and with it every telephone, got no turn; until cancelled."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(_TURN_EVERY)
        if time.monotonic() - began - _TURN_EVERY > _STOOD_STILL:
            noted.append((began, time.monotonic()))


async def _comes(holds: Callable[[], bool], within: float) -> bool:
    ends = time.monotonic() + within
    while not holds():
        if time.monotonic() > ends:
            return False
        await asyncio.sleep(_LOOKS_EVERY)
    return True
