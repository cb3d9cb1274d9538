"""The event socket: it comes back for ever, never blocks, and counts what it does not know."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime

import aiohttp
import pytest
import structlog

from engine.asterisk.connection import Connected, Connection, Disconnected
from engine.asterisk.events import ApplicationReplaced, BridgeDestroyed, Event
from tests.eventually import PATIENCE
from tests.fake_ari import FakeAri

BRIDGE = '{"type":"BridgeDestroyed","application":"dari-n1","bridge":{"id":"%s","technology":"","bridge_type":""}}'

Next = Callable[[], Awaitable[Event | Connected | Disconnected]]


@asynccontextmanager
async def reading(connection: Connection) -> AsyncIterator[Next]:
    """Gives a function that waits for the next event."""
    async with aclosing(connection.events()) as events:  # type: ignore[type-var]

        async def following() -> Event | Connected | Disconnected:
            async with asyncio.timeout(PATIENCE):
                return await anext(events)

        yield following


def connection_to(server: FakeAri, heartbeat: float = 5.0) -> Connection:
    return Connection(
        server.url, "dari-n1", "dari", "secret-password", event_types=["StasisStart"], heartbeat=heartbeat
    )


async def test_filter_is_set_before_it_counts_as_connected() -> None:
    async with FakeAri() as server, reading(connection_to(server)) as following:
        assert await following() == Connected(first=True)
        opened, filtered = server.seen
        assert opened.address == "/ari/events?app=dari-n1"
        assert filtered.address == "/ari/applications/dari-n1/eventFilter"
        assert filtered.body == {"allowed": [{"type": "StasisStart"}]}
        assert opened.authorization == aiohttp.encode_basic_auth("dari", "secret-password")


async def test_connection_that_drops_comes_back_and_says_that_events_may_be_missing() -> None:
    connection: Connection
    async with FakeAri() as server:
        connection = connection_to(server)
        async with reading(connection) as following:
            await following()
            await (await server.connected()).close()
            assert await following() == Disconnected("Asterisk closed the connection")
            assert connection.state == "not connected: Asterisk closed the connection"
            assert await following() == Connected(first=False)
            assert connection.state == "connected"


async def test_peer_that_answers_no_pings_is_given_up() -> None:
    async with FakeAri(answers_pings=False) as server, reading(connection_to(server, heartbeat=0.05)) as following:
        assert await following() == Connected(first=True)
        assert isinstance(await following(), Disconnected)


async def test_peer_that_tells_events_and_answers_no_pings_is_given_up() -> None:
    async with FakeAri(answers_pings=False) as server, reading(connection_to(server, heartbeat=0.2)) as following:
        assert await following() == Connected(first=True)
        socket = await server.connected()
        told = 0
        while True:
            with suppress(ConnectionError):  # given up just now
                await socket.send_str(BRIDGE % told)
            if isinstance(await following(), Disconnected):
                break
            await asyncio.sleep(0.01)
            told += 1
        assert told


async def test_event_lag_is_counted_from_asterisks_own_instant() -> None:
    now = datetime(2026, 11, 21, 12, 0, 10, tzinfo=UTC)

    class ByHand:
        def now(self) -> datetime:
            return now

        def monotonic(self) -> float:
            return 5.0

    async with FakeAri() as server:
        connection = Connection(server.url, "dari-n1", "dari", "x", clock=ByHand())
        async with reading(connection) as following:
            await following()
            assert connection.event_lag is None
            socket = await server.connected()
            for number in range(100):
                instant = "12:00:08.500" if number else "12:00:01.000"
                told = f'"timestamp":"2026-11-21T{instant}+0000"'
                await socket.send_str(BRIDGE[:-1] % number + f",{told}}}")
                await following()
            await socket.send_str(BRIDGE % "without an instant")
            await following()
    assert connection.event_lag == 9.0


async def test_events_come_in_order_and_unknown_ones_are_counted() -> None:
    async with FakeAri() as server:
        connection = connection_to(server)
        async with reading(connection) as following:
            await following()
            socket = await server.connected()
            for text in (BRIDGE % "b1", '{"type":"New"}', "garbage", '{"type":"New"}', BRIDGE % "b2"):
                await socket.send_str(text)
            told = [await following(), await following()]
        assert [event.bridge.id for event in told if isinstance(event, BridgeDestroyed)] == ["b1", "b2"]
        assert connection.unknown == {"New": 2, "unreadable": 1}


async def test_slow_reader_shows_as_lag_and_loses_nothing() -> None:
    class ByHand:
        seconds = 0.0

        def monotonic(self) -> float:
            return self.seconds

    clock = ByHand()
    async with FakeAri() as server:
        connection = Connection(server.url, "dari-n1", "dari", "x", clock=clock)  # type: ignore[arg-type]
        async with reading(connection) as following:
            await following()
            socket = await server.connected()
            for number in range(100):
                await socket.send_str(BRIDGE % number)
            assert isinstance(await following(), BridgeDestroyed)
            clock.seconds = 3.0
            assert connection.lag == 3.0
            for _ in range(99):
                assert isinstance(await following(), BridgeDestroyed)


async def test_taken_name_is_told_and_does_not_count_as_connected() -> None:
    async with FakeAri() as server:
        connection = connection_to(server)
        async with reading(connection) as following:
            await following()
            await (await server.connected()).send_str('{"type":"ApplicationReplaced","application":"dari-n1"}')
            assert isinstance(await following(), ApplicationReplaced)
            assert not connection.connected
            assert connection.state.startswith("replaced")


@pytest.mark.parametrize(
    ("status", "sentence"),
    [(401, "refuses the ARI user dari or its password"), (404, "is ARI enabled")],
)
async def test_refusal_is_logged_once_however_often_it_comes_again(status: int, sentence: str) -> None:
    async with FakeAri(event_status=status) as server:
        connection = connection_to(server)
        with structlog.testing.capture_logs() as logged:
            async with reading(connection) as following:
                async with asyncio.timeout(PATIENCE):
                    waiting = asyncio.ensure_future(following())
                    while len(server.seen) < 3:
                        await asyncio.sleep(0.02)
                assert sentence in connection.state
                server.event_status = 101
                assert await waiting == Connected(first=True)
        assert len([entry for entry in logged if sentence in entry["event"]]) == 1
        assert "secret-password" not in str(logged)
