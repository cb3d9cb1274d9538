"""A request given to an application in the same process: what it does is the same, without the way over TCP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote, urlencode

from fastapi import FastAPI
from multidict import CIMultiDict, CIMultiDictProxy
from starlette.types import Message, Scope

PEER = ("127.0.0.1", 1)


@dataclass(frozen=True, slots=True)
class Given:
    """What the application answered."""

    status: int
    headers: CIMultiDictProxy[str]
    raw: bytes


@dataclass(slots=True)
class _Exchange:
    """One request and its answer, as ASGI has them."""

    body: bytes
    status: int = 0
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    raw: bytearray = field(default_factory=bytearray)
    asked: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> Message:
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            for name, value in message["headers"]:
                self.headers.add(name.decode("latin-1"), value.decode("latin-1"))
            return
        self.raw += message.get("body", b"")
        if not message.get("more_body", False):
            self.over.set()


async def give(
    app: FastAPI,
    method: str,
    path: str,
    *,
    query: Sequence[tuple[str, str]] | Mapping[str, str] = (),
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Given:
    """The whole answer. What the application did not foresee is raised here."""
    sent = {"Host": "localhost", "Content-Length": str(len(body))} | dict(headers or {})
    scope: Scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": urlencode(query).encode(),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()],
        "client": PEER,
        "server": ("localhost", 80),
        "state": {},
    }
    exchange = _Exchange(body)
    await app(scope, exchange.receive, exchange.send)
    return Given(exchange.status, CIMultiDictProxy(exchange.headers), bytes(exchange.raw))
