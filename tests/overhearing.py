"""Every problem that an application answers with is read: none may name a command, for whoever asks has none."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

NAMED = b"`dari "


class Overhearing:
    """Keeps the problems that name commands."""

    def __init__(self, app: ASGIApp, found: list[str]) -> None:
        self._app = app
        self._found = found

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = False

        async def overheard(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                refused = message["status"] >= 400
            elif refused and NAMED in message.get("body", b""):
                self._found.append(message["body"].decode())
            await send(message)

        await self._app(scope, receive, overheard)


def overhear(app: FastAPI) -> list[str]:
    """The problems naming commands that it answers with from now on."""
    found: list[str] = []
    app.add_middleware(Overhearing, found=found)
    return found
