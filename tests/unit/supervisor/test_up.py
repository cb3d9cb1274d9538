"""The order of starting and ending, with Python children as parts and real signals to this process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from engine.foundation.errors import Conflict, GaveUp, Invalid
from engine.foundation.process import PidFile, Process, read_pid_file, write_pid_file
from engine.foundation.tasks import Tasks
from engine.settings import read_settings
from engine.supervisor import processes, stopping
from engine.supervisor.home import check_home, check_writable, supervise, supervisor_of
from engine.supervisor.parts import Part
from engine.supervisor.processes import last_line, start_process
from engine.supervisor.stopping import Wish
from engine.supervisor.system import prepare, system_of
from engine.supervisor.up import DOWN, ENGINES, UP, System, keep_small, run_system
from tests.eventually import eventually

SLEEP = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


@dataclass
class Stage:
    """A system of dummy parts and what it said."""

    folder: Path
    scripts: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def system(self) -> System:
        return System(
            run=self.folder, engine_sockets=[self.folder / "engine.sock"], parts={name: self.part(name) for name in UP}
        )

    def part(self, name: str) -> Part:
        log = self.folder / f"{name}.log"

        async def start() -> Process:
            return start_process(name, [sys.executable, "-c", self.scripts.get(name, SLEEP)], dict(os.environ), log)

        async def serves(_process: Process) -> bool:
            return name not in self.scripts or last_line(log) == "up"

        return Part(name=name, start=start, serves=serves, log=log, patience=30.0)

    def pids(self) -> dict[str, Process]:
        files = {name: read_pid_file(self.folder / f"{name}.pid") for name in UP}
        return {name: told.process for name, told in files.items() if told}

    def order(self, word: str) -> tuple[str, ...]:
        return tuple(line.partition(":")[0] for line in self.said if line.endswith(word))

    async def run(self, when_up: Callable[[], None]) -> None:
        async def while_up() -> None:
            when_up()

        await run_system(self.system(), self.said.append, while_up)


def ask_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def test_what_is_done_while_it_is_up_is_cancelled_before_anything_ends(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    cancelled_with: list[str] = []

    async def while_up() -> None:
        ask_to_stop()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled_with.extend(stage.pids())
            raise

    await run_system(stage.system(), stage.said.append, while_up)
    assert set(cancelled_with) == set(UP)
    assert stage.order("stopped") == DOWN


async def test_parts_start_and_end_in_order_and_nothing_is_left(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    seen: dict[str, Process] = {}

    def when_up() -> None:
        seen.update(stage.pids())
        ask_to_stop()

    await stage.run(when_up)
    assert set(seen) == set(UP)
    assert stage.order("ready") == UP
    assert stage.order("stopped") == DOWN
    assert not any(process.lives for process in seen.values())
    assert list(tmp_path.glob("*.pid")) == []


async def test_what_lives_is_taken_over_and_what_died_is_started(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    before = {}
    for name in UP:
        part = stage.part(name)
        if name != "jobs":
            before[name] = await part.start()

    for name, process in before.items():
        write_pid_file(tmp_path / f"{name}.pid", PidFile(process=process))
    seen: dict[str, Process] = {}

    def when_up() -> None:
        seen.update(stage.pids())
        ask_to_stop()

    await stage.run(when_up)
    assert {name: seen[name] for name in before} == before
    assert stage.order("ready") == ("jobs",)
    assert stage.order("taken over") == tuple(name for name in UP if name != "jobs")


async def test_a_part_that_does_not_start_ends_only_what_this_start_began(tmp_path: Path) -> None:

    stage = Stage(tmp_path, scripts={"engine": "raise SystemExit('no key')"})
    adopted = await stage.part("asterisk").start()
    write_pid_file(tmp_path / "asterisk.pid", PidFile(process=adopted))
    with pytest.raises(GaveUp, match="engine ends again and again"):
        await stage.run(lambda: pytest.fail("it is not up"))
    assert stage.pids() == {"asterisk": adopted}
    assert set(stage.order("stopped")) == {"gateway", "jobs", "web", "watchdog", "postgres"}
    adopted.send(signal.SIGKILL)


async def test_a_large_log_is_rotated_while_it_is_written_and_the_oldest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "_LOG_BYTES", 10)
    small, large = tmp_path / "small.log", tmp_path / "large.log"
    small.write_text("few\n")
    tasks = Tasks("test")
    tasks.start("logs", keep_small([tmp_path / "none.log", small, large], every=0.01))
    with large.open("a", buffering=1) as writer:
        for round_ in range(processes._LOGS_KEPT + 2):
            writer.write(f"a long line, number {round_}\n")
            await eventually(lambda: large.stat().st_size == 0)
        writer.write("short\n")
    await tasks.close()
    assert (small.read_text(), large.read_text()) == ("few\n", "short\n")
    kept = [(tmp_path / f"large.log.{age}").read_text() for age in range(1, processes._LOGS_KEPT + 1)]
    assert kept == [f"a long line, number {number}\n" for number in (4, 3, 2)]
    assert len(list(tmp_path.glob("large.log.*"))) == processes._LOGS_KEPT


async def test_what_nobody_waits_for_is_told_when_it_is_taken_down(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    async def two() -> int:
        return 2

    async def while_up() -> None:
        ask_to_stop()

    await run_system(replace(stage.system(), calls_alone=two), stage.said.append, while_up)
    assert "asterisk: 2 calls without an engine, not waited for" in stage.said


def late(part: Part, after: float) -> Part:
    return replace(part, late_after=after)


async def test_the_others_start_without_a_part_that_may_be_late_and_it_is_awaited_no_longer(tmp_path: Path) -> None:
    stage = Stage(tmp_path, scripts={"postgres": SLEEP})  # never serves
    system = stage.system()
    parts = dict(system.parts) | {"postgres": late(system.parts["postgres"], 0.2)}
    ended: list[str] = []

    async def beside(say: Callable[[str], None]) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.extend(stage.pids())

    async def while_up() -> None:
        ask_to_stop()

    await run_system(replace(system, parts=parts, beside=beside), stage.said.append, while_up)
    assert "postgres: not there after 0 s; the others start without it" in stage.said
    assert stage.order("ready") == tuple(name for name in UP if name != "postgres")
    assert set(ended) == set(UP), "what is done beside ends before any part does"
    assert stage.order("stopped") == DOWN


async def test_the_others_start_without_a_late_part_that_dies_and_it_is_started_again(tmp_path: Path) -> None:
    stage = Stage(tmp_path, scripts={"postgres": "raise SystemExit('no room')"})
    system = stage.system()
    parts = dict(system.parts) | {"postgres": late(system.parts["postgres"], 30.0)}
    later: list[Process] = []

    async def while_up() -> None:
        stage.scripts["postgres"] = SLEEP
        await eventually(lambda: "postgres" in stage.pids())
        later.append(stage.pids()["postgres"])
        ask_to_stop()

    await run_system(replace(system, parts=parts), stage.said.append, while_up)
    assert any(line.startswith("postgres ends again and again (no room)") for line in stage.said)
    assert later


async def test_a_second_signal_ends_everything_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "_SECOND_SIGNAL", 0.0)
    stage = Stage(tmp_path, scripts={"engine": STUBBORN})
    loop = asyncio.get_running_loop()

    def when_up() -> None:
        ask_to_stop()
        loop.call_later(0.1, ask_to_stop)

    await stage.run(when_up)
    assert "engine: cut off" in stage.said
    assert stage.pids() == {}


async def test_one_ctrl_c_that_comes_twice_is_one(tmp_path: Path) -> None:
    stage = Stage(tmp_path)

    def when_up() -> None:
        ask_to_stop()
        asyncio.get_running_loop().call_later(0.02, ask_to_stop)

    await stage.run(when_up)
    assert stage.order("stopped") == DOWN


async def test_ctrl_c_while_starting_ends_what_was_started(tmp_path: Path) -> None:
    stage = Stage(tmp_path, scripts={"web": SLEEP})  # never serves: waiting for it is interrupted
    loop = asyncio.get_running_loop()

    def poll() -> None:
        if "web" in stage.pids():
            ask_to_stop()
        else:
            loop.call_later(0.01, poll)

    poll()
    await stage.run(lambda: pytest.fail("it is not up"))
    assert stage.pids() == {}


async def test_one_home_has_one_supervisor(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with supervise(run):
        assert supervisor_of(run) == Process.of(os.getpid())
        with pytest.raises(Conflict, match=rf"`dari up` already runs on .* \(pid {os.getpid()}\)"), supervise(run):
            pass
    assert supervisor_of(run) is None
    with supervise(run):
        pass


async def test_a_wish_leaves_the_block_and_other_timeouts_stay_errors() -> None:
    wish = Wish()
    asyncio.get_running_loop().call_soon(wish.make)
    async with wish.leaves():
        await asyncio.sleep(60)
        pytest.fail("it went on")
    async with wish.leaves():
        await asyncio.sleep(60)
        pytest.fail("a wish that was made stays made")
    with pytest.raises(TimeoutError):
        async with Wish().leaves():
            raise TimeoutError


@pytest.mark.parametrize("name", ['with"quote', "with;semicolon"])
def test_a_home_that_cannot_serve_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Invalid, match="DARI_HOME"):
        check_home(tmp_path / name, tmp_path / name / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_home_with_spaces_and_korean_serves(tmp_path: Path) -> None:
    home = tmp_path / "다리 집"
    check_home(home, home / "run")
    assert (home / "run").is_dir()


def test_sockets_of_a_deep_home_lie_in_a_short_private_folder_and_of_another_one_in_the_home(tmp_path: Path) -> None:
    deep = read_settings(home=tmp_path / ("x" * 120))
    check_home(deep.home, deep.paths.sockets)
    try:
        assert deep.paths.sockets.stat().st_mode & 0o777 == 0o700
        assert len(os.fsencode(deep.paths.engine_socket)) < 108
        assert deep.paths.sockets == read_settings(home=deep.home).paths.sockets
    finally:
        deep.paths.sockets.rmdir()
    short = read_settings(home=Path("/srv/dari"))
    assert short.paths.sockets.parent == short.paths.run


def test_a_socket_folder_that_somebody_else_made_is_not_taken(tmp_path: Path) -> None:
    elsewhere = tmp_path / "sockets"
    elsewhere.touch()
    with pytest.raises(Invalid, match="remove it"):
        check_home(tmp_path / "home", elsewhere)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Invalid, match=r"DARI_SOUNDS: .*file/sounds cannot be written .*name another folder"):
        check_writable(tmp_path / "file" / "sounds", "DARI_SOUNDS")


def test_a_home_has_as_many_engines_as_are_asked_for_and_down_ends_every_one(tmp_path: Path) -> None:
    url = "postgresql://dari@127.0.0.1/none"
    settings = read_settings(home=tmp_path, engines=2, database_url=url, ari_url="http://127.0.0.1:1")
    parts = system_of(settings).parts
    assert [name for name in parts if name in ENGINES] == ["engine", "engine-2"]
    assert len(system_of(settings).engine_sockets) == 2
    one = read_settings(home=tmp_path, database_url=url, ari_url="http://127.0.0.1:1")
    assert set(ENGINES) & set(system_of(one).parts) == {"engine"}
    assert set(ENGINES) <= set(system_of(one, every_engine=True).parts)


def test_more_engines_running_than_are_asked_for_are_not_left_alone(tmp_path: Path) -> None:
    settings = read_settings(home=tmp_path, ari_url="http://127.0.0.1:1")
    check_home(settings.home, settings.paths.sockets)
    me = Process.of(os.getpid())
    assert me is not None
    write_pid_file(settings.engine(2).pid_file, PidFile(process=me))
    with pytest.raises(Conflict, match=r"engine-2 still runs, though DARI_ENGINES is 1 now; run `dari down` first"):
        prepare(settings, any_port=True)
