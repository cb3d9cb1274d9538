"""Which Asterisk is run, and the files rendered for it."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import re
import resource
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from engine.foundation.errors import GaveUp, Invalid
from engine.settings import PRODUCT_FILES
from engine.supervisor import asterisk
from engine.supervisor.asterisk import Program, find_asterisk, parse_version
from engine.supervisor.asterisk_files import AsteriskSettings, render
from engine.trunks.model import Trunk
from engine.trunks.provisioning import write_trunks

TRUNK = Trunk(name="carrier", match=("203.0.113.5",), contact="sip:203.0.113.5")


def program(folder: Path, printed: str = "Asterisk 22.10.1") -> Path:
    """A program that says it is this Asterisk."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "asterisk"
    path.write_text(f"#!/bin/sh\necho '{printed}'\n")
    path.chmod(0o755)
    return path


def settings(home: Path, /, **changes: Any) -> AsteriskSettings:
    values: dict[str, Any] = {
        "program": Program(Path("/usr/sbin/asterisk"), (22, 10, 1)),
        "product_files": PRODUCT_FILES,
        "home": home,
        "run": home / "run",
        "spool": home / "spool",
        "sounds": home / "sounds",
        "music": home / "music.sqlite3",
        "sip_address": "192.0.2.7:5060",
        "ari_address": "127.0.0.1:8088",
        "ari_user": "dari",
        "ari_password": "ari-secret",
        "ami_address": "127.0.0.1:5038",
        "ami_user": "dari",
        "ami_password": "ami-secret",
    }
    return AsteriskSettings(**(values | changes))


def rendered(home: Path, **changes: Any) -> dict[str, str]:
    render(home / "etc", settings(home, **changes), [TRUNK])
    return {file.name: file.read_text() for file in (home / "etc").iterdir()}


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("Asterisk 22.10.1+dfsg+~cs6.17.60671434-1", (22, 10, 1)),
        ("Asterisk 22.10.1", (22, 10, 1)),
        ("Asterisk 23.4", (23, 4, 0)),
        ("Asterisk certified/22.8-cert1", (22, 8, 0)),
        ("Asterisk GIT-22-0a1b2c3", None),
        ("", None),
    ],
)
def test_the_version_is_read_from_what_asterisk_prints(printed: str, version: tuple[int, int, int] | None) -> None:
    assert parse_version(printed) == version


def test_the_configured_program_is_taken(tmp_path: Path) -> None:
    path = program(tmp_path / "mine", "Asterisk 22.11.0")
    assert find_asterisk(str(path), tmp_path / "files") == Program(path, (22, 11, 0))


@pytest.mark.parametrize(
    "printed", ["Asterisk 22.10.0", "Asterisk 20.19.3", "Asterisk 23.4.0", "Asterisk 23.0.0", "Asterisk GIT-master", ""]
)
def test_a_configured_program_that_is_too_old_is_refused(tmp_path: Path, printed: str) -> None:
    with pytest.raises(Invalid, match=r"22\.10\.1 or newer"):
        find_asterisk(str(program(tmp_path / "mine", printed)), tmp_path / "files")


def test_a_configured_program_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"DARI_ASTERISK: /no/such is no program"):
        find_asterisk("/no/such", tmp_path / "files")


@pytest.mark.parametrize(("system", "taken"), [("Asterisk 22.10.1", "system"), ("Asterisk 20.1.0", "files")])
def test_the_systems_program_is_taken_if_it_is_new_enough_else_the_unpacked_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, taken: str
) -> None:
    program(tmp_path / "system", system)
    program(tmp_path / "files")
    monkeypatch.setenv("PATH", str(tmp_path / "system"))
    assert find_asterisk("", tmp_path / "files").path == tmp_path / taken / "asterisk"


def test_the_unpacked_program_knows_its_own_folders(tmp_path: Path) -> None:
    path = program(tmp_path / "files")
    program(tmp_path / "files/usr/sbin")
    (tmp_path / "files/usr/lib/x/asterisk/modules").mkdir(parents=True)
    found = find_asterisk(str(path), tmp_path)
    assert found.modules == tmp_path / "files/usr/lib/x/asterisk/modules"
    assert found.data == tmp_path / "files/usr/share/asterisk"


def test_without_any_the_mend_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "system", "Asterisk 20.1.0")
    monkeypatch.setenv("PATH", str(tmp_path / "system"))
    with pytest.raises(Invalid, match=f"run `asterisk-conf/get-asterisk {tmp_path}/files`"):
        find_asterisk("", tmp_path / "files")


def test_files_are_written_once_and_again_only_when_a_value_changed(tmp_path: Path) -> None:
    first = settings(tmp_path)
    assert render(tmp_path / "etc", first, [TRUNK])
    written = {file.name: file.stat().st_ino for file in (tmp_path / "etc").iterdir()}
    assert not render(tmp_path / "etc", first, [TRUNK])
    assert render(tmp_path / "etc", dataclasses.replace(first, rtp_last=17999), [TRUNK])
    again = {file.name: file.stat().st_ino for file in (tmp_path / "etc").iterdir()}
    assert {name for name in written if written[name] != again[name]} == {"rtp.conf"}


def test_only_files_with_passwords_are_closed_to_others(tmp_path: Path) -> None:
    files = rendered(tmp_path)
    closed = {name for name in files if not (tmp_path / "etc" / name).stat().st_mode & 0o077}
    with_passwords = {name for name, text in files.items() if "-secret" in text}
    assert with_passwords == {"ari.conf", "manager.conf"}
    assert closed == with_passwords | {"extensions.conf"}, "the dialplan has the key of the call door"


def test_a_password_file_left_open_is_closed(tmp_path: Path) -> None:
    rendered(tmp_path)
    (tmp_path / "etc" / "ari.conf").chmod(0o644)
    assert render(tmp_path / "etc", settings(tmp_path), [TRUNK])
    assert stat.S_IMODE((tmp_path / "etc" / "ari.conf").stat().st_mode) == 0o600


def test_nothing_is_baked_in(tmp_path: Path) -> None:
    """Every template but the values: no path, no address, no port. Examples are for an operator's own Asterisk."""
    templates = [*(PRODUCT_FILES / "asterisk-conf").glob("*.conf"), *(PRODUCT_FILES / "dialplan").glob("*.conf")]
    for template in (path for path in templates if not path.name.startswith("example-")):
        for line in template.read_text().splitlines():
            said = "" if line.lstrip().startswith(";") else line
            assert not re.search(r"\d+\.\d+\.\d+\.\d+|(?<![\w}])/[a-z]|\b(5060|8088|5038|9060)\b", said), (
                template,
                line,
            )


def test_every_value_is_filled_in(tmp_path: Path) -> None:
    for name, text in rendered(tmp_path, hep_address="127.0.0.1:9060").items():
        left = set(re.findall(r"\$\{([a-z_]+)\}", text))
        assert not left, name


def test_ari_and_manager_listen_where_they_are_told(tmp_path: Path) -> None:
    files = rendered(tmp_path, ari_address="127.0.0.3:9001", ami_address="127.0.0.4:9002")
    assert "bindaddr = 127.0.0.3\nbindport = 9001\n" in files["http.conf"]
    assert "bindaddr = 127.0.0.4\nport = 9002\n" in files["manager.conf"]


def test_behind_nat_the_external_address_is_told_outside_the_local_networks(tmp_path: Path) -> None:
    written = rendered(tmp_path, external_address="198.51.100.9", local_networks=("10.0.0.0/8", "127.0.0.0/8"))[
        "pjsip.conf"
    ]
    assert "external_signaling_address = 198.51.100.9\n" in written
    assert "external_media_address = 198.51.100.9\n" in written
    assert "local_net = 10.0.0.0/8\nlocal_net = 127.0.0.0/8\n" in written
    assert "external" not in rendered(tmp_path)["pjsip.conf"]


def test_the_address_for_sound_reaches_the_trunks(tmp_path: Path) -> None:
    assert "media_address = 192.0.2.8" in rendered(tmp_path, rtp_address="192.0.2.8")["pjsip_trunks.conf"]


def test_sip_messages_are_copied_only_when_wanted(tmp_path: Path) -> None:
    with_trace = rendered(tmp_path / "with", hep_address="127.0.0.1:9060")
    without = rendered(tmp_path / "without")
    assert "capture_address = 127.0.0.1:9060" in with_trace["hep.conf"]
    assert "res_hep_pjsip.so" in with_trace["modules.conf"]
    assert "hep.conf" not in without
    assert "res_hep" not in without["modules.conf"]


def test_asterisk_may_open_as_many_files_as_the_system_allows(tmp_path: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    allowed = hard if 0 < hard < 200_000 else 200_000
    assert f"maxfiles = {allowed}\n" in rendered(tmp_path)["asterisk.conf"]


def test_an_empty_ringback_table_is_there_and_rows_in_it_stay(tmp_path: Path) -> None:
    rendered(tmp_path)
    with sqlite3.connect(tmp_path / "music.sqlite3") as table:
        table.execute("INSERT INTO musiconhold (name, directory) VALUES ('a', '/a')")
    rendered(tmp_path)
    assert table.execute("SELECT name, mode, sort FROM musiconhold").fetchall() == [("a", "files", "alpha")]
    table.close()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ari_password": "a\n[admin]"}, "ari_password"),
        ({"ami_password": "a;b"}, "ami_password"),
        ({"ari_user": " dari"}, "ari_user"),
        ({"app_filter": "^a,b"}, "app_filter"),
        ({"sounds": Path("/a&b")}, "sounds"),
        ({"run": Path("/" + "x" * 100)}, "DARI_HOME"),
    ],
)
def test_what_asterisk_would_misread_is_refused_before_anything_is_written(
    tmp_path: Path, change: dict[str, Any], named: str
) -> None:
    with pytest.raises(Invalid, match=named):
        render(tmp_path / "etc", settings(tmp_path / "h", **change), [TRUNK])
    assert not list(tmp_path.iterdir())


def test_trunks_are_written_by_themselves_and_only_when_they_changed(tmp_path: Path) -> None:
    assert write_trunks(tmp_path, [TRUNK])
    assert not write_trunks(tmp_path, [TRUNK])
    assert write_trunks(tmp_path, [])
    assert "203.0.113.5" not in (tmp_path / "pjsip_trunks.conf").read_text()


def test_asterisk_is_started_in_the_foreground_with_its_files(tmp_path: Path) -> None:
    assert asterisk.command_line(Program(Path("/a"), (22, 10, 1)), tmp_path) == [
        "/a",
        "-f",
        "-C",
        str(tmp_path / "asterisk.conf"),
    ]


async def test_an_asterisk_that_ends_while_starting_is_given_up_with_the_place_of_its_reasons(tmp_path: Path) -> None:
    rendered(tmp_path)
    silent = Program(program(tmp_path / "silent", "Unable to connect"), (22, 10, 1))
    with pytest.raises(GaveUp, match=rf"{tmp_path}/log/messages\.log"):
        await asterisk.wait_until_booted(silent, tmp_path / "etc", lambda: False)


async def test_an_asterisk_that_never_is_ready_is_given_up(tmp_path: Path) -> None:
    rendered(tmp_path)
    silent = Program(program(tmp_path / "silent", "Unable to connect"), (22, 10, 1))
    with pytest.raises(GaveUp, match="did not start within"):
        await asterisk.wait_until_booted(silent, tmp_path / "etc", lambda: True, 0.1)


async def test_an_asterisk_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    rendered(tmp_path)
    deaf = Program(program(tmp_path / "deaf"), (22, 10, 1))
    process = await asyncio.create_subprocess_exec("sleep", "60")
    await asterisk.stop(deaf, tmp_path / "etc", process.pid, lambda: process.returncode is None, 0.1)
    assert await process.wait() == -9


def test_the_folders_that_asterisk_writes_in_are_made(tmp_path: Path) -> None:
    rendered(tmp_path)
    for folder in ("run", "log/cdr-custom", "lib", "db", "spool/monitor", "spool/recording"):
        assert os.access(tmp_path / folder, os.W_OK), folder


def test_recordings_and_logs_are_for_this_user_alone(tmp_path: Path) -> None:
    rendered(tmp_path)
    for closed in ("log", "spool/monitor", "spool/recording"):
        assert stat.S_IMODE((tmp_path / closed).stat().st_mode) == 0o700
