"""FastAGI that dials, by panoramisk: `python -m tests.bench.sides.programs.peer_panoramisk ADDRESS`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from panoramisk import fast_agi

from tests.bench.sides.programs.bare_loop import RING_SECONDS, target_of


async def _dial(request: Any) -> None:
    target = target_of(request.headers["agi_extension"], request.headers["agi_channel"])
    await request.send_command(f'EXEC Dial "{target},{RING_SECONDS}"')


async def _run(address: str) -> None:
    host, _, port = address.partition(":")
    application = fast_agi.Application(loop=asyncio.get_running_loop())
    application.add_route("dial", _dial)
    server = await asyncio.start_server(application.handler, host, int(port), backlog=1000)
    print("READY", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1]))
