"""The line between engine and Asterisk fails: packets are lost in silence, one way or both; connections break."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from engine.cdr.model import Result
from engine.foundation.tasks import Tasks
from engine.sandbox.carrier import Carrier
from tests.chaos import size
from tests.chaos.engine_line import BY_NAME, Line, asterisk_at, gaps_in_talk, line_to
from tests.chaos.figures import Figures
from tests.chaos.netns import missing, run_inside
from tests.chaos.proof import Proof, landed
from tests.chaos.proxy import BOTH, Way
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk

WAYS: dict[str, tuple[Way, ...]] = {"to Asterisk": (Way.TO_SERVER,)}
WHOLE = size.SECONDS >= 20
"""With the product's own limits, and for all that time; else with short ones, until the fault is noticed."""
if WHOLE:
    WAYS |= {"from Asterisk": (Way.TO_CLIENT,), "both ways": BOTH}
TALK, RINGS, RECORDED = BY_NAME["talk"], BY_NAME["rings long"], BY_NAME["recorded"]


@pytest.fixture(scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[RunningAsterisk, Carrier]]:
    async with asterisk_at(101, tmp_path_factory.mktemp("ast")) as running:
        yield running


@pytest.fixture
async def line(system: tuple[RunningAsterisk, Carrier], tmp_path: Path) -> AsyncIterator[Line]:
    async with line_to(*system, tmp_path, size.SEED, patience=5.0 if WHOLE else 1.0) as line:
        yield line


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
async def test_packets_of_ari_are_lost_in_silence(line: Line, figures: Figures, ways: tuple[Way, ...]) -> None:
    """Noticed; new calls go by the dialplan; who talks hears the other all the time; then all is well again."""
    talking = [await line.connected(TALK) for _ in range(2)]
    ringing = await line.call(RINGS)
    ringing.also = frozenset({Result.NO_ANSWER})  # its time may be over before anybody hears that it was answered
    await eventually(lambda: ringing.leg.rang_at is not None)
    began = time.monotonic()
    line.bytes.hold(*ways)
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
        assert gaps_in_talk(call) == []
    calls = [*talking, ringing, *new, *after]
    await asyncio.gather(*(line.go_through(call) for call in calls))
    await line.verdict(calls)
    landed(line.bytes.proof("bytes held"), Proof("new calls without an engine", len(line.alone), "calls"))
    assert set(new) <= set(line.alone)
    figures.add("calls that went by the dialplan meanwhile", len(line.alone))


@pytest.mark.parametrize("way", ["both", "to", "from"] if WHOLE else ["both"])
async def test_the_kernel_drops_packets_between_two_namespaces(tmp_path: Path, figures: Figures, way: str) -> None:
    """As above, without a proxy that takes what it does not pass on. A machine that cannot do it says so."""
    if lacks := missing():
        print(f"no namespaces here, only the proxies' silence was tried: {lacks}")
        return
    seconds, patience = (size.SECONDS, 5.0) if WHOLE else (0.0, 1.0)
    told = await run_inside(
        "tests.chaos.lost_packets", tmp_path, way, str(seconds), str(patience), longest=seconds + 180.0
    )
    found = json.loads(told.splitlines()[-1])
    landed(Proof(**found["proof"]), Proof("new calls without an engine", found["by the dialplan"], "calls"))
    assert found["gaps in the talk"] == []
    assert found["records"] == found["calls"] - found["by the dialplan"]
    figures.add("packets dropped", found["proof"]["measured"])
    figures.add("dropped packets noticed after s", found["noticed"])
    figures.add("after dropped packets connected again after s", found["connected again"])


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
async def test_packets_of_the_manager_are_lost_in_silence(line: Line, figures: Figures, ways: tuple[Way, ...]) -> None:
    """Calls go on; those that cannot be recorded say so, and nothing records them behind our back later."""
    manager = line.rig.manager
    began = time.monotonic()
    line.manager.hold(*ways)
    silent = await line.connected(RECORDED)
    await eventually(lambda: not manager.connected)
    figures.add("silence of AMI noticed after s", time.monotonic() - began)
    line.manager.release()
    await eventually(lambda: manager.connected)
    later = await line.connected(RECORDED)
    await asyncio.gather(*(line.go_through(call) for call in (silent, later)))
    records = await line.verdict([silent, later])
    landed(line.manager.proof("bytes held"))
    assert records[later.leg.call_id].recording is not None
    found = records[silent.leg.call_id]
    was_asked = Way.TO_SERVER not in ways
    assert (found.recording is not None) == was_asked
    assert ("Asterisk did not start it" in (found.recording_reason or "")) != was_asked


async def test_connections_break_again_and_again_under_calls_in_all_phases(line: Line, figures: Figures) -> None:
    """By RST, in order, in the middle of what is being said, and only for a while; the event socket or all of it."""
    breaks: list[Callable[[], object]] = [
        line.ari.cut,
        line.bytes.cut,
        lambda: line.bytes.cut(reset=False),
        lambda: line.bytes.cut_after(line.chosen.randint(1, 600), Way.TO_CLIENT),
        lambda: line.bytes.cut_after(line.chosen.randint(1, 300), Way.TO_SERVER),
    ]
    tasks = Tasks("carrier")
    tasks.start("breaks", again_and_again(line, breaks))
    made = await line.calls(line.some(size.CALLS if WHOLE else size.CALLS // 2), 0.25)
    await tasks.close()
    line.bytes.release()
    made += await line.until_taken()
    await line.verdict(made)
    landed(
        line.bytes.proof("connections cut"),
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
