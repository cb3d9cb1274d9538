"""The manager against a real Asterisk with the product's rights."""

from __future__ import annotations

import asyncio

import pytest

from engine.asterisk.manager import Manager
from engine.foundation.errors import Invalid, NotAllowed, NotFound, TryLater
from tests.contract_worlds import PATIENCE, World
from tests.real_asterisk import RunningAsterisk


async def test_manager_tells_its_status(manager: Manager) -> None:
    assert manager.state == "connected"
    assert (await manager.core_status())["CoreCurrentCalls"].isdigit()


async def test_database_keeps_what_was_put_until_it_is_deleted(manager: Manager) -> None:
    await manager.database_put("dari", "key", "한글, a b")
    assert await manager.database_get("dari", "key") == "한글, a b"
    await manager.database_delete("dari", "key")
    await manager.database_delete("dari", "key")
    with pytest.raises(NotFound):
        await manager.database_get("dari", "key")


async def test_modules_are_reloaded_and_unknown_ones_refused(manager: Manager) -> None:
    await manager.reload("res_pjsip.so")
    with pytest.raises(Invalid, match="No such module"):
        await manager.reload("no_such_module.so")


async def test_recording_is_written_until_it_is_stopped(
    asterisk: RunningAsterisk, manager: Manager, real_world: World
) -> None:
    channel, _ = await real_world.bridged("b-record", "t-record")
    name = (await real_world.ari.channel(channel)).name
    file = asterisk.settings.spool / "monitor" / "contract.raw"
    await manager.record(name, file.name, "D")
    async with asyncio.timeout(PATIENCE):
        while not (file.exists() and file.stat().st_size):
            await asyncio.sleep(0.02)
    await manager.stop_recording(name)
    with pytest.raises(Invalid):
        await manager.stop_recording(name)


async def test_listing_gives_its_items(manager: Manager) -> None:
    reply = await manager.action("PJSIPShowEndpoints")
    assert [item["ObjectName"] for item in reply.items] == ["carrier"]


async def test_right_that_the_user_has_not_is_refused(manager: Manager) -> None:
    with pytest.raises(NotAllowed):
        await manager.command("core show version")


async def test_line_break_never_reaches_asterisk(manager: Manager) -> None:
    with pytest.raises(Invalid, match="one line"):
        await manager.database_put("dari", "key", "x\r\nAction: Logoff")
    assert manager.connected


async def test_wrong_secret_is_told_in_one_sentence(asterisk: RunningAsterisk) -> None:
    host, _, port = asterisk.ami_address.partition(":")
    async with Manager(host, int(port), asterisk.ami_user, "wrong") as manager:
        assert "refuses the user dari or its secret" in manager.state
        with pytest.raises(TryLater):
            await manager.core_status()


async def test_calls_wake_no_session(asterisk: RunningAsterisk, manager: Manager, real_world: World) -> None:
    host, _, port = asterisk.ami_address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        who = f"Username: {asterisk.ami_user}\r\nSecret: {asterisk.ami_password}\r\n"
        writer.write(f"Action: Login\r\n{who}Events: on\r\n\r\n".encode())
        channel, _ = await real_world.bridged("b-silent", "t-silent")
        await real_world.ari.hang_up(channel, 16)
        await manager.reload("res_pjsip.so")  # the last thing that happens is told, so nothing is on its way any more
        async with asyncio.timeout(PATIENCE):
            told = (await reader.readuntil(b"Event: Reload\r\n")).decode()
    finally:
        writer.close()
    assert {line for line in told.splitlines() if line.startswith("Event: ")} <= {"Event: FullyBooted", "Event: Reload"}
