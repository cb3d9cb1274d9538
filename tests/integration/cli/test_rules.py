"""`dari rule`, `holiday`, `closed`, `group`, `account` and the richer settings of `dari number`, on a real database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.prompts.catalogue import exists
from tests.command_line import Dari, refused
from tests.tones import tone, write_audio

NUMBER = "0507-1234-5678"


@pytest.fixture
def number(dari: Dari) -> str:
    assert dari("number", "add", NUMBER, "--target", "02-1234-5678", "--sender", "02-1234-5678").code == 0
    return NUMBER


@pytest.fixture
def tune(tmp_path: Path) -> Path:
    return write_audio(tmp_path / "tune.wav", tone(700, 1))


def rules(dari: Dari) -> list[str]:
    return [rule["name"] for rule in dari("rule", "list", NUMBER, "--json").objects]


def test_a_number_is_set_to_everything_and_shown(dari: Dari, tmp_path: Path, tune: Path) -> None:
    second = write_audio(tmp_path / "second.wav", tone(900, 1))
    assert (
        dari(
            *("number", "add", NUMBER, "--target", "02-1234-5678", "--sender", "02-1234-5678"),
            *("--targets", "02-1234-5678:20:70", "--targets", "010-2345-6789::30", "--order", "by-share"),
            *("--ringback", tune, "--ringback", second, "--notice", tune, "--busy", tune, "--fee-notice"),
            *("--whisper-text", "{label}에서 온 전화, {count_this_week}", "--label", "배달앱", "--accept"),
            *("--recording", "on-key", "--show", "number", "--store-notice", "--ring-seconds", "25"),
            *("--fallback", "busy,no-answer:ring=031-123-4567:15", "--fallback", f"announce={tune}", "--voicemail"),
            *("--consent", "약도", "--limit-at-once", "2", "--limit-per-day", "100"),
        ).code
        == 0
    )
    (shown,) = dari("number", "show", NUMBER, "--json").objects
    treatment = shown["treatment"]
    sounds = [treatment["notice"], *treatment["ringback"], *treatment["busy"], treatment["fallbacks"][1]["sounds"][0]]
    assert len(set(sounds)) == 2
    assert all(exists(sound, tmp_path / "home/sounds") for sound in sounds)
    for name in ("notice", "ringback", "busy"):
        del treatment[name]
    assert treatment == {
        "targets": [
            {"number": "0212345678", "ring_seconds": 20, "share": 70},
            {"number": "01023456789", "share": 30},
        ],
        "order": "by share",
        "ring_seconds": 25,
        "fee_notice": True,
        "store_notice": True,
        "whisper": {"text": "{label}에서 온 전화, {count_this_week}"},
        "accept": True,
        "shown": "number",
        "recording": "on key",
        "fallbacks": [
            {"then": "ring", "on": ["busy", "no answer"], "targets": [{"number": "0311234567", "ring_seconds": 15}]},
            {"then": "announce", "sounds": [sounds[0]]},
            {"then": "voicemail"},
        ],
        "consent": {"text": "약도"},
        "label": "배달앱",
    }
    assert shown["limits"] == {"at_once": 2, "per_day": 100}
    told = dari("number", "show", NUMBER).out
    for word in (
        "0507-1234-5678",
        "010-2345-6789 30 %",
        "by share",
        "on key",
        "2 at once, 100 a day",
        "배달앱",
        "main",
    ):
        assert word in told


def test_settings_of_a_number_are_taken_back(dari: Dari, number: str, tune: Path) -> None:
    dari("number", "set", number, "--notice", tune, "--whisper-text", "x", "--targets", "010-2345-6789", "--voicemail")
    dari("number", "set", number, "--limit-at-once", "3", "--accept")
    assert dari("number", "set", number, "--no-notice", "--no-whisper", "--no-fallback", "--unset", "targets").code == 0
    assert dari("number", "set", number, "--limit-at-once", "0").code == 0
    (listed,) = dari("number", "list", "--json").objects
    assert listed["treatment"] == {"accept": True}
    assert listed["limits"] == {}


WRONG_SETTINGS: list[tuple[list[str], list[str]]] = [
    (["--targets", "02-1234-5678:x"], ["targets", "02-1234-5678:x"]),
    (["--targets", "060-700-1234"], ["060-700-1234"]),
    (["--fallback", "sometimes:voicemail"], ["fallback", "sometimes"]),
    (["--fallback", "fax=02-123-4567"], ["fallback", "fax"]),
    (["--fallback", "announce=ko/no-such-sound"], ["fallback", "ko/no-such-sound"]),
    (["--whisper-text", "{caller}"], ["whisper", "{caller}"]),
    (["--whisper", "ko/failed", "--whisper-text", "x"], ["not both"]),
    (["--record", "--recording", "on-key"], ["recording"]),
    (["--no-notice", "--notice", "ko/failed"], ["not both"]),
    (["--consent-before"], ["--consent"]),
    (["--unset", "nothing-such"], ["nothing_such"]),
    (["--limit-per-hour", "-1"], ["calls per hour"]),
]


def test_settings_that_cannot_be_are_refused_and_nothing_is_kept(dari: Dari, number: str) -> None:
    before = dari("number", "list", "--json").objects
    for arguments, words in WRONG_SETTINGS:
        refused(dari("number", "set", number, *arguments), *words)
    assert dari("number", "list", "--json").objects == before
    wrong = dari("number", "set", number, "--order", "by-turns")
    assert wrong.code == 2
    assert "in-turn" in wrong.err


def test_rules_are_added_where_they_belong_and_listed_in_their_order(dari: Dari, number: str, tune: Path) -> None:
    dari("group", "add", "vip", "010-2345-6789")
    assert dari("rule", "add", number, "rest", "--no-ringback").code == 0
    assert dari("rule", "add", number, "night", "--times", "18:00-09:00", "--announcement", tune).code == 0
    assert dari("rule", "add", number, "friday", "--weekdays", "fri", "--whisper-text", "금요일").code == 0
    assert dari("rule", "add", number, "off", "--days", "public-holiday,closed-day", "--announcement", tune).code == 0
    assert dari("rule", "add", number, "xmas", "--dates", "2099-12-24..2099-12-26", "--callback", "메리").code == 0
    added = dari("rule", "add", number, "vip", "--callers", "vip", "--targets", "010-1111-2222")
    assert added.out == f"rule 'vip' of {number} added, number 1 of 6\n"
    assert rules(dari) == ["vip", "xmas", "off", "night", "friday", "rest"]
    shown = dari("rule", "list", number).out
    for words in ("18:00-09:00", "2099-12-24..2099-12-26", "public holiday or closed day", "callers vip", "always"):
        assert words in shown


def test_a_rule_is_changed_moved_switched_and_removed(dari: Dari, number: str) -> None:
    dari("rule", "add", number, "night", "--times", "18:00-09:00", "--whisper-text", "밤")
    dari("rule", "add", number, "missed", "--last-call", "no answer,busy", "--within-hours", "3", "--accept")
    assert dari("rule", "move", number, "missed", "--at", "1").out.endswith("moved, number 1 of 2\n")
    assert (
        dari(
            "rule", "set", number, "night", "--weekdays", "sat-mon", "--unset", "times", "--record", "--rename", "off"
        ).code
        == 0
    )
    assert dari("rule", "disable", number, "missed").code == 0
    assert dari("rule", "list", number, "--json").objects == [
        {
            "name": "missed",
            "condition": {"last_call": {"results": ["no answer", "busy"], "within_hours": 3}},
            "treatment": {"accept": True},
            "enabled": False,
        },
        {
            "name": "off",
            "condition": {"weekdays": [1, 6, 7]},
            "treatment": {"whisper": {"text": "밤"}, "recording": "always"},
            "enabled": True,
        },
    ]
    assert "off" in dari("rule", "list", number).out.splitlines()[2]
    assert dari("rule", "enable", number, "missed").code == 0
    assert dari("rule", "remove", number, "off").code == 0
    assert rules(dari) == ["missed"]


WRONG_RULES: list[tuple[list[str], list[str]]] = [
    (["--weekdays", "someday"], ["weekdays", "someday"]),
    (["--times", "25:00-26:00"], ["times", "25:00-26:00"]),
    (["--dates", "2026-12-26..2026-12-24", "--accept"], ["dates"]),
    (["--dates", "christmas"], ["christmas"]),
    (["--days", "rainy"], ["days", "rainy"]),
    (["--last-call", "great"], ["last call", "great"]),
    (["--within-hours", "3"], ["--last-call"]),
    (["--callers", "nobody", "--accept"], ["nobody"]),
    (["--targets", "119"], ["119"]),
    (["--ring-seconds", "500"], ["ring time"]),
    (["--callback", "😀"], ["callback"]),
    (["--no-store-notice"], ["store notice", "settings of 0507-1234-5678"]),
    (["--announcement", "prompt:인사말"], ["announcement", "인사말", "dari prompt list"]),
]


def test_a_rule_that_cannot_be_is_refused_and_nothing_is_kept(dari: Dari, number: str) -> None:
    for arguments, words in WRONG_RULES:
        refused(dari("rule", "add", number, "wrong", *arguments), *words)
    assert rules(dari) == []
    dari("rule", "add", number, "right", "--accept")
    refused(dari("rule", "add", number, "right", "--accept"), "right", "change that one")
    refused(dari("rule", "set", number, "right"), "nothing to change")
    refused(dari("rule", "move", number, "left", "--at", "1"), "left", "none of that name")
    refused(dari("rule", "list", "0507-0000-0000"), "not in service")


def test_an_odd_rule_is_kept_with_a_warning_that_check_repeats(dari: Dari, number: str) -> None:
    added = dari("rule", "add", number, "old", "--dates", "2020-01-01", "--accept")
    assert added.code == 0
    assert added.err.startswith("warning: rule 'old'")
    assert "'old'" in dari("rule", "check", number).out
    assert dari("rule", "check", number, "--json").objects[0]["rule"] == "old"
    dari("rule", "remove", number, "old")
    assert dari("rule", "check", number).out == f"number {number}: nothing is odd about it\n"


def test_what_is_exported_can_be_imported(dari: Dari, number: str, tmp_path: Path) -> None:
    dari("rule", "add", number, "night", "--times", "18:00-09:00", "--whisper-text", "밤")
    dari("rule", "add", number, "rest", "--accept")
    file = tmp_path / "rules.json"
    file.write_text(dari("rule", "export", number).out)
    before = dari("rule", "list", number, "--json").out
    exported = json.loads(file.read_text())
    dari("rule", "remove", number, "night")
    assert dari("rule", "import", number, file).out == f"number {number} has 2 rules now\n"
    assert dari("rule", "list", number, "--json").out == before
    dari("number", "add", "0507-2222-3333", "--target", "02-1234-5678")
    assert dari("rule", "import", "0507-2222-3333", file).code == 0
    assert dari("rule", "list", "0507-2222-3333", "--json").out == before
    both = json.loads(dari("rule", "export", "0507-2222-3333", number).out)
    assert both == {"0507-2222-3333": exported[number], number: exported[number]}
    file.write_text(json.dumps(both))
    dari("number", "add", "0507-4444-5555", "--target", "02-1234-5678")
    refused(dari("rule", "import", "0507-4444-5555", file), "0507-4444-5555")
    file.write_text(json.dumps(exported[number]["rules"]))
    assert dari("rule", "import", number, file).out == f"number {number} has 2 rules now\n"
    file.write_text(json.dumps([exported[number]["rules"][0]] * 2))
    refused(dari("rule", "import", number, file), "night")
    file.write_text('[{"name": "x"}]')
    refused(dari("rule", "import", number, file), "dari rule export")
    assert dari("rule", "list", number, "--json").out == before


def test_holidays_are_seeded_added_listed_and_removed(dari: Dari) -> None:
    assert dari("holiday", "list").err.startswith("no holidays yet")
    assert dari("holiday", "seed", "2026").code == 0
    assert dari("holiday", "seed", "2026").out == "holidays of 2026: 0 new, 0 gone\n"
    days = {holiday["day"]: holiday for holiday in dari("holiday", "list", "--json").objects}
    assert days["2026-12-25"]["source"] == "public"
    assert dari("holiday", "add", "2026-12-28", "임시공휴일").code == 0
    refused(dari("holiday", "add", "2026-12-25", "x"), "2026-12-25")
    dari("holiday", "seed", "2026")
    assert "임시공휴일" in dari("holiday", "list", "--year", "2026").out
    assert dari("holiday", "list", "--year", "2025", "--json").objects == []
    assert dari("holiday", "remove", "2026-12-28").code == 0
    refused(dari("holiday", "remove", "2026-12-28"), "2026-12-28")
    refused(dari("holiday", "add", "tomorrow", "x"), "tomorrow")
    refused(dari("holiday", "seed", "1000"), "1000")


def test_closed_days_are_of_an_account_or_of_one_number(dari: Dari, number: str) -> None:
    assert dari("closed", "add", "2nd", "and", "4th", "sunday", "2026-12-24..2026-12-25").out.endswith("(3 new)\n")
    assert dari("closed", "add", "every monday", "--number", number).code == 0
    assert dari("closed", "list").out == "2026-12-24\n2026-12-25\n2nd and 4th sunday\n"
    assert dari("closed", "list", "--number", number, "--json").objects == [{"weekday": 1}]
    assert "every monday, 2026-12-24" in dari("number", "show", number).out
    assert dari("closed", "add", "2026-12-24").out.endswith("(0 new)\n")
    assert dari("closed", "remove", "2nd and 4th sunday").code == 0
    refused(dari("closed", "remove", "2nd and 4th sunday"), "not in the list")
    refused(dari("closed", "add", "last", "sunday"), "'last'")
    refused(dari("closed", "add", "2nd"), "closed day")
    refused(dari("closed", "list", "--account", "nobody"), "nobody")
    refused(dari("closed", "add", "sunday", "--number", "0507-0000-0000"), "not in service")


def test_groups_of_callers_are_kept(dari: Dari) -> None:
    assert (
        dari("group", "add", "blocked", "010-1111-2222", "+82 10 3333 4444", "--note", "장난").out
        == "group blocked: 2 new\n"
    )
    assert dari("group", "add", "blocked", "010-1111-2222").out == "group blocked: 0 new\n"
    members = dari("group", "list", "blocked", "--json").objects
    assert [(member["number"], member["note"]) for member in members] == [
        ("01011112222", "장난"),
        ("01033334444", "장난"),
    ]
    assert "010-3333-4444" in dari("group", "list").out
    assert dari("group", "remove", "blocked", "010-1111-2222").out == "group blocked: 1 taken out\n"
    refused(dari("group", "remove", "blocked", "010-1111-2222"), "blocked")
    refused(dari("group", "remove", "blocked"), "--all")
    assert dari("group", "remove", "blocked", "--all").code == 0
    assert dari("group", "list").err.startswith("nobody is in a group")
    refused(dari("group", "add", "withheld", "010-1111-2222"), "withheld")
    refused(dari("group", "add", "vip", "x"), "'x'")


def test_an_account_has_its_zone_and_limits(dari: Dari, number: str) -> None:
    assert dari("account", "set", "main", "--zone", "Asia/Tokyo", "--limit-per-hour", "9").code == 0
    assert dari("account", "set", "main", "--limit-at-once", "2").out == (
        "account main changed: Asia/Tokyo, limits 2 at once, 9 an hour\n"
    )
    (account,) = dari("account", "list", "--json").objects
    assert (account["zone"], account["limits"]) == ("Asia/Tokyo", {"at_once": 2, "per_hour": 9})
    assert "Asia/Tokyo" in dari("number", "show", number).out
    refused(dari("account", "set", "main", "--zone", "Asia/Nowhere"), "Asia/Nowhere")
    refused(dari("account", "set", "main"), "nothing to change")


def test_a_number_plays_a_prompt_in_its_current_version(dari: Dari, number: str, tune: Path, tmp_path: Path) -> None:
    other = write_audio(tmp_path / "other.wav", tone(900, 1))
    dari("prompt", "add", "인사말", tune)
    assert dari("number", "set", number, "--ringback", "인사말", "--ringback", "ko/ringback-tone").code == 0
    assert dari("rule", "add", number, "night", "--times", "18:00-09:00", "--announcement", "prompt:인사말").code == 0
    assert "prompt:인사말" in dari("number", "show", number).out
    assert "prompt:인사말" in dari("rule", "list", number).out
    (shown,) = dari("number", "show", number, "--json").objects
    assert (shown["treatment"]["ringback"], shown["findings"]) == (["prompt:인사말", "ko/ringback-tone"], [])

    def heard(*at: str) -> dict[str, Any]:
        (told,) = dari("explain", number, "--json", *at).objects
        return dict(told)

    sounds = [dari("prompt", "versions", "인사말", "--json").objects[0]["sound"]]
    assert heard("--at", "2026-11-23T10:00")["forwarding"]["ringback"] == [sounds[0], "ko/ringback-tone"]
    sounds.append(dari("prompt", "add", "인사말", other, "--json").objects[0]["sound"])
    assert heard("--at", "2026-11-23T10:00")["forwarding"]["ringback"] == [sounds[1], "ko/ringback-tone"]
    assert heard("--at", "2026-11-23T20:00")["announcement"]["sound"] == sounds[1]
    dari("prompt", "use", "인사말", "1")
    assert heard("--at", "2026-11-23T20:00")["announcement"]["sound"] == sounds[0]

    refused(dari("prompt", "remove", "인사말"), "인사말", number)
    dari("number", "set", number, "--no-ringback")
    refused(dari("prompt", "remove", "인사말"), "인사말", number)
    dari("rule", "remove", number, "night")
    assert dari("prompt", "remove", "인사말").code == 0
    refused(
        dari("number", "set", number, "--ringback", "인사말"), "ringback", "인사말", "dari prompt list", "ko/closed"
    )


def test_a_name_that_is_a_file_and_a_prompt_is_told_apart(
    dari: Dari, number: str, tune: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    dari("prompt", "add", "tune.wav", tune)
    refused(dari("number", "set", number, "--notice", "tune.wav"), "notice", "./tune.wav", "prompt:tune.wav")
    for typed, kept in (("./tune.wav", "own/"), ("prompt:tune.wav", "prompt:tune.wav")):
        assert dari("number", "set", number, "--notice", typed).code == 0
        (shown,) = dari("number", "show", number, "--json").objects
        assert shown["treatment"]["notice"].startswith(kept)


def test_a_prompt_of_another_account_is_none_of_this_one(dari: Dari, number: str, tune: Path) -> None:
    dari("prompt", "add", "인사말", tune, "--account", "shop")
    refused(dari("number", "set", number, "--whisper", "인사말"), "whisper", "인사말")
    assert (
        dari(
            "number",
            "add",
            "0507-2222-3333",
            "--target",
            "02-1234-5678",
            "--account",
            "shop",
            "--whisper",
            "인사말",
            "--fallback",
            "announce=인사말",
        ).code
        == 0
    )


def test_only_what_a_change_makes_odd_is_warned_of(dari: Dari, number: str) -> None:
    assert "{label}" in dari("number", "set", number, "--whisper-text", "{label} 전화").err
    assert dari("number", "set", number, "--accept").err == ""
