"""Whether this process lives, and whether calls can come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response, status
from pydantic import BaseModel

from engine.calls.control_all import Sockets, engine_statuses, together
from engine.calls.control_client import EngineStatus


class Health(BaseModel):
    """This process answers; it says nothing about others."""

    alive: bool = True


class Readiness(BaseModel):
    """`reasons` is empty when everything works; with `ready` true it names what is degraded."""

    ready: bool
    reasons: list[str]


def health_router(engines: Sockets, database_answers: Callable[[], Awaitable[bool]]) -> APIRouter:
    """GET /health and GET /ready. Ready means that an engine takes calls; a lost database only degrades."""
    router = APIRouter(tags=["health"])

    @router.get("/health")
    async def health() -> Health:
        return Health()

    @router.get("/ready", responses={status.HTTP_503_SERVICE_UNAVAILABLE: {"model": Readiness}})
    async def ready(response: Response) -> Readiness:
        statuses, database = await asyncio.gather(engine_statuses(engines), database_answers())
        answer = readiness(together(statuses), database)
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
        waits = "; calls go on and their records wait in the spool" if engine is not None else ""
        reasons.append(f"the database does not answer{waits}")
    return Readiness(ready=engine is not None and engine.takes_calls, reasons=reasons)
