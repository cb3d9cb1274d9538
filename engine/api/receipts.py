"""Delivery receipts from message gateways: proven by their signature, written once, answered with nothing."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.api.problems import problem
from engine.foundation.clock import Clock
from engine.foundation.errors import NotAllowed
from engine.messages.gateways.sandbox import SANDBOX_RECEIPTS, SandboxGateway, read_receipt
from engine.messages.outbox import take_receipt

_LARGEST_RECEIPT = 65_536


def receipts_router(database: AsyncEngine, sandbox_key: str, clock: Clock) -> APIRouter:
    """POST /gateways/sandbox/receipts. 204 also for a receipt that came before; 401 when it is not the gateway's."""
    router = APIRouter(tags=["receipts"])

    @router.post(SANDBOX_RECEIPTS, status_code=HTTPStatus.NO_CONTENT)
    async def sandbox_receipt(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a receipt has at most {_LARGEST_RECEIPT} bytes")
        now = clock.now()
        try:
            receipt = read_receipt(sandbox_key, request.headers, body, now)
        except NotAllowed as error:
            return problem(HTTPStatus.UNAUTHORIZED, str(error))
        if receipt is not None:
            await take_receipt(database, receipt, SandboxGateway.name, now)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router


async def _body(request: Request) -> bytes | None:
    """The raw body, None when it is too large: nobody has proven anything yet, so it is not read to its end."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_RECEIPT:
            return None
    return bytes(body)
