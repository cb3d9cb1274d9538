"""Keepers over real processes: Python children stand for the parts."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from engine.foundation.errors import Conflict, GaveUp, TryLater
from engine.foundation.process import PidFile, Process, read_pid_file, write_pid_file
from engine.foundation.tasks import Tasks
from engine.supervisor import parts
from engine.supervisor.parts import Keeper, Part
from engine.supervisor.processes import ended, find_part, start_process
from tests.eventually import eventually

SLEEP = "import time; time.sleep(60)"
ENDS = "raise SystemExit('no such database')"


async def at_once(_process: Process) -> bool:
    return True


async def never(_process: Process) -> bool:
    raise TryLater("not yet")


def part(
    folder: Path,
    script: str = SLEEP,
    *,
    serves: Callable[[Process], Awaitable[bool]] = at_once,
    ready_within: float = 30.0,
    settings: dict[str, str] | None = None,
) -> Part:
    log = folder / "part.log"

    async def start() -> Process:
        environment = {"PATH": os.environ["PATH"], "DARI_HOME": str(folder)}
        return start_process("part", [sys.executable, "-c", script], environment, log)

    return Part(
        name="part",
        start=start,
        find=lambda: find_part("part", folder),
        serves=serves,
        ready_within=ready_within,
        log=log,
        settings=settings or {},
        version=lambda: "1",
    )


def keeper(folder: Path, made: Part | None = None) -> Keeper:
    return Keeper(made or part(folder), folder / "part.pid")


async def bring_up(kept: Keeper) -> bool:
    """True when it was taken over."""
    taken_over = kept.take_over()
    if not taken_over:
        await kept.start()
    await kept.until_ready()
    return taken_over


def living(folder: Path) -> PidFile:
    told = read_pid_file(folder / "part.pid")
    assert told is not None
    return told


def another_lives(folder: Path, before: Process) -> bool:
    told = read_pid_file(folder / "part.pid")
    return told is not None and told.process != before


def is_told(logs: Sequence[MutableMapping[str, Any]], event: str) -> bool:
    return event in [entry["event"] for entry in logs]


async def test_a_part_is_started_once_and_taken_over_afterwards(tmp_path: Path) -> None:
    assert not await bring_up(keeper(tmp_path))
    first = living(tmp_path)
    second = keeper(tmp_path)
    assert await bring_up(second)
    assert living(tmp_path) == first
    assert await second.end()
    assert not first.process.lives
    assert not (tmp_path / "part.pid").exists()


async def test_a_living_part_without_its_pid_file_is_taken_over(tmp_path: Path) -> None:
    await bring_up(keeper(tmp_path))
    first = living(tmp_path).process
    (tmp_path / "part.pid").unlink()
    # Linux lets who starts a program go on a moment before the program's environment can be read.
    await eventually(lambda: find_part("part", tmp_path) is not None)
    second = keeper(tmp_path)
    assert await bring_up(second)
    assert living(tmp_path).process == first
    await second.end()


async def test_a_part_that_dies_is_started_again_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_FIRST_WAIT", 0.01)
    kept = keeper(tmp_path)
    await bring_up(kept)
    tasks = Tasks("test")
    tasks.start("keep", kept.keep())
    for restarts in (1, 2):
        before = living(tmp_path).process
        with capture_logs() as logs:
            before.send(signal.SIGKILL)
            await eventually(partial(is_told, logs, "part is ready again"))
        assert another_lives(tmp_path, before)
        assert is_told(logs, "part ended, starting it again")
        assert logs[0]["how"] == "killed by SIGKILL"
        assert living(tmp_path).restarts == restarts
        assert not Path(f"/proc/{before.pid}").exists()
    await tasks.close()
    await kept.end()


async def test_an_adopted_part_that_dies_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_FIRST_WAIT", 0.01)
    await bring_up(keeper(tmp_path))
    before = living(tmp_path).process
    adopter = keeper(tmp_path)
    await bring_up(adopter)
    tasks = Tasks("test")
    tasks.start("keep", adopter.keep())
    before.send(signal.SIGKILL)
    await eventually(partial(another_lives, tmp_path, before))
    await tasks.close()
    await adopter.end()


async def test_a_part_that_keeps_dying_at_start_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(GaveUp, match=r"part ends again and again \(no such database\); see .*part\.log"):
        await bring_up(keeper(tmp_path, part(tmp_path, ENDS, serves=never)))


async def test_a_part_that_does_not_get_ready_is_given_up_and_can_be_ended(tmp_path: Path) -> None:
    slow = keeper(tmp_path, part(tmp_path, serves=never, ready_within=0.15))
    with pytest.raises(GaveUp, match="part is not ready after"):
        await bring_up(slow)
    process = living(tmp_path).process
    await slow.end()
    assert not process.lives


async def test_a_living_part_with_other_settings_is_not_taken_over(tmp_path: Path) -> None:
    first = keeper(tmp_path, part(tmp_path, settings={"DARI_SIP_BIND": "a"}))
    await bring_up(first)
    with pytest.raises(Conflict, match=r"part still runs with another DARI_SIP_BIND .* run `dari down` first"):
        await bring_up(keeper(tmp_path, part(tmp_path, settings={"DARI_SIP_BIND": "b"})))
    assert living(tmp_path).process.lives
    await first.end()


async def test_ending_at_once_does_not_ask(tmp_path: Path) -> None:
    script = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    stubborn = keeper(tmp_path, part(tmp_path, script))
    await bring_up(stubborn)
    process = living(tmp_path).process
    await stubborn.end(at_once=True)
    assert not process.lives


async def test_ending_what_does_not_run_only_clears_its_pid_file(tmp_path: Path) -> None:
    process = start_process("x", [sys.executable, "-c", ""], {}, tmp_path / "log")
    await ended(process)
    write_pid_file(tmp_path / "part.pid", PidFile(process=process))
    assert await keeper(tmp_path).end()
    assert not (tmp_path / "part.pid").exists()
