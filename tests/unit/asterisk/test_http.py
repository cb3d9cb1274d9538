"""Connections to Asterisk's HTTP are kept while they are good, and ended with whatever is given up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from engine.asterisk import http
from engine.asterisk.http import Answer, Broken, Command, Http, Unreachable
from engine.foundation.tasks import Tasks
from tests.eventually import eventually
from tests.loopback import HOST

OK = b"HTTP/1.1 200 OK\r\nServer: Asterisk\r\nContent-Length: 2\r\n\r\nok"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"
PATIENCE = 30.0

Says = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(slots=True)
class Server:
    """Says one thing after the other, each in answer to a command, over all its connections."""

    url: str
    commands: list[bytes] = field(default_factory=list)
    connections: int = 0
    resets: int = 0


def answers(*pieces: bytes) -> Says:
    """These pieces, one after the other."""

    async def say(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.001)

    return say


async def closes(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def nothing(_writer: asyncio.StreamWriter) -> None:
    pass


@asynccontextmanager
async def server_that(*says: Says) -> AsyncIterator[tuple[Server, Http]]:
    left = list(says)
    tasks = Tasks("server")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) and left:
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
                server.commands.append(head + await reader.readexactly(length))
                await left.pop(0)(writer)
        except asyncio.IncompleteReadError:
            pass
        except ConnectionResetError:
            server.resets += 1
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.start("connection", serve(reader, writer))

    listening = await asyncio.start_server(accept, HOST, 0)
    port = listening.sockets[0].getsockname()[1]
    server = Server(f"http://{HOST}:{port}/base")
    client = Http(server.url, "dari", "secret")
    try:
        yield server, client
    finally:
        client.close()
        listening.close()
        await tasks.close()


async def ask(client: Http, body: bytes = b"", within: float = PATIENCE) -> Answer:
    return await answer_to(client, Command("POST", "/ari/x", body), within)


async def answer_to(client: Http, command: Command, within: float = PATIENCE) -> Answer:
    (outcome,) = await client.ask([command], within)
    if isinstance(outcome, Answer):
        return outcome
    raise outcome


async def test_a_command_says_what_it_must_and_one_connection_serves_one_after_the_other() -> None:
    async with server_that(answers(OK), answers(NO_CONTENT), answers(OK)) as (server, client):
        assert await ask(client, b'{"a":1}') == Answer(200, b"ok")
        assert await ask(client) == Answer(204, b"")
        assert await answer_to(client, Command("GET", "/ari/y?z=1", b"")) == Answer(200, b"ok")
        host = server.url.removeprefix("http://").removesuffix("/base").encode()
        common = b"Host: " + host + b"\r\nAuthorization: Basic ZGFyaTpzZWNyZXQ=\r\n"
        assert server.commands == [
            b"POST /base/ari/x HTTP/1.1\r\n"
            + common
            + b'Content-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}',
            b"POST /base/ari/x HTTP/1.1\r\n" + common + b"Content-Length: 0\r\n\r\n",
            b"GET /base/ari/y?z=1 HTTP/1.1\r\n" + common + b"\r\n",
        ]
        assert server.connections == 1


@pytest.mark.parametrize("cuts", [(1,), (9, 30), (len(OK) - 1,), tuple(range(1, len(OK)))])
async def test_an_answer_may_come_in_pieces(cuts: Sequence[int]) -> None:
    edges = [0, *cuts, len(OK)]
    pieces = [OK[start:end] for start, end in pairwise(edges)]
    async with server_that(answers(*pieces), answers(OK)) as (server, client):
        assert [await ask(client), await ask(client)] == [Answer(200, b"ok")] * 2
        assert server.connections == 1


@pytest.mark.parametrize(
    "last",
    [
        OK.replace(b"Server: Asterisk", b"Connection: close"),
        OK + b"more than was asked for",
    ],
)
async def test_a_connection_that_is_not_to_be_used_again_is_not(last: bytes) -> None:
    async with server_that(answers(last), answers(OK)) as (server, client):
        assert [await ask(client), await ask(client)] == [Answer(200, b"ok")] * 2
        assert server.connections == 2


@pytest.mark.parametrize(
    "said",
    [
        closes,
        answers(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        answers(b"x" * 70_000),
    ],
)
async def test_what_is_no_answer_breaks_the_command_and_the_next_goes_over_another_connection(said: Says) -> None:
    async with server_that(said, answers(OK)) as (server, client):
        with pytest.raises(Broken):
            await ask(client)
        assert await ask(client) == Answer(200, b"ok")
        assert server.connections == 2


async def test_what_is_given_up_ends_its_connection_at_once_with_all_that_was_not_delivered() -> None:
    async with server_that(nothing, answers(OK)) as (server, client):
        with pytest.raises(TimeoutError):
            await ask(client, within=0.05)
        await eventually(lambda: server.resets == 1)
        assert await ask(client) == Answer(200, b"ok")


async def test_a_cancelled_command_ends_its_connection_too() -> None:
    async with server_that(nothing) as (server, client):
        asking = asyncio.ensure_future(ask(client))
        await eventually(lambda: len(server.commands) == 1)
        asking.cancel()
        await eventually(lambda: server.resets == 1)


async def test_connections_that_were_idle_for_long_are_ended_before_asterisk_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with server_that(answers(OK), answers(OK)) as (server, client):
        await ask(client)
        monkeypatch.setattr(http, "_KEPT_SECONDS", -1.0)
        await ask(client)
        assert server.connections == 2
        await eventually(lambda: server.resets == 1)


async def test_a_kept_connection_that_asterisk_closed_is_not_used() -> None:
    async def answers_and_closes(writer: asyncio.StreamWriter) -> None:
        await answers(OK)(writer)
        writer.close()

    async with server_that(answers_and_closes, answers(OK)) as (server, client):
        await ask(client)
        await eventually(lambda: all(line.ended for line in client._kept))
        assert await ask(client) == Answer(200, b"ok")
        assert server.connections == 2


async def test_who_has_left_sends_nothing_any_more() -> None:
    async with server_that(nothing, answers(OK)) as (server, client):
        asking = asyncio.ensure_future(ask(client))
        await eventually(lambda: len(server.commands) == 1)
        client.close()
        with pytest.raises(Broken):
            await asking
        with pytest.raises(Unreachable):
            await ask(client)
        assert len(server.commands) == 1


async def test_no_more_than_so_many_commands_are_asked_at_once_and_waiting_for_one_is_limited_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "_COMMANDS_AT_ONCE", 1)
    released = asyncio.Event()

    async def answers_late(writer: asyncio.StreamWriter) -> None:
        await released.wait()
        await answers(OK)(writer)

    async with server_that(answers_late, answers(OK)) as (server, client):
        first, second = asyncio.ensure_future(ask(client)), asyncio.ensure_future(ask(client))
        await eventually(lambda: len(server.commands) == 1)
        with pytest.raises(TimeoutError):
            await ask(client, within=0.05)
        assert len(server.commands) == 1
        released.set()
        assert [await first, await second] == [Answer(200, b"ok")] * 2
        assert server.connections == 1


async def test_a_server_that_is_not_there_is_told_as_that() -> None:
    async with server_that() as (server, _):
        url = server.url
    with pytest.raises(Unreachable, match=r"refused|failed"):
        await ask(Http(url, "dari", "secret"))


ONE, OTHER = Command("POST", "/ari/one", b"{}"), Command("DELETE", "/ari/other", b"")


async def test_commands_of_one_piece_share_a_connection_and_each_has_its_own_answer() -> None:
    refused = OK.replace(b"200 OK", b"404 Not Found")
    async with server_that(answers(refused), answers(NO_CONTENT)) as (server, client):
        assert await client.ask((ONE, OTHER), PATIENCE) == [Answer(404, b"ok"), Answer(204, b"")]
        assert [command.split(b" ")[1] for command in server.commands] == [b"/base/ari/one", b"/base/ari/other"]
        assert server.connections == 1


async def test_what_has_been_done_is_counted() -> None:
    refused = OK.replace(b"200 OK", b"404 Not Found")
    async with server_that(answers(NO_CONTENT), answers(refused), answers(OK), closes) as (_, client):
        await client.ask((ONE, OTHER), PATIENCE)
        await answer_to(client, Command("GET", "/ari/x", b""))
        with pytest.raises(Broken):
            await ask(client)
        assert client.deeds == 1


async def test_answers_of_one_piece_may_come_together() -> None:
    async with server_that(answers(OK + NO_CONTENT), nothing, answers(OK)) as (server, client):
        assert await client.ask((ONE, OTHER), PATIENCE) == [Answer(200, b"ok"), Answer(204, b"")]
        await eventually(lambda: len(server.commands) == 2)
        assert (await ask(client)).body == b"ok"
        assert server.connections == 1


@pytest.mark.parametrize("first", [answers(OK.replace(b"Server: Asterisk", b"Connection: close")), answers(OK)])
async def test_what_is_not_answered_when_the_connection_ends_is_broken(first: Says) -> None:
    async with server_that(first, closes) as (_, client):
        done, lost = await client.ask((ONE, OTHER), PATIENCE)
        assert done == Answer(200, b"ok")
        assert isinstance(lost, Broken)


async def test_what_is_not_answered_in_time_is_given_up_with_its_connection() -> None:
    async with server_that(answers(OK), nothing, answers(OK)) as (server, client):
        done, late = await client.ask((ONE, OTHER), 0.2)
        assert done == Answer(200, b"ok")
        assert isinstance(late, TimeoutError)
        await ask(client)
        assert server.connections == 2
