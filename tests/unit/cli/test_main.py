"""The `dari` command as a whole: its help, its exit codes, and its one sentence when something is wrong."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from engine.cli import main
from engine.cli.main import COMMANDS, run
from engine.foundation.process import PidFile, Process, write_pid_file
from tests.command_line import Dari, refused, typing_into

ROOT = Path(main.__file__).resolve().parent.parent.parent


@pytest.fixture
def dari(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Dari:
    monkeypatch.setenv("DARI_HOME", str(tmp_path))
    return typing_into(capsys)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "engine.cli.main", *arguments]


def environment(home: Path) -> dict[str, str]:
    return os.environ | {"DARI_HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def test_the_help_lists_every_command_and_loads_none_of_them(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom engine.cli.main import run, COMMANDS\n"
        "assert run(['--help']) == 0\n"
        "heavy = [name for name in sys.modules if name.split('.')[0] in ('sqlalchemy', 'aiohttp', 'av', 'numpy')]\n"
        "assert not heavy, heavy\nassert not set(sys.modules) & {entry.module for entry in COMMANDS.values()}\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    for name, entry in COMMANDS.items():
        assert name in told.stdout
        assert entry.help.split(",")[0][:30] in told.stdout


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_of_the_table_has_its_own_help(dari: Dari, name: str) -> None:
    if importlib.util.find_spec(COMMANDS[name].module) is None:
        pytest.fail(f"there is no {COMMANDS[name].module}")
    answer = dari(name, "--help")
    assert answer.code == 0
    assert f"dari {name}" in answer.out


def test_without_a_command_the_help_is_shown(dari: Dari) -> None:
    assert dari() == dari("--help")


def test_the_version_is_the_package_s(dari: Dari) -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert dari("--version").out in (f"dari {declared}\n", "dari (not installed)\n")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nmber"], "No such command 'nmber'. Did you mean 'number'? (see dari --help)"),
        (["tail", "--folow"], "No such option: --folow (Possible options: --follow) (see dari tail --help)"),
        (["tail", "-n", "many"], "(see dari tail --help)"),
        (["number", "add"], "Missing argument 'NUMBER' (see dari number add --help)"),
        (["number", "add", "0507-1234-5678"], "Missing option '--target' (see dari number add --help)"),
        (["trunk", "add", "carrier", "--match", "192.0.2.1"], "Missing option '--contact' (see dari trunk add --help)"),
        (["trunk"], "(see dari trunk --help)"),
        (["trace"], "(see dari trace --help)"),
    ],
)
def test_what_is_not_understood_is_one_line_on_stderr_and_exit_2(
    dari: Dari, arguments: list[str], sentence: str
) -> None:
    answer = dari(*arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("dari: ")
    assert sentence in answer.err


def test_a_file_that_cannot_be_written_is_told_without_a_traceback(dari: Dari, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "calls.jsonl").mkdir()
    answer = dari("tail")
    assert answer == (1, "", f"dari: {tmp_path}/log/calls.jsonl: Is a directory\n")


@pytest.mark.parametrize("typed", ["x" * 5000, "no\nsuch\x1b[31m"])
def test_what_was_typed_comes_back_on_one_line_that_steers_no_terminal(dari: Dari, typed: str) -> None:
    answer = dari("number", "add", "0507-1234-5678", "--target", "02-345-6789", "--whisper", typed)
    assert answer.err.count("\n") == 1
    assert len(answer.err) < 400
    assert "\x1b" not in answer.err


def test_a_missing_choice_is_told_on_one_line(dari: Dari) -> None:
    assert dari("serve").err == (
        "dari: Missing option '--role'. Choose from: calls, jobs, web, watchdog, gateway (see dari serve --help)\n"
    )


def test_an_engine_is_not_asked_of_a_role_that_has_none_nor_one_that_there_is_not(dari: Dari) -> None:
    refused(dari("serve", "--role", "jobs", "--engine", "2"), "--engine", "one jobs only")
    refused(dari("serve", "--role", "calls", "--engine", "2"), "there is no engine 2; DARI_ENGINES is 1")
    refused(dari("drain", "--engine", "2"), "there is no engine 2; DARI_ENGINES is 1")
    assert "greater than or equal to 1" in dari("drain", "--engine", "-1").err


def test_without_an_engine_how_to_start_one_is_told(dari: Dari) -> None:
    for command_line in (["drain"], ["call", "list"]):
        refused(dari(*command_line), "the engine does not answer", "`dari up`")


def test_status_tells_that_no_engine_answers_and_shows_those_that_run_beyond_the_setting(
    dari: Dari, tmp_path: Path
) -> None:
    assert "engine-2" not in dari("status").out
    me = Process.of(os.getpid())
    assert me is not None
    (tmp_path / "run").mkdir(exist_ok=True)
    write_pid_file(tmp_path / "run/engine-2.pid", PidFile(process=me))
    told = dari("status").out
    assert "none answers; start it with `dari up`" in told
    row = next(line for line in told.splitlines() if line.startswith("engine-2") and "running" in line)
    assert str(os.getpid()) in row


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_help_offers_what_is_not_there(dari: Dari, name: str) -> None:
    assert "completion" not in dari(name, "--help").out


@pytest.mark.parametrize("since", ["nonsense", "09:00", "0001-01-01", "9999-12-31T23:59-12:00"])
def test_an_instant_that_cannot_be_is_refused(dari: Dari, since: str) -> None:
    assert dari("calls", "--since", since) == (
        1,
        "",
        f"dari: --since: '{since}' is no time; write it like 2026-11-21T09:00\n",
    )


def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def mistake(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(main, "app", mistake)
    with pytest.raises(ZeroDivisionError):
        run(["tail"])


def test_ctrl_c_ends_quietly_with_130(tmp_path: Path) -> None:
    with subprocess.Popen(
        command("tail", "--follow"),
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        folder = tmp_path / "log"
        folder.mkdir()
        (folder / "calls.jsonl").write_text(
            '{"at":"2026-11-21T17:00:00Z","call_id":"01a1ff3e-0aa7-7e8f-9873-5692f254605c","kind":"arrived"}\n'
        )
        assert "f254605c" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read() == ""


def test_a_reader_that_has_seen_enough_hears_no_complaint(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    event = '{"at":"2026-11-21T17:00:00Z","call_id":"01a1ff3e-0aa7-7e8f-9873-5692f254605c","kind":"arrived"}\n'
    (tmp_path / "log/calls.jsonl").write_text(event * 5000)
    with subprocess.Popen(
        command("tail", "-n", "5000"), env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert b"f254605c" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(10) == 1
        assert process.stderr.read() == b""
