"""Events are lost, doubled, reordered and late: facts win over order, and the comparison finds what nobody told."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.calls.reception import EVENTS_USED
from engine.sandbox.carrier import Carrier
from tests.chaos import size
from tests.chaos.engine_line import Ends, asterisk_at, line_to
from tests.chaos.figures import Figures
from tests.chaos.processes import STRIKING, Hand, vacuous
from tests.chaos.proof import landed
from tests.chaos.proxy import EventFaults
from tests.real_asterisk import RunningAsterisk

COMPARED_EVERY = 0.5
"""Seconds; an engine does so every 30."""
WHOLE = size.CALLS >= 100

# A channel that is moved tells its end and its new beginning: TCP keeps their order, and only that tells them from a
# caller who comes and goes. For the same reason no end is doubled where beginnings are lost, and callers moved.
_KEPT_IN_ORDER = {"StasisStart": 0.0, "StasisEnd": 0.0}

FAULTS = {
    "those that scripts wait for are lost": EventFaults(
        0, lose={"StasisStart": 0.5, "ChannelDestroyed": 1.0, "PlaybackFinished": 1.0}
    ),
    "some of all are lost, doubled and reordered": EventFaults(
        0,
        lose={"*": 0.1, "Dial": 0.3, "ChannelDestroyed": 0.0},
        double={"*": 0.2, "StasisEnd": 0.0},
        reorder={"*": 0.1} | _KEPT_IN_ORDER,
    ),
}
EACH = {
    f"{kind} is lost": EventFaults(0, lose={kind: 0.5 if kind == "StasisStart" else 1.0})
    for kind in EVENTS_USED
    if kind != "ApplicationReplaced"
}
MORE = {
    "a fifth of all is lost": EventFaults(0, lose={"*": 0.2}),
    "all are doubled": EventFaults(0, double={"*": 1.0}, window=8),
    "a fifth of all is reordered": EventFaults(0, reorder={"*": 0.2} | _KEPT_IN_ORDER, window=3),
    "ends come late": EventFaults(0, delay={"ChannelHangupRequest": 0.4, "StasisEnd": 0.4, "ChannelDestroyed": 0.4}),
    "beginnings come late": EventFaults(0, delay={"StasisStart": 0.4, "Dial": 0.4}),
}
TRIED = FAULTS | (EACH | MORE if WHOLE else {})


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[RunningAsterisk, Carrier]]:
    async with asterisk_at(102, tmp_path_factory.mktemp("ast")) as running:
        yield running


@pytest.mark.parametrize("name", TRIED)
async def test_events_are_not_what_they_should_be(
    system: tuple[RunningAsterisk, Carrier], tmp_path: Path, figures: Figures, name: str
) -> None:
    instants = size.INSTANTS if name in FAULTS else 1
    for seed in size.seeds(instants):
        await spoilt_events(system, tmp_path / str(seed), figures, TRIED[name], seed=seed, calls=size.CALLS)


async def test_events_that_are_what_they_should_be_prove_nothing(
    system: tuple[RunningAsterisk, Carrier], tmp_path: Path, figures: Figures
) -> None:
    [*_, mixed] = FAULTS.values()
    await vacuous(lambda hand: spoilt_events(system, tmp_path, figures, mixed, seed=1, calls=0, hand=hand))


async def spoilt_events(
    system: tuple[RunningAsterisk, Carrier],
    home: Path,
    figures: Figures,
    spoilt: EventFaults,
    *,
    seed: int,
    calls: int,
    hand: Hand = STRIKING,
) -> None:
    faults = replace(spoilt, seed=seed, did=Counter())
    async with line_to(*system, home, seed, compared_every=COMPARED_EVERY, hand=hand) as line:
        line.ari.events = faults
        # Of a caller who leaves before anybody was told, only Asterisk's own call record knows: not looked at here.
        told_of_all = "StasisStart" not in faults.lose
        kinds = [kind for kind in line.some(calls) if told_of_all or kind.ends is not Ends.GIVES_UP]
        made = await line.calls(kinds, 0.2)
        landed(*(faults.proof(what) for what in faults.promised))
        records = await line.verdict(made)
    figures.add("calls", len(made))
    figures.add("records", len(records))
    figures.add("by the dialplan, for nobody was told of them", len(line.alone))
    for what in faults.promised:
        figures.add(f"events {what}", faults.proof(what).measured)
