"""Trunks into Asterisk: the file, the reload, and what is done again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from engine.foundation.errors import TryLater
from engine.foundation.tasks import Tasks
from engine.trunks.model import Login, Trunk
from engine.trunks.provisioning import TrunkProvisioning
from tests.eventually import PATIENCE

CARRIER = Trunk(name="carrier", match=("203.0.113.5",), contact="sip:203.0.113.5")
KNOWN = msgspec.structs.replace(CARRIER, login=Login(user="u", password="p"), register=True)


class Asterisk:
    """Reads files again, unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.asked = 0
        self.reloaded = asyncio.Event()
        self.registered_again: list[str] = []

    async def reload(self, _module: str) -> None:
        self.asked += 1
        if self.away:
            raise TryLater("the manager of Asterisk is away")
        self.reloaded.set()

    async def register_again(self, name: str) -> None:
        self.registered_again.append(name)


async def test_only_a_login_that_changed_is_registered_anew(tmp_path: Path) -> None:
    asterisk = Asterisk()
    provisioning = TrunkProvisioning(tmp_path, "", asterisk.reload, asterisk.register_again)
    for trunk in (CARRIER, KNOWN, msgspec.structs.replace(KNOWN, priority=7, options_seconds=9)):
        await provisioning.provide([trunk])
    assert asterisk.registered_again == []
    await provisioning.provide([msgspec.structs.replace(KNOWN, login=Login(user="u", password="another"))])
    assert asterisk.registered_again == ["carrier"]


async def test_a_file_with_a_password_is_for_its_owner_alone(tmp_path: Path) -> None:
    provisioning = TrunkProvisioning(tmp_path, "", Asterisk().reload)
    file = tmp_path / "pjsip_trunks.conf"
    for trunk, mode in ((CARRIER, 0o644), (KNOWN, 0o600), (CARRIER, 0o644)):
        await provisioning.provide([trunk])
        assert file.stat().st_mode & 0o777 == mode


async def test_a_change_is_written_and_read_and_what_is_there_already_is_not(tmp_path: Path) -> None:
    asterisk = Asterisk()
    provisioning = TrunkProvisioning(tmp_path, "", asterisk.reload)
    await provisioning.provide([CARRIER])
    assert "203.0.113.5" in (tmp_path / "pjsip_trunks.conf").read_text()
    assert asterisk.asked == 1
    await provisioning.provide([CARRIER])
    assert asterisk.asked == 1
    await provisioning.provide([])
    assert asterisk.asked == 2
    assert "203.0.113.5" not in (tmp_path / "pjsip_trunks.conf").read_text()


async def test_a_reload_that_did_not_get_through_is_tried_again_without_another_change(tmp_path: Path) -> None:
    asterisk = Asterisk()
    provisioning = TrunkProvisioning(tmp_path, "", asterisk.reload, try_every=0.01)
    asterisk.away = True
    await provisioning.provide([CARRIER])
    assert asterisk.asked == 1
    asterisk.away = False
    tasks = Tasks("test")
    tasks.start("provisioning", provisioning.keep_trying())
    try:
        async with asyncio.timeout(PATIENCE):
            await asterisk.reloaded.wait()
    finally:
        await tasks.close()


async def test_a_file_that_cannot_be_written_is_written_once_it_can_be(tmp_path: Path) -> None:
    asterisk = Asterisk()
    folder = tmp_path / "etc"
    provisioning = TrunkProvisioning(folder, "", asterisk.reload, try_every=0.01)
    await provisioning.provide([CARRIER])
    assert asterisk.asked == 0
    folder.mkdir()
    tasks = Tasks("test")
    tasks.start("provisioning", provisioning.keep_trying())
    try:
        async with asyncio.timeout(PATIENCE):
            await asterisk.reloaded.wait()
    finally:
        await tasks.close()
    assert "203.0.113.5" in (folder / "pjsip_trunks.conf").read_text()
