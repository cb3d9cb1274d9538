"""Whether this process lives, and whether calls can come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter, Response, status
from pydantic import BaseModel

from engine.calls.control_client import EngineStatus, engine_status
from engine.foundation.errors import TryLater


class Health(BaseModel):
    """This process answers; it says nothing about others."""

    alive: bool = True


class Readiness(BaseModel):
    """`reasons` is empty when everything works; with `ready` true it names what is degraded."""

    ready: bool
    reasons: list[str]


def health_router(engine_socket: Path, database_answers: Callable[[], Awaitable[bool]]) -> APIRouter:
    """GET /health and GET /ready. Ready means that the engine takes calls; a lost database only degrades."""
    router = APIRouter(tags=["health"])

    @router.get("/health")
    async def health() -> Health:
        return Health()

    @router.get("/ready", responses={status.HTTP_503_SERVICE_UNAVAILABLE: {"model": Readiness}})
    async def ready(response: Response) -> Readiness:
        engine, database = await asyncio.gather(_engine(engine_socket), database_answers())
        answer = readiness(engine, database)
        if not answer.ready:
            response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
        return answer

    return router


def readiness(engine: EngineStatus | None, database: bool) -> Readiness:
    """Judges by what the engine says (None: it does not answer) and whether the database answers."""
    reasons = []
    if engine is None:
        reasons.append("the engine does not answer")
    elif engine.state != "ready":
        reasons.append(f"the engine is {engine.state}{f': {engine.reason}' if engine.reason else ''}")
    if not database:
        reasons.append("the database does not answer; calls go on and their records wait in the spool")
    return Readiness(ready=engine is not None and engine.takes_calls, reasons=reasons)


async def _engine(socket: Path) -> EngineStatus | None:
    try:
        return await engine_status(socket)
    except TryLater:
        return None
