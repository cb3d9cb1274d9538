"""The event socket against a real Asterisk."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from engine.asterisk.commands import Ari
from engine.asterisk.connection import Connected, Connection
from engine.asterisk.events import ApplicationReplaced
from engine.foundation.tasks import Tasks
from tests.contract_worlds import APP, PATIENCE, Inbox, World
from tests.real_asterisk import RunningAsterisk


@asynccontextmanager
async def reading(connection: Connection) -> AsyncIterator[Inbox]:
    inbox, tasks = Inbox(connection), Tasks("inbox")
    tasks.start("events", inbox.read())
    try:
        yield inbox
    finally:
        await tasks.close()


def has(inbox: Inbox, kind: type) -> bool:
    return any(isinstance(event, kind) for event in inbox.events)


async def test_connection_says_when_it_is_connected(asterisk: RunningAsterisk, ari: Ari) -> None:
    connection = Connection(asterisk.ari_url, APP, asterisk.ari_user, asterisk.ari_password)
    async with reading(connection) as inbox:
        await inbox.until(lambda: bool(inbox.events), "Connected")
        assert inbox.events == [Connected(first=True)]
        assert (connection.connected, connection.state) == (True, "connected")
        assert (await ari.app()).name == APP
    assert not connection.connected


async def test_no_event_comes_that_we_do_not_know(real_world: World) -> None:
    await real_world.bridged("b-known", "t-known")
    await real_world.hung_up("t-known")
    assert real_world.inbox.connection.unknown == Counter()


async def test_wrong_password_is_one_sentence_and_not_the_end(asterisk: RunningAsterisk, ari: Ari) -> None:
    connection = Connection(asterisk.ari_url, APP, asterisk.ari_user, "wrong")
    async with reading(connection) as inbox:
        async with asyncio.timeout(PATIENCE):
            while connection.state == "not connected yet":
                await ari.version()
        assert "refuses the ARI user dari or its password (401)" in connection.state
        assert inbox.events == []


async def test_second_engine_of_the_same_name_is_noticed_by_the_first(asterisk: RunningAsterisk) -> None:
    def connection() -> Connection:
        return Connection(asterisk.ari_url, "dari-twice", asterisk.ari_user, asterisk.ari_password)

    first, second = connection(), connection()
    async with reading(first) as inbox:
        await inbox.until(lambda: has(inbox, Connected), "Connected")
        async with reading(second) as other:
            await inbox.until(lambda: has(inbox, ApplicationReplaced), "ApplicationReplaced")
            await other.until(lambda: has(other, Connected), "Connected")
            assert first.state.startswith("replaced: another program uses the ARI application dari-twice")
            assert not first.connected
            assert second.connected
