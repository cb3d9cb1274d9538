"""The engine's own door for the operator on this machine: HTTP over a unix socket in DARI_HOME/run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from aiohttp import web

from engine.calls.control_client import EngineStatus
from engine.calls.reception import Reception
from engine.foundation.errors import Invalid


@asynccontextmanager
async def control_door(
    socket: Path, reception: Reception, status: Callable[[], EngineStatus], more: Iterable[web.RouteDef] = ()
) -> AsyncIterator[None]:
    """Answers GET /status, POST /drain, POST /resume and what `more` says while the block runs.

    Only this user may open the socket. Raises Invalid when it cannot be made.
    """

    def answer() -> web.Response:
        return web.Response(body=msgspec.json.encode(status()), content_type="application/json")

    async def tell(_request: web.Request) -> web.Response:
        return answer()

    async def drain(_request: web.Request) -> web.Response:
        reception.draining = True
        return answer()

    async def resume(_request: web.Request) -> web.Response:
        reception.draining = False
        return answer()

    application = web.Application()
    application.add_routes([web.get("/status", tell), web.post("/drain", drain), web.post("/resume", resume), *more])
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await _listen(runner, socket)
        yield
    finally:
        await runner.cleanup()


async def _listen(runner: web.AppRunner, socket: Path) -> None:
    try:
        socket.unlink(missing_ok=True)
        await web.UnixSite(runner, str(socket)).start()
        socket.chmod(0o600)
    except OSError as error:
        raise Invalid(f"{socket}: no control socket ({error.strerror or error}); make its folder writable") from None
