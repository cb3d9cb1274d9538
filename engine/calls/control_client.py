"""Asks the engine over its control socket: how it is, what its calls do, to place one, to take no new ones."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote
from uuid import UUID

import aiohttp
import msgspec
from yarl import URL

from engine.calls.arrival import Order
from engine.cdr.model import Direction
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound, TryLater
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import ServiceNumber
from engine.trunks.model import TrunkState

_LIMIT = 3.0
_T = TypeVar("_T")
_ERRORS: dict[str, type[DariError]] = {
    error.__name__: error for error in (NotFound, NotAllowed, Invalid, Conflict, TryLater)
}


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says of itself.

    `state` is starting, ready, degraded (takes calls all the same), refusing or draining (live calls go on, the
    dialplan takes on new ones).
    """

    state: str
    live_calls: int = 0
    connected: bool = False
    """Whether it receives Asterisk's events."""
    event_lag_ms: int | None = None
    """From Asterisk's instant of an event until it was dealt with: all but one in a hundred of the last minute's were
    faster, and none waits longer now. None: there were none."""
    spool_waiting: int = 0
    """Call records on their way to the database."""
    database: bool = False
    reason: str = ""
    trunks: tuple[TrunkState, ...] = ()
    """Health and load of each trunk, by name."""

    @property
    def takes_calls(self) -> bool:
        return self.state in ("ready", "degraded")


class LiveCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that goes on now."""

    call_id: UUID
    state: str
    direction: Direction
    number: PhoneNumber | None
    caller: PhoneNumber | None
    target: PhoneNumber | None
    arrived_at: datetime
    answered_at: datetime | None
    recording: str
    """none, off, recording or paused."""


class KnownNumber(msgspec.Struct, frozen=True):
    """A number as the engine knows it now; None: it knows none."""

    number: ServiceNumber | None


class Asked(msgspec.Struct, frozen=True):
    """The number that is asked about; in the body, for addresses are logged."""

    number: PhoneNumber


class Placed(msgspec.Struct, frozen=True):
    """A call that is being placed."""

    call_id: UUID


class Deed(msgspec.Struct, frozen=True):
    """What to do with a recording: pause it, or let it go on (or begin)."""

    pause: bool


class Refusal(msgspec.Struct, frozen=True):
    """An error of the engine's: its kind by name, and its sentence."""

    kind: str
    text: str


async def engine_status(socket: Path) -> EngineStatus:
    """Raises TryLater when there is no engine or it does not answer."""
    return await ask(socket, "GET", "/status", EngineStatus)


async def drain_engine(socket: Path) -> EngineStatus:
    """From now on it takes no new calls; live ones go on. Raises TryLater."""
    return await ask(socket, "POST", "/drain", EngineStatus)


async def resume_engine(socket: Path) -> EngineStatus:
    """It takes calls again. Raises TryLater."""
    return await ask(socket, "POST", "/resume", EngineStatus)


async def live_calls(socket: Path) -> list[LiveCall]:
    """The calls that go on now, oldest first. Raises TryLater."""
    return await ask(socket, "GET", "/calls", list[LiveCall])


async def known_number(socket: Path, number: PhoneNumber) -> ServiceNumber | None:
    """A number in service as the engine goes by it now; None: not in service. Raises TryLater."""
    return (await ask(socket, "POST", "/numbers", KnownNumber, Asked(number))).number


async def place_call(socket: Path, order: Order) -> UUID:
    """Has a call placed; its id. Raises NotFound, NotAllowed or TryLater."""
    return (await ask(socket, "POST", "/calls", Placed, order)).call_id


async def switch_recording(socket: Path, call: str, *, pause: bool) -> LiveCall:
    """Pauses a live call's recording, or lets it go on. Raises NotFound, Conflict, TryLater."""
    return await ask(socket, "POST", f"/calls/{quote(call, safe='')}/recording", LiveCall, Deed(pause))


async def ask(socket: Path, method: str, path: str, shape: type[_T], body: msgspec.Struct | None = None) -> _T:
    """One question to the engine. Raises what the engine raises, TryLater when it does not answer."""
    try:
        async with (
            aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(socket)), timeout=aiohttp.ClientTimeout(total=_LIMIT)
            ) as session,
            session.request(
                method, URL(f"http://engine{path}", encoded=True), data=msgspec.json.encode(body) if body else None
            ) as response,
        ):
            answer = await response.read()
        if response.status != 200:
            refusal = msgspec.json.decode(answer, type=Refusal)
            raise _ERRORS.get(refusal.kind, TryLater)(refusal.text)
        return msgspec.json.decode(answer, type=shape)
    except PermissionError:
        raise NotAllowed(f"{socket} belongs to another user; run dari as the user who runs `dari up`") from None
    except (aiohttp.ClientError, OSError, TimeoutError):
        raise TryLater(
            "the engine does not answer; start it with `dari up`, or see `dari status` and log/engine.log"
        ) from None
    except msgspec.DecodeError:
        raise TryLater(f"the engine's answer on {socket} is not understood; restart it with `dari up`") from None
