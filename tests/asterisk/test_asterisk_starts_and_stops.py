"""A real Asterisk, started and stopped as the supervisor does it."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.supervisor import asterisk
from tests.real_asterisk import loopback, start_asterisk

SERVER = loopback(12, 61)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


@pytest.mark.parametrize("start", ["first", "second"])
async def test_asterisk_stops_by_itself_and_starts_again_on_the_same_files(folder: Path, start: str) -> None:
    assert (folder / "db").exists() == (start == "second")
    running = await start_asterisk(folder, SERVER, [])
    program, etc, process = running.settings.program, running.etc, running.process
    try:
        assert await asterisk.is_booted(program, etc)
        await asterisk.stop(program, etc, process.pid, lambda: process.returncode is None)
        assert process.returncode == 0
        assert not await asterisk.is_booted(program, etc)
    finally:
        await running.stop()


async def test_ari_and_manager_want_the_password(tmp_path: Path) -> None:
    running = await start_asterisk(tmp_path, SERVER, [])
    try:
        async with running.ari() as ari:
            assert (await ari.get("/ari/asterisk/info")).status == 200
            refused = await ari.get("/ari/asterisk/info", headers={"Authorization": "Basic ZGFyaTp3cm9uZw=="})
            assert refused.status == 401
    finally:
        await running.stop()
