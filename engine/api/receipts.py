"""Delivery receipts from message gateways: proven by their signature, written once, answered with nothing.

Those that come within a moment are written together; each POST is answered when its own are written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus

from fastapi import APIRouter, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.api.problems import problem
from engine.foundation.clock import Clock
from engine.foundation.errors import NotAllowed, NotFound
from engine.foundation.gathering import Gathering
from engine.messages.gateways.gateway import Receipt
from engine.messages.gateways.sandbox import SANDBOX_RECEIPTS, SandboxGateway, read_receipts
from engine.messages.outbox import take_receipts

_LARGEST_BODY = 65_536
_MOMENT = 0.05
_AT_ONCE = 100


def receipts_router(database: AsyncEngine, sandbox_key: str, clock: Clock) -> APIRouter:
    """POST /gateways/sandbox/receipts. 204 also for receipts that came before; 401 when they are not the gateway's; 404
    when one of them is for no message of ours, and the others are written."""
    router = APIRouter(tags=["receipts"])

    async def write(receipts: Sequence[Receipt]) -> Sequence[bool]:
        """Whether there is such a message, for each."""
        unknown = await take_receipts(database, receipts, SandboxGateway.name, clock.now())
        return [receipt not in unknown for receipt in receipts]

    written = Gathering("receipts", write, within=_MOMENT, at_most=_AT_ONCE)

    @router.post(SANDBOX_RECEIPTS, status_code=HTTPStatus.NO_CONTENT)
    async def sandbox_receipts(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"receipts have at most {_LARGEST_BODY} bytes")
        try:
            receipts = read_receipts(sandbox_key, request.headers, body, clock.now())
        except NotAllowed as error:
            return problem(HTTPStatus.UNAUTHORIZED, str(error))
        outcomes = await asyncio.gather(*map(written.add, receipts), return_exceptions=True)
        for receipt, outcome in zip(receipts, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            if not outcome:
                raise NotFound(f"message {receipt.message_id}: there is none; the receipt was for another system")
        return Response(status_code=HTTPStatus.NO_CONTENT)

    return router


async def _body(request: Request) -> bytes | None:
    """The raw body, None when it is too large: nobody has proven anything yet, so it is not read to its end."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            return None
    return bytes(body)
