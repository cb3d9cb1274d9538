"""Over the real server and a real control socket: what a load balancer and an operator see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from engine.api.app import make_api, serving
from engine.api.health import health_router, readiness
from engine.calls.control_client import EngineStatus, drain_engine, engine_status, resume_engine
from engine.foundation.errors import TryLater
from tests.loopback import ANY_PORT

READY = EngineStatus(state="ready", live_calls=2, connected=True, database=True)


@asynccontextmanager
async def engine(socket: Path, answers: dict[str, object]) -> AsyncIterator[None]:
    """A control socket that answers every request with `answers`, and remembers drain and resume as a state."""

    async def status(request: web.Request) -> web.Response:
        if request.method == "POST":
            answers["state"] = "draining" if request.path == "/drain" else "ready"
        return web.json_response(answers)

    application = web.Application()
    application.add_routes([web.get("/status", status), web.post("/drain", status), web.post("/resume", status)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def ask(path: str, socket: Path, *, database: bool) -> tuple[int, dict[str, object]]:
    async def answers() -> bool:
        return database

    async with (
        serving(make_api([health_router([socket], answers)]), ANY_PORT) as url,
        aiohttp.ClientSession() as session,
        session.get(url + path) as response,
    ):
        return response.status, await response.json()


async def test_health_answers_without_engine_and_database(tmp_path: Path) -> None:
    assert await ask("/health", tmp_path / "none.sock", database=False) == (200, {"alive": True})


async def test_ready_when_the_engine_takes_calls(tmp_path: Path) -> None:
    async with engine(tmp_path / "engine.sock", {"state": "ready"}):
        assert await ask("/ready", tmp_path / "engine.sock", database=True) == (200, {"ready": True, "reasons": []})


async def test_not_ready_without_an_engine_and_the_reason_is_told(tmp_path: Path) -> None:
    status, body = await ask("/ready", tmp_path / "none.sock", database=True)
    assert (status, body["ready"], body["reasons"]) == (503, False, ["the engine does not answer"])


async def test_a_draining_engine_is_not_ready(tmp_path: Path) -> None:
    async with engine(tmp_path / "engine.sock", {"state": "draining", "reason": "dari drain"}):
        status, body = await ask("/ready", tmp_path / "engine.sock", database=True)
    assert (status, body["reasons"]) == (503, ["the engine is draining: dari drain"])


async def test_a_lost_database_degrades_and_calls_still_come(tmp_path: Path) -> None:
    async with engine(tmp_path / "engine.sock", {"state": "degraded"}):
        status, body = await ask("/ready", tmp_path / "engine.sock", database=False)
    assert status == 200
    assert len(list(body["reasons"])) == 2  # type: ignore[call-overload]
    assert "calls go on" in str(body["reasons"])


def test_without_an_engine_no_call_goes_on_for_the_database() -> None:
    assert readiness(None, database=False).reasons == ["the engine does not answer", "the database does not answer"]


@pytest.mark.parametrize(
    ("state", "ready"), [("starting", False), ("ready", True), ("degraded", True), ("draining", False)]
)
def test_only_an_engine_that_takes_calls_is_ready(state: str, ready: bool) -> None:
    assert readiness(EngineStatus(state=state), database=True).ready is ready


async def test_the_control_socket_is_asked_and_told(tmp_path: Path) -> None:
    socket = tmp_path / "engine.sock"
    with pytest.raises(TryLater, match="the engine does not answer"):
        await engine_status(socket)
    told = {"state": "ready", "live_calls": 2, "connected": True, "spool_waiting": 0, "database": True, "more": 1}
    async with engine(socket, told):
        assert await engine_status(socket) == READY
        assert (await drain_engine(socket)).state == "draining"
        assert (await resume_engine(socket)).state == "ready"
    with pytest.raises(TryLater):
        await engine_status(socket)


async def test_an_answer_that_is_no_status_is_try_later(tmp_path: Path) -> None:
    async with engine(tmp_path / "engine.sock", {"live_calls": "many"}):
        with pytest.raises(TryLater, match="not understood"):
            await engine_status(tmp_path / "engine.sock")
