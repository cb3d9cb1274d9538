"""B: FastAGI that dials, over asyncio's streams alone: `python -m tests.bench.sides.programs.bare_agi ADDRESS`."""

from __future__ import annotations

import asyncio
import sys

import uvloop

from tests.bench.sides.programs.bare_loop import RING_SECONDS, target_of


async def _dial(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        told = {}
        while line := (await reader.readline()).decode().strip():
            name, _, value = line.partition(": ")
            told[name] = value
        target = target_of(told["agi_extension"], told["agi_channel"])
        writer.write(f'EXEC Dial "{target},{RING_SECONDS}"\n'.encode())
        await reader.readline()
    except (OSError, KeyError):
        pass  # Asterisk has hung up
    finally:
        writer.close()


async def _run(address: str) -> None:
    host, _, port = address.partition(":")
    server = await asyncio.start_server(_dial, host, int(port), backlog=1000)
    print("READY", flush=True)
    await server.serve_forever()


def main() -> None:
    """Until it is ended."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(sys.argv[1]))


if __name__ == "__main__":
    main()
