"""A small manager (AMI) server that answers as a test tells it, where Asterisk's would be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from tests.loopback import HOST

Action = dict[str, str]


def accept_all(_action: Action) -> str | None:
    """Every action succeeds."""
    return "Response: Success\r\n"


@dataclass(eq=False)
class FakeAmi:
    """Used with `async with`. `answer` gives the lines of a reply, "" for none, None to drop the connection."""

    answer: Callable[[Action], str | None] = accept_all
    actions: list[Action] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self._writers: list[asyncio.StreamWriter] = []
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        self.host, self.port = self._server.sockets[0].getsockname()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await self._server.wait_closed()

    def names(self) -> list[str]:
        """The actions that came, by name."""
        return [action["Action"] for action in self.actions]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        writer.write(b"Asterisk Call Manager/11.0.0\r\n")
        while not writer.is_closing():
            try:
                text = (await reader.readuntil(b"\r\n\r\n")).decode()
            except (asyncio.IncompleteReadError, ConnectionError):
                break
            fields = (line.partition(":") for line in text.strip().split("\r\n"))
            action = {name: value.strip() for name, _, value in fields}
            self.actions.append(action)
            lines = self.answer(action)
            if lines is None:
                writer.close()
            elif lines:
                writer.write(f"{lines}ActionID: {action['ActionID']}\r\n\r\n".encode())
        writer.close()
