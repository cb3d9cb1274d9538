"""Asterisk answers commands late, by bytes, with 500 or not at all, done or not done: nothing is done twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.cdr.model import Result
from engine.sandbox.carrier import Carrier
from tests.chaos import size
from tests.chaos.engine_line import asterisk_at, line_to
from tests.chaos.figures import Figures
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
DONE = (Spoilt.HELD, Spoilt.BROKEN, Spoilt.TRICKLING, Spoilt.LATE)
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


@pytest.mark.parametrize("how", DONE if WHOLE else DONE[1:2], ids=lambda how: how.value)
async def test_what_was_done_without_an_answer_counts_as_done(
    system: tuple[RunningAsterisk, Carrier], tmp_path: Path, figures: Figures, how: Spoilt
) -> None:
    """Calls go on as if the answer had come."""
    seed = size.seeds(1)[0]
    async with line_to(*system, tmp_path, seed, compared_every=1.0, patience=PATIENCE) as line:
        faults = [
            line.ari.spoil(command, how, times=max(size.CALLS // 12, 1), seconds=10.0) for command in COMMANDS.values()
        ]
        made = await line.calls(line.some(size.CALLS), 0.2)
        line.ari.release()
        # The engine knows that two are answered, and that they are connected, when it has asked a second time.
        line.oracle.stood_still += 2 * PATIENCE
        for call in made:
            assert len(call.watched.targets) <= 1, "a telephone was rung twice"
        await line.verdict(made)
    landed(*(fault.proof() for fault in faults))
    figures.add(f"commands done, their answers {how.value}", sum(fault.struck for fault in faults))
    figures.add("calls", len(made))


@pytest.mark.parametrize("how", NOT_DONE if WHOLE else NOT_DONE[:1], ids=lambda how: how.value)
async def test_what_is_not_done_ends_its_call_properly(
    system: tuple[RunningAsterisk, Carrier], tmp_path: Path, figures: Figures, how: Spoilt
) -> None:
    """Whatever becomes of these calls: each has its end and its record, and nothing is left."""
    seed = size.seeds(1)[0]
    async with line_to(*system, tmp_path, seed, compared_every=1.0, patience=PATIENCE) as line:
        faults = [
            line.ari.spoil(command, how, times=max(size.CALLS // 8, 1), after=line.chosen.randrange(2))
            for name, command in COMMANDS.items()
            if name not in NOT_TRIED
        ]
        made = await line.calls(line.some(size.CALLS), 0.2)
        line.ari.release()
        for call in made:
            call.also = frozenset(Result)
        await line.verdict(made)
    landed(*(fault.proof() for fault in faults))
    figures.add(f"commands not done, their answers {how.value}", sum(fault.struck for fault in faults))
    figures.add("calls", len(made))
