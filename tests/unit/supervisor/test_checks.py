from __future__ import annotations

import socket
from pathlib import Path

import pytest

from engine.calls.control_client import EngineStatus
from engine.prompts.catalogue import install, path_of
from engine.settings import PRODUCT_FILES, Settings, read_settings
from engine.supervisor import machine_checks
from engine.supervisor.alone import CallsAlone
from engine.supervisor.asterisk_checks import asterisk_checks, version_check
from engine.supervisor.check import Check, State, ok
from engine.supervisor.database_checks import database_checks
from engine.supervisor.engine_checks import engine_checks, judged
from engine.supervisor.recording_checks import recording_checks
from engine.supervisor.report import DatabaseReport
from engine.supervisor.sound_checks import sound_check
from engine.supervisor.voice_checks import voice_check
from tests.loopback import HOST, free_port


def settings(home: Path, **changes: object) -> Settings:
    free = [free_port(kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)]
    bound = {"sip_bind": f"{HOST}:{free[0]}", "http_bind": f"{HOST}:{free[1]}"}
    return read_settings(home=home, asterisk="/no/asterisk", **(bound | changes))


def looked_at(chosen: Settings) -> dict[str, Check]:
    return {check.name: check for check in machine_checks.machine_checks(chosen)}


def test_a_missing_asterisk_is_bad_with_the_mend(tmp_path: Path) -> None:
    check = looked_at(settings(tmp_path))["asterisk program"]
    assert check.state is State.BAD
    assert "/no/asterisk" in check.found
    assert "name Asterisk's program or unset it" in check.mend


def test_a_taken_port_is_bad_naming_the_setting(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.bind((HOST, 0))
        check = looked_at(settings(tmp_path, sip_bind=f"{HOST}:{stranger.getsockname()[1]}"))["ports"]
    assert check.state is State.BAD
    assert "DARI_SIP_BIND" in check.found
    assert "set DARI_SIP_BIND to another port" in check.mend


def test_a_home_that_is_a_file_is_bad(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert looked_at(settings(tmp_path / "file"))["folders"].state is State.BAD


@pytest.mark.parametrize(
    ("little", "none", "state"), [(0, 0, State.OK), (1 << 62, 0, State.WARN), (1 << 62, 1 << 62, State.BAD)]
)
def test_little_space_warns_and_none_is_bad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, little: int, none: int, state: State
) -> None:
    monkeypatch.setattr(machine_checks, "_LITTLE_SPACE", little)
    monkeypatch.setattr(machine_checks, "_NO_SPACE", none)
    checks = looked_at(settings(tmp_path))
    assert checks["space for recordings"].state is checks["space for call records"].state is state


@pytest.mark.parametrize(
    ("written", "state"),
    [
        ("22.10.1+dfsg+~cs6.17.60671434-1", State.OK),
        ("22.10.0", State.BAD),
        ("20.19.0", State.BAD),
        ("23.4.0", State.BAD),
        ("23.4.1", State.OK),
        ("GIT-master-abc", State.BAD),
    ],
)
def test_an_asterisk_that_is_too_old_is_bad(written: str, state: State) -> None:
    assert version_check(written).state is state


async def test_our_own_asterisk_that_does_not_run_is_a_warning(tmp_path: Path) -> None:
    (check,) = await asterisk_checks(settings(tmp_path), own=True)
    assert (check.state, check.mend) == (State.WARN, "start it with `dari up`")


READY = EngineStatus(state="ready", live_calls=1)


def states(*engines: EngineStatus | None) -> list[State]:
    return [check.state for check in judged(engines, CallsAlone(), kept=False)]


async def test_an_engine_is_not_missed_where_nothing_runs(tmp_path: Path) -> None:
    (check,) = await engine_checks(settings(tmp_path))
    assert (check.name, check.state, check.mend) == ("engine", State.WARN, "start it with `dari up`")


def test_no_engine_is_bad_where_asterisk_runs_and_who_starts_it_is_told() -> None:
    assert states(None) == [State.BAD]
    assert states(None, None) == [State.BAD, State.BAD]
    (check,) = judged([None], CallsAlone(), kept=False)
    assert "by the routes kept in Asterisk" in check.found
    assert check.mend.startswith("start it with `dari up`")
    (check,) = judged([None], CallsAlone(), kept=True)
    assert check.mend.startswith("`dari up` starts it again")


def test_one_engine_of_two_is_enough_but_told() -> None:
    checks = judged([None, READY], CallsAlone(), kept=True)
    assert [(check.name, check.state) for check in checks] == [("engine", State.WARN), ("engine-2", State.OK)]
    assert "the other engines take the calls" in checks[0].found


@pytest.mark.parametrize(
    ("state", "found"),
    [("ready", State.OK), ("degraded", State.WARN), ("draining", State.WARN), ("refusing", State.BAD)],
)
def test_an_engine_is_judged_by_what_it_says(state: str, found: State) -> None:
    (check,) = judged([EngineStatus(state=state, reason="why")], CallsAlone(), kept=True)
    assert check.state is found
    assert check.found.startswith(state)
    assert bool(check.mend) == (found is not State.OK)


def test_calls_without_an_engine_are_counted_those_of_the_dead_too() -> None:
    alone = CallsAlone(by_dialplan=1, in_application=2)
    *_, check = judged([READY], alone, kept=True)
    assert (check.name, check.state, check.found) == ("calls alone", State.WARN, "1 call without an engine now")
    *_, check = judged([None], alone, kept=True)
    assert check.found == "3 calls without an engine now"


@pytest.mark.parametrize(("own", "state"), [(True, State.WARN), (False, State.BAD)])
async def test_a_database_that_is_away_is_bad_only_if_it_is_the_operators(
    tmp_path: Path, own: bool, state: State
) -> None:
    away = DatabaseReport(answers=False, reason="the database is away")
    (check,) = await database_checks(settings(tmp_path), away, own=own)
    assert check.state is state


async def test_an_old_database_and_missing_tables_are_bad(database_url: str, tmp_path: Path) -> None:
    chosen = settings(tmp_path, database_url=database_url)
    old = DatabaseReport(answers=True, version="14.9", step="")
    checks = {check.name: check for check in await database_checks(chosen, old, own=False)}
    assert checks["database"].state is checks["tables"].state is State.BAD
    assert checks["tables"].mend == "run `dari migrate`"
    assert checks["database clock"].state is State.OK


def speaker(folder: Path, does: str) -> str:
    """A program in espeak-ng's place."""
    file = folder / "speaker"
    file.write_text(f"#!/bin/sh\n{does}\n")
    file.chmod(0o755)
    return str(file)


async def test_the_voice_of_this_machine_says_a_word(tmp_path: Path) -> None:
    check = await voice_check(settings(tmp_path, voice="espeak/ko+f2", voice_timeout=60.0))
    assert check.state is State.OK, check
    assert check.found.startswith("espeak/ko+f2 by /")
    assert not (tmp_path / "sounds").exists()


@pytest.mark.parametrize(
    ("does", "found"), [("exit 3", "failed (exit code 3)"), ("exec sleep 60", "not done within 0.5 s")]
)
async def test_a_voice_that_does_not_speak_is_bad(tmp_path: Path, does: str, found: str) -> None:
    check = await voice_check(settings(tmp_path, espeak=speaker(tmp_path, does), voice_timeout=0.5))
    assert check.state is State.BAD
    assert found in check.found
    assert check.mend


async def test_a_missing_espeak_is_bad_and_how_to_get_it_is_told(tmp_path: Path) -> None:
    check = await voice_check(settings(tmp_path, espeak="/no/espeak-ng"))
    assert (check.state, check.found) == (State.BAD, "there is no /no/espeak-ng: no text is spoken")
    assert check.mend.startswith("install the package espeak-ng, or run `asterisk-conf/get-asterisk ")


async def test_a_voice_whose_key_is_not_set_is_bad_and_one_whose_key_is_set_is_not_tried(tmp_path: Path) -> None:
    check = await voice_check(settings(tmp_path, voice="google"))
    assert check.state is State.BAD
    assert "DARI_VOICE" in check.mend
    check = await voice_check(settings(tmp_path, voice="google", google_key="key", espeak="/no/espeak-ng"))
    assert (check.state, check.found.partition("/")[0]) == (State.OK, "google")


@pytest.mark.parametrize("step", ["", "0001"])
async def test_recordings_are_not_asked_for_before_the_tables_are_there(tmp_path: Path, step: str) -> None:
    for report in (DatabaseReport(answers=False), DatabaseReport(answers=True, version="18.1", step=step)):
        assert await recording_checks(settings(tmp_path), report) == []


def test_the_sounds_that_ship_are_all_there_or_the_missing_are_named(tmp_path: Path) -> None:
    chosen = settings(tmp_path)
    assert sound_check(chosen).state is State.WARN
    assert "dari up" in sound_check(chosen).mend
    install(PRODUCT_FILES / "prompts", chosen.paths.sounds)
    assert sound_check(chosen) == ok("shipped sounds", sound_check(chosen).found)
    assert f"all {len(list((PRODUCT_FILES / 'prompts/sounds').glob('*/*.wav')))} that ship" in sound_check(chosen).found
    path_of("ko/store-info-notice", chosen.paths.sounds).with_suffix(".alaw").unlink()
    check = sound_check(chosen)
    assert check.state is State.BAD
    assert "1 of " in check.found
    assert "ko/store-info-notice" in check.found
    assert "dari up" in check.mend


def test_none_of_the_sounds_is_bad_where_calls_already_come(tmp_path: Path) -> None:
    chosen = settings(tmp_path, ari_url="http://127.0.0.1:1")
    check = sound_check(chosen)
    assert check.state is State.BAD
    assert "…" in check.found
