"""Run by test_network.py in namespaces of its own: packets of ARI and AMI vanish, and everybody gets over it.

Prints what it measured, a line of JSON for each instant: `python -m tests.chaos.lost_packets FOLDER SECONDS PATIENCE
INSTANTS CALLS WAY …`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.cdr.model import Result
from engine.sandbox.carrier import Carrier
from engine.trunks.model import Trunk
from tests.chaos import size
from tests.chaos.engine_line import BY_NAME, CLAIM_MILLISECONDS, SHORT, gaps_in_talk, line_to
from tests.chaos.netns import CONTROL, SPEECH, Wires, join
from tests.chaos.processes import STRIKING, Hand, vacuous
from tests.chaos.proof import landed
from tests.engine_rig import make_sounds
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk, start_asterisk

TALK = BY_NAME["talk"]


async def main(folder: Path, seconds: float, patience: float, instants: int, calls: int, ways: Sequence[str]) -> None:
    wires = join()
    make_sounds(folder / "sounds", SHORT)
    trunk = Trunk(name="carrier", match=(f"{SPEECH}.1",), contact=f"sip:{SPEECH}.1:5070")
    with wires.asterisks_side():
        asterisk = await start_asterisk(
            folder,
            f"{SPEECH}.2",
            [trunk],
            claim_milliseconds=CLAIM_MILLISECONDS,
            ari_address=f"{CONTROL}.2:8088",
            ami_address=f"{CONTROL}.2:5038",
        )
    try:
        async with Carrier(f"{SPEECH}.1", 5070, (f"{SPEECH}.2", 5060)) as carrier:
            await eventually(carrier.is_known)
            joined = Joined(asterisk, carrier, folder, wires, seconds, patience)
            await vacuous(lambda hand: joined.lose_packets(ways[0], 1, 0, hand))
            for number, seed in enumerate(size.seeds(instants)):
                told = await joined.lose_packets(ways[number % len(ways)], seed, calls)
                print(json.dumps(told))
    finally:
        await asterisk.stop()
        wires.close()


@dataclass(frozen=True, slots=True)
class Joined:
    """Asterisk over there, the carrier here, and how long the fault lasts, in seconds."""

    asterisk: RunningAsterisk
    carrier: Carrier
    folder: Path
    wires: Wires
    seconds: float
    patience: float

    async def lose_packets(self, way: str, seed: int, calls: int, hand: Hand = STRIKING) -> dict[str, object]:
        home = self.folder / f"home-{seed}"
        self.wires.hand = hand
        async with line_to(self.asterisk, self.carrier, home, seed, patience=self.patience, bare=True) as line:
            line.patience += self.seconds
            talking = [await line.connected(TALK) for _ in range(2 if calls else 0)]
            async with line.under_way(calls) as scattered:
                began = time.monotonic()
                landed(await self.wires.drop(to_asterisk=way != "from", from_asterisk=way != "to"))
                new = [await line.call(TALK) for _ in range(2)]
                await eventually(lambda: not line.rig.connection.connected)
                noticed = time.monotonic() - began
                new.append(await line.call(TALK))
                for call in new:
                    await eventually(lambda call=call: call.leg.is_over or call.leg.answered_at)
                await asyncio.sleep(began + self.seconds - time.monotonic())
                dropped = self.wires.proof
                self.wires.heal()
                healed = time.monotonic()
                await eventually(lambda: line.rig.connection.connected and line.rig.manager.connected)
                again = time.monotonic() - healed
                after = await line.until_taken()
            gaps = [gap for call in talking for gap in gaps_in_talk(call, line.stood_still)]
            for call in scattered:
                call.also = frozenset(Result)  # nobody was there to see what became of it
            await asyncio.gather(*(line.go_through(call) for call in (*talking, *new, *after)))
            placed = [*talking, *scattered, *new, *after]
            records = await line.verdict(placed)
        return {
            "proof": asdict(dropped),
            "noticed": noticed,
            "connected again": again,
            "gaps in the talk": [gap.seconds for gap in gaps],
            "by the dialplan": len(line.alone),
            "calls": len(placed),
            "records": len(records),
        }


if __name__ == "__main__":
    seconds, patience = map(float, sys.argv[2:4])
    instants, calls = map(int, sys.argv[4:6])
    asyncio.run(main(Path(sys.argv[1]), seconds, patience, instants, calls, sys.argv[6:]))
