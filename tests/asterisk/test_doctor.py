"""The doctor before a real Asterisk that somebody else runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from engine.settings import Settings, read_settings
from engine.supervisor.asterisk_checks import asterisk_checks
from engine.supervisor.check import Check, State
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk, start_asterisk

IP = "127.0.18.5"


@pytest.fixture(scope="module")
async def asterisk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningAsterisk]:
    running = await start_asterisk(tmp_path_factory.mktemp("asterisk"), IP, [])
    running.settings.sounds.mkdir(exist_ok=True)
    yield running
    await running.stop()


def settings(asterisk: RunningAsterisk, home: Path, **changes: object) -> Settings:
    values: dict[str, object] = {
        "home": home,
        "ari_url": asterisk.ari_url,
        "ari_user": asterisk.ari_user,
        "ari_password": asterisk.ari_password,
        "ami_address": asterisk.ami_address,
        "ami_user": asterisk.ami_user,
        "ami_password": asterisk.ami_password,
        "sounds": str(asterisk.settings.sounds),
        "asterisk_spool": str(asterisk.settings.spool),
    }
    return read_settings(**(values | changes))


async def checked(asterisk: RunningAsterisk, home: Path, **changes: object) -> dict[str, Check]:
    found = await asterisk_checks(settings(asterisk, home, **changes), own=False)
    return {check.name: check for check in found}


def wrong(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.state is not State.OK}


async def test_an_asterisk_that_shares_its_folders_is_fine_and_nothing_is_left_there(
    asterisk: RunningAsterisk, tmp_path: Path
) -> None:
    checks = await checked(asterisk, tmp_path)
    assert set(checks) == {"asterisk", "asterisk modules", "manager", "sounds", "recordings"}
    assert wrong(checks) == set()
    assert list(asterisk.settings.sounds.iterdir()) == []
    assert list((asterisk.settings.spool / "recording").iterdir()) == []
    headers = {"Authorization": aiohttp.encode_basic_auth(asterisk.ari_user, asterisk.ari_password)}
    async with aiohttp.ClientSession(asterisk.ari_url, headers=headers) as session:

        async def nothing_is_left() -> bool:  # Asterisk lets them go a moment after it says so
            left: list[object] = []
            for what in ("bridges", "channels"):
                async with session.get(f"/ari/{what}") as answer:
                    left += await answer.json()
            return not left

        await eventually(nothing_is_left)


async def test_sounds_that_asterisk_does_not_find_are_refused(asterisk: RunningAsterisk, tmp_path: Path) -> None:
    """Asterisk reads a comma as the end of a name, so what we write there is not there for it."""
    folder = tmp_path / "with,comma"
    folder.mkdir()
    checks = await checked(asterisk, tmp_path, sounds=str(folder))
    assert wrong(checks) == {"sounds"}
    assert "DARI_SOUNDS" in checks["sounds"].mend
    assert list(folder.iterdir()) == []


async def test_sounds_that_cannot_be_written_are_refused(asterisk: RunningAsterisk, tmp_path: Path) -> None:
    checks = await checked(asterisk, tmp_path, sounds=str(tmp_path / "no" / "such"))
    assert wrong(checks) == {"sounds"}
    assert "make it writable" in checks["sounds"].mend


async def test_a_spool_that_is_not_asterisks_is_refused(asterisk: RunningAsterisk, tmp_path: Path) -> None:
    checks = await checked(asterisk, tmp_path, asterisk_spool=str(tmp_path))
    assert wrong(checks) == {"recordings"}
    assert "DARI_ASTERISK_SPOOL" in checks["recordings"].mend


async def test_a_wrong_password_is_refused_and_not_told(asterisk: RunningAsterisk, tmp_path: Path) -> None:
    checks = await checked(asterisk, tmp_path, ari_password="not the word")
    assert set(checks) == wrong(checks) == {"asterisk"}
    assert "DARI_ARI_PASSWORD" in checks["asterisk"].mend
    assert "not the word" not in repr(checks)


async def test_an_unreachable_asterisk_is_refused(asterisk: RunningAsterisk, tmp_path: Path) -> None:
    checks = await checked(asterisk, tmp_path, ari_url=f"http://{IP}:1")
    assert set(checks) == wrong(checks) == {"asterisk"}
    assert checks["asterisk"].state is State.BAD


@pytest.mark.parametrize("changes", [{"ami_password": "x"}, {"ami_address": f"{IP}:1"}, {"ami_address": ""}])
async def test_a_manager_that_does_not_let_us_in_is_refused(
    asterisk: RunningAsterisk, tmp_path: Path, changes: dict[str, object]
) -> None:
    checks = await checked(asterisk, tmp_path, **changes)
    assert wrong(checks) == {"manager"}
    assert "DARI_AMI_ADDRESS" in checks["manager"].mend + checks["manager"].found


async def test_a_missing_module_is_named(asterisk: RunningAsterisk, tmp_path: Path) -> None:
    await asterisk.ask("module unload app_mixmonitor.so")
    try:
        checks = await checked(asterisk, tmp_path)
    finally:
        await asterisk.ask("module load app_mixmonitor.so")
    assert wrong(checks) == {"asterisk modules"}
    assert "app_mixmonitor" in checks["asterisk modules"].found
