"""The commands over a client made from Asterisk's own API description: aioari and asyncari name them alike."""

from __future__ import annotations

from typing import Any

from tests.bench.sides.programs.bare_loop import APP, RING_SECONDS


class SwaggerCommands:
    """`ari` is the library's client."""

    def __init__(self, ari: Any) -> None:
        self._ari = ari

    async def originate(self, endpoint: str, channel: str, caller: str, caller_number: str) -> None:
        await self._ari.channels.originateWithId(
            endpoint=endpoint,
            channelId=channel,
            app=APP,
            appArgs="callee",
            originator=caller,
            callerId=caller_number,
            timeout=RING_SECONDS,
        )

    async def answer(self, channel: str) -> None:
        await self._ari.channels.answer(channelId=channel)

    async def make_bridge(self, bridge: str) -> None:
        await self._ari.bridges.createWithId(bridgeId=bridge, type="mixing")

    async def connect(self, bridge: str, channels: str) -> None:
        await self._ari.bridges.addChannel(bridgeId=bridge, channel=channels)

    async def hang_up(self, channel: str) -> None:
        await self._ari.channels.hangup(channelId=channel)

    async def destroy(self, bridge: str) -> None:
        await self._ari.bridges.destroy(bridgeId=bridge)
