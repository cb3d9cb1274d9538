"""Ringback classes out of the sqlite3 table, heard by a caller who was not answered."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from engine.trunks.model import Trunk
from tests.plain_sip import Call, Telephone
from tests.real_asterisk import RunningAsterisk, loopback, start_asterisk, write_tone

SERVER, CARRIER = (loopback(12, host) for host in (21, 22))
FIRST, SECOND = 500, 900  # Hz


@pytest_asyncio.fixture(scope="module")
async def asterisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    running = await start_asterisk(
        tmp_path_factory.mktemp("m"), SERVER, [Trunk(name="carrier", match=(CARRIER,), contact=f"sip:{CARRIER}")]
    )
    yield running
    await running.stop()


async def hear_class(asterisk: RunningAsterisk, name: str, seconds: float) -> Call:
    """What a caller gets and hears for `seconds` when an engine starts class `name` for him."""
    async with asterisk.ari() as ari:
        socket = await ari.ws_connect("/ari/events", params={"app": "dari-test"})
        with Telephone(CARRIER) as telephone:
            calling = asyncio.ensure_future(telephone.call(asterisk.sip_address, "05071234567", seconds))
            channel = (await socket.receive_json())["channel"]["id"]
            await ari.post("/ari/events/claim", params={"channelId": channel, "application": "dari-test"})
            while (await socket.receive_json())["type"] != "StasisStart":
                pass
            answer = await ari.post(f"/ari/channels/{channel}/moh", params={"mohClass": name})
            assert answer.status == 204
            call = await calling
            await ari.delete(f"/ari/channels/{channel}")
        await socket.close()
    return call


async def test_a_class_inserted_at_run_time_plays_from_its_beginning_again_and_again(
    asterisk: RunningAsterisk,
) -> None:
    folder = asterisk.settings.home / "ringback" / "shop"
    write_tone(folder / "ringback.wav", (FIRST, 0.6), (SECOND, 0.6))
    with sqlite3.connect(asterisk.settings.music) as table:
        table.execute("INSERT INTO musiconhold (name, directory) VALUES ('shop', ?)", (str(folder),))
    table.close()
    for _ in range(2):  # the second caller too hears it from its beginning
        call = await hear_class(asterisk, "shop", 2.4)
        assert call.codes == [100, 183]
        assert call.tones(0.1, 0.5) == {FIRST}
        assert call.tones(0.7, 1.1) == {SECOND}
        assert call.tones(1.3, 1.7) == {FIRST}


async def test_asterisk_does_not_keep_the_table_from_its_writer(asterisk: RunningAsterisk) -> None:
    with sqlite3.connect(asterisk.settings.music, timeout=0) as table:
        table.execute("BEGIN EXCLUSIVE")
        table.rollback()
    table.close()
