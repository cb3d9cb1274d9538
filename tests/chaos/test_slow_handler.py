"""What calls go through is slow, and now and then the whole engine stands still: its events are read all the same."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.asterisk.commands import Ari
from engine.foundation.tasks import Tasks
from engine.sandbox.carrier import Carrier
from engine.trunks.model import Trunk
from tests import sipp
from tests.chaos import size
from tests.chaos.engine_line import BY_NAME, CLAIM_MILLISECONDS, SHORT, line_to, number_of
from tests.chaos.figures import Figures
from tests.chaos.processes import STRIKING, Hand, vacuous
from tests.chaos.proof import Proof, landed
from tests.engine_rig import make_sounds
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk, loopback, start_asterisk
from tests.sipp import Side

SERVER, SIPP = loopback(104, 1), loopback(104, 2)
_SILENCE = b"\xd5"
SLOW = 0.2
"""Seconds that a handler sleeps."""
WHOLE = size.CALLS >= 100
RATE = 50 if WHOLE else 15
"""Calls a second."""
CALLS = RATE * (size.INSTANTS + 5) if WHOLE else 45


@pytest.fixture(scope="module")
async def asterisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    folder = tmp_path_factory.mktemp("ast")
    make_sounds(folder / "sounds", SHORT)
    trunk = Trunk(name="carrier", match=(SIPP,), contact=f"sip:{SIPP}:5070")
    running = await start_asterisk(folder, SERVER, [trunk], claim_milliseconds=CLAIM_MILLISECONDS)
    yield running
    await running.stop()


async def test_slow_handlers_and_stand_stills_cost_no_event(
    asterisk: RunningAsterisk, tmp_path: Path, figures: Figures
) -> None:
    (tmp_path / "tone.alaw").write_bytes(_SILENCE * 8000)
    await vacuous(lambda hand: slowness(asterisk, tmp_path, figures, seed=1, calls=1, hand=hand))
    [seed] = size.seeds(1)
    await slowness(asterisk, tmp_path, figures, seed=seed, calls=CALLS)


async def slowness(
    asterisk: RunningAsterisk, folder: Path, figures: Figures, *, seed: int, calls: int, hand: Hand = STRIKING
) -> None:
    """At least as many stand-stills as there are to be instants, each at a random one."""
    shop = Side("shop-answers", f"{SIPP}:5070", calls, folder, ("-d", "300"))
    options = ("-key", "codec", "PCMU", "-key", "payload", "0", "-d", "1000")
    callers = Side("caller-talks", f"{SIPP}:5080", calls, folder, options)
    tasks, stopped, number = Tasks("carrier"), list[float](), number_of(BY_NAME["talk"])
    async with (
        Carrier(loopback(104, 3), 0, (SERVER, 5060)) as unused,
        line_to(asterisk, unused, folder / f"home-{calls}", seed) as line,
        sipp.shop(shop),
    ):
        try:
            with slow_handlers(hand) as slept:
                if hand.strikes:
                    tasks.start("stand-stills", stand_still_now_and_then(line.chosen, stopped))
                told = await sipp.calls_from(callers, to=f"{SERVER}:5060", number=number, rate=RATE)
                await eventually(lambda: not line.rig.reception.live_calls)
        finally:
            await tasks.close()
        lag = line.rig.connection.event_lag
        landed(
            Proof("handlers slept", sum(slept.values()), "times"),
            Proof("the engine stood still", len(stopped), f"times of {size.INSTANTS}"),
        )
        assert len(stopped) >= size.INSTANTS
        told.went_well(calls)
        assert (line.ari.connected, dict(line.ari.closed)) == (1, {}), "the event socket was lost"
        assert lag is not None
        figures.add(f"event lag at {RATE} calls/s, p99 s", lag)
        figures.add("calls with slow handlers", calls)
        figures.add("stand-stills", len(stopped))
        figures.add("event sockets lost", line.ari.connected - 1)


@contextmanager
def slow_handlers(hand: Hand) -> Iterator[Counter[str]]:
    """Whoever rings somebody or answers a caller sleeps before; how often they did."""
    slept: Counter[str] = Counter()

    def sleeping(verb: str) -> None:
        done = getattr(Ari, verb)

        async def asleep(*given: object, **named: object) -> object:
            await asyncio.sleep(SLOW)
            slept[verb] += 1
            return await done(*given, **named)

        patch.setattr(Ari, verb, asleep)

    with pytest.MonkeyPatch.context() as patch:
        for verb in ("originate", "answer_into", "create_bridge") if hand.strikes else ():
            sleeping(verb)
        yield slept


async def stand_still_now_and_then(chosen: random.Random, stopped: list[float]) -> None:
    """Once in each second, at a random instant of it."""
    while True:
        before = chosen.uniform(0.0, 1.0 - SLOW)
        await asyncio.sleep(before)
        time.sleep(SLOW)  # noqa: ASYNC251 - what it is for
        stopped.append(time.monotonic())
        await asyncio.sleep(1.0 - SLOW - before)
