"""Dari's own HTTP: the routers that it is given, errors as problems, and the server that runs it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import uvicorn
from fastapi import APIRouter, FastAPI

from engine.api.door import Door
from engine.api.openapi import openapi_router
from engine.api.problems import add_problems
from engine.foundation.errors import Conflict
from engine.foundation.tasks import Tasks

_LARGEST_MESSAGE = 65_536
"""Bytes of one WebSocket message from a browser."""


def make_api(routers: Sequence[APIRouter], door: Door | None = None) -> FastAPI:
    """The application; `door` is what requests to routers of `engine.api.door` go through.

    It has no pages of documentation: those would load scripts from a stranger's server.
    """
    app = FastAPI(title="Dari", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False)
    app.state.door = door
    add_problems(app)
    for router in routers:
        app.include_router(router)
    if door is not None:
        app.include_router(openapi_router(app))
    return app


@asynccontextmanager
async def serving(app: FastAPI, address: str) -> AsyncIterator[str]:
    """Serves `app` on `address` (host:port, port 0 takes a free one) for the time of the block; yields its URL.

    Requests under way are finished before the block ends. Raises Conflict when the address is taken.
    """
    with _listening(address) as listener:
        server = _Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=5,
                ws="websockets-sansio",
                ws_max_size=_LARGEST_MESSAGE,
            )
        )
        tasks = Tasks("api")
        task = tasks.start("server", server.serve(sockets=[listener]))
        host, port = listener.getsockname()[:2]
        try:
            yield f"http://{host}:{port}"
        finally:
            server.should_exit = True
            try:
                await asyncio.wait([task])
            finally:
                await tasks.close()


class _Server(uvicorn.Server):
    """Leaves the process's signals to the process: whoever opened the block ends it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listening(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        listener = socket.create_server((host, int(port)), backlog=128)
        # What it accepts inherits this. asyncio sets it only on sockets that name their protocol; without it an answer
        # in two pieces waits 40 ms for the client's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except OSError as error:
        raise Conflict(
            f"HTTP: {address} cannot be bound ({error.strerror}); free it or set DARI_HTTP_BIND to another"
        ) from None
