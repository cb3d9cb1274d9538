"""The spool on a real disk: what is written stays, whatever happens to the process or to the disk."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from engine.cdr import writer
from engine.cdr.dead_spool import open_calls
from engine.cdr.left_behind import LeftBehind
from engine.cdr.model import CallRecord, Progress
from engine.cdr.segment import Entry, Segment, decode
from engine.cdr.spool import Spool
from engine.foundation.clock import SystemClock
from engine.foundation.errors import Conflict, Invalid
from tests.call_records import MORNING, arrival, record
from tests.eventually import eventually

Opener = Callable[[], Spool]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens the one spool of this test, as a new life of the engine would; closes every one at the end."""
    opened: list[Spool] = []

    def begin() -> Spool:
        opened.append(Spool.open(tmp_path / "spool", "n1", SystemClock()))
        return opened[-1]

    yield begin
    for spool in opened:
        await _die(spool)


async def _die(spool: Spool) -> None:
    """Ends a life without writing a word, as far as it has not ended yet."""
    if spool._lock >= 0:
        await spool._writer._tasks.close()
        spool._disk.shutdown()
        for segment in spool._writer.segments:
            segment.close()
        os.close(spool._lock)
        spool._lock = -1


def _files(spool: Spool) -> list[Path]:
    return sorted(spool._writer._folder.glob("*.spool"))


async def test_a_new_life_finds_open_calls_with_their_last_proof_of_life(start: Opener) -> None:
    spool = start()
    came, silent = arrival(), arrival()
    spool.arrived(came)
    spool.arrived(silent)
    later = MORNING + timedelta(seconds=30)
    spool.alive([came.call_id], later)
    await _die(spool)

    left = {call.arrival.call_id: call for call in start().left_open}

    assert left[came.call_id].arrival == came
    assert left[came.call_id].last_alive == later
    assert left[silent.call_id].last_alive == silent.arrived_at


async def test_a_closed_record_comes_back_whole_until_it_is_drained(start: Opener) -> None:
    spool = start()
    came = arrival()
    spool.arrived(came)
    spool.closed(record(came))
    await _die(spool)

    again = start()
    assert again.left_open == []
    assert await again.next_batch(10) == [record(came)]
    assert await again.next_batch(10) == [record(came)]
    await again.drained([came.call_id])
    assert again.waiting == 0
    await _die(again)
    assert start().waiting == 0


async def test_a_batch_is_the_oldest_closed_calls_first(start: Opener) -> None:
    spool = start()
    records = [record(arrival(MORNING + timedelta(seconds=n))) for n in range(5)]
    for one in records:
        spool.closed(one)
    assert await spool.next_batch(2) == records[:2]
    await spool.drained([one.call_id for one in records[:2]])
    assert await spool.next_batch(10) == records[2:]


async def test_waiting_for_a_batch_ends_when_a_call_is_closed(start: Opener) -> None:
    spool = start()
    waiting = asyncio.ensure_future(spool.next_batch(10))
    await asyncio.sleep(0)
    assert not waiting.done()
    one = record()
    spool.closed(one)
    assert await waiting == [one]


async def test_calls_that_come_and_go_while_the_disk_is_full_leave_room_for_others(
    start: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "HELD_LIMIT", 6)
    spool = start()
    with monkeypatch.context() as full:
        full.setattr(os, "write", _refuse)
        spool.arrived(live := arrival())
        for _ in range(2):
            spool.arrived(came := arrival())
            spool.closed(record(came))
        spool.arrived(last := arrival())
        spool.closed(record(last))
        assert (spool.lost, spool.waiting) == (0, 3)
        assert len(await spool.next_batch(10)) == 3
    spool.alive([live.call_id], MORNING)
    await _die(spool)
    again = start()
    assert [call.arrival for call in again.left_open] == [live]
    assert again.waiting == 3


async def test_a_second_engine_is_refused_with_the_name_of_the_first(start: Opener) -> None:
    spool = start()
    with pytest.raises(Conflict, match=rf"node n1, process {os.getpid()}"):
        Spool.open(spool._writer._folder, "n2", SystemClock())


async def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file in its place")
    with pytest.raises(Invalid, match=str(tmp_path / "spool")):
        Spool.open(tmp_path / "spool", "n1", SystemClock())


async def test_a_torn_last_line_costs_nothing_else(start: Opener) -> None:
    spool = start()
    first, torn = arrival(), arrival()
    spool.arrived(first)
    spool.arrived(torn)
    await _die(spool)
    file = _files(spool)[0]
    os.truncate(file, file.stat().st_size - 7)

    again = start()
    assert [call.arrival for call in again.left_open] == [first]
    assert again.damaged == []
    again.arrived(torn)
    await _die(again)
    assert {call.arrival.call_id for call in start().left_open} == {first.call_id, torn.call_id}


async def test_a_broken_line_in_the_middle_is_set_aside_and_the_others_are_kept(start: Opener) -> None:
    spool = start()
    before, broken, after, drained = arrival(), arrival(), arrival(), arrival()
    for came in (before, broken, after, drained):
        spool.arrived(came)
    spool.closed(record(after))
    spool.closed(record(drained))
    await spool.drained([drained.call_id])
    await _die(spool)
    file = _files(spool)[0]
    lines = file.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"carrier", b"barrier")
    file.write_bytes(b"".join(lines))

    again = start()
    assert again.damaged == [file.with_name(file.name + ".damaged")]
    assert again.damaged[0].exists()
    await _die(again)
    third = start()
    assert third.damaged == []
    assert [call.arrival for call in third.left_open] == [before]
    assert await third.next_batch(10) == [record(after)]


async def test_a_file_of_noise_does_not_stop_the_start(start: Opener) -> None:
    spool = start()
    came = arrival()
    spool.arrived(came)
    await _die(spool)
    (spool._writer._folder / "000000000000.spool").write_bytes(os.urandom(3000) + b"\n" + os.urandom(50))
    again = start()
    assert [path.name for path in again.damaged] == ["000000000000.spool.damaged"]
    assert [call.arrival for call in again.left_open] == [came]


async def test_files_go_when_their_calls_are_drained(start: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 2_000)
    spool = start()
    records = [record() for _ in range(20)]
    for one in records:
        spool.closed(one)
    assert len(_files(spool)) > 5
    await spool.drained([one.call_id for one in records])
    assert len(_files(spool)) <= 2


async def test_a_long_call_does_not_hold_old_files(start: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 2_000)
    spool = start()
    long_call = arrival()
    spool.arrived(long_call)
    spool.alive([long_call.call_id], MORNING + timedelta(hours=1))
    for _ in range(20):
        one = record()
        spool.closed(one)
        await spool.drained([one.call_id])
    assert len(_files(spool)) <= 3
    await _die(spool)
    (left,) = start().left_open
    assert (left.arrival, left.last_alive) == (long_call, MORNING + timedelta(hours=1))


async def test_a_drained_call_never_comes_back_while_old_files_are_there(
    start: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 1_500)
    spool = start()
    done, waiting = arrival(), arrival()
    spool.arrived(waiting)
    spool.arrived(done)
    spool.closed(record(waiting))
    for _ in range(5):
        spool.arrived(arrival())
    spool.closed(record(done))
    await spool.drained([done.call_id])
    await _die(spool)
    again = start()
    assert done.call_id not in {call.arrival.call_id for call in again.left_open}
    assert await again.next_batch(10) == [record(waiting)]


async def test_many_waiters_share_few_syncs(start: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0
    real = Segment.sync

    def counted(segment: Segment) -> None:
        nonlocal syncs
        syncs += 1
        real(segment)

    monkeypatch.setattr(Segment, "sync", counted)
    spool = start()

    async def one_call() -> None:
        spool.arrived(arrival())
        await spool.synced()
        assert not spool._writer.segments[-1].unsynced or spool._writer._durable < spool._writer._written

    await asyncio.gather(*(one_call() for _ in range(200)))
    assert 1 <= syncs <= 3
    await spool.synced()
    assert spool._writer._durable == spool._writer._written == 200
    assert syncs <= 3


async def test_an_arrival_that_a_sync_for_others_has_covered_waits_for_none(
    start: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = start()
    covered, later = arrival(), arrival()
    spool.arrived(covered)
    await spool.synced()
    spool.arrived(later)
    syncs: list[Segment] = []
    real = Segment.sync

    def noted(segment: Segment) -> None:
        syncs.append(segment)
        real(segment)

    monkeypatch.setattr(Segment, "sync", noted)
    await spool.arrival_synced(covered.call_id)
    assert not syncs
    await spool.arrival_synced(later.call_id)
    assert len(syncs) == 1


async def test_an_arrival_in_a_file_that_is_not_to_be_trusted_waits_for_the_next(
    start: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = start()
    doubtful, other = arrival(), arrival()
    spool.arrived(doubtful)
    _fail_once(monkeypatch, "fdatasync")
    await spool.synced()
    spool.arrived(other)
    await spool.arrival_synced(doubtful.call_id)
    assert spool._writer._durable == spool._writer._written


async def test_a_sync_soon_comes_without_anybody_waiting(start: Opener) -> None:
    spool = start()
    for _ in range(3):
        spool.arrived(arrival())
        spool.sync_soon()
    await eventually(lambda: spool._writer._durable == 3)


async def test_closed_calls_beyond_the_first_are_kept_on_disk_alone(
    start: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cdr.pending.IN_MEMORY", 2)
    spool = start()
    records = [record() for _ in range(5)]
    for one in records:
        spool.closed(one)
    assert [isinstance(kept, CallRecord) for kept in spool._pending.closed.values()] == [
        True,
        True,
        False,
        False,
        False,
    ]
    assert await spool.next_batch(10) == records


async def test_a_waiter_that_is_cancelled_harms_no_other(start: Opener) -> None:
    spool = start()
    spool.arrived(arrival())
    first, second = asyncio.ensure_future(spool.synced()), asyncio.ensure_future(spool.synced())
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert spool._writer._durable == 1


async def test_after_a_failed_sync_everything_unsynced_is_written_into_a_new_file(
    start: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = start()
    safe, doubtful, ended = arrival(), arrival(), arrival()
    spool.arrived(safe)
    await spool.synced()
    spool.arrived(doubtful)
    spool.arrived(ended)
    spool.closed(record(ended))
    _fail_once(monkeypatch, "fdatasync")

    await spool.synced()

    assert spool.healthy
    old, new = _files(spool)
    assert [decode(line).__class__.__name__ for line in new.read_bytes().splitlines(keepends=True)] == [
        "Arrived",
        "Closed",
    ]
    os.truncate(old, len(old.read_bytes().splitlines(keepends=True)[0]))
    assert await spool.next_batch(10) == [record(ended)]
    await _die(spool)
    again = start()
    assert {call.arrival.call_id for call in again.left_open} == {safe.call_id, doubtful.call_id}
    assert await again.next_batch(10) == [record(ended)]


async def test_a_disk_that_never_syncs_is_reported_and_holds_no_call(
    start: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = start()
    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", _refuse)
        came = arrival()
        spool.arrived(came)
        await spool.synced()
        assert not spool.healthy
        assert "synced" in spool.reason
        assert os.strerror(errno.EIO) in spool.reason
    spool.arrived(arrival())
    await spool.synced()
    assert spool.healthy
    await _die(spool)
    assert came in [call.arrival for call in start().left_open]


async def test_a_full_memory_gives_up_counted_entries_only(start: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "HELD_LIMIT", 4)
    spool = start()
    with monkeypatch.context() as full:
        full.setattr(os, "write", _refuse)
        kept = [arrival() for _ in range(4)]
        for came in kept:
            spool.arrived(came)
        given_up = record()
        spool.closed(given_up)
        assert (spool.held, spool.lost, spool.waiting) == (4, 1, 0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(spool.next_batch(10), 0.05)
    spool.alive([], MORNING)
    assert spool.held == 0
    await _die(spool)
    assert [call.arrival for call in start().left_open] == kept


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("only root may mount; the file size limit test shows the same")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


async def test_a_full_disk_holds_records_in_memory_and_writes_them_when_there_is_room(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    spool = Spool.open(small_disk / "spool", "n1", SystemClock())
    _fill(ballast)
    calls = [arrival() for _ in range(30)]
    for came in calls:
        spool.arrived(came)
    await spool.synced()
    assert not spool.healthy
    assert os.strerror(errno.ENOSPC) in spool.reason
    assert spool.held > 0
    spool.closed(record(calls[0]))
    assert await spool.next_batch(10) == [record(calls[0])]

    ballast.unlink()
    spool.alive([came.call_id for came in calls[1:]], MORNING + timedelta(seconds=5))
    await spool.synced()
    assert (spool.healthy, spool.held, spool.lost) == (True, 0, 0)
    await _die(spool)
    again = Spool.open(small_disk / "spool", "n1", SystemClock())
    assert [call.arrival for call in again.left_open] == calls[1:]
    assert await again.next_batch(10) == [record(calls[0])]
    await again.close()


async def test_a_write_cut_short_leaves_no_torn_line_behind(start: Opener) -> None:
    spool = start()
    first = arrival()
    spool.arrived(first)
    size = _files(spool)[0].stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
    try:
        held = arrival()
        spool.arrived(held)
        assert not spool.healthy
        assert spool.held == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    last = arrival()
    spool.arrived(last)
    assert spool.healthy
    await _die(spool)
    again = start()
    assert again.damaged == []
    assert [call.arrival for call in again.left_open] == [first, held, last]


APPEND_FOR_EVER = """
import asyncio, sys
from pathlib import Path
from engine.cdr.spool import Spool
from engine.foundation.clock import SystemClock
from tests.call_records import arrival, record

async def main() -> None:
    spool = Spool.open(Path(sys.argv[1]), "n1", SystemClock())
    number = 0
    while True:
        came = arrival()
        spool.arrived(came)
        print("arrived", came.call_id, flush=True)
        number += 1
        if number % 2:
            spool.closed(record(came))
            print("closed", came.call_id, flush=True)
        if number % 50 == 0:
            await spool.synced()

asyncio.run(main())
"""


async def test_kill_9_at_full_speed_loses_nothing_that_was_acknowledged(start: Opener, tmp_path: Path) -> None:
    words = [line.split() for line in _kill_while_it_appends(tmp_path / "spool")]
    closed = {UUID(call) for word, call in words if word == "closed"}
    arrived = {UUID(call) for word, call in words if word == "arrived"}
    assert len(arrived) > 1_000

    spool = start()

    found_closed = {one.call_id for one in await spool.next_batch(1_000_000)}
    found_open = {call.arrival.call_id for call in spool.left_open}
    assert closed <= found_closed
    assert arrived <= found_closed | found_open
    assert len(found_closed - closed) <= 1
    assert spool.damaged == []


def _kill_while_it_appends(folder: Path) -> list[str]:
    """What a process said that it had written when it was killed."""
    with subprocess.Popen(
        [sys.executable, "-c", APPEND_FOR_EVER, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as child:
        assert child.stdout
        said = [child.stdout.readline() for _ in range(2_000)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.read().splitlines(keepends=True)
    assert child.returncode == -signal.SIGKILL
    return [line for line in said if line.endswith("\n")]


def _refuse(*_: object) -> int:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def _fail_once(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Lets the next call of os.`name` fail as a worn disk does."""
    real = getattr(os, name)
    failed = False

    def fail(*arguments: object) -> object:
        nonlocal failed
        if failed:
            return real(*arguments)
        failed = True
        return _refuse()

    monkeypatch.setattr(os, name, fail)


def _fill(file: Path) -> None:
    with file.open("wb", buffering=0) as ballast:
        for size in (4096, 512, 1):
            with suppress(OSError):
                while True:
                    ballast.write(b"x" * size)
    assert os.statvfs(file).f_bavail == 0


# How far live calls have come


def _progress(stage: int, **more: object) -> Progress:
    at = MORNING + timedelta(seconds=10 + stage)
    return Progress(at=at, life=1, stage=stage, **more)  # type: ignore[arg-type]


async def test_a_new_life_finds_how_far_a_call_had_come_and_its_plan_that_was_told_once(start: Opener) -> None:
    spool = start()
    came = arrival()
    spool.arrived(came)
    plan = msgspec.Raw(b'{"type":"Forward"}')
    spool.progress(came.call_id, _progress(0, plan=plan))
    spool.progress(came.call_id, _progress(1, consent=None, legs=record(came).legs, steps=record(came).steps))
    await _die(spool)

    (left,) = start().left_open
    assert left.progress is not None
    assert (left.progress.stage, bytes(left.progress.plan)) == (1, bytes(plan))
    assert (left.progress.legs, left.progress.steps) == (record(came).legs, record(came).steps)
    assert left.last_alive == left.progress.at


async def test_progress_outlives_the_file_in_which_it_was_told(start: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 300)
    spool = start()
    came = arrival()
    spool.arrived(came)
    spool.progress(came.call_id, _progress(0, plan=msgspec.Raw(b"{}")))
    for _ in range(5):
        one = record()
        spool.closed(one)
        await spool.drained([one.call_id])
    assert _files(spool)[0].name > "000000000002.spool", "the first files are still there"
    spool.alive([came.call_id], MORNING + timedelta(seconds=60))
    await _die(spool)

    (left,) = start().left_open
    assert left.progress is not None
    assert (left.progress.stage, bytes(left.progress.plan)) == (0, b"{}")
    assert left.last_alive == MORNING + timedelta(seconds=60)


async def test_progress_of_a_call_that_is_closed_or_somebody_elses_says_nothing(start: Opener) -> None:
    spool = start()
    over, given = arrival(), arrival()
    spool.arrived(over)
    spool.arrived(given)
    spool.closed(record(over))
    await spool.give_away([given.call_id])
    for came in (over, given):
        spool.progress(came.call_id, _progress(1))
    await _die(spool)

    again = start()
    assert again.left_open == []
    assert [one.call_id for one in await again.next_batch(10)] == [over.call_id]


# A spool that has grown while the database was away


def _open_files(folder: Path) -> int:
    """How many files of the folder this process has open, but for its lock."""
    opened = [link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return sum(path.parent == folder and path.name != "lock" for path in opened)


async def test_however_many_files_there_are_few_are_open(start: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "SEGMENT_BYTES", 1_000)
    spool = start()
    records = [record(arrival(MORNING + timedelta(seconds=n))) for n in range(100)]
    for one in records:
        spool.closed(one)
        await spool.synced()
    assert len(_files(spool)) > 50
    assert _open_files(spool._writer._folder) <= 2
    assert await spool.next_batch(1_000) == records
    await _die(spool)
    again = start()
    assert _open_files(again._writer._folder) == 0
    assert await again.next_batch(1_000) == records
    again.closed(record())
    assert await again.next_batch(100) == records
    await again.drained([one.call_id for one in records])
    await again.synced()
    assert _open_files(again._writer._folder) == 1


async def test_records_are_not_given_up_when_no_file_can_be_opened_now(
    start: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.cdr.spool._AGAIN", 0.0)
    monkeypatch.setattr("engine.cdr.pending.IN_MEMORY", 0)
    spool = start()
    records = [record() for _ in range(3)]
    for one in records:
        spool.closed(one)
    real, tries = Segment.entry, 0

    def entry(segment: Segment, offset: int, length: int) -> Entry:
        nonlocal tries
        tries += 1
        if tries in (2, 3):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(segment, offset, length)

    monkeypatch.setattr(Segment, "entry", entry)
    assert await spool.next_batch(10) == records
    assert spool.waiting == 3
    assert tries == 6  # one was read, and two tries failed


async def test_a_folder_that_could_not_be_read_is_not_kept_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Path) -> LeftBehind:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as broken:
        broken.setattr("engine.cdr.spool.read_back", refused)
        with pytest.raises(Invalid, match=os.strerror(errno.EIO)):
            Spool.open(tmp_path / "spool", "n1", SystemClock())
    await Spool.open(tmp_path / "spool", "n1", SystemClock()).close()


async def test_looking_into_the_spool_of_another_engine_writes_and_syncs_nothing(
    start: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = start()
    spool.arrived(came := arrival())
    with monkeypatch.context() as watched:
        for name in ("fdatasync", "fsync", "write"):
            watched.setattr(os, name, _refuse)
        assert open_calls(spool._writer._folder).keys() == {came.call_id}
    synced: list[int] = []
    real = os.fdatasync

    def counted(descriptor: int) -> None:
        synced.append(descriptor)
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    await _die(spool)
    start()
    assert len(synced) == 1, "what a new life has read is not on disk"
