"""C: the bare loop over aiohttp alone: `python -m tests.bench.sides.programs.bare_ari URL USER PASSWORD [create]`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
import msgspec
import uvloop

from tests.bench.sides.programs.bare_loop import APP, RING_SECONDS, CreatingLoop, OriginatingLoop, Started

_GONE = (404, 409, 412, 422)


class AioHttp:
    """The commands over a pool of HTTP connections."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def originate(self, endpoint: str, channel: str, caller: str, caller_number: str) -> None:
        await self._ask(
            "POST",
            "/ari/channels",
            endpoint=endpoint,
            channelId=channel,
            app=APP,
            appArgs="callee",
            originator=caller,
            callerId=caller_number,
            timeout=str(RING_SECONDS),
        )

    async def create(self, endpoint: str, channel: str, caller: str) -> None:
        await self._ask(
            "POST",
            "/ari/channels/create",
            endpoint=endpoint,
            channelId=channel,
            app=APP,
            appArgs="callee",
            originator=caller,
        )

    async def dial(self, channel: str, caller: str) -> None:
        await self._ask("POST", f"/ari/channels/{channel}/dial", caller=caller, timeout=str(RING_SECONDS))

    async def answer(self, channel: str) -> None:
        await self._ask("POST", f"/ari/channels/{channel}/answer")

    async def make_bridge(self, bridge: str) -> None:
        await self._ask("POST", f"/ari/bridges/{bridge}", type="mixing")

    async def connect(self, bridge: str, channels: str) -> None:
        await self._ask("POST", f"/ari/bridges/{bridge}/addChannel", channel=channels)

    async def hang_up(self, channel: str) -> None:
        await self._ask("DELETE", f"/ari/channels/{channel}")

    async def destroy(self, bridge: str) -> None:
        await self._ask("DELETE", f"/ari/bridges/{bridge}")

    async def _ask(self, method: str, path: str, **parameters: str) -> None:
        async with self._session.request(method, path, params=parameters) as answer:
            await answer.read()
            if answer.status >= 400 and answer.status not in _GONE:
                print(f"{method} {path}: {answer.status}", file=sys.stderr)


async def _run(url: str, user: str, password: str, *, creates: bool) -> None:
    login = aiohttp.encode_basic_auth(user, password)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
    async with aiohttp.ClientSession(url, headers={"Authorization": login}, connector=connector) as session:
        decode = msgspec.json.Decoder(dict[str, Any]).decode
        async with session.ws_connect(f"/ari/events?app={APP}", max_msg_size=0) as events:
            kind = CreatingLoop if creates else OriginatingLoop
            loop = kind(AioHttp(session), Started())
            print("READY", flush=True)
            async for message in events:
                loop.take(decode(message.data))


def main() -> None:
    """Until it is ended."""
    url, user, password, *flow = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(url, user, password, creates=flow == ["create"]))


if __name__ == "__main__":
    main()
