"""A message provider on a bad day: the sandbox gateway, in front of it what goes wrong, and a log of who asked what.

The log and the gateway's own journal are the judges: they know nothing of our database.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from pathlib import Path

import aiohttp
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.api.app import make_api, serving
from engine.api.receipts import receipts_router
from engine.cdr.model import CallRecord
from engine.foundation.clock import SystemClock
from engine.messages.gateways.sandbox import SANDBOX_RECEIPTS
from engine.messages.model import Status
from engine.messages.search import messages
from engine.sandbox.gateway import GatewaySetup, gateway
from engine.sandbox.gateway_faults import Faults
from tests.chaos.proof import Proof
from tests.chaos.workers import KEY
from tests.loopback import ANY_PORT, HOST
from tests.shop import events_of


class Day(Enum):
    """What becomes of one submission."""

    BUSY = "503, nothing taken"
    CUT_BEFORE = "connection cut, nothing taken"
    CUT_AFTER = "taken, connection cut"
    BROKEN = "taken, then 500"
    ERROR_IN_200 = "nothing taken, 200 with an error in it"
    TAKEN_ERROR_IN_200 = "taken, 200 with an error in it"
    SLOW = "taken, the answer comes byte by byte and never ends"
    SILENT = "taken, no answer at all"


_NOT_TAKEN = (Day.BUSY, Day.CUT_BEFORE, Day.ERROR_IN_200)
_ERROR = b'{"code": "internal", "message": "something failed"}'


def bad_days(chance: random.Random, *, share: float) -> Callable[[], Day | None]:
    """A day for each submission; `share` of them are bad."""
    return lambda: chance.choice(list(Day)) if chance.random() < share else None


@dataclass(frozen=True, slots=True)
class _Asked:
    """A look-up, answered so."""

    status: int


@dataclass(frozen=True, slots=True)
class _Sent:
    """A submission; `refused`: its sender was told that surely nothing was taken."""

    refused: bool


@dataclass(slots=True)
class Provider:
    """What it was asked, in order, by message id."""

    url: str
    receipts: str
    folder: Path
    day: Callable[[], Day | None]
    happened: Counter[Day] = field(default_factory=Counter)
    holding: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a submission waits for `go_on`."""
    go_on: asyncio.Event | None = None
    """Where given, submissions are answered only once it is set."""
    _log: dict[str, list[_Asked | _Sent]] = field(default_factory=dict)

    @property
    def proof(self) -> Proof:
        return Proof("submissions spoilt", self.happened.total(), "submissions")

    def acceptances(self) -> Counter[str]:
        """How often the gateway accepted which message, by its own journal."""
        file = self.folder / "messages.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return Counter(json.loads(line)["order"]["id"] for line in lines)

    def submitted(self) -> int:
        """How often anything was sent here, taken or not."""
        return sum(isinstance(entry, _Sent) for entries in self._log.values() for entry in entries)

    def look_ups(self) -> int:
        """How often anything was asked for."""
        return sum(isinstance(entry, _Asked) for entries in self._log.values() for entry in entries)

    def sent_blindly(self) -> list[str]:
        """Messages sent again though an earlier submission may have been taken, and nobody had asked since then."""
        return [message_id for message_id, entries in self._log.items() if _is_blind(entries)]

    def note(self, message_id: str, entry: _Asked | _Sent) -> None:
        self._log.setdefault(message_id, []).append(entry)


@asynccontextmanager
async def provider(
    database: AsyncEngine, folder: Path, day: Callable[[], Day | None], *, receipt_copies: int = 2
) -> AsyncIterator[Provider]:
    """The provider, and Dari's own door for its receipts, each of which comes `receipt_copies` times."""
    setup = GatewaySetup(key=KEY, folder=folder, delivery_seconds=0.05, faults=Faults(receipt_copies=receipt_copies))
    api = make_api([receipts_router(database, KEY, SystemClock())])
    async with (
        serving(api, ANY_PORT) as api_url,
        gateway(ANY_PORT, setup) as behind,
        aiohttp.ClientSession(behind) as session,
    ):
        front = Provider("", api_url + SANDBOX_RECEIPTS, folder, day)
        door = _Front(front, session)
        application = web.Application()
        application.add_routes([web.post("/messages", door.submit), web.get("/messages/{id}", door.look_up)])
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, 0).start()
            bound_host, bound_port = runner.addresses[0][:2]
            front.url = f"http://{bound_host}:{bound_port}"
            yield front
        finally:
            await runner.cleanup()


async def each_message_once(database: AsyncEngine, gateway: Provider, calls: list[CallRecord]) -> None:
    """Each of these calls has brought one message, which the gateway accepted once and never got blindly again."""
    kept = await messages(database, limit=len(calls) + 1)
    assert Counter(one.call_id for one in kept) == Counter(call.call_id for call in calls)
    assert Counter(one.status for one in kept) == {Status.DELIVERED: len(calls)}
    assert gateway.acceptances() == Counter(str(one.id) for one in kept)
    assert gateway.sent_blindly() == []
    for call in calls:
        told = await events_of(database, call)
        assert len(told) == len(set(told)), told
        assert {"message.queued", "message.delivered"} <= set(told)


class _Front:
    """What stands before the gateway."""

    def __init__(self, told: Provider, behind: aiohttp.ClientSession) -> None:
        self._told = told
        self._behind = behind

    async def submit(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        day = self._told.day()
        self._told.happened.update([day] if day else [])
        for one in json.loads(body)["messages"]:
            self._told.note(str(one["id"]), _Sent(refused=day is Day.BUSY))
        if self._told.go_on is not None:
            self._told.holding.set()
            await self._told.go_on.wait()
        answer = None if day in _NOT_TAKEN else await self._pass(request, body)
        return await self._spoil(day, request) if answer is None or day else answer

    async def look_up(self, request: web.Request) -> web.StreamResponse:
        answer = await self._pass(request, None)
        self._told.note(request.match_info["id"], _Asked(answer.status))
        return answer

    async def _pass(self, request: web.Request, body: bytes | None) -> web.Response:
        headers = {"Authorization": request.headers.get("Authorization", "")}
        async with self._behind.request(request.method, request.path, data=body, headers=headers) as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")

    async def _spoil(self, day: Day | None, request: web.Request) -> web.StreamResponse:
        if day is Day.BUSY:
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        if day is Day.BROKEN:
            return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR, body=_ERROR)
        if day in (Day.ERROR_IN_200, Day.TAKEN_ERROR_IN_200):
            return web.Response(body=_ERROR, content_type="application/json")
        if day is Day.SLOW:
            await _drip(request)
        elif day is Day.SILENT:
            await asyncio.sleep(3600)  # whoever asked leaves, and this ends with it
        if request.transport is not None:
            request.transport.abort()
        return web.Response()


async def _drip(request: web.Request) -> None:
    """Headers at once, then a byte now and then, for as long as somebody reads."""
    response = web.StreamResponse()
    with suppress(ConnectionError):
        await response.prepare(request)
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b" ")
            await asyncio.sleep(0.05)


def _is_blind(entries: list[_Asked | _Sent]) -> bool:
    in_doubt = False
    for entry in entries:
        if isinstance(entry, _Asked):
            in_doubt = in_doubt and entry.status != HTTPStatus.NOT_FOUND
        elif in_doubt:
            return True
        else:
            in_doubt = not entry.refused
    return False
