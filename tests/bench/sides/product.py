"""Sides with the product: this checkout's `dari up` in a fresh home, set up by its own commands."""

from __future__ import annotations

import asyncio
import sys
import time
import wave
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from engine.foundation.database import connect
from engine.foundation.errors import GaveUp
from engine.settings import PRODUCT_FILES
from engine.supervisor.postgres import Embedded
from tests.bench.checkout import Checkout, System, running
from tests.bench.measuring import AT_REST, until_quiet
from tests.bench.sides.bare import RTP_PORTS
from tests.bench.sides.probe import PORT
from tests.bench.sides.taker import (
    LOAD,
    LOAD_NUMBERS,
    PROBE,
    PROBE_NUMBERS,
    STANDING,
    Opens,
    Room,
    Taker,
    Written,
    target_of,
)

_SENDER = "0234567890"
_MESSAGE = "[다리분식] 전화 주셔서 감사합니다. 오늘은 밤 9시까지 엽니다."
_FULL = ("--callback", _MESSAGE, "--sender", _SENDER, "--repeat-window", "0", "--min-talk", "0")
_SOUND = ("--whisper", "demo/whisper-short", "--record")
_FILL_WITHIN = 3600.0
_WRITTEN_WITHIN = 60.0
_STATE = """
    SELECT (SELECT count(*) FROM calls WHERE arrived_at >= $1),
           (SELECT count(*) FROM pgqueuer WHERE status IN ('queued', 'picked') AND execute_after <= now()),
           (SELECT count(*) FROM messages WHERE decided_at >= $1 AND accepted_at IS NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class Past:
    """What is in the database before the first call."""

    numbers: int
    calls: int

    @property
    def filled_in(self) -> float:
        """Seconds in which the database is filled, by experience."""
        return 20.0 + self.calls / 40_000

    @property
    def expected(self) -> float:
        """Seconds until the system is at rest: meanwhile it writes the routes of all numbers into Asterisk."""
        return 20.0 + max(self.filled_in, self.numbers / 500)

    @property
    def longest(self) -> float:
        """Seconds after filling in which it is at rest in any case."""
        return 60.0 + self.numbers / 100


def product(*, with_sound: bool = False, past: Past | None = None, checkout: Path = PRODUCT_FILES) -> Opens:
    """Ringback, plan, record, job, decision and message for every call; with sound also whisper and recording."""

    @asynccontextmanager
    async def opens(room: Room) -> AsyncIterator[Taker]:
        began = datetime.now(UTC)
        ports = f"{RTP_PORTS[0]}-{RTP_PORTS[1]}"
        settings = {"DARI_RTP_PORTS": ports, **room.settings}
        source = Checkout.of(checkout, Path(sys.executable))
        room.say("dari up")
        async with running(source, room.address, settings) as system:
            if past:
                await _fill(system, past, room)
            room.say("trunks and numbers")
            await _set_up(system, room, [*_FULL, *(_SOUND if with_sound else ())])
            if past:
                await _at_rest(system, past, room)
            folder = system.home / "bench"
            folder.mkdir()
            yield Taker(
                room.network,
                (room.address, 5060),
                folder,
                system.parts,
                lambda: _written(system, began),
                source.commit,
            )

    return opens


async def _fill(system: System, past: Past, room: Room) -> None:
    room.say(f"{past.calls:,} old calls of {past.numbers:,} numbers", past.filled_in)
    size = ("--numbers", str(past.numbers), "--calls", str(past.calls))
    await system.run("bench", "fill", *size, within=_FILL_WITHIN, told=room.say)
    room.say("all of it to disk")
    connection = await connect(_database_of(system).superuser_url, command_timeout=_FILL_WITHIN)
    try:
        await connection.execute("CHECKPOINT")
    finally:
        await connection.close()


async def _at_rest(system: System, past: Past, room: Room) -> None:
    """Once it does nothing more for its past. Raises GaveUp when it still works on it after a long time."""
    room.say("until the routes of all numbers are in Asterisk", past.expected - past.filled_in)
    if not await until_quiet(system.parts(), AT_REST, past.longest):
        raise GaveUp(f"Dari still worked on {past.numbers:,} numbers {past.longest:.0f} s after they were filled in")


async def _set_up(system: System, room: Room, treatment: Sequence[str]) -> None:
    load, probe, standing = (room.address_of(who) for who in (LOAD, PROBE, STANDING))
    ringback = system.home / "ringback.wav"
    await asyncio.to_thread(_write_tone, ringback)
    await system.run("trunk", "add", "carrier", "--match", load, "--match", standing, "--contact", f"sip:{load}:5070")
    await system.run("trunk", "add", "probe", "--match", probe, "--contact", f"sip:{probe}:{PORT}")
    for number in (*LOAD_NUMBERS, *PROBE_NUMBERS):
        heard = ("--ringback", str(ringback))
        await system.run("number", "add", number, "--target", target_of(number), *heard, *treatment)


def _write_tone(file: Path) -> None:
    """Ten seconds that are loud from the first packet on."""
    samples = 8000 * np.sin(2 * np.pi * 440 * np.arange(80_000) / 8000)
    with wave.open(str(file), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(samples.astype(np.int16).tobytes())


def _database_of(system: System) -> Embedded:
    return Embedded(system.home / "postgres", system.home / "run")


async def _written(system: System, since: datetime) -> Written:
    """Once every call is in the database and no job is due, or when that takes too long."""
    connection = await connect(_database_of(system).url, command_timeout=60.0)
    last, deadline = -1, time.monotonic() + _WRITTEN_WITHIN
    try:
        while True:
            row = await connection.fetchrow(_STATE, since)
            assert row is not None
            calls, jobs, sent = row
            through = calls == last and not jobs
            if through or time.monotonic() > deadline:
                return Written(calls, sent, through=through)
            last = calls
            await asyncio.sleep(1.0)
    finally:
        await connection.close()
