"""Reading call logs: merged in time order, through rotation, while they are written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol
from uuid import UUID

import msgspec
import pytest

from engine.events.call_log import CallEvent, CallEventKind
from engine.events.call_log_reader import follow, read
from engine.events.call_log_writer import CallLog
from engine.foundation.phone_number import PhoneNumber
from tests.eventually import PATIENCE

START = datetime(2026, 11, 21, 17, 0, tzinfo=UTC)


def event(second: int) -> CallEvent:
    return CallEvent(
        at=START + timedelta(seconds=second),
        call_id=UUID(int=second),
        kind=CallEventKind.ARRIVED,
        number=PhoneNumber("050712345678"),
    )


class Open(Protocol):
    """Opens the log NAME in a folder; the test need not close it."""

    def __call__(self, folder: Path, name: str, max_bytes: int = 100_000) -> CallLog: ...


@pytest.fixture
def log() -> Iterator[Open]:
    logs: list[CallLog] = []

    def opened(folder: Path, name: str, max_bytes: int = 100_000) -> CallLog:
        logs.append(CallLog(folder, name, mask=False, max_bytes=max_bytes, files=9))
        return logs[-1]

    yield opened
    for log in logs:
        log.close()


def seconds(events: list[CallEvent]) -> list[int]:
    return [event.call_id.int for event in events]


async def take(events: AsyncIterator[CallEvent], count: int) -> list[int]:
    return [(await asyncio.wait_for(anext(events), PATIENCE)).call_id.int for _ in range(count)]


def test_the_logs_of_all_writers_come_in_time_order(tmp_path: Path, log: Open) -> None:
    both = log(tmp_path, "calls"), log(tmp_path, "messages")
    for second in range(10):
        both[second % 2].write(event(second))
    assert seconds(read(tmp_path)) == list(range(10))


def test_the_last_events_reach_back_into_rotated_files(tmp_path: Path, log: Open) -> None:
    calls = log(tmp_path, "calls", max_bytes=600)
    for second in range(30):
        calls.write(event(second))
    log(tmp_path, "messages").write(event(0))
    assert seconds(read(tmp_path, last=10)) == list(range(20, 30))


def test_only_wanted_events_count_towards_the_last(tmp_path: Path, log: Open) -> None:
    calls = log(tmp_path, "calls", max_bytes=600)
    for second in range(30):
        calls.write(event(second))
    assert seconds(read(tmp_path, 3, lambda event: event.call_id.int % 10 == 0)) == [0, 10, 20]


def test_no_folder_means_no_events(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == []


async def test_following_gives_the_last_and_then_each_new_event_once(tmp_path: Path, log: Open) -> None:
    calls = log(tmp_path, "calls")
    for second in range(5):
        calls.write(event(second))
    events = follow(tmp_path, last=2, every=0.01)
    assert await take(events, 2) == [3, 4]
    calls.write(event(5))
    calls.write(event(6))
    assert await take(events, 2) == [5, 6]
    await events.aclose()


async def test_following_loses_nothing_through_many_rotations_between_two_looks(tmp_path: Path, log: Open) -> None:
    calls = log(tmp_path, "calls", max_bytes=600)
    calls.write(event(0))
    events = follow(tmp_path, last=1, every=0.01)
    assert await take(events, 1) == [0]
    for second in range(1, 21):
        calls.write(event(second))
    assert (tmp_path / "calls.jsonl.4").exists()
    assert await take(events, 20) == list(range(1, 21))
    await events.aclose()


async def test_following_waits_for_the_rest_of_a_line(tmp_path: Path, log: Open) -> None:
    log(tmp_path, "calls").write(event(0))
    whole = msgspec.json.encode(event(1)) + b"\n"
    events = follow(tmp_path, last=1, every=0.01)
    assert await take(events, 1) == [0]
    with (tmp_path / "calls.jsonl").open("ab", buffering=0) as file:
        file.write(whole[:40])
        assert seconds(read(tmp_path)) == [0]
        later = asyncio.ensure_future(take(events, 1))
        await asyncio.sleep(0.05)
        file.write(whole[40:])
    assert await later == [1]
    await events.aclose()


async def test_following_meets_logs_and_folders_that_appear_later(tmp_path: Path, log: Open) -> None:
    events = follow(tmp_path / "log", last=5, every=0.01)
    first = asyncio.ensure_future(take(events, 1))
    await asyncio.sleep(0.03)
    calls = log(tmp_path / "log", "calls")
    calls.write(event(1))
    assert await first == [1]
    log(tmp_path / "log", "messages").write(event(2))
    assert await take(events, 1) == [2]
    await events.aclose()


async def test_following_goes_on_when_the_log_is_emptied_or_removed(tmp_path: Path, log: Open) -> None:
    calls = log(tmp_path, "calls")
    for second in range(3):
        calls.write(event(second))
    events = follow(tmp_path, last=1, every=0.01)
    assert await take(events, 1) == [2]
    (tmp_path / "calls.jsonl").write_bytes(b"")
    calls.write(event(3))
    assert await take(events, 1) == [3]
    (tmp_path / "calls.jsonl").unlink()
    calls.write(event(4))
    assert await take(events, 1) == [4]
    await events.aclose()
