"""The bare loop by asyncari: `python -m tests.bench.sides.programs.peer_asyncari URL USER PASSWORD`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import asyncari  # type: ignore[import-not-found]

from tests.bench.sides.programs.bare_loop import APP, EVENTS, OriginatingLoop, Started
from tests.bench.sides.programs.swagger_commands import SwaggerCommands


async def _run(url: str, user: str, password: str) -> None:
    async with asyncari.connect(f"{url}/", APP, user, password) as ari:
        loop = OriginatingLoop(SwaggerCommands(ari), Started())
        print("READY", flush=True)
        async for event in ari:
            if event["type"] in EVENTS:
                loop.take(_plain(event))


def _plain(event: Any) -> dict[str, Any]:
    """What of an event the loop looks at; asyncari has made objects of it."""
    told: dict[str, Any] = dict(event._orig_msg)
    return told


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
