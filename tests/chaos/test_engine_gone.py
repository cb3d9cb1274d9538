"""The engine is killed, away, told to end, or stands still, while there are calls in every phase and others come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from signal import SIGKILL, SIGTERM

import pytest

from engine.sandbox.ear import read, sounds
from engine.settings import PRODUCT_FILES
from tests.chaos import oracle
from tests.chaos.field import Field, field_at
from tests.chaos.figures import Figures
from tests.chaos.oracle import Verdict
from tests.chaos.processes import STRIKING, Hand, away, back, frozen_for_the_block, killed, vacuous
from tests.chaos.proof import Proof, landed
from tests.chaos.scene import PHASES, PLAIN, Placed, Scene, install_telephones, numbers, recovered
from tests.chaos.size import CALLS, INSTANTS, SECONDS, seeds
from tests.eventually import eventually
from tests.real_asterisk import loopback

DARI, CARRIER = (loopback(66, host) for host in (1, 2))
RATE = CALLS / 5
"""New calls a second while there is no engine: 20 with 100 calls."""
ALONE = [phase for phase in PHASES if phase.name in ("talk", "busy", "closed", "recording")]
"""What the calls want that come meanwhile: all of it is in the routes that Asterisk keeps."""
WHOLE = CALLS >= 100
LIVE = [phase for phase in PHASES if phase.name in ("talk", "shop leaves", "caller leaves", *["ringing"] * WHOLE)]
"""The calls that are there when it goes. One that rings goes on without any engine, and is written down much later."""
BUSY_HERE = 486
"""The shop's own answer, passed on."""
LISTENED_TO = 8
"""How many of the callers who were not connected are listened to, word for word."""
_FIRST = 0.3
"""Seconds from the signal to the first new call: who is killed has gone by then, who is told to end has not."""


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[Field]:
    async with field_at(DARI, CARRIER, DARI_CLAIM_MILLISECONDS="500", DARI_STOP_SECONDS="2") as field:
        install_telephones(field.carrier)
        await field.put_into_service(numbers())
        yield field


async def test_calls_outlive_an_engine_that_is_killed(running: Field, figures_of: Callable[[str], Figures]) -> None:
    figures = figures_of("T01: the engine is killed with calls in every phase, and started again by its supervisor")
    await vacuous(lambda hand: death_under_calls(running, figures, seed=1, calls=0, hand=hand))
    oracle.must_be_clean(
        [await death_under_calls(running, figures, seed=seed, calls=CALLS) for seed in seeds(INSTANTS)]
    )


async def test_calls_without_an_engine_are_served_and_written_down_afterwards(
    running: Field, figures_of: Callable[[str], Figures]
) -> None:
    figures = figures_of("T02: there is no engine, killed or told to end; the dialplan runs the calls that come")
    await vacuous(lambda hand: calls_without_engine(running, figures, seed=1, calls=0, seconds=0, hand=hand))
    oracle.must_be_clean(
        [
            await calls_without_engine(running, figures, seed=seed, calls=CALLS // 4, seconds=SECONDS)
            for seed in seeds(INSTANTS)
        ]
    )


async def test_calls_outlive_an_engine_that_stands_still(running: Field, figures_of: Callable[[str], Figures]) -> None:
    figures = figures_of("T03: the engine stands still under calls, and others come, until the watchdog cuts it off")
    await vacuous(lambda hand: frozen_under_calls(running, figures, seed=1, calls=0, hand=hand))
    oracle.must_be_clean(
        [await frozen_under_calls(running, figures, seed=seed, calls=CALLS) for seed in seeds(INSTANTS)]
    )


async def death_under_calls(field: Field, figures: Figures, *, seed: int, calls: int, hand: Hand = STRIKING) -> Verdict:
    """`kill -9` at one instant: no talk is dropped or silent, every call is written down and thanked once."""
    async with Scene(field, seed, calls) as scene:
        engine, known = field.home.parts()["engine"], await scene.known()
        fault_at = time.monotonic()
        proofs = [await killed(engine, hand)]
        landed(*proofs)
        proofs.append(await back(field.home, "engine", engine))
        unknown = await recovered(scene, known, figures, fault_at)
        verdict = await oracle.at_rest(scene, proofs, figures, fault_at)
    verdict.wrong += unknown
    return verdict


async def calls_without_engine(
    field: Field, figures: Figures, *, seed: int, calls: int, seconds: float, hand: Hand = STRIKING
) -> Verdict:
    """Some calls are live when it goes; others come while it goes and is away, and each gets a route or is told.

    With every other seed it is told to end, and does so in order.
    """
    number = SIGTERM if seed % 2 else SIGKILL
    async with Scene(field, seed, calls, LIVE) as scene:
        known = await scene.known()
        came = scene.expect(ALONE, RATE, seconds, _FIRST)
        ends = time.monotonic() + _FIRST + seconds
        async with away(field.home, field.supervisor, "engine", hand, number) as absent:
            landed(*absent.proofs)
            await asyncio.sleep(ends - time.monotonic())
            await eventually(lambda: all(map(_is_served, came)))
        proofs = [*absent.proofs, await back(field.home, "engine", absent.former)]
        unknown = await recovered(scene, known, figures, time.monotonic())
        verdict = await oracle.at_rest(scene, proofs, figures, absent.since)
        _judge_the_served(came, verdict)
    verdict.wrong += unknown
    return verdict


async def frozen_under_calls(
    field: Field, figures: Figures, *, seed: int, calls: int, hand: Hand = STRIKING
) -> Verdict:
    """SIGSTOP until it is cut off: its calls go on with the next engine, new ones are served meanwhile."""
    async with Scene(field, seed, calls) as scene:
        engine, known = field.home.parts()["engine"], await scene.known()
        fault_at = time.monotonic()
        async with frozen_for_the_block(engine, hand) as frozen:
            landed(frozen.proof)
            came = scene.expect([PLAIN], RATE, field.settings.watchdog_seconds)
            await eventually(lambda: not engine.lives)
            cut_off = Proof(f"process {engine.pid} stood still until it was cut off", time.monotonic() - fault_at, "s")
        figures.add("frozen engine cut off s", cut_off.measured)
        proofs = [frozen.proof, cut_off, await back(field.home, "engine", engine)]
        unknown = await recovered(scene, known, figures, fault_at)
        verdict = await oracle.at_rest(scene, proofs, figures, fault_at)
        _judge_the_served(came, verdict)
    verdict.wrong += unknown
    return verdict


def _is_served(call: Placed) -> bool:
    return call.leg is not None and (call.leg.answered_at is not None or call.leg.is_over)


def _judge_the_served(calls: Sequence[Placed], verdict: Verdict) -> None:
    """Each was connected, or heard what belongs to their number, or why not; how soon goes to the figures."""
    spoken = {
        name: read(PRODUCT_FILES / "prompts" / "sounds" / "ko" / f"{name}.wav")
        for name in ("no-engine", "closed", "busy")
    }
    listened = 0
    for call in calls:
        if call.leg is None:
            continue
        figures = verdict.figures
        first = call.leg.first_audio_delay
        figures.add("calls that came meanwhile", 1)
        figures.add("of these connected", float(call.talk() is not None))
        if first is not None:
            figures.add("until they heard something s", first)
        is_busy = call.leg.final_code == BUSY_HERE
        verdict.holds(
            first is not None or is_busy, "served", f"{call.caller} in {call.phase.name!r} heard nothing at all"
        )
        if call.talk() is None and not is_busy and listened < LISTENED_TO:
            listened += 1
            verdict.holds(
                bool(sounds(call.leg.recording, spoken)),
                "served",
                f"{call.caller} in {call.phase.name!r} was neither connected nor told why",
            )
