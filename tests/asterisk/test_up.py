"""`dari up` with everything real: Asterisk, PostgreSQL, the roles, and kill -9."""

from __future__ import annotations

import json
import re
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from engine.supervisor.processes import ended
from engine.supervisor.up import UP
from tests.real_asterisk import start_asterisk
from tests.whole_system import Home, Up, whole_system


@pytest.fixture(scope="module")
async def home() -> AsyncIterator[Home]:
    async with whole_system("127.0.18.1", DARI_WATCHDOG_SECONDS="3") as fresh:
        yield fresh


@pytest.fixture
async def up(home: Home) -> AsyncIterator[Up]:
    """A `dari up` that runs; the parts live on from test to test."""
    running = await home.up()
    yield running
    if running.process.returncode is None:
        running.process.kill()
        await running.process.wait()


async def test_ready_is_one_line_with_every_address_and_all_parts_live(home: Home, up: Up) -> None:
    told = re.fullmatch(r"READY sip=(\S+) http=(\S+) gateway=(\S+) home=(.+)", up.ready)
    assert told
    assert told.groups() == ("127.0.18.1:5060", "127.0.18.1:8050", "http://127.0.18.1:8051", str(home.folder))
    assert set(home.parts()) == set(UP)
    async with aiohttp.ClientSession() as session:
        for path in ("/health", "/ready"):
            async with session.get(f"http://127.0.18.1:8050{path}") as answer:
                assert answer.status == 200, await answer.text()
    assert (home.folder / "secrets.json").stat().st_mode & 0o777 == 0o600


async def test_status_tells_every_part_and_the_engine(home: Home, up: Up) -> None:
    found = await home.status()
    parts = {part["name"]: part for part in found["parts"]}
    assert {name: part["pid"] for name, part in parts.items()} == {n: p.pid for n, p in home.parts().items()}
    assert {part["state"] for part in parts.values()} == {"running"}
    assert parts["asterisk"]["version"].startswith("22.")
    assert found["supervisor"] == up.process.pid
    assert found["engine"]["state"] == "ready"
    assert found["engine"]["live_calls"] == 0
    assert found["database"]["answers"] is True


async def test_doctor_finds_nothing_bad(home: Home, up: Up) -> None:
    code, output, errors = await home.run("doctor", "--json")
    checks = [json.loads(line) for line in output.splitlines()]
    assert [check for check in checks if check["state"] == "bad"] == []
    assert code == 0, errors
    assert {"asterisk", "asterisk modules", "manager", "sounds", "recordings", "tables", "recording key", "voice"} <= {
        check["name"] for check in checks
    }


async def test_draining_is_told_and_undone(home: Home, up: Up) -> None:
    code, _, errors = await home.run("drain")
    assert code == 0
    assert "no live call is left" in errors
    assert (await home.status())["engine"]["state"] == "draining"
    async with aiohttp.ClientSession() as session, session.get("http://127.0.18.1:8050/ready") as answer:
        assert answer.status == 503
    assert (await home.run("drain", "--undo"))[0] == 0
    assert (await home.status())["engine"]["state"] == "ready"


async def test_a_second_dari_up_is_refused_in_one_sentence(home: Home, up: Up) -> None:
    code, output, errors = await home.run("up")
    assert code == 1
    assert output == ""
    assert errors.splitlines() == [
        f"dari: `dari up` already runs on {home.folder} (pid {up.process.pid}); "
        "stop it with `dari down` or set another DARI_HOME"
    ]


async def test_parts_outlive_a_killed_dari_up_and_the_next_one_takes_them_over(home: Home, up: Up) -> None:
    before = home.parts()
    up.process.kill()
    await up.process.wait()
    assert home.parts() == before
    before["jobs"].send(signal.SIGKILL)
    await ended(before["jobs"])
    again = await home.up()
    after = home.parts()
    assert after.pop("jobs") != before.pop("jobs")
    assert after == before
    again.process.kill()
    await again.process.wait()


async def test_every_part_that_is_killed_is_started_again(home: Home, up: Up) -> None:
    for name in UP:
        before = home.parts()[name]
        before.send(signal.SIGKILL)
        after = await home.until_parts(other_than={name: before})
        assert after[name] != before
    restarts = {part["name"]: part["restarts"] for part in (await home.status())["parts"]}
    assert all(count >= 1 for count in restarts.values()), restarts


async def test_a_frozen_engine_is_cut_off_and_started_again(home: Home, up: Up) -> None:
    before = home.parts()["engine"]
    assert (await home.status())["engine"] is not None
    before.send(signal.SIGSTOP)
    after = await home.until_parts(other_than={"engine": before})
    assert after["engine"] != before


async def test_ctrl_c_leaves_nothing_behind(home: Home, up: Up) -> None:
    parts = home.parts()
    assert await up.stop() == 0
    assert not any(process.lives for process in parts.values())
    assert home.left() == []
    assert list((home.folder / "run").glob("*.pid")) == []
    stopped = [line.partition(":")[0] for line in up.said.splitlines() if line.endswith(": stopped")]
    assert stopped == ["engine", "web", "jobs", "watchdog", "gateway", "asterisk", "postgres"]


async def test_down_ends_what_a_killed_dari_up_left(home: Home, up: Up) -> None:
    parts = home.parts()
    up.process.kill()
    await up.process.wait()
    code, _, errors = await home.run("down")
    assert code == 0, errors
    assert not any(process.lives for process in parts.values())
    assert home.left() == []
    assert {part["state"] for part in (await home.status())["parts"]} == {"down"}


async def test_down_tells_a_running_dari_up_and_waits_for_it(home: Home, up: Up) -> None:
    assert (await home.run("down"))[0] == 0
    assert await up.process.wait() == 0
    assert home.left() == []


async def test_a_taken_port_is_refused_naming_the_holder_and_nothing_stays() -> None:
    async with whole_system("127.0.18.2") as home:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.18.2", 5060))
            code, output, errors = await home.run("up")
        assert (code, output) == (1, "")
        assert "DARI_SIP_BIND: UDP port 5060 on 127.0.18.2 is taken by" in errors
        assert home.left() == []


async def test_any_port_moves_on_and_internal_ports_give_way_silently() -> None:
    async with whole_system("127.0.18.3") as home:
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sip,
            socket.create_server(("127.0.18.3", 8050)),
            socket.create_server(("127.0.18.3", 8088)),
            socket.create_server(("127.0.18.3", 5038)),
        ):
            sip.bind(("127.0.18.3", 5060))
            up = await home.up("--any-port")
            assert "sip=127.0.18.3:5061 http=127.0.18.3:8051 " in up.ready
            assert "127.0.18.3:5060 is taken" in up.said
            before = home.parts()
            up.process.kill()
            await up.process.wait()
            assert (await home.up("--any-port")).ready == up.ready
            assert home.parts() == before


async def test_an_operators_own_asterisk_is_used_and_left_running(tmp_path: Path) -> None:
    asterisk = await start_asterisk(tmp_path, "127.0.18.5", [])
    theirs = {
        "DARI_ARI_URL": asterisk.ari_url,
        "DARI_ARI_PASSWORD": asterisk.ari_password,
        "DARI_AMI_ADDRESS": asterisk.ami_address,
        "DARI_AMI_PASSWORD": asterisk.ami_password,
        "DARI_SOUNDS": str(asterisk.settings.sounds),
        "DARI_ASTERISK_SPOOL": str(asterisk.settings.spool),
    }
    try:
        async with whole_system("127.0.18.6", **theirs) as home:
            up = await home.up()
            assert set(home.parts()) == set(UP) - {"asterisk"}
            assert (await home.status())["engine"]["state"] == "ready"
            assert await up.stop() == 0
            assert home.left() == []
            assert "fully booted" in await asterisk.ask("core waitfullybooted")
        async with whole_system("127.0.18.6", **theirs | {"DARI_ARI_PASSWORD": "wrong"}) as home:
            code, output, errors = await home.run("up")
            assert (code, output) == (1, "")
            assert "check DARI_ARI_URL, DARI_ARI_USER, DARI_ARI_PASSWORD" in errors.splitlines()[-1]
            assert home.left() == []
    finally:
        await asterisk.stop()


async def test_a_wrong_setting_is_one_sentence_and_starts_nothing() -> None:
    async with whole_system("127.0.18.4", DARI_RTP_PORTS="many") as home:
        code, output, errors = await home.run("up")
        assert (code, output) == (1, "")
        assert errors.startswith("dari: setting DARI_RTP_PORTS: must be FIRST-LAST")
        assert len(errors.splitlines()) == 1
        assert home.left() == []
