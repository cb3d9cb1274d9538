"""`dari tail`: which lines it shows, and in which form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from rich.console import Console

from engine.cli.coloured import coloured
from engine.events.call_log import CallEvent, CallEventKind, line, without_numbers
from engine.events.call_log_writer import CallLog
from engine.foundation.phone_number import PhoneNumber
from tests.command_line import Dari, refused, typing_into


def event(second: int, number: str = "050712345678", kind: CallEventKind = CallEventKind.ARRIVED) -> CallEvent:
    return CallEvent(
        at=datetime(2026, 11, 21, 17, 0, tzinfo=UTC) + timedelta(seconds=second),
        call_id=UUID(int=second),
        kind=kind,
        number=PhoneNumber(number),
        caller=PhoneNumber("01023456789"),
        target=PhoneNumber("0212345678"),
        detail="answered, talked 8.5 s, ended by caller" if kind is CallEventKind.ENDED else "",
    )


@pytest.fixture
def dari(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Dari:
    monkeypatch.setenv("DARI_HOME", str(tmp_path))
    return typing_into(capsys)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[CallLog]:
    log = CallLog(tmp_path / "log", "calls", mask=True, max_bytes=100_000, files=3)
    yield log
    log.close()


def test_the_last_twenty_events_are_shown_just_as_the_log_has_them(dari: Dari, log: CallLog, tmp_path: Path) -> None:
    for second in range(30):
        log.write(event(second))
    shown = dari("tail").out.splitlines()
    assert shown == (tmp_path / "log/calls.log").read_text().splitlines()[-20:]


def test_one_number_is_found_in_any_spelling(dari: Dari, log: CallLog) -> None:
    log.write(event(1))
    log.write(event(2, "050799998888"))
    log.write(event(3, "021234567"))
    assert dari("tail", "--number", "0507-9999-8888").out == line(without_numbers(event(2, "050799998888"))) + "\n"
    assert len(dari("tail", "--number", "+82 507 9999 8888").out.splitlines()) == 1
    assert len(dari("tail", "--number", "02-123-4567").out.splitlines()) == 1  # a masked one
    refused(dari("tail", "--number", "hello"), "--number", "'hello'")


def test_json_is_one_object_per_line_with_the_fields_of_an_event(dari: Dari, log: CallLog) -> None:
    log.write(event(1))
    (found,) = dari("tail", "--json").objects
    assert found == {
        "at": "2026-11-21T17:00:01Z",
        "call_id": str(UUID(int=1)),
        "kind": "arrived",
        "number": "050712345678",
        "caller": "010****6789",
        "target": "02****5678",
        "detail": "",
        "account_id": None,
    }


def test_before_the_first_call_there_is_nothing_to_show(dari: Dari) -> None:
    assert dari("tail") == (0, "", "no events yet\n")
    assert dari("tail", "--number", "0507-1234-5678") == (0, "", "no such events\n")
    assert dari("tail", "--json") == (0, "", "")


def seen(event: CallEvent, width: int) -> str:
    console = Console(width=width, color_system="standard", force_terminal=True)
    with console.capture() as printed:
        console.print(coloured(event, width), soft_wrap=True)
    return printed.get()


def test_a_wide_terminal_sees_the_words_of_the_log_without_the_date() -> None:
    plain = coloured(event(1, kind=CallEventKind.ENDED), 140).plain
    assert plain == line(event(1, kind=CallEventKind.ENDED))[11:]


def test_a_narrow_terminal_names_the_parties_once_and_keeps_lines_short() -> None:
    arrived = coloured(event(1), 80).plain
    ended = coloured(event(1, kind=CallEventKind.ENDED), 80).plain
    assert "010-2345-6789" in arrived
    assert "010-2345-6789" not in ended
    assert "answered, talked 8.5 s" in ended
    assert len(ended) <= 80


def test_colours_tell_how_a_call_ended() -> None:
    assert "\x1b[1;32m" in seen(event(1, kind=CallEventKind.ENDED), 80)
    failed = CallEvent(at=event(1).at, call_id=UUID(int=1), kind=CallEventKind.ENDED, detail="congestion")
    assert "\x1b[1;31m" in seen(failed, 80)


def test_a_log_that_was_tampered_with_does_not_steer_the_terminal(dari: Dari, tmp_path: Path) -> None:
    detail = "\x1b[2J\x07 \u202eabc"
    forged = {"at": "2026-11-21T17:00:00Z", "call_id": str(UUID(int=1)), "kind": "ended", "detail": detail}
    (tmp_path / "log").mkdir()
    (tmp_path / "log/calls.jsonl").write_text(json.dumps(forged) + "\n")
    assert "\x1b" not in dari("tail").out
    shown = coloured(CallEvent(at=event(1).at, call_id=UUID(int=1), kind=CallEventKind.ENDED, detail=detail))
    assert not set("\x1b\x07\u202e") & set(shown.plain)
