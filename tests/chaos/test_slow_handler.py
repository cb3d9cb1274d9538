"""What calls go through is slow, and now and then the whole engine stands still: its events are read all the same."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
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
from tests.chaos.proof import Proof, landed
from tests.engine_rig import make_sounds
from tests.eventually import eventually
from tests.real_asterisk import loopback, start_asterisk
from tests.sipp import Side

SERVER, SIPP = loopback(104, 1), loopback(104, 2)
_SILENCE = b"\xd5"
SLOW = 0.2
"""Seconds that a handler sleeps."""
WHOLE = size.CALLS >= 100
RATE, CALLS = (50, 500) if WHOLE else (15, 45)
"""Calls a second, and in all."""


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Whoever rings somebody or answers a caller sleeps before; how often they did."""
    slept: Counter[str] = Counter()

    def sleeping(verb: str) -> None:
        done = getattr(Ari, verb)

        async def asleep(*given: object, **named: object) -> None:
            await asyncio.sleep(SLOW)
            slept[verb] += 1
            await done(*given, **named)

        monkeypatch.setattr(Ari, verb, asleep)

    for verb in ("originate", "answer", "create_bridge"):
        sleeping(verb)
    return slept


async def test_slow_handlers_and_stand_stills_cost_no_event(
    tmp_path: Path, figures: Figures, slow: Counter[str]
) -> None:
    make_sounds(tmp_path / "ast" / "sounds", SHORT)
    (tmp_path / "tone.alaw").write_bytes(_SILENCE * 8000)
    shop = Side("shop-answers", f"{SIPP}:5070", CALLS, tmp_path, ("-d", "300"))
    options = ("-key", "codec", "PCMU", "-key", "payload", "0", "-d", "1000")
    callers = Side("caller-talks", f"{SIPP}:5080", CALLS, tmp_path, options)
    trunk = Trunk(name="carrier", match=(SIPP,), contact=f"sip:{SIPP}:5070")
    asterisk = await start_asterisk(tmp_path / "ast", SERVER, [trunk], claim_milliseconds=CLAIM_MILLISECONDS)
    tasks = Tasks("carrier")
    try:
        async with (
            Carrier(loopback(104, 3), 0, (SERVER, 5060)) as unused,
            line_to(asterisk, unused, tmp_path / "home", size.SEED) as line,
            sipp.shop(shop),
        ):
            stopped: list[float] = []
            tasks.start("stand-stills", stand_still_each_second(stopped))
            number = number_of(BY_NAME["talk"])
            told = await sipp.calls_from(callers, to=f"{SERVER}:5060", number=number, rate=RATE)
            await eventually(lambda: not line.rig.reception.live_calls)
            lag = line.rig.connection.event_lag
            await tasks.close()
            landed(
                Proof("handlers slept", sum(slow.values()), "times"),
                Proof("the engine stood still", len(stopped), "times"),
            )
            told.went_well(CALLS)
            assert (line.ari.connected, dict(line.ari.closed)) == (1, {}), "the event socket was lost"
            assert lag is not None
            figures.add(f"event lag at {RATE} calls/s, p99 s", lag)
            figures.add("calls with slow handlers", CALLS)
            figures.add("event sockets lost", line.ari.connected - 1)
    finally:
        await tasks.close()
        await asterisk.stop()


async def stand_still_each_second(stopped: list[float]) -> None:
    while True:
        await asyncio.sleep(1.0)
        time.sleep(SLOW)  # noqa: ASYNC251 - what it is for
        stopped.append(time.monotonic())
