"""The bare loop by ari_client: `python -m tests.bench.sides.programs.peer_ari_client URL USER PASSWORD`."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any
from urllib.parse import urlsplit

from ari_client import AriClient  # type: ignore[import-not-found]

from tests.bench.sides.programs.bare_loop import APP, EVENTS, RING_SECONDS, OriginatingLoop, Started


class _Commands:
    def __init__(self, client: Any) -> None:
        self._client = client

    async def originate(self, endpoint: str, channel: str, caller: str, caller_number: str) -> None:
        await self._client.ari.originate_with_id(
            channel_id=channel,
            endpoint=endpoint,
            app_args="callee",
            originator=caller,
            caller_id=caller_number,
            timeout=RING_SECONDS,
        )

    async def answer(self, channel: str) -> None:
        await self._client.ari.answer_channel(channel)

    async def make_bridge(self, bridge: str) -> None:
        await self._client.ari.create_bridge_with_id(bridge, type="mixing")

    async def connect(self, bridge: str, channels: str) -> None:
        await self._client.ari.bridge_add_channel(bridge, channels)

    async def hang_up(self, channel: str) -> None:
        await self._client.ari.stop_channel(channel)

    async def destroy(self, bridge: str) -> None:
        await self._client.ari.stop_bridge(bridge)


async def _run(url: str, user: str, password: str) -> None:
    logging.disable(logging.INFO)
    at = urlsplit(url)
    client = AriClient(at.hostname, at.port, user, password)
    loop = OriginatingLoop(_Commands(client), Started())

    async def take(event: Any) -> None:
        loop.take(event.model_dump(mode="json"))

    for kind in EVENTS:
        client.on_event(kind)(take)
    await client.connect(APP)
    print("READY", flush=True)
    await client.event_listener


if __name__ == "__main__":
    asyncio.run(_run(*sys.argv[1:]))
