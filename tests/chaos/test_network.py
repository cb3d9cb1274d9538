"""The line between engine and Asterisk fails: packets are lost in silence, one way or both; connections break."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count, cycle
from pathlib import Path

import pytest

from engine.cdr.model import Result
from engine.foundation.tasks import Tasks
from engine.sandbox.carrier import Carrier
from tests.chaos import size
from tests.chaos.engine_line import BY_NAME, Line, asterisk_at, gaps_in_talk, line_to
from tests.chaos.figures import Figures
from tests.chaos.netns import missing, run_inside
from tests.chaos.processes import STRIKING, Hand, vacuous
from tests.chaos.proof import Proof, landed
from tests.chaos.proxy import BOTH, Way
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk

WHOLE = size.SECONDS >= 20
"""With the product's own limits, and for all that time; else with short ones, until the fault is noticed."""
WAYS: dict[str, tuple[Way, ...]] = {"to": (Way.TO_SERVER,), "from": (Way.TO_CLIENT,), "both": BOTH}
"""Which words are lost: those to Asterisk, those from it."""
TALK, RINGS, RECORDED = BY_NAME["talk"], BY_NAME["rings long"], BY_NAME["recorded"]


@dataclass(frozen=True, slots=True)
class System:
    """An Asterisk and its carrier; each line to it is another engine."""

    asterisk: RunningAsterisk
    carrier: Carrier
    folder: Path

    @asynccontextmanager
    async def line(self, seed: int, hand: Hand) -> AsyncIterator[Line]:
        home, patience = self.folder / f"home-{next(_lines)}", 5.0 if WHOLE else 1.0
        async with line_to(self.asterisk, self.carrier, home, seed, patience=patience, hand=hand) as line:
            yield line


_lines = count()


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    folder = tmp_path_factory.mktemp("network")
    async with asterisk_at(101, folder / "ast") as (asterisk, carrier):
        yield System(asterisk, carrier, folder)


def ways_of(seeds: Sequence[int]) -> list[tuple[int, tuple[Way, ...]]]:
    """Each seed, and a way in turn."""
    return list(zip(seeds, cycle(WAYS.values()), strict=False))


async def test_packets_of_ari_are_lost_in_silence(system: System, figures: Figures) -> None:
    """Noticed; new calls go by the dialplan; who talks hears the other all the time; then all is well again."""
    await vacuous(lambda hand: silence_of_ari(system, figures, seed=1, ways=BOTH, calls=0, hand=hand))
    for seed, ways in ways_of(size.seeds(min(size.INSTANTS, len(WAYS)) if not missing() else size.INSTANTS)):
        await silence_of_ari(system, figures, seed=seed, ways=ways, calls=size.CALLS)


async def silence_of_ari(
    system: System, figures: Figures, *, seed: int, ways: tuple[Way, ...], calls: int, hand: Hand = STRIKING
) -> None:
    async with system.line(seed, hand) as line:
        line.patience += size.SECONDS
        talking = [await line.connected(TALK) for _ in range(2 if calls else 0)]
        async with line.under_way(calls) as scattered:
            began = time.monotonic()
            line.bytes.hold(*ways)
            landed(await line.bytes.proven("bytes held"))
            new = [await line.call(TALK) for _ in range(2)]
            await eventually(lambda: not line.rig.connection.connected)
            figures.add("silence of ARI noticed after s", time.monotonic() - began)
            new += [await line.call(TALK) for _ in range(2)]
            for call in new:
                await eventually(lambda call=call: call.leg.is_over or call.leg.answered_at)
                figures.add("new calls had a final answer after s", time.monotonic() - call.leg.started_at)
            if WHOLE:
                await asyncio.sleep(began + size.SECONDS - time.monotonic())
            line.bytes.release()
            healed = time.monotonic()
            await eventually(lambda: line.rig.connection.connected)
            figures.add("connected again after s", time.monotonic() - healed)
            after = await line.until_taken()
        for call in talking:
            assert gaps_in_talk(call, line.stood_still) == []
        for call in scattered:
            call.also = frozenset(Result)  # nobody was there to see what became of it
        await asyncio.gather(*(line.go_through(call) for call in (*talking, *new, *after)))
        await line.verdict([*talking, *scattered, *new, *after])
        landed(line.bytes.proof("bytes held"), Proof("new calls without an engine", len(line.alone), "calls"))
        assert set(new) <= set(line.alone)
        figures.add("calls that went by the dialplan meanwhile", len(line.alone))


async def test_the_kernel_drops_packets_between_two_namespaces(tmp_path: Path, figures: Figures) -> None:
    """As above, without a proxy that takes what it does not pass on. A machine that cannot do it says so."""
    if lacks := missing():
        print(f"no namespaces here, only the proxies' silence was tried: {lacks}")
        return
    seconds, patience = (size.SECONDS, 5.0) if WHOLE else (0.0, 1.0)
    told = await run_inside(
        "tests.chaos.lost_packets",
        tmp_path,
        *map(str, (seconds, patience, size.INSTANTS, size.CALLS)),
        *reversed(WAYS),
        longest=60.0 + size.INSTANTS * (seconds + 180.0),
    )
    print(told)
    instants = [json.loads(line) for line in told.splitlines() if line.startswith("{")]
    assert len(instants) == size.INSTANTS
    for found in instants:
        landed(Proof(**found["proof"]), Proof("new calls without an engine", found["by the dialplan"], "calls"))
        assert found["gaps in the talk"] == []
        assert found["records"] == found["calls"] - found["by the dialplan"]
        figures.add("packets dropped", found["proof"]["measured"])
        figures.add("dropped packets noticed after s", found["noticed"])
        figures.add("after dropped packets connected again after s", found["connected again"])


async def test_packets_of_the_manager_are_lost_in_silence(system: System, figures: Figures) -> None:
    """Calls go on; those that cannot be recorded say so, and nothing records them behind our back later."""
    await vacuous(lambda hand: silence_of_manager(system, figures, seed=1, ways=BOTH, calls=0, hand=hand))
    for seed, ways in ways_of(size.seeds(size.INSTANTS)):
        await silence_of_manager(system, figures, seed=seed, ways=ways, calls=1)


async def silence_of_manager(
    system: System, figures: Figures, *, seed: int, ways: tuple[Way, ...], calls: int, hand: Hand = STRIKING
) -> None:
    async with system.line(seed, hand) as line:
        manager = line.rig.manager
        await asyncio.sleep(calls * line.chosen.random())
        began = time.monotonic()
        line.manager.hold(*ways)
        connected = [await line.connected(RECORDED) for _ in range(calls)]
        landed(await line.manager.proven("bytes held"))
        [silent] = connected
        await eventually(lambda: not manager.connected)
        figures.add("silence of AMI noticed after s", time.monotonic() - began)
        line.manager.release()
        await eventually(lambda: manager.connected)
        later = await line.connected(RECORDED)
        await asyncio.gather(*(line.go_through(call) for call in (silent, later)))
        records = await line.verdict([silent, later])
        assert records[later.leg.call_id].recording is not None
        found = records[silent.leg.call_id]
        was_asked = Way.TO_SERVER not in ways
        assert (found.recording is not None) == was_asked
        assert ("Asterisk did not start it" in (found.recording_reason or "")) != was_asked


async def test_connections_break_again_and_again_under_calls_in_all_phases(system: System, figures: Figures) -> None:
    """By RST, in order, in the middle of what is being said, and only for a while; the event socket or all of it."""
    await vacuous(lambda hand: broken_connections(system, figures, seed=1, calls=0, hand=hand))
    for seed in size.seeds(size.INSTANTS):
        await broken_connections(system, figures, seed=seed, calls=size.CALLS if WHOLE else size.CALLS // 2)


async def broken_connections(system: System, figures: Figures, *, seed: int, calls: int, hand: Hand = STRIKING) -> None:
    async with system.line(seed, hand) as line:
        breaks: list[Callable[[], object]] = [
            line.ari.cut,
            line.bytes.cut,
            lambda: line.bytes.cut(reset=False),
            lambda: line.bytes.cut_after(line.chosen.randint(1, 600), Way.TO_CLIENT),
            lambda: line.bytes.cut_after(line.chosen.randint(1, 300), Way.TO_SERVER),
        ]
        line.bytes.cut()
        landed(await line.bytes.proven("connections cut"))
        tasks = Tasks("carrier")
        tasks.start("breaks", again_and_again(line, breaks))
        made = await line.calls(line.some(calls), 0.25)
        await tasks.close()
        line.bytes.release()
        made += await line.until_taken()
        await line.verdict(made)
        landed(
            Proof("event sockets opened again", line.ari.connected - 1, "sockets"),
            Proof("calls taken all the same", len(made) - len(line.alone), "calls"),
        )
        figures.add("connections broken", line.bytes.did["connections cut"])
        figures.add("event sockets opened again", line.ari.connected - 1)
        figures.add("calls under broken connections", len(made))
        figures.add("of them by the dialplan", len(line.alone))


async def again_and_again(line: Line, breaks: list[Callable[[], object]]) -> None:
    while True:
        await asyncio.sleep(line.chosen.uniform(0.3, 1.2))
        line.chosen.choice(breaks)()
