"""`dari recording` as an operator types it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import account_named
from engine.accounts.model import LOCAL_OPERATOR
from engine.app.opened import archive_of
from engine.cdr import store as cdr_store
from engine.cdr.model import CallRecord
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.recordings.finished import keep_recording
from engine.settings import read_settings
from tests.call_records import arrival, record
from tests.command_line import Dari, refused, typing_into
from tests.sounds_left import inside, leave, talk

MASTER, FRESH = "bW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW0=", "ZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY="


@pytest.fixture
def dari(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Dari:
    monkeypatch.setenv("DARI_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DARI_DATABASE_URL", database_url)
    monkeypatch.setenv("DARI_RECORDING_KEY", MASTER)
    return typing_into(capsys)


@pytest.fixture
async def call(dari: Dari, database: AsyncEngine) -> CallRecord:
    """A call whose talk of 3 s is kept."""
    async with transaction(database) as connection:
        owner = await account_named(connection, LOCAL_OPERATOR, "다리분식", SystemClock().now())
        ended = record(arrival(SystemClock().now(), account_id=owner.id), talk_seconds=3.0)
        await cdr_store.insert(connection, [ended])
    settings = read_settings()
    leave(settings.paths.asterisk_spool / "monitor" / f"{ended.call_id}.raw", talk(3.0))
    await keep_recording(archive_of(settings, database, SystemClock()), ended.call_id)
    return ended


GRANT = ("account", "grant", "다리분식", "--days", "1", "--reason", "주문 확인", "--evidence", "paper 12")


def test_without_the_owners_leave_the_operator_of_this_machine_exports_nothing(
    dari: Dari, call: CallRecord, tmp_path: Path
) -> None:
    target = tmp_path / "talk.wav"
    refused(dari("recording", "export", call.call_id, target, "--reason", "주문 확인"), "listening grant")
    assert not target.exists()
    (access,) = dari("recording", "access", "--json").objects
    assert (access["deed"], access["granted"]) == ("export", False)
    assert access["who"].startswith("command line: ")
    dari(*GRANT)
    assert dari("recording", "export", call.call_id, target, "--reason", "주문 확인").code == 0
    (heard,) = [one for one in dari("audit", "list", "--json").objects if one["deed"] == "hear recordings"]
    assert heard["after"] == {"kind": "talk", "reason": "주문 확인"}
    (grant,) = dari("account", "grants", "다리분식", "--json").objects
    dari("account", "take-back", grant["id"])
    refused(dari("recording", "export", call.call_id, target, "--reason", "주문 확인"), "listening grant")


def test_a_recording_is_listed_exported_and_the_export_is_written_down(
    dari: Dari, call: CallRecord, tmp_path: Path
) -> None:
    shown = dari("recording", "list")
    assert (shown.code, call.call_id.hex[-8:] in shown.out, "다리분식" in shown.out) == (0, True, True)
    (listed,) = dari("recording", "list", "--json", "--account", "다리분식").objects
    assert (listed["call_id"], listed["kind"], listed["seconds"]) == (str(call.call_id), "talk", 3.0)
    target = tmp_path / "talk.wav"
    dari(*GRANT)
    told = dari("recording", "export", call.call_id.hex[-8:], target, "--reason", "주문 확인")
    assert told.out == f"3.0 s of call {call.call_id} written to {target}\n"
    assert inside(target) == (2, 8000, talk(3.0))
    (access,) = dari("recording", "access", "--json").objects
    assert (access["deed"], access["reason"], access["granted"]) == ("export", "주문 확인", True)
    assert access["who"].startswith("command line: ")
    assert "주문 확인" in dari("recording", "access", call.call_id).out


def test_without_a_reason_or_a_recording_nothing_is_exported(dari: Dari, call: CallRecord, tmp_path: Path) -> None:
    target = tmp_path / "talk.wav"
    assert dari("recording", "export", call.call_id, target).code == 2
    refused(dari("recording", "export", call.call_id, target, "--reason", " "), "reason")
    refused(dari("recording", "export", call.call_id, target, "--reason", "x", "--voicemail"), "no voicemail")
    refused(dari("recording", "export", "ffffffff", target, "--reason", "x"), "no record")
    refused(dari("recording", "list", "--account", "nobody"), "account nobody")
    assert not target.exists()


def test_a_held_recording_outlives_its_term(dari: Dari, call: CallRecord) -> None:
    assert dari("recording", "hold", call.call_id, "--reason", "court").code == 0
    assert dari("recording", "term", "--account", "다리분식", "--days", "1").out.endswith("kept 1 days\n")
    assert dari("recording", "sweep", "--json").objects == [{"deleted": 0}]
    assert dari("recording", "list", "--json").objects[0]["held"] == "court"
    assert dari("recording", "release", call.call_id, "--reason", "over").code == 0
    assert dari("recording", "term", "--account", "다리분식", "--default").out.endswith("kept 365 days\n")
    refused(dari("recording", "term", "--account", "다리분식"), "--days or --default")


def test_a_comparison_says_what_is_wrong_and_exits_1(dari: Dari, call: CallRecord) -> None:
    fine = dari("recording", "check", "--deep")
    assert (fine.code, fine.out) == (0, "1 recordings compared, 0 to be looked at\n")
    (file,) = read_settings().paths.recordings.rglob("*.enc")
    file.unlink()
    found = dari("recording", "check")
    assert found.code == 1
    assert found.out.startswith("missing: ")
    (finding,) = dari("recording", "check", "--json", "--no-mend").objects
    assert (finding["trouble"], finding["mended"]) == ("missing", "")


def test_keys_are_made_anew_and_put_under_another_master_key(
    dari: Dari, call: CallRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dari("recording", "rekey", "--account", "다리분식").out == "1 owners have a new key\n"
    dari(*GRANT)
    (tmp_path / "old.key").write_text(MASTER + "\n")
    monkeypatch.setenv("DARI_RECORDING_KEY", FRESH)
    export = ("recording", "export", call.call_id, tmp_path / "a.wav", "--reason", "x")
    refused(dari(*export), "DARI_RECORDING_KEY does not open")
    told = dari("recording", "rekey", "--old-master", tmp_path / "old.key")
    assert told.out == "2 keys are under the present master key now\n"
    assert dari(*export).code == 0


async def test_without_a_master_key_the_setting_is_named(dari: Dari, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DARI_RECORDING_KEY")
    refused(await asyncio.to_thread(dari, "recording", "check"), "DARI_RECORDING_KEY")
