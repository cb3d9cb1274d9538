"""The bare loop by aioari: `python -m tests.bench.sides.programs.peer_aioari URL USER PASSWORD`."""

from __future__ import annotations

import asyncio
import sys

import aioari  # type: ignore[import-not-found]

from tests.bench.sides.programs.bare_loop import APP, EVENTS, OriginatingLoop, Started
from tests.bench.sides.programs.swagger_commands import SwaggerCommands


async def _run(url: str, user: str, password: str) -> None:
    client = await aioari.connect(f"{url}/", user, password)
    loop = OriginatingLoop(SwaggerCommands(client), Started())
    for kind in EVENTS:
        client.on_event(kind, loop.take)
    print("READY", flush=True)
    await client.run(apps=APP)


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
