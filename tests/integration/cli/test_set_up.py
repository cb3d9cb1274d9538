"""`dari number` and `dari trunk` on a real database, and what an operator hears when there is none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from engine.prompts.catalogue import exists
from tests.command_line import Dari, refused
from tests.databases import Databases
from tests.tones import tone, write_audio


@pytest.fixture
async def unmigrated_url(databases: Databases) -> AsyncIterator[str]:
    url = await databases.empty()
    yield url
    await databases.drop(url)


def test_a_number_is_added_with_everything_and_listed(dari: Dari, tmp_path: Path) -> None:
    ringback = write_audio(tmp_path / "tune.mp3", tone(700, 2, 44_100), codec="mp3", rate=44_100)
    whisper = write_audio(tmp_path / "whisper.wav", tone(900, 1))
    answer = dari(
        *("number", "add", "0507-1234-5678", "--target", "02-1234-5678", "--ringback", ringback, "--whisper", whisper),
        *(
            "--record",
            "--callback",
            "고맙습니다",
            "--sender",
            "02-1234-5678",
            "--repeat-window",
            "3",
            "--min-talk",
            "5",
        ),
    )
    assert answer == (0, "number 0507-1234-5678 in service: rings 02-1234-5678\n", "")
    (listed,) = dari("number", "list", "--json").objects
    expected = {"number": "050712345678", "kind": "050", "target": "0212345678", "record": True}
    expected |= {"callback": "고맙습니다", "sender": "0212345678", "repeat_window_days": 3, "min_talk_seconds": 5}
    assert expected.items() <= listed.items()
    assert exists(listed["ringback"], tmp_path / "home/sounds")
    assert exists(listed["whisper"], tmp_path / "home/sounds")
    shown = dari("number", "list").out
    assert "0507-1234-5678" in shown
    assert "고맙습니다" in shown


def test_a_number_is_changed_in_what_is_named_only_and_removed(dari: Dari, tmp_path: Path) -> None:
    tune = write_audio(tmp_path / "tune.wav", tone(700, 1))
    dari("number", "add", "050-1234-5678", "--target", "02-1234-5678", "--ringback", tune, "--record")
    assert dari("number", "set", "050-1234-5678", "--target", "010-2345-6789").code == 0
    (listed,) = dari("number", "list", "--json").objects
    assert listed["target"] == "01023456789"
    assert listed["record"] is True
    assert listed["ringback"].startswith("own/")
    assert dari("number", "set", "050-1234-5678", "--no-ringback", "--no-record").code == 0
    (listed,) = dari("number", "list", "--json").objects
    assert listed["ringback"] is None
    assert listed["record"] is False
    assert dari("number", "remove", "050-1234-5678") == (0, "number 050-1234-5678 out of service\n", "")
    assert dari("number", "list", "--json").objects == []


WRONG_NUMBERS: list[tuple[list[str], list[str]]] = [
    (["12x", "--target", "02-1234-5678"], ["'12x'", "not a Korean phone number"]),
    (["112", "--target", "02-1234-5678"], ["112", "cannot be put into service"]),
    (["0507-1234-5678", "--target", "060-700-1234"], ["060-700-1234", "premium"]),
    (["0507-1234-5678", "--target", "001-1-212-5551234"], ["international"]),
    (["0507-1234-5678", "--target", "119"], ["emergency"]),
    (["0507-1234-5678", "--target", "0505-123-4567"], ["050"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--ringback", "/nowhere.wav"], ["ringback", "/nowhere.wav"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--whisper", "/etc/passwd"], ["whisper", "/etc/passwd"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--callback", "안녕하세요"], ["sender"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--sender", "0507-1234-5678"], ["sender", "050"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--sender", ""], ["sender"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--min-talk", "-5"], ["least talk time", "-5"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--ring-seconds", "1"], ["ring time"]),
    (["0507-1234-5678", "--target", "02-1234-5678", "--account", ""], ["account"]),
]


def test_a_number_that_breaks_a_rule_is_refused_and_nothing_is_kept(dari: Dari) -> None:
    for arguments, words in WRONG_NUMBERS:
        refused(dari("number", "add", *arguments), *words)
    assert dari("number", "list", "--json").objects == []


def test_adding_twice_changing_nothing_or_the_unknown_is_refused(dari: Dari) -> None:
    dari("number", "add", "0507-1234-5678", "--target", "02-1234-5678")
    refused(dari("number", "add", "0507-1234-5678", "--target", "02-9999-5678"), "dari number set")
    refused(dari("number", "set", "0507-1234-5678"), "nothing to change")
    refused(dari("number", "set", "0507-0000-0000", "--record"), "not in service")
    refused(dari("number", "remove", "0507-0000-0000"), "not in service")
    refused(dari("number", "set", "0507-1234-5678", "--callback", "x", "--no-callback"), "not both")


def test_a_trunk_is_added_changed_listed_and_removed(dari: Dari) -> None:
    added = dari(
        "trunk", "add", "carrier", "--match", "192.0.2.1", "--match", "192.0.2.8/30", "--contact", "sip:192.0.2.1"
    )
    assert added.code == 0
    assert "192.0.2.1, 192.0.2.8/30" in added.out
    assert dari("trunk", "set", "carrier", "--number-format", "e164", "--untrusted").code == 0
    (listed,) = dari("trunk", "list", "--json").objects
    assert listed == {
        "name": "carrier",
        "match": ["192.0.2.1", "192.0.2.8/30"],
        "contact": "sip:192.0.2.1",
        "number_format": "e164",
        "trusted": False,
    }
    assert "not believed" in dari("trunk", "list").out
    assert dari("trunk", "remove", "carrier").out == "trunk carrier removed\n"
    assert dari("trunk", "list").err.startswith("no trunks yet")


WRONG_TRUNKS: list[tuple[list[str], list[str]]] = [
    (["two words", "--match", "192.0.2.1", "--contact", "sip:192.0.2.1"], ["two words"]),
    (["carrier", "--match", "nowhere", "--contact", "sip:192.0.2.1"], ["nowhere"]),
    (["carrier", "--match", "0.0.0.0/0", "--contact", "sip:192.0.2.1"], ["0.0.0.0/0"]),
    (["carrier", "--match", "192.0.2.1", "--contact", "sip:192.0.2.1\nallow=all"], ["contact"]),
]


def test_a_trunk_that_breaks_a_rule_is_refused_and_nothing_is_kept(dari: Dari) -> None:
    for arguments, words in WRONG_TRUNKS:
        refused(dari("trunk", "add", *arguments), *words)
    assert dari("trunk", "list", "--json").objects == []


def test_a_database_that_is_not_there_is_told_with_what_to_start(dari: Dari, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DARI_DATABASE_URL")
    for command in (("number", "list"), ("trunk", "list"), ("calls",), ("messages", "--json"), ("trace", "0" * 8)):
        refused(dari(*command), "does not run; start it with `dari up`")


def test_a_database_that_does_not_answer_is_told(dari: Dari, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARI_DATABASE_URL", "postgresql://nobody:secret@127.0.0.1:1/nothing")
    answer = dari("calls")
    refused(answer, "the database is away")
    assert "secret" not in answer.err


def test_a_database_without_tables_is_told(dari: Dari, unmigrated_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARI_DATABASE_URL", unmigrated_url)
    refused(dari("number", "list"), "dari migrate")


def test_a_wrong_setting_is_told_by_its_name(dari: Dari, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARI_RING_SECONDS", "soon")
    refused(dari("number", "list"), "DARI_RING_SECONDS")
