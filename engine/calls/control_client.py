"""Asks the engine over its control socket: how it is, to take no new calls, to take them again."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import msgspec

from engine.foundation.errors import TryLater

_LIMIT = 3.0


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says of itself.

    `state` is starting, ready, degraded (takes calls all the same), refusing or draining (live calls go on, the
    dialplan takes on new ones).
    """

    state: str
    live_calls: int = 0
    connected: bool = False
    """Whether it receives Asterisk's events."""
    spool_waiting: int = 0
    """Call records on their way to the database."""
    database: bool = False
    reason: str = ""

    @property
    def takes_calls(self) -> bool:
        return self.state in ("ready", "degraded")


async def engine_status(socket: Path) -> EngineStatus:
    """Raises TryLater when there is no engine or it does not answer."""
    return await _ask(socket, "GET", "/status")


async def drain_engine(socket: Path) -> EngineStatus:
    """From now on it takes no new calls; live ones go on. Raises TryLater."""
    return await _ask(socket, "POST", "/drain")


async def resume_engine(socket: Path) -> EngineStatus:
    """It takes calls again. Raises TryLater."""
    return await _ask(socket, "POST", "/resume")


async def _ask(socket: Path, method: str, path: str) -> EngineStatus:
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(socket)), timeout=aiohttp.ClientTimeout(total=_LIMIT)
            ) as session,
            session.request(method, f"http://engine{path}") as response,
        ):
            return msgspec.json.decode(await response.read(), type=EngineStatus)
    except (aiohttp.ClientError, OSError, TimeoutError):
        raise TryLater("the engine does not answer; see `dari status` and log/engine.log") from None
    except msgspec.DecodeError:
        raise TryLater(f"the engine's answer on {socket} is not understood; restart it with `dari up`") from None
