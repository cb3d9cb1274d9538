"""How fast routes lie in Asterisk's database: `python -m tests.bench.fallback [--numbers 200000] [--json]`.

200,000 numbers of 2,000 accounts, a tenth of them with opening hours, on a real Asterisk: the first whole writing, a
second life that finds everything there, and how soon a changed number lies there meanwhile and afterwards. Nothing is
asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import tempfile
import time
from dataclasses import dataclass, field
from datetime import time as clock_time
from pathlib import Path
from uuid import UUID

import msgspec

from engine.asterisk.manager import Manager
from engine.calls.causes import CAUSE_TOWARDS_CALLER
from engine.calls.fallback import Fallback, Means
from engine.foundation.clock import SystemClock
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.tasks import Tasks
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import Treatment
from engine.routing.alone_text import FAMILY, number_key
from engine.routing.known import Known
from engine.routing.model import AccountRouting, Condition, Line, Rule, TimeSpan
from engine.trunks.model import Trunk
from tests.real_asterisk import RunningAsterisk, loopback, start_asterisk

SERVER, CARRIER = loopback(91, 1), loopback(91, 2)
TRUNKS = [Trunk(name="carrier", match=(CARRIER,), contact=f"sip:{CARRIER}:5070")]
ACCOUNTS = 2_000
NIGHT = Rule(
    name="night",
    condition=Condition(times=(TimeSpan(start=clock_time(22), end=clock_time(8)),)),
    treatment=Treatment(announcement="ko/closed"),
)
_LOOKED_EVERY = 0.005


@dataclass(slots=True)
class Many:
    """So many numbers as the cache has them."""

    known_lines: Known = field(default_factory=Known)
    known: bool = True

    def find(self, number: PhoneNumber) -> Line | None:
        return self.known_lines.line(number)

    def numbers(self) -> list[ServiceNumber]:
        return list(self.known_lines.numbers.values())

    def accounts(self) -> list[AccountRouting]:
        return list(self.known_lines.accounts.values())


def many(count: int) -> Many:
    accounts = [UUID(int=n + 1) for n in range(ACCOUNTS)]
    found = Known(accounts={one: AccountRouting(account_id=one) for one in accounts})
    for n in range(count):
        number = PhoneNumber(f"0507{n:08}")
        found.numbers[number] = ServiceNumber(
            number=number,
            kind=NumberKind.VIRTUAL,
            account_id=accounts[n % ACCOUNTS],
            target=PhoneNumber(f"02{n:08}"),
            treatment=Treatment(store_notice=bool(n % 2)),
        )
        if n % 10 == 0:
            found.rules[number] = (NIGHT,)
    return Many(found)


def main() -> None:
    reading = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reading.add_argument("--numbers", type=int, default=200_000)
    reading.add_argument("--json", action="store_true")
    chosen = reading.parse_args()
    measured = asyncio.run(_measure(chosen.numbers))
    if chosen.json:
        print(json.dumps(measured))
        return
    for name, value in measured.items():
        print(f"{name:50} {value:12,.3f}")


async def _measure(count: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="dari-bench-") as folder:
        asterisk = await start_asterisk(Path(folder), SERVER, TRUNKS)
        try:
            numbers = many(count)
            first = await _life(asterisk, numbers, "first writing")
            return first | await _life(asterisk, numbers, "second life")
        finally:
            await asterisk.stop()


async def _life(asterisk: RunningAsterisk, numbers: Many, name: str) -> dict[str, float]:
    host, _, port = asterisk.ami_address.partition(":")
    tasks = Tasks("bench")
    async with (
        Manager(host, int(port), asterisk.ami_user, asterisk.ami_password) as manager,
        Manager(host, int(port), asterisk.ami_user, asterisk.ami_password) as reader,
    ):
        means = Means(_class, lambda _text: None, CAUSE_TOWARDS_CALLER.__getitem__, 30, lambda _sound: 1000)
        fallback = Fallback(manager, numbers, lambda: TRUNKS, means, SystemClock())
        began, ours, theirs = time.monotonic(), time.process_time(), _processor(asterisk)
        tasks.start("fallback", fallback.keep())
        held_up = tasks.start("hold-up", _hold_up(longest := [0.0]))
        meanwhile = await _until_changed(fallback, numbers, reader, 1)
        while not fallback.idle:
            await asyncio.sleep(_LOOKED_EVERY)
        seconds = time.monotonic() - began
        measured = {
            f"{name}: seconds": seconds,
            f"{name}: engine, % of a core": 100 * (time.process_time() - ours) / seconds,
            f"{name}: Asterisk, % of a core": 100 * (_processor(asterisk) - theirs) / seconds,
            f"{name}: longest hold-up of the engine, ms": 1000 * longest[0],
            f"{name}: a change meanwhile, seconds": meanwhile,
            f"{name}: a change afterwards, seconds": await _until_changed(fallback, numbers, reader, 2),
            f"{name}: megabytes at most": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        held_up.cancel()
        await tasks.close()
    return measured


async def _until_changed(fallback: Fallback, numbers: Many, reader: Manager, which: int) -> float:
    """Seconds until a change of a number lies in the database."""
    await asyncio.sleep(2.0)
    number = PhoneNumber(f"0507{which:08}")
    sound = f"own/bench-{time.monotonic_ns()}"
    before = numbers.known_lines.numbers[number]
    numbers.known_lines.numbers[number] = msgspec.structs.replace(before, treatment=Treatment(announcement=sound))
    began = time.monotonic()
    fallback.changed(number)
    tree = f"{FAMILY}/{number_key(number).partition('/')[0]}"
    while sound not in (await reader.database_tree(tree)).get(number, ""):
        await asyncio.sleep(_LOOKED_EVERY)
    return time.monotonic() - began


async def _hold_up(longest: list[float]) -> None:
    """How late a task comes to its turn at most."""
    while True:
        began = time.monotonic()
        await asyncio.sleep(0.001)
        longest[0] = max(longest[0], time.monotonic() - began - 0.001)


async def _class(_sounds: tuple[str, ...]) -> str:
    return "ringback-tone-0123456789abcdef"


def _processor(asterisk: RunningAsterisk) -> float:
    """Seconds that Asterisk has computed."""
    fields = Path(f"/proc/{asterisk.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    main()
