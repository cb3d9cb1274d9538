"""A receiver of webhooks on loopback: it proves each signature, and remembers what came and what was new in it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

_FRESH = 300
"""Seconds by which a timestamp may be off."""


@dataclass(frozen=True, slots=True)
class Received:
    """One try that reached the sink."""

    id: str
    at: float
    """Unix time."""
    path: str
    signed_with: int | None
    """Which of the sink's secrets proved it; None: none did."""
    body: dict[str, Any]
    status: int
    """What the sink answered."""

    @property
    def events(self) -> list[dict[str, Any]]:
        """Those in the body: one, or those of a batch."""
        return list(self.body["events"]) if self.body["type"] == "batch" else [self.body]


Answering = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class WebhookSink:
    """Takes every POST. What it answers can be changed at any time."""

    secrets: list[str] = field(default_factory=list)
    """`whsec_…`; the first one that proves a message counts."""
    status: int = 204
    answering: Answering | None = None
    """Instead of a bare status."""
    received: list[Received] = field(default_factory=list)
    url: str = ""
    port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def taken(self) -> list[dict[str, Any]]:
        """The events that it took, in the order in which they came first, each once."""
        seen: dict[str, dict[str, Any]] = {}
        for one in self.received:
            if 200 <= one.status < 300:
                for event in one.events:
                    seen.setdefault(event["id"], event)
        return list(seen.values())

    @property
    def places(self) -> list[int]:
        """Their places in the stream."""
        return [body["sequence"] for body in self.taken]

    @property
    def unproven(self) -> list[Received]:
        """What no secret of the sink proves."""
        return [one for one in self.received if one.signed_with is None]

    async def open(self, host: str = "127.0.0.1") -> None:
        """Listens: on the port that it had before, if it had one."""
        application = web.Application(client_max_size=10_000_000)
        application.add_routes([web.post("/{path:.*}", self._take)])
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        listener = socket.create_server((host, self.port), backlog=128)
        self.port = listener.getsockname()[1]
        await web.SockSite(self._runner, listener).start()
        self.url = f"http://{host}:{self.port}/events"

    async def close(self) -> None:
        """Is down: connections are refused."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    async def _take(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw)
        response: web.StreamResponse = web.Response(status=self.status)
        if self.answering is not None:
            response = await self.answering(request, body)
        self.received.append(
            Received(
                id=request.headers["webhook-id"],
                at=time.time(),
                path=request.path,
                signed_with=self._proof(request, raw),
                body=body,
                status=response.status,
            )
        )
        return response

    def _proof(self, request: web.Request, raw: bytes) -> int | None:
        """As the standard tells receivers, in words of our own: nothing of the product is used."""
        stamp = request.headers["webhook-timestamp"]
        if abs(time.time() - int(stamp)) > _FRESH:
            return None
        sent = [one.partition(",")[2] for one in request.headers["webhook-signature"].split(" ")]
        signed = b".".join((request.headers["webhook-id"].encode(), stamp.encode(), raw))
        for place, secret in enumerate(self.secrets):
            key = base64.b64decode(secret.removeprefix("whsec_"))
            proof = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
            if proof in sent:
                return place
        return None


@asynccontextmanager
async def webhook_sink(*secrets: str) -> AsyncIterator[WebhookSink]:
    """An open sink for the time of the block."""
    sink = WebhookSink(list(secrets))
    await sink.open()
    try:
        yield sink
    finally:
        await sink.close()
