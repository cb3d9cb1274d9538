"""One Asterisk for all tests of our client to it; a carrier for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from engine.asterisk.commands import Ari
from engine.asterisk.connection import Connected, Connection
from engine.asterisk.manager import Manager
from engine.foundation.tasks import Tasks
from engine.prompts.music import Music
from engine.sandbox.carrier import Carrier
from engine.settings import PRODUCT_FILES
from engine.trunks.model import Trunk
from tests.contract_worlds import APP, SECONDS, FakeWorld, RealWorld, World
from tests.fake_asterisk import FakeAsterisk
from tests.real_asterisk import RunningAsterisk, loopback, start_asterisk, write_tone

SERVER, CARRIER = loopback(11, 1), loopback(11, 2)
TRUNK = Trunk(name="carrier", match=(CARRIER,), contact=f"sip:{CARRIER}:5070")


@pytest.fixture(scope="session")
async def asterisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    folder = tmp_path_factory.mktemp("ast")
    for sound, seconds in SECONDS.items():
        write_tone(folder / "sounds" / f"{sound}.wav", (600, seconds))
    running = await start_asterisk(folder, SERVER, [TRUNK])
    yield running
    await running.stop()


@pytest.fixture(scope="session")
async def ari(asterisk: RunningAsterisk) -> AsyncIterator[Ari]:
    async with Ari(asterisk.ari_url, APP, asterisk.ari_user, asterisk.ari_password) as ari:
        yield ari


@pytest.fixture(scope="session")
async def manager(asterisk: RunningAsterisk) -> AsyncIterator[Manager]:
    host, _, port = asterisk.ami_address.partition(":")
    async with Manager(host, int(port), asterisk.ami_user, asterisk.ami_password) as manager:
        yield manager


@pytest.fixture
async def fake_world() -> AsyncIterator[World]:
    tasks = Tasks("inbox")
    async with FakeAsterisk(APP, sounds=SECONDS) as fake:
        world = FakeWorld(fake)
        tasks.start("events", world.inbox.read())
        yield world
        await tasks.close()


@pytest.fixture
async def real_world(asterisk: RunningAsterisk, ari: Ari, manager: Manager) -> AsyncIterator[World]:
    """Leaves no channel and no bridge behind."""
    connection = Connection(asterisk.ari_url, APP, asterisk.ari_user, asterisk.ari_password)
    schema = (PRODUCT_FILES / "asterisk-conf" / "music.sql").read_text()
    music = Music(asterisk.settings.music, asterisk.settings.sounds, schema)
    tasks = Tasks("inbox")
    async with Carrier(CARRIER, 5070, (SERVER, 5060)) as carrier:
        world = RealWorld(ari, connection, manager.record, carrier, str(asterisk.settings.sounds), music.music_class)
        tasks.start("events", world.inbox.read())
        await world.inbox.until(lambda: any(isinstance(event, Connected) for event in world.inbox.events), "Connected")
        yield world
        for channel in await ari.channels():
            await ari.hang_up(channel.id, 16)
        for bridge in await ari.bridges():
            await ari.destroy_bridge(bridge.id)
    await tasks.close()


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest) -> World:
    """Each test runs in both."""
    chosen: World = request.getfixturevalue(f"{request.param}_world")
    return chosen
