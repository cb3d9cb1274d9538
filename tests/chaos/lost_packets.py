"""Run by test_network.py in namespaces of its own: packets of ARI and AMI vanish, and everybody gets over it.

Prints what it measured, one JSON object: `python -m tests.chaos.lost_packets FOLDER WAY SECONDS PATIENCE`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from engine.sandbox.carrier import Carrier
from engine.trunks.model import Trunk
from tests.chaos import size
from tests.chaos.engine_line import BY_NAME, CLAIM_MILLISECONDS, SHORT, Line, gaps_in_talk, line_to
from tests.chaos.netns import CONTROL, SPEECH, Wires, join
from tests.engine_rig import make_sounds
from tests.eventually import eventually
from tests.real_asterisk import start_asterisk

TALK = BY_NAME["talk"]


async def main(folder: Path, way: str, seconds: float, patience: float) -> dict[str, object]:
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
            async with line_to(asterisk, carrier, folder / "home", size.SEED, patience=patience, bare=True) as line:
                return await lose_packets(line, wires, way, seconds)
    finally:
        await asterisk.stop()
        wires.close()


async def lose_packets(line: Line, wires: Wires, way: str, seconds: float) -> dict[str, object]:
    talking = [await line.connected(TALK) for _ in range(2)]
    began = time.monotonic()
    wires.drop(to_asterisk=way != "from", from_asterisk=way != "to")
    new = [await line.call(TALK) for _ in range(2)]
    await eventually(lambda: not line.rig.connection.connected)
    noticed = time.monotonic() - began
    new.append(await line.call(TALK))
    for call in new:
        await eventually(lambda call=call: call.leg.is_over or call.leg.answered_at)
    await asyncio.sleep(began + seconds - time.monotonic())
    wires.heal()
    healed = time.monotonic()
    await eventually(lambda: line.rig.connection.connected and line.rig.manager.connected)
    again = time.monotonic() - healed
    after = await line.until_taken()
    gaps = [gap for call in talking for gap in gaps_in_talk(call)]
    calls = [*talking, *new, *after]
    await asyncio.gather(*(line.go_through(call) for call in calls))
    records = await line.verdict(calls)
    return {
        "proof": asdict(wires.proof()),
        "noticed": noticed,
        "connected again": again,
        "gaps in the talk": [gap.seconds for gap in gaps],
        "by the dialplan": len(line.alone),
        "calls": len(calls),
        "records": len(records),
    }


if __name__ == "__main__":
    told = asyncio.run(main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
    print(json.dumps(told))
