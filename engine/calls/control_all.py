"""Asks all engines of a home as if they were one. `sockets` are their control sockets, the first engine's first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import msgspec

from engine.calls import control_client, listening_client
from engine.calls.arrival import Order
from engine.calls.control_client import EngineStatus, LiveCall
from engine.calls.listening_rules import Ticket, Wish
from engine.foundation.errors import NotFound, TryLater
from engine.foundation.phone_number import PhoneNumber
from engine.foundation.process import engine_name
from engine.numbers.model import ServiceNumber
from engine.trunks.model import TrunkState

_T = TypeVar("_T")
Sockets = Sequence[Path]
Statuses = Sequence[EngineStatus | None]
"""Of each engine, in order; None: it does not answer."""

_OF_ENGINE = "."
"""Between an engine's number and its ticket; no ticket has one in it."""


async def engine_statuses(sockets: Sockets) -> list[EngineStatus | None]:
    """How each engine is."""

    async def status(socket: Path) -> EngineStatus | None:
        try:
            return await control_client.engine_status(socket)
        except TryLater:
            return None

    return list(await asyncio.gather(*map(status, sockets)))


async def engines_status(sockets: Sockets) -> EngineStatus:
    """How the engines are together. Raises TryLater when none answers."""
    return _some(together(await engine_statuses(sockets)))


async def drain_engines(sockets: Sockets) -> EngineStatus:
    """From now on none takes new calls. Raises TryLater when none answers."""
    return _some(together(await _from_those_that_answer(sockets, control_client.drain_engine)))


async def resume_engines(sockets: Sockets) -> EngineStatus:
    """All take calls again. Raises TryLater when none answers."""
    return _some(together(await _from_those_that_answer(sockets, control_client.resume_engine)))


async def live_calls(sockets: Sockets) -> list[LiveCall]:
    """The calls that go on now, oldest first. Raises TryLater when no engine answers."""
    found = [calls for calls in await _from_those_that_answer(sockets, control_client.live_calls) if calls is not None]
    return sorted(chain.from_iterable(found), key=lambda call: call.arrived_at)


async def known_numbers(sockets: Sockets, number: PhoneNumber) -> list[ServiceNumber | None]:
    """A number in service as each engine goes by it now. Raises TryLater when one does not answer."""
    return list(await asyncio.gather(*(control_client.known_number(socket, number) for socket in sockets)))


async def place_call(sockets: Sockets, order: Order) -> UUID:
    """Has a call placed, by the engine with the fewest; its id. Raises NotFound, NotAllowed, Invalid or TryLater."""
    statuses = await engine_statuses(sockets)
    able = [(status.live_calls, at) for at, status in enumerate(statuses) if status is not None and status.takes_calls]
    first = min(able)[1] if able else 0
    return await control_client.place_call(sockets[first], order)


async def switch_recording(sockets: Sockets, call: str, *, pause: bool) -> LiveCall:
    """Pauses a live call's recording, or lets it go on. Raises NotFound, Conflict, TryLater."""

    async def switch(socket: Path) -> LiveCall:
        return await control_client.switch_recording(socket, call, pause=pause)

    return (await _from_whoever_has_it(sockets, switch))[1]


async def listening_ticket(sockets: Sockets, wish: Wish) -> Ticket:
    """What a browser may listen with, once. Raises NotFound, NotAllowed, Invalid, Conflict, TryLater."""

    async def ask(socket: Path) -> Ticket:
        return await listening_client.listening_ticket(socket, wish)

    at, ticket = await _from_whoever_has_it(sockets, ask)
    return msgspec.structs.replace(ticket, ticket=f"{at + 1}{_OF_ENGINE}{ticket.ticket}") if at else ticket


def whose_ticket(sockets: Sockets, ticket: str) -> tuple[Path, str]:
    """The engine that gave a ticket, and the ticket as that engine knows it."""
    number, dot, rest = ticket.partition(_OF_ENGINE)
    if dot and number.isdecimal() and 1 <= int(number) <= len(sockets):
        return sockets[int(number) - 1], rest
    return sockets[0], ticket


def together(statuses: Statuses) -> EngineStatus | None:
    """Several engines as one: calls can come while one takes them, and then what ails the others only degrades."""
    answering = [status for status in statuses if status is not None]
    if len(statuses) == 1 or not answering:
        return answering[0] if answering else None
    takes = any(status.takes_calls for status in answering)
    well = all(status is not None and status.state == "ready" for status in statuses)
    # Where none takes calls, one that will again by itself says more than one that was told not to.
    states = [state for state in ("starting", "refusing", "draining") if state in {one.state for one in answering}]
    return EngineStatus(
        state="ready" if well else "degraded" if takes else states[0],
        live_calls=sum(status.live_calls for status in answering),
        connected=any(status.connected for status in answering),
        event_lag_ms=max((lag for status in answering if (lag := status.event_lag_ms) is not None), default=None),
        spool_waiting=sum(status.spool_waiting for status in answering),
        database=any(status.database for status in answering),
        reason="; ".join(filter(None, map(_ailment, range(1, len(statuses) + 1), statuses))),
        trunks=_trunks(answering),
    )


def _ailment(number: int, status: EngineStatus | None) -> str:
    name = engine_name(number)
    if status is None:
        return f"{name} does not answer"
    if status.state == "ready":
        return ""
    return f"{name} is {status.state}{f': {status.reason}' if status.reason else ''}"


def _trunks(answering: Sequence[EngineStatus]) -> tuple[TrunkState, ...]:
    """Health as the first engine that knows the trunk sees it; its calls are those of all."""
    found: dict[str, TrunkState] = {}
    for state in chain.from_iterable(status.trunks for status in answering):
        known = found.get(state.name)
        found[state.name] = msgspec.structs.replace(known, calls=known.calls + state.calls) if known else state
    return tuple(found[name] for name in sorted(found))


def _some(status: EngineStatus | None) -> EngineStatus:
    if status is None:
        raise TryLater("the engine does not answer; start it with `dari up`, or see `dari status` and log/engine.log")
    return status


async def _from_those_that_answer(sockets: Sockets, ask: Callable[[Path], Awaitable[_T]]) -> list[_T | None]:
    """Each engine's answer; None: it does not answer. Raises TryLater when none does."""
    errors: list[TryLater] = []

    async def one(socket: Path) -> _T | None:
        try:
            return await ask(socket)
        except TryLater as error:
            errors.append(error)
            return None

    answers = await asyncio.gather(*map(one, sockets))
    if len(errors) == len(sockets):
        raise errors[0]
    return list(answers)


async def _from_whoever_has_it(sockets: Sockets, ask: Callable[[Path], Awaitable[_T]]) -> tuple[int, _T]:
    """The answer of the engine that has what is asked about, and which of them that is, from 0.

    Raises what that engine raises; NotFound when none has it, TryLater when one that does not answer may have it.
    """
    errors: list[NotFound | TryLater] = []
    for at, socket in enumerate(sockets):
        try:
            return at, await ask(socket)
        except (NotFound, TryLater) as error:
            errors.append(error)
    raise next((error for error in errors if isinstance(error, TryLater)), errors[0])
