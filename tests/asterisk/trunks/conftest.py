"""An Asterisk with two trunks for each test file's worker, their carriers, and an application that takes every call."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from engine.asterisk.commands import Ari
from engine.asterisk.connection import Connection
from engine.asterisk.manager import Manager
from engine.foundation.tasks import Tasks
from engine.sandbox.carrier import Carrier
from tests.asterisk.trunks.desk import APP, FIRST, FIRST_TRUNK, SECOND, SECOND_TRUNK, SERVER, Desk
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk, start_asterisk, write_tone


@pytest.fixture(scope="session")
async def asterisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    folder = tmp_path_factory.mktemp("ast")
    write_tone(folder / "sounds" / "ko" / "no-engine.wav", (600, 30.0))
    running = await start_asterisk(folder, SERVER, [FIRST_TRUNK, SECOND_TRUNK])
    yield running
    await running.stop()


@pytest.fixture(autouse=True)
async def two_trunks(asterisk: RunningAsterisk) -> None:
    """Whatever the test before has changed."""
    await asterisk.change_trunks([FIRST_TRUNK, SECOND_TRUNK])


@pytest.fixture(scope="session")
async def ari(asterisk: RunningAsterisk) -> AsyncIterator[Ari]:
    async with Ari(asterisk.ari_url, APP, asterisk.ari_user, asterisk.ari_password) as ari:
        yield ari


@pytest.fixture
async def manager(asterisk: RunningAsterisk) -> AsyncIterator[Manager]:
    """Not connected yet."""
    host, _, port = asterisk.ami_address.partition(":")
    manager = Manager(host, int(port), asterisk.ami_user, asterisk.ami_password)
    yield manager
    await manager.close()


@pytest.fixture
async def first() -> AsyncIterator[Carrier]:
    async with Carrier(FIRST, 5070, (SERVER, 5060)) as carrier:
        yield carrier


@pytest.fixture
async def second() -> AsyncIterator[Carrier]:
    async with Carrier(SECOND, 5070, (SERVER, 5060)) as carrier:
        yield carrier


@pytest.fixture
async def desk(asterisk: RunningAsterisk, ari: Ari) -> AsyncIterator[Desk]:
    """Takes calls from when the test begins; leaves no channel and no bridge behind."""
    connection = Connection(asterisk.ari_url, APP, asterisk.ari_user, asterisk.ari_password)
    desk = Desk(ari)
    tasks = Tasks("desk")
    tasks.start("events", desk.serve(connection))
    await eventually(lambda: desk.connected)
    yield desk
    for channel in await ari.channels():
        await ari.hang_up(channel.id, 16)
    for bridge in await ari.bridges():
        await ari.destroy_bridge(bridge.id)
    await tasks.close()
