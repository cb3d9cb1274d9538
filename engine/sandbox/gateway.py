"""A message gateway such as a provider runs, on one machine: it takes messages and sends nothing on.

HTTP and JSON, `Authorization: Bearer KEY`:
  POST /messages     {messages: [{id, to, from, text, callback}, …]}, 100 at most → {answers: […]}, one for each:
                     {id, reference, status, reason, at}, or {id, code} when it is not taken, such as what no carrier
                     takes; the same id again is the same message, or with another content `id-used`. Any other
                     status than 200 comes with {code, message}: nothing was taken
  GET  /messages/ID  what became of it; 404 for an id that was never accepted
  GET  /messages     everything accepted, for people
`id` is the sender's UUID, `callback` the URL for delivery receipts, as gateway_receipts.py says.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import aiohttp
import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from engine.foundation.clock import Clock, SystemClock
from engine.foundation.errors import Conflict, Invalid
from engine.sandbox.gateway_faults import Fault, Faults
from engine.sandbox.gateway_journal import Journal, Kept, journal
from engine.sandbox.gateway_receipts import DELIVERY_SECONDS, Receipts, state_of
from engine.sandbox.gateway_rules import Order, Submission, refusal

log = structlog.get_logger(__name__)

NOTE = "This is Dari's sandbox gateway: messages are kept on this machine and nothing is sent on."
_LARGEST_REQUEST = 262_144


@dataclass(frozen=True, slots=True)
class GatewaySetup:
    """How a sandbox gateway behaves."""

    key: str
    folder: Path
    clock: Clock = field(default_factory=SystemClock)
    delivery_seconds: float = DELIVERY_SECONDS
    faults: Faults = field(default_factory=Faults)


async def run_gateway(address: str, key: str, folder: Path) -> None:
    """Serves the sandbox gateway on `address` (host:port) until cancelled; keeps what it accepts in `folder`.

    Raises Conflict when the address or the folder is taken.
    """
    async with gateway(address, GatewaySetup(key=key, folder=folder)) as url:
        log.info("sandbox gateway is up; nothing is sent on", url=url)
        await asyncio.Event().wait()


@asynccontextmanager
async def gateway(address: str, setup: GatewaySetup) -> AsyncIterator[str]:
    """A running sandbox gateway; yields its base URL (port 0 takes a free one)."""
    if not setup.key:
        raise Invalid("gateway key: it is empty; set DARI_GATEWAY_KEY or let `dari up` make one")
    async with journal(setup.folder) as kept, aiohttp.ClientSession() as session:
        receipts = Receipts(session, setup.key, kept, setup.clock, setup.delivery_seconds)
        runner = web.AppRunner(_Gateway(setup, kept, receipts).application(), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            yield await _listen(runner, address)
        finally:
            await receipts.close()
            await runner.cleanup()


async def _listen(runner: web.AppRunner, address: str) -> str:
    host, _, port = address.rpartition(":")
    try:
        await web.TCPSite(runner, host, int(port)).start()
    except OSError as error:
        raise Conflict(
            f"message gateway: {address} cannot be bound ({error.strerror}); free it or choose another"
        ) from None
    bound_host, bound_port = runner.addresses[0][:2]
    return f"http://{bound_host}:{bound_port}"


class _Gateway:
    """The routes."""

    def __init__(self, setup: GatewaySetup, journal: Journal, receipts: Receipts) -> None:
        self._setup = setup
        self._journal = journal
        self._receipts = receipts

    def application(self) -> web.Application:
        application = web.Application(client_max_size=_LARGEST_REQUEST, middlewares=[self._ask_for_key])
        application.add_routes(
            [
                web.get("/", _say_what_this_is),
                web.post("/messages", self._submit),
                web.get("/messages", self._show_all),
                web.get("/messages/{id}", self._look_up),
            ]
        )
        application.on_startup.append(self._resume_receipts)
        return application

    async def _resume_receipts(self, _application: web.Application) -> None:
        for kept in self._journal.without_receipt():
            self._send_receipt(kept)

    @web.middleware
    async def _ask_for_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        sent = request.headers.get("Authorization", "").encode()
        if request.path != "/" and not hmac.compare_digest(sent, f"Bearer {self._setup.key}".encode()):
            return _refused(401, "bad-key", "the Authorization header does not carry this gateway's key")
        return await handler(request)

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        try:
            orders = msgspec.json.decode(await request.read(), type=Submission).messages
        except msgspec.DecodeError as error:
            return _refused(400, "malformed", str(error))
        fault = self._setup.faults.next_post()
        if fault is Fault.BUSY:
            return _refused(503, "busy", "try again later")
        if fault is Fault.CUT_BEFORE:
            return _cut(request)
        answer = await self._accept(orders)
        return await self._spoil(fault, request) if fault else answer

    async def _accept(self, orders: Sequence[Order]) -> web.Response:
        codes = [refusal(order) for order in orders]
        now = self._setup.clock.now()
        new = [
            Kept(at=now, reference=f"sandbox-{secrets.token_hex(8)}", order=order)
            for order, code in zip(orders, codes, strict=True)
            if not code
        ]
        try:
            kept = await self._journal.accept(new)
        except OSError as error:
            log.error("messages cannot be kept", reason=error.strerror)
            return _refused(503, "storage", "the messages cannot be kept; try again later")
        for one in new:
            if kept[one.order.id] is one:
                self._send_receipt(one)
        answers = [self._answer(order, code, kept) for order, code in zip(orders, codes, strict=True)]
        return _json(200, {"answers": answers})

    def _answer(self, order: Order, code: str, kept: Mapping[UUID, Kept]) -> dict[str, object]:
        if not code and _content(kept[order.id].order) != _content(order):
            code = "id-used"
        return {"id": order.id, "code": code} if code else self._state(kept[order.id])

    async def _look_up(self, request: web.Request) -> web.Response:
        try:
            kept = self._journal.find(UUID(request.match_info["id"]))
        except ValueError:
            kept = None
        if kept is None:
            return _refused(404, "not-known", "no message was accepted under this id")
        return _json(200, self._state(kept))

    async def _show_all(self, _request: web.Request) -> web.Response:
        messages = [{**msgspec.to_builtins(kept.order), **self._state(kept)} for kept in self._journal.everything()]
        return _json(200, {"note": NOTE, "messages": messages})

    async def _spoil(self, fault: Fault, request: web.Request) -> web.StreamResponse:
        """What the client gets in place of the answer, after its message was taken."""
        if fault is Fault.BROKEN:
            return _refused(500, "broken", "something failed here")
        if fault is Fault.GARBAGE:
            return web.Response(status=202, text="<html>accepted</html>", content_type="text/html")
        if fault is Fault.LATE:
            await self._setup.faults.go_on.wait()
        return _cut(request)

    def _send_receipt(self, kept: Kept) -> None:
        if copies := self._setup.faults.receipt_copies:
            self._receipts.start(kept, copies)

    def _state(self, kept: Kept) -> dict[str, object]:
        state = state_of(kept, self._setup.clock.now(), self._setup.delivery_seconds)
        return msgspec.to_builtins(state)  # type: ignore[no-any-return]


async def _say_what_this_is(_request: web.Request) -> web.Response:
    return _json(200, {"note": NOTE})


def _content(order: Order) -> tuple[str, str, str]:
    """What makes a message the same message; where its receipt goes does not."""
    return order.recipient, order.sender, order.text


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _refused(status: int, code: str, message: str) -> web.Response:
    return _json(status, {"code": code, "message": message})


def _json(status: int, body: object) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
