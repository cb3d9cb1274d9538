"""Several engines asked as if they were one, over real control sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from engine.calls.arrival import Order
from engine.calls.control_all import (
    drain_engines,
    engines_status,
    known_numbers,
    listening_ticket,
    live_calls,
    place_call,
    resume_engines,
    switch_recording,
    together,
    whose_ticket,
)
from engine.calls.control_client import EngineStatus, KnownNumber, LiveCall, Placed, Refusal
from engine.calls.listening_rules import Mode, Ticket, Wish
from engine.cdr.model import Direction
from engine.foundation.errors import Conflict, NotFound, TryLater
from engine.foundation.ids import new_id
from engine.trunks.model import Health, TrunkState
from tests.call_records import CALLER, MORNING, NUMBER, TARGET

READY = EngineStatus(state="ready", live_calls=2, connected=True, spool_waiting=1, database=True)
ORDER = Order(number=NUMBER, first=CALLER, second=TARGET)
WISH = Wish(call="x", who="somebody", reason="training", mode=Mode.LISTEN, minutes=1)


@dataclass
class PlayedEngine:
    """What an engine's door says."""

    status: EngineStatus = READY
    calls: list[LiveCall] = field(default_factory=list)
    placed: int = 0

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/status", self.tell),
            web.post("/drain", self.tell),
            web.post("/resume", self.tell),
            web.get("/calls", self.listed),
            web.post("/calls", self.place),
            web.post("/calls/{call}/recording", self.recording),
            web.post("/listening", self.listening),
            web.post("/numbers", self.number),
        ]

    async def tell(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            state = "draining" if request.path == "/drain" else "ready"
            self.status = msgspec.structs.replace(self.status, state=state)
        return answer(self.status)

    async def listed(self, _request: web.Request) -> web.Response:
        return answer(self.calls)

    async def place(self, _request: web.Request) -> web.Response:
        self.placed += 1
        return answer(Placed(call_id=new_id(MORNING)))

    async def recording(self, request: web.Request) -> web.Response:
        for call in self.calls:
            if str(call.call_id) == request.match_info["call"]:
                return answer(call)
        return not_live()

    async def listening(self, _request: web.Request) -> web.Response:
        if not self.calls:
            return not_live()
        return answer(Ticket(ticket="t", call_id=self.calls[0].call_id, seconds_to_open=60, minutes=1))

    async def number(self, _request: web.Request) -> web.Response:
        return answer(KnownNumber(None))


def not_live() -> web.Response:
    return answer(Refusal(kind="NotFound", text="it is not live"), 404)


def answer(value: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def live_call(second: int) -> LiveCall:
    return LiveCall(
        call_id=new_id(MORNING.replace(second=second)),
        state="connected",
        direction=Direction.INCOMING,
        number=NUMBER,
        caller=CALLER,
        target=TARGET,
        arrived_at=MORNING.replace(second=second),
        answered_at=None,
        recording="none",
    )


@asynccontextmanager
async def engines(folder: Path, *played: PlayedEngine | None) -> AsyncIterator[list[Path]]:
    """Their control sockets, in order; None: that engine is dead."""
    folder.mkdir(exist_ok=True)
    sockets = [folder / f"engine{number}.sock" for number in range(1, len(played) + 1)]
    async with AsyncExitStack() as stack:
        for socket, engine in zip(sockets, played, strict=True):
            if engine is not None:
                runner = web.AppRunner(web.Application())
                runner.app.add_routes(engine.routes())
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                await web.UnixSite(runner, str(socket)).start()
        yield sockets


async def test_status_is_that_of_all_together(tmp_path: Path) -> None:
    async with engines(tmp_path, PlayedEngine(), PlayedEngine()) as sockets:
        found = await engines_status(sockets)
        assert (found.state, found.live_calls, found.spool_waiting, found.reason) == ("ready", 4, 2, "")
        assert (await drain_engines(sockets[:1])).state == "draining"
        assert (await engines_status(sockets)).state == "degraded"
        assert (await drain_engines(sockets)).state == "draining"
        assert (await resume_engines(sockets)).state == "ready"


async def test_a_dead_engine_only_degrades_and_without_any_there_is_none(tmp_path: Path) -> None:
    async with engines(tmp_path, None, PlayedEngine()) as sockets:
        found = await engines_status(sockets)
        assert (found.state, found.reason) == ("degraded", "engine does not answer")
        assert (await drain_engines(sockets)).state == "draining"
        assert await live_calls(sockets) == []
    async with engines(tmp_path / "x", None, None) as sockets:
        for ask in (engines_status, drain_engines, resume_engines, live_calls):
            with pytest.raises(TryLater):
                await ask(sockets)


@pytest.mark.parametrize(
    ("states", "state"),
    [
        (["ready"], "ready"),
        (["draining"], "draining"),
        (["ready", "degraded"], "degraded"),
        (["ready", "refusing"], "degraded"),
        (["draining", "draining"], "draining"),
        (["draining", "starting"], "starting"),
        (["draining", "refusing"], "refusing"),
    ],
)
def test_calls_can_come_while_one_takes_them(states: list[str], state: str) -> None:
    found = together([EngineStatus(state=one) for one in states])
    assert found is not None
    assert found.state == state


def test_a_trunks_calls_are_those_of_all_engines() -> None:
    one = TrunkState(name="carrier", health=Health.UP, calls=2)
    statuses = [
        msgspec.structs.replace(READY, trunks=(one, TrunkState(name="second", calls=1))),
        None,
        msgspec.structs.replace(READY, trunks=(one,)),
    ]
    found = together(statuses)
    assert found is not None
    assert [(trunk.name, trunk.health, trunk.calls) for trunk in found.trunks] == [
        ("carrier", Health.UP, 4),
        ("second", Health.UNKNOWN, 1),
    ]


async def test_calls_are_listed_oldest_first_and_a_given_one_is_found_where_it_is(tmp_path: Path) -> None:
    first, second, third = map(live_call, (1, 2, 3))
    async with engines(tmp_path, PlayedEngine(calls=[second]), PlayedEngine(calls=[first, third])) as sockets:
        assert await live_calls(sockets) == [first, second, third]
        assert await switch_recording(sockets, str(third.call_id), pause=True) == third
        with pytest.raises(NotFound):
            await switch_recording(sockets, str(new_id(MORNING)), pause=True)
    async with engines(tmp_path / "x", None, PlayedEngine(calls=[first])) as sockets:
        assert await switch_recording(sockets, str(first.call_id), pause=True) == first
        with pytest.raises(TryLater):  # the one that does not answer may have it
            await switch_recording(sockets, str(third.call_id), pause=True)


async def test_a_call_is_placed_by_the_engine_that_takes_calls_and_has_fewest(tmp_path: Path) -> None:
    busy, idle = PlayedEngine(), PlayedEngine(msgspec.structs.replace(READY, live_calls=1))
    draining = PlayedEngine(EngineStatus(state="draining"))
    async with engines(tmp_path, draining, busy, idle) as sockets:
        await place_call(sockets, ORDER)
    assert (draining.placed, busy.placed, idle.placed) == (0, 0, 1)


async def test_a_ticket_leads_back_to_the_engine_that_gave_it(tmp_path: Path) -> None:
    async with engines(tmp_path, PlayedEngine(), PlayedEngine(calls=[live_call(1)])) as sockets:
        ticket = await listening_ticket(sockets, WISH)
        assert whose_ticket(sockets, ticket.ticket) == (sockets[1], "t")
    async with engines(tmp_path / "x", PlayedEngine(calls=[live_call(1)]), None) as sockets:
        ticket = await listening_ticket(sockets, WISH)
        assert whose_ticket(sockets, ticket.ticket) == (sockets[0], "t")
    for strange in ("7.t", "x.t", "0.t", ".", "²."):
        assert whose_ticket(sockets, strange) == (sockets[0], strange)


async def test_every_engine_is_asked_what_it_knows(tmp_path: Path) -> None:
    async with engines(tmp_path, PlayedEngine(), PlayedEngine()) as sockets:
        assert await known_numbers(sockets, NUMBER) == [None, None]
    async with engines(tmp_path / "x", PlayedEngine(), None) as sockets:
        with pytest.raises(TryLater):
            await known_numbers(sockets, NUMBER)


async def test_another_refusal_of_whoever_has_it_is_told(tmp_path: Path) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        return answer(Refusal(kind="Conflict", text="nobody talks yet"), 409)

    class Refuses(PlayedEngine):
        def routes(self) -> list[web.RouteDef]:
            return [web.post("/calls/{call}/recording", refuse)]

    async with engines(tmp_path, PlayedEngine(), Refuses()) as sockets:
        with pytest.raises(Conflict, match="nobody talks yet"):
            await switch_recording(sockets, "x", pause=True)
