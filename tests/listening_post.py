"""Somebody who listens to live calls as a browser does, over the engine's own socket; what they heard and were told."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import numpy as np
from numpy.typing import NDArray

from engine.accounts.model import OPERATOR_ID, Account, Actor, ListeningGrant, Standing
from engine.asterisk.media import FRAME
from engine.calls.control import control_door
from engine.calls.control_client import EngineStatus
from engine.calls.listening_client import listening_line, listening_ticket
from engine.calls.listening_door import ListeningDoor
from engine.calls.listening_rules import Ended, Mode, Wish
from engine.calls.reception import Reception
from engine.foundation.clock import SystemClock
from engine.foundation.errors import NotAllowed, TryLater
from engine.foundation.ids import new_id
from engine.foundation.tasks import Tasks
from engine.sandbox.recording import Recording
from tests.eventually import eventually
from tests.tones import tone

RATE = 16_000


@dataclass(slots=True)
class HandJournal:
    """A listening log in memory, and a shop that lets the operator listen."""

    granted: bool = True
    """Whether the shop's grant runs."""
    known: bool = True
    """Whether those who listen may still come in."""
    away: bool = False
    """Whether it cannot be written."""
    asked_while_away: int = 0
    entries: list[tuple[UUID, str, str]] = field(default_factory=list)
    """Entry, what happened, and to whom, why or how."""

    async def standing(self, account: UUID | None) -> Standing | None:
        self._check()
        return standing_of(account, granted=self.granted) if account else None

    async def actor(self, actor: Actor) -> Actor:
        self._check()
        if not self.known:
            raise NotAllowed("user: they may not come in any more")
        return actor

    async def asked(self, wish: Wish, call_id: UUID, account_id: UUID | None, refused: str | None = None) -> UUID:
        self._check()
        identifier = new_id(SystemClock().now())
        self.entries.append((identifier, "refused" if refused else "asked", refused or wish.reason))
        return identifier

    async def began(self, identifier: UUID, until: datetime) -> None:
        self._check()
        self.entries.append((identifier, "began", until.isoformat()))

    async def ended(self, identifier: UUID, at: datetime, how: Ended) -> None:
        self._check()
        self.entries.append((identifier, "ended", how.value))

    def told(self) -> list[str]:
        return [what if what in ("asked", "began") else f"{what}: {why}" for _, what, why in self.entries]

    def _check(self) -> None:
        if self.away:
            self.asked_while_away += 1
            raise TryLater("the database is away")


def standing_of(account: UUID, *, granted: bool = True) -> Standing:
    """A shop directly under the operator, and its grant to the operator while it runs."""
    now = SystemClock().now()
    grant = ListeningGrant(
        id=new_id(now),
        shop=account,
        to_account=OPERATOR_ID,
        by="user:owner",
        reason="quality",
        begins=now - timedelta(hours=1),
        until=now + timedelta(days=1),
    )
    shop = Account(id=account, name="shop", parent=OPERATOR_ID, path=(OPERATOR_ID, account))
    return Standing(account=shop, grants=(grant,) if granted else ())


class Ear:
    """One who listens."""

    def __init__(self, line: aiohttp.ClientWebSocketResponse) -> None:
        self._line = line
        self._tasks = Tasks("ear")
        self._tasks.start("hear", self._hear())
        self._began = time.monotonic()
        self._heard = bytearray()
        self.states: list[dict[str, Any]] = []

    @property
    def recording(self) -> Recording:
        """All that was heard so far, at the rate of telephones."""
        samples: NDArray[np.int16] = np.frombuffer(bytes(self._heard), "<i2")
        halves = samples[: len(samples) // 2 * 2].reshape(-1, 2).mean(axis=1).astype(np.int16)
        return Recording(self._began, halves)

    async def live(self) -> None:
        await eventually(lambda: bool(self.states) and self.states[0]["state"] == "live")

    async def over(self) -> dict[str, Any]:
        await eventually(lambda: bool(self.states) and self.states[-1]["state"] == "over")
        return self.states[-1]

    async def leave(self) -> None:
        await self._line.close()
        await self._tasks.close()

    def speak(self, frequency: int) -> None:
        """A tone into the microphone from now on."""
        self._tasks.start("speak", self._speak(frequency))

    async def _hear(self) -> None:
        async for message in self._line:
            if message.type is aiohttp.WSMsgType.BINARY:
                self._heard += message.data
            elif message.type is aiohttp.WSMsgType.TEXT:
                self.states.append(json.loads(message.data))

    async def _speak(self, frequency: int) -> None:
        data = tone(frequency, 1.0, RATE).tobytes()
        frames = [data[begin : begin + FRAME] for begin in range(0, len(data), FRAME)]
        now = asyncio.get_running_loop().time
        began, sent = now(), 0
        with suppress(ConnectionError):
            while not self._line.closed:
                while sent < (now() - began) * 50:
                    await self._line.send_bytes(frames[sent % len(frames)])
                    sent += 1
                await asyncio.sleep(0.02)


@dataclass(slots=True)
class Post:
    """The door, its log, and the way in."""

    socket: Path
    door: ListeningDoor
    journal: HandJournal

    async def ticket(self, call_id: UUID, mode: Mode = Mode.LISTEN, **wish: Any) -> str:
        values: dict[str, Any] = {"who": "operator", "reason": "quality", "minutes": 5, **wish}
        return (await listening_ticket(self.socket, Wish(call=str(call_id), mode=mode, **values))).ticket

    @asynccontextmanager
    async def open(self, ticket: str) -> AsyncIterator[Ear]:
        async with listening_line(self.socket, ticket) as line:
            ear = Ear(line)
            try:
                yield ear
            finally:
                await ear.leave()

    @asynccontextmanager
    async def listening(self, call_id: UUID, mode: Mode = Mode.LISTEN, **wish: Any) -> AsyncIterator[Ear]:
        """Somebody who hears the call."""
        async with self.open(await self.ticket(call_id, mode, **wish)) as ear:
            await ear.live()
            yield ear


@asynccontextmanager
async def listening_post(reception: Reception, allowed: frozenset[Mode] = frozenset(Mode)) -> AsyncIterator[Post]:
    journal = HandJournal()
    door = ListeningDoor(reception, journal, SystemClock(), allowed)
    with tempfile.TemporaryDirectory(prefix="dari-") as folder:  # a test's own folder is too deep for a socket
        socket = Path(folder) / "engine.sock"
        async with control_door(socket, reception, lambda: EngineStatus(state="ready"), door.routes()):
            try:
                yield Post(socket, door, journal)
            finally:
                await door.close()
