"""Processes are real children here; nothing is faked."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import msgspec
import pytest

from engine.foundation.errors import Invalid
from engine.foundation.process import PidFile, Process, read_pid_file, write_pid_file
from engine.supervisor import processes
from engine.supervisor.processes import end_process, ended, find_part, last_line, reap, start_process

SLEEP = "import time; time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def start(script: str, folder: Path, name: str = "part") -> Process:
    environment = {"PATH": os.environ["PATH"], "DARI_HOME": str(folder)}
    return start_process(name, [sys.executable, "-c", script], environment, folder / "log" / f"{name}.log")


async def test_a_part_runs_in_a_session_of_its_own_and_writes_to_its_log(tmp_path: Path) -> None:
    part = start("import os, sys; print(os.getsid(0) == os.getpid()); print(sys.stdin.read() == '')", tmp_path)
    assert await ended(part) == "exit code 0"
    assert (tmp_path / "log" / "part.log").read_text().split() == ["True", "True"]


async def test_how_a_child_ended_is_told_and_no_zombie_stays(tmp_path: Path) -> None:
    part = start("raise SystemExit(3)", tmp_path)
    assert await ended(part) == "exit code 3"
    assert not Path(f"/proc/{part.pid}").exists()
    killed = start(SLEEP, tmp_path)
    killed.send(signal.SIGKILL)
    assert await ended(killed) == "killed by SIGKILL"


def test_a_child_that_ended_before_anybody_looked_was_a_process_too() -> None:
    pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "raise SystemExit(3)"], os.environ)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert Process.of(pid) is None
    child = Process.of_child(pid)
    assert child is not None
    assert not child.lives
    assert reap(pid) == "exit code 3"
    assert Process.of_child(pid) is None


async def test_the_end_of_a_process_that_is_no_child_is_noticed(tmp_path: Path) -> None:
    parent = start(
        "import subprocess, sys; "
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEP!r}]); child.returncode = 0; print(child.pid)",
        tmp_path,
    )
    assert await ended(parent) == "exit code 0"
    orphan = Process.of(int((tmp_path / "log" / "part.log").read_text()))
    assert orphan is not None
    orphan.send(signal.SIGKILL)
    assert await ended(orphan) == "ended"
    assert not orphan.lives


async def test_a_part_that_ignores_sigterm_is_killed_when_patience_ends(tmp_path: Path) -> None:
    part = start(STUBBORN, tmp_path)
    while last_line(tmp_path / "log" / "part.log") != "up":
        assert part.lives
        await asyncio.sleep(0.01)
    assert not await end_process(part, signal.SIGTERM, 0.1)
    assert not part.lives


async def test_a_part_that_listens_ends_by_itself(tmp_path: Path) -> None:
    part = start(SLEEP, tmp_path)
    assert await end_process(part, signal.SIGTERM, 10)


async def test_a_reused_pid_is_never_taken_for_the_part(tmp_path: Path) -> None:
    part = start(SLEEP, tmp_path)
    earlier = msgspec.structs.replace(part, started=part.started - 1)
    other_boot = msgspec.structs.replace(part, boot="another")
    for stranger in (earlier, other_boot):
        assert not stranger.lives
        assert not stranger.send(signal.SIGKILL)
        write_pid_file(tmp_path / "part.pid", PidFile(process=stranger))
        assert read_pid_file(tmp_path / "part.pid") is None
    assert part.lives
    part.send(signal.SIGKILL)
    await ended(part)


async def test_a_zombie_counts_as_ended(tmp_path: Path) -> None:
    part = start(SLEEP, tmp_path)
    part.send(signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, part.pid, os.WEXITED | os.WNOWAIT)  # dead, but not reaped
    assert Path(f"/proc/{part.pid}").exists()
    assert not part.lives
    assert await ended(part) == "killed by SIGKILL"


def test_a_pid_file_begins_with_the_bare_pid_and_is_for_its_owner_only(tmp_path: Path) -> None:
    me = Process.of(os.getpid())
    assert me is not None
    file = tmp_path / "part.pid"
    written = PidFile(process=me, restarts=2, version="1", settings={"DARI_NODE": "x"})
    write_pid_file(file, written)
    assert file.read_text().splitlines()[0] == str(os.getpid())
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_pid_file(file) == written


@pytest.mark.parametrize("content", [b"", b"12\n", b"12\n{", b"\xff\n\xff", b'12\n{"process": 1}'])
def test_a_damaged_pid_file_names_nobody(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "part.pid"
    file.write_bytes(content)
    assert read_pid_file(file) is None


async def test_a_part_is_found_again_when_its_pid_file_is_gone(tmp_path: Path) -> None:
    part = start(SLEEP, tmp_path, "engine")
    try:
        assert find_part("engine", tmp_path) == part
        assert find_part("web", tmp_path) is None
        assert find_part("engine", tmp_path / "other") is None
    finally:
        part.send(signal.SIGKILL)
        await ended(part)
    assert find_part("engine", tmp_path) is None


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"part: the program /no/such is missing"):
        start_process("part", ["/no/such"], {}, tmp_path / "log")


async def test_a_large_log_is_put_aside_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_LOG_BYTES", 9)
    log = tmp_path / "log" / "part.log"
    for text in ("first run", "second run", "third run", "fourth run", "fifth run"):
        await ended(start(f"print({text!r})", tmp_path))
    kept = {path.name: path.read_text().strip() for path in log.parent.iterdir()}
    assert kept == {
        "part.log": "fifth run",
        "part.log.1": "fourth run",
        "part.log.2": "third run",
        "part.log.3": "second run",
    }


def test_the_last_line_that_says_something_is_told(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_text("first\n  the reason  \n\n")
    assert last_line(log) == "the reason"


async def test_signals_that_this_process_ignores_reach_the_part(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        part = start("import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)", tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    await ended(part)
    assert last_line(tmp_path / "log" / "part.log") == "True"
