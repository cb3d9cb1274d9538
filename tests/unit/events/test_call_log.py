"""The live call log: what its lines look like, and that nothing that happens to its files reaches a call."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.events.call_log import CallEvent, CallEventKind, line, short_id, without_numbers
from engine.events.call_log_reader import read
from engine.events.call_log_writer import CallLog
from engine.foundation.phone_number import PhoneNumber
from tests.eventually import eventually

CALL = UUID("01a1ff31-ad5e-7b99-900a-1d7d49068bc3")
EVENT = CallEvent(
    at=datetime(2026, 11, 21, 17, 40, 8, 158_712, tzinfo=UTC),
    call_id=CALL,
    kind=CallEventKind.RINGING,
    number=PhoneNumber("050712345678"),
    caller=PhoneNumber("01098765432"),
    target=PhoneNumber("0212345678"),
    detail="trunk demo",
)


class Open(Protocol):
    """Opens the log `calls` in a folder; the test need not close it."""

    def __call__(self, folder: Path, *, mask: bool = False, max_bytes: int = 100_000, files: int = 3) -> CallLog: ...


@pytest.fixture
def log_in() -> Iterator[Open]:
    logs: list[CallLog] = []

    def opened(folder: Path, *, mask: bool = False, max_bytes: int = 100_000, files: int = 3) -> CallLog:
        logs.append(CallLog(folder, "calls", mask=mask, max_bytes=max_bytes, files=files))
        return logs[-1]

    yield opened
    for log in logs:
        log.close()


async def test_events_of_a_moment_are_written_together_and_the_last_ones_at_the_end(tmp_path: Path) -> None:
    told: list[CallEvent] = []
    log = CallLog(tmp_path, "calls", mask=False, max_bytes=100_000, files=3, within=0.05, tell=told.append)
    events = numbered(4)
    for event in events[:3]:
        log.write(event)
    assert told == events[:3]
    assert not (tmp_path / "calls.log").exists()
    await eventually(lambda: (tmp_path / "calls.log").exists() and len(read(tmp_path)) == 3)
    log.write(events[3])
    log.close()
    assert [event.detail for event in read(tmp_path)] == [event.detail for event in events]


def numbered(count: int) -> list[CallEvent]:
    return [msgspec.structs.replace(EVENT, detail=f"event {number:03}") for number in range(count)]


def test_a_line_tells_korean_time_call_kind_parties_and_detail_in_fixed_columns() -> None:
    assert line(EVENT) == (
        "2026-11-22 02:40:08.158  49068bc3  ringing            "
        "010-9876-5432  -> 0507-1234-5678 -> 02-1234-5678    trunk demo"
    )


def test_columns_stay_in_place_whatever_is_unknown() -> None:
    bare = CallEvent(at=EVENT.at, call_id=CALL, kind=CallEventKind.MESSAGE_DELIVERED, detail="trunk demo")
    assert line(bare).index("trunk demo") == line(EVENT).index("trunk demo")


def test_masking_hides_people_and_leaves_the_050_number() -> None:
    text = line(without_numbers(EVENT))
    assert "010-****-5432  -> 0507-1234-5678 -> 02-****-5678" in text


def test_masked_files_hold_no_whole_number_of_a_person(tmp_path: Path, log_in: Open) -> None:
    log_in(tmp_path, mask=True).write(EVENT)
    for file in ("calls.log", "calls.jsonl"):
        digits = (tmp_path / file).read_text().replace("-", "")
        assert "01098765432" not in digits
        assert "0212345678" not in digits
        assert "050712345678" in digits


def test_json_reads_back_as_the_same_event_and_shows_the_same_line(tmp_path: Path, log_in: Open) -> None:
    log_in(tmp_path).write(EVENT)
    assert read(tmp_path) == [EVENT]
    log_in(tmp_path / "masked", mask=True).write(EVENT)
    (masked,) = read(tmp_path / "masked")
    assert line(masked) == line(without_numbers(EVENT))


@given(st.text(max_size=300))
def test_text_of_callers_never_makes_a_line_or_steers_a_terminal(text: str) -> None:
    shown = line(msgspec.structs.replace(EVENT, detail=text))
    assert len(shown.splitlines()) == 1
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


def test_hostile_detail_is_clean_in_both_files(tmp_path: Path, log_in: Open) -> None:
    log_in(tmp_path).write(msgspec.structs.replace(EVENT, detail="a\nb\x1b[2J\x9b31m\u202e\ud800" + "x" * 500))
    for file in ("calls.log", "calls.jsonl"):
        written = (tmp_path / file).read_bytes().decode()
        assert written.count("\n") == 1
        assert "\x1b" not in written
        assert "\x9b" not in written
        assert "x" * 300 not in written


def test_korean_detail_is_kept_as_it_is(tmp_path: Path, log_in: Open) -> None:
    log_in(tmp_path).write(msgspec.structs.replace(EVENT, detail="다리 분식"))
    assert "다리 분식" in (tmp_path / "calls.log").read_text()


def test_rotation_keeps_so_many_files_each_under_its_size_and_loses_no_kept_line(tmp_path: Path, log_in: Open) -> None:
    log = log_in(tmp_path, max_bytes=1000, files=3)
    for event in numbered(100):
        log.write(event)
    for kind in ("log", "jsonl"):
        names = sorted(path.name for path in tmp_path.glob(f"calls.{kind}*"))
        assert names == [f"calls.{kind}{age}" for age in ("", ".1", ".2", ".3")]
        assert all(path.stat().st_size <= 1000 for path in tmp_path.glob(f"calls.{kind}*"))
    kept = [event.detail for event in read(tmp_path)]
    assert kept == [event.detail for event in numbered(100)][-len(kept) :]
    assert log.lost == 0


def test_a_log_moved_or_removed_by_others_is_begun_anew(tmp_path: Path, log_in: Open) -> None:
    log = log_in(tmp_path)
    log.write(EVENT)
    (tmp_path / "calls.log").rename(tmp_path / "elsewhere")
    (tmp_path / "calls.jsonl").unlink()
    log.write(EVENT)
    assert (tmp_path / "calls.log").read_text().count("\n") == 1
    assert len(read(tmp_path)) == 1


def test_a_line_that_a_death_cut_short_costs_only_itself(tmp_path: Path, log_in: Open) -> None:
    log_in(tmp_path).write(EVENT)
    with (tmp_path / "calls.jsonl").open("ab") as file:
        file.write(b'{"at":"2026-11-2')
    log_in(tmp_path).write(EVENT)
    assert read(tmp_path) == [EVENT, EVENT]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_once_and_counted_and_the_log_goes_on_after_it(
    tmp_path: Path, log_in: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "calls.log").symlink_to("/dev/full")
    log = log_in(tmp_path)
    log.write(EVENT)
    log.write(EVENT)
    assert log.lost == 2
    (tmp_path / "calls.log").unlink()
    log.write(EVENT)
    assert log.lost == 2
    assert line(EVENT) in (tmp_path / "calls.log").read_text()
    told = capsys.readouterr()
    assert (told.out + told.err).count("cannot be written") == 1
    assert (told.out + told.err).count("is written again") == 1


def test_a_folder_that_cannot_be_made_breaks_nothing(tmp_path: Path, log_in: Open) -> None:
    (tmp_path / "file").write_text("in the way")
    log = log_in(tmp_path / "file")
    log.write(EVENT)
    assert log.lost == 1


def test_the_short_id_is_the_random_end_of_the_call_id() -> None:
    assert short_id(CALL) == "49068bc3"


def test_closing_leaves_no_file_open(tmp_path: Path, log_in: Open) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    log = log_in(tmp_path)
    log.write(EVENT)
    log.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
