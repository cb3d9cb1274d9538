from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
from structlog.testing import capture_logs

from engine.foundation.errors import TryLater
from engine.foundation.process import PidFile, Process, write_pid_file
from engine.foundation.tasks import Tasks
from engine.watchdog.heartbeat import Moving, beat, beat_when, last_beat, writes_of
from engine.watchdog.watch import Vigil, watch
from tests.eventually import eventually

ENGINE = Process(pid=10, started=1, boot="b")
NEXT_ENGINE = msgspec.structs.replace(ENGINE, started=2)


class Looks:
    """A vigil that looks once a second of virtual time."""

    def __init__(self, silence: float = 8.0) -> None:
        self.vigil = Vigil(silence)
        self.now = 1000.0

    def look(
        self, beat: int | None, process: Process | None = ENGINE, after: float = 1.0, *, excused: bool = False
    ) -> bool:
        self.now += after
        return self.vigil.frozen(self.now, process, beat, excused=excused)

    def seconds_until_frozen(self, beat: int | None, process: Process = ENGINE) -> int:
        return next(second for second in range(1, 1000) if self.look(beat, process))


def test_an_engine_that_beats_is_left_alone() -> None:
    looks = Looks()
    assert not any(looks.look(beat) for beat in range(100))


def test_silence_longer_than_allowed_is_frozen() -> None:
    looks = Looks()
    looks.look(1)
    looks.look(2)
    assert looks.seconds_until_frozen(2) == 9


def test_a_beat_in_time_starts_the_silence_anew() -> None:
    looks = Looks()
    looks.look(1)
    looks.look(2)
    for _ in range(7):
        assert not looks.look(2)
    looks.look(3)
    assert looks.seconds_until_frozen(3) == 9


def test_an_engine_that_is_just_starting_gets_more_time_but_not_for_ever() -> None:
    looks = Looks()
    looks.look(None)
    assert looks.seconds_until_frozen(None) == 49
    old_beat = Looks()
    old_beat.look(77)
    assert old_beat.seconds_until_frozen(77) == 49


def test_a_new_engine_is_not_blamed_for_the_silence_of_the_one_before() -> None:
    looks = Looks()
    looks.look(1)
    looks.look(2)
    for _ in range(8):
        looks.look(2)
    assert not looks.look(2, NEXT_ENGINE)
    assert looks.seconds_until_frozen(2, NEXT_ENGINE) == 49


def test_no_engine_is_no_frozen_engine() -> None:
    looks = Looks()
    looks.look(1)
    assert not any(looks.look(1, process=None) for _ in range(100))


def test_after_the_machine_slept_the_engine_gets_the_whole_time_again() -> None:
    looks = Looks()
    looks.look(1)
    looks.look(2)
    assert not looks.look(2, after=3600.0)
    assert looks.seconds_until_frozen(2) == 9


def test_a_step_of_the_machines_clock_is_no_silence() -> None:
    looks = Looks()
    looks.look(10**18)
    assert not looks.look(10**9)
    assert not looks.look(10**9 + 1)


def test_silence_that_is_excused_is_no_silence_and_what_follows_counts_whole() -> None:
    looks = Looks()
    looks.look(1)
    looks.look(2)
    assert not any(looks.look(2, excused=True) for _ in range(100))
    assert looks.seconds_until_frozen(2) == 9


def test_one_that_was_excused_since_it_began_still_gets_the_time_of_a_start() -> None:
    looks = Looks()
    assert not any(looks.look(None, excused=True) for _ in range(100))
    assert looks.seconds_until_frozen(None) == 49


def test_a_queue_whose_first_stays_the_first_does_not_move() -> None:
    now, first = 100.0, [0.0]
    moving = Moving(lambda: now - first[0] if first[0] else 0.0, lambda: now)
    assert moving(), "nothing waits"
    first[0] = 100.5
    now = 101.0
    assert moving(), "it has only come"
    now = 102.0
    assert not moving()
    first[0], now = 101.5, 103.0
    assert moving(), "late, but another one"
    now = 104.0
    assert not moving()
    first[0] = 0.0
    assert moving()


async def test_the_heartbeat_moves_while_the_loop_turns(tmp_path: Path) -> None:
    file = tmp_path / "run" / "engine.beat"
    assert last_beat(file) is None
    tasks = Tasks("test")
    tasks.start("beat", beat(file, every=0.01))
    seen: set[int | None] = set()
    async with asyncio.timeout(30):
        while len(seen - {None}) < 3:
            seen.add(last_beat(file))
            await asyncio.sleep(0.005)
    await tasks.close()
    stopped = last_beat(file)
    await asyncio.sleep(0.03)
    assert last_beat(file) == stopped


async def test_a_stopped_engine_is_killed_and_a_beating_one_is_not(tmp_path: Path) -> None:
    """A real child beats, is stopped by SIGSTOP, and is cut off."""
    file, pid_file = tmp_path / "engine.beat", tmp_path / "engine.pid"
    script = (
        "import asyncio, pathlib, sys; from engine.watchdog.heartbeat import beat; "
        "asyncio.run(beat(pathlib.Path(sys.argv[1]), every=0.02))"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(file))
    process = Process.of(child.pid)
    assert process is not None
    write_pid_file(pid_file, PidFile(process=process))
    await eventually(lambda: last_beat(file) is not None)
    tasks = Tasks("test")
    tasks.start("watch", watch(pid_file, file, 1.0))
    first = last_beat(file)
    await eventually(lambda: last_beat(file) != first)
    assert process.lives
    with capture_logs() as logs:
        child.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(30):
            assert await child.wait() == -signal.SIGKILL
    assert [(entry["event"], entry["part"], entry["pid"]) for entry in logs] == [
        ("engine is frozen and is cut off", "engine", child.pid)
    ]
    await tasks.close()


async def test_no_beat_while_what_must_be_true_is_not(tmp_path: Path) -> None:
    file = tmp_path / "engine.beat"
    moves, asked = True, 0

    def lives() -> bool:
        nonlocal asked
        asked += 1
        return moves

    tasks = Tasks("test")
    tasks.start("beat", beat(file, lives, every=0.005))
    await eventually(lambda: asked > 3)
    moves = False
    stopped = last_beat(file)
    seen = asked
    await eventually(lambda: asked > seen + 3)
    assert last_beat(file) == stopped
    moves = True
    await eventually(lambda: last_beat(file) != stopped)
    await tasks.close()


async def test_what_is_not_done_brings_no_beat_and_does_not_end_it(tmp_path: Path) -> None:
    file = tmp_path / "engine.writes"
    asked = 0

    async def done() -> None:
        nonlocal asked
        asked += 1
        if asked < 5:
            raise TryLater("Asterisk is away")

    tasks = Tasks("test")
    tasks.start("beat", beat_when(file, done, every=0.005))
    await eventually(file.exists)
    none_yet = last_beat(file)
    await eventually(lambda: last_beat(file) != none_yet)
    assert asked >= 5
    await tasks.close()


async def test_what_is_late_brings_a_beat_while_other_deeds_are_done(tmp_path: Path) -> None:
    file = tmp_path / "engine.writes"
    asked = others = 0

    async def done() -> None:
        nonlocal asked, others
        asked += 1
        others += asked > 5
        raise TryLater("no answer")

    tasks = Tasks("test")
    tasks.start("beat", beat_when(file, done, lambda: others, every=0.005))
    await eventually(file.exists)
    none_yet = last_beat(file)
    await eventually(lambda: last_beat(file) != none_yet)
    assert asked > 5
    await tasks.close()


async def test_an_engine_that_asterisk_does_not_hear_is_killed_only_while_it_hears_others(tmp_path: Path) -> None:
    """A real child turns its loop and beats, but nothing that it asks for is done."""
    file, pid_file = tmp_path / "engine.beat", tmp_path / "engine.pid"
    script = (
        "import asyncio, pathlib, sys; from engine.watchdog.heartbeat import beat; "
        "asyncio.run(beat(pathlib.Path(sys.argv[1]), every=0.02))"
    )
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, str(file))
    process = Process.of(child.pid)
    assert process is not None
    write_pid_file(pid_file, PidFile(process=process))
    asked, obeys = 0, False

    def asterisk_obeys() -> bool:
        nonlocal asked
        asked += 1
        return obeys

    await eventually(lambda: last_beat(file) is not None)
    writes_of(file).touch()
    tasks = Tasks("test")
    tasks.start("watch", watch(pid_file, file, 1.0, asterisk_obeys))
    await eventually(lambda: asked > 1)
    os.utime(writes_of(file))
    seen = asked
    await eventually(lambda: asked > seen + 12)  # half a silence more than is allowed
    assert process.lives
    obeys = True
    async with asyncio.timeout(30):
        assert await child.wait() == -signal.SIGKILL
    await tasks.close()
