"""The sandbox gateway: a message gateway that sends nothing on."""

from __future__ import annotations

from engine.foundation.errors import Invalid
from engine.sandbox.gateway import run_gateway
from engine.settings import Settings


async def run(settings: Settings) -> None:
    address = settings.gateway_url.partition("://")[2]
    if not address:
        raise Invalid("DARI_GATEWAY_URL: it is empty; the sandbox gateway is started by `dari up`")
    await run_gateway(address, settings.gateway_key, settings.paths.gateway)
