"""Asterisk answers commands late, by bytes, with 500 or not at all, done or not done: nothing is done twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import cycle
from pathlib import Path

import pytest

from engine.cdr.model import Result
from engine.sandbox.carrier import Carrier
from tests.chaos import size
from tests.chaos.engine_line import asterisk_at, line_to
from tests.chaos.figures import Figures
from tests.chaos.processes import STRIKING, Hand, vacuous
from tests.chaos.proof import landed
from tests.chaos.proxy import Spoilt
from tests.real_asterisk import RunningAsterisk

COMMANDS = {
    "claim": r"POST /ari/events/claim",
    "originate": r"POST /ari/channels",
    "play": r"POST /ari/channels/.*/play/.*",
    "music": r"POST /ari/channels/.*/moh",
    "answer": r"POST /ari/channels/.*/answer",
    "make a bridge": r"POST /ari/bridges/[^/]*",
    "connect": r"POST /ari/bridges/.*/addChannel",
    "record": r"POST /ari/channels/.*/record",
    "hang up": r"DELETE /ari/channels/[^/]*",
    "remove a bridge": r"DELETE /ari/bridges/.*",
}
DONE = (Spoilt.BROKEN, Spoilt.HELD, Spoilt.TRICKLING, Spoilt.LATE)
"""The command was done, and nobody says so."""
NOT_DONE = (Spoilt.LOST, Spoilt.FAILED)
NOT_TRIED = ("record", "connect")
"""Nobody may get so far as a message. Who is answered and not connected talks to nobody, which no telephone knows."""
WHOLE = size.CALLS >= 100
PATIENCE = 5.0 if WHOLE else 1.0
"""Seconds for an answer."""


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[RunningAsterisk, Carrier]]:
    async with asterisk_at(103, tmp_path_factory.mktemp("ast")) as running:
        yield running


async def test_what_was_done_without_an_answer_counts_as_done(
    system: tuple[RunningAsterisk, Carrier], tmp_path: Path, figures: Figures
) -> None:
    """Calls go on as if the answer had come."""
    await vacuous(lambda hand: unanswered(system, tmp_path, figures, Spoilt.BROKEN, seed=1, calls=0, hand=hand))
    for seed, how in zip(size.seeds(size.INSTANTS), cycle(DONE), strict=False):
        await unanswered(system, tmp_path / str(seed), figures, how, seed=seed, calls=size.CALLS)


async def unanswered(
    system: tuple[RunningAsterisk, Carrier],
    home: Path,
    figures: Figures,
    how: Spoilt,
    *,
    seed: int,
    calls: int,
    hand: Hand = STRIKING,
) -> None:
    async with line_to(*system, home, seed, compared_every=1.0, patience=PATIENCE, hand=hand) as line:
        faults = [
            line.ari.spoil(command, how, times=max(calls // 12, 1), seconds=10.0) for command in COMMANDS.values()
        ]
        made = await line.calls(line.some(calls), 0.2)
        line.ari.release()
        landed(*(fault.proof() for fault in faults))
        # The engine knows that two are answered, and that they are connected, when it has asked a second time.
        line.oracle.stood_still += 2 * PATIENCE
        for call in made:
            assert len(call.watched.targets) <= 1, "a telephone was rung twice"
        await line.verdict(made)
    figures.add(f"commands done, their answers {how.value}", sum(fault.struck for fault in faults))
    figures.add("calls", len(made))


async def test_what_is_not_done_ends_its_call_properly(
    system: tuple[RunningAsterisk, Carrier], tmp_path: Path, figures: Figures
) -> None:
    """Whatever becomes of these calls: each has its end and its record, and nothing is left."""
    await vacuous(lambda hand: undone(system, tmp_path, figures, Spoilt.LOST, seed=1, calls=0, hand=hand))
    for seed, how in zip(size.seeds(size.INSTANTS), cycle(NOT_DONE), strict=False):
        await undone(system, tmp_path / str(seed), figures, how, seed=seed, calls=size.CALLS)


async def undone(
    system: tuple[RunningAsterisk, Carrier],
    home: Path,
    figures: Figures,
    how: Spoilt,
    *,
    seed: int,
    calls: int,
    hand: Hand = STRIKING,
) -> None:
    async with line_to(*system, home, seed, compared_every=1.0, patience=PATIENCE, hand=hand) as line:
        faults = [
            line.ari.spoil(command, how, times=max(calls // 8, 1), after=line.chosen.randrange(2))
            for name, command in COMMANDS.items()
            if name not in NOT_TRIED
        ]
        made = await line.calls(line.some(calls), 0.2)
        line.ari.release()
        landed(*(fault.proof() for fault in faults))
        for call in made:
            call.also = frozenset(Result)
        await line.verdict(made)
    figures.add(f"commands not done, their answers {how.value}", sum(fault.struck for fault in faults))
    figures.add("calls", len(made))
