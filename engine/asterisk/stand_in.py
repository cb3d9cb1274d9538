"""Stands in for a program that is away: its ARI application stays registered, and channels may enter it.

Asterisk hangs up at once whoever answers for an application that nobody has.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import aiohttp

from engine.asterisk.events import ApplicationReplaced, Event, decode
from engine.foundation.errors import TryLater

_CONNECT_LIMIT = 1.0
"""Seconds. Short: the program itself may be there again soon, and whoever connects last has the application."""
_HEARTBEAT = 10.0
_CLOSE_LIMIT = 1.0


async def stand_in(url: str, app: str, user: str, password: str) -> AsyncGenerator[Event, None]:
    """What happens in `app` from now on, until another connects in its name: ApplicationReplaced is the last event.

    What events Asterisk tells is left as the program has set it. Raises TryLater when the socket is not to be had, or
    ends in another way.
    """
    headers = {"Authorization": aiohttp.encode_basic_auth(user, password)}
    try:
        async with aiohttp.ClientSession(headers=headers) as session, await _open(session, url, app) as socket:
            async for frame in socket:
                event = decode(frame.data) if frame.type is aiohttp.WSMsgType.TEXT else None
                if event is not None:
                    yield event
                if isinstance(event, ApplicationReplaced):
                    return
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise TryLater(
            f"Asterisk at {url} gives no event socket for {app}: {str(error) or 'no answer'}; is it running?"
        ) from None
    raise TryLater(f"Asterisk at {url} closed the event socket for {app}")


async def _open(session: aiohttp.ClientSession, url: str, app: str) -> aiohttp.ClientWebSocketResponse:
    async with asyncio.timeout(_CONNECT_LIMIT):
        return await session.ws_connect(
            f"{url}/ari/events",
            params={"app": app},
            heartbeat=_HEARTBEAT,
            timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_LIMIT),
        )
