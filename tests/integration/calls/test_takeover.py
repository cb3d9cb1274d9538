"""A dead engine's calls go to whoever gets its lock: real folders, real locks, and processes that are killed."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from engine.calls import takeover
from engine.calls.takeover import Adopt, Elsewhere, Sibling, Takeover, on_duty, open_own
from engine.cdr.dead_spool import locked
from engine.cdr.left_behind import LeftBehind, read_back
from engine.cdr.model import CallRecord, OpenCall, Progress
from engine.cdr.segment import Closed
from engine.cdr.spool import Spool
from engine.foundation.clock import SystemClock
from engine.foundation.errors import Conflict
from engine.foundation.tasks import Tasks
from engine.settings import PRODUCT_FILES
from tests.call_records import MORNING, arrival, record
from tests.eventually import eventually

CLOCK = SystemClock()
RELAYS = 10


def filled(spool: Spool) -> tuple[dict[UUID, OpenCall], dict[UUID, CallRecord]]:
    """Three open calls that have come far, three closed ones, and one that is in the database already."""
    opened, closed = {}, {}
    for number in range(3):
        came = arrival(MORNING + timedelta(seconds=number))
        spool.arrived(came)
        progress = Progress(at=MORNING + timedelta(seconds=10 + number), life=1, stage=number)
        spool.progress(came.call_id, progress)
        opened[came.call_id] = OpenCall(arrival=came, last_alive=progress.at, progress=progress)
    for number in range(3):
        came = arrival(MORNING + timedelta(seconds=20 + number))
        spool.arrived(came)
        closed[came.call_id] = record(came)
        spool.closed(closed[came.call_id])
    return opened, closed


async def dead_engine(folder: Path) -> tuple[dict[UUID, OpenCall], dict[UUID, CallRecord]]:
    """A spool in two files, whose engine has ended."""
    spool = Spool.open(folder, "n1-2", CLOCK)
    done = arrival()
    spool.arrived(done)
    spool.closed(record(done))
    await spool.close()
    spool = Spool.open(folder, "n1-2", CLOCK)
    found = filled(spool)
    await spool.drained([done.call_id])
    await spool.close()
    return found


def found_in(folder: Path) -> tuple[dict[UUID, OpenCall], dict[UUID, CallRecord]]:
    """What a new life of that folder's engine would find, and nothing of it is broken."""
    left = read_back(folder)
    closed = {}
    for call_id, place in left.closed.items():
        entry = place.segment.entry(place.offset, place.length)
        assert isinstance(entry, Closed)
        closed[call_id] = entry.record
    for segment in left.segments:
        segment.close()
    assert not left.damaged
    assert not left.unreadable
    return left.open, closed


def check_each_once(
    spool: Path, opened: dict[UUID, OpenCall], closed: dict[UUID, CallRecord], own: UUID | None = None
) -> None:
    """Every call is in one folder, whole, and in no other."""
    first_open, first_closed = found_in(spool)
    second_open, second_closed = found_in(spool / "engine-2")
    if own is not None:
        first_open.pop(own)
    assert not first_open.keys() & second_open.keys(), "two engines have the same call"
    assert not first_closed.keys() & second_closed.keys()
    assert first_open | second_open == opened
    assert first_closed | second_closed == closed


async def taker(*arguments: object) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.taker", *map(str, arguments), cwd=PRODUCT_FILES, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()


class Adopted(list[OpenCall]):
    """Remembers what was to be gone on with."""

    async def __call__(self, calls: Sequence[OpenCall], _app: str) -> None:
        self.extend(calls)


def second(folder: Path) -> Sibling:
    """The second engine of a home."""
    return Sibling(folder / "spool" / "engine-2", "dari-n1-2")


def taking_over(spool: Spool, adopt: Adopt, *siblings: Sibling) -> Takeover:
    return Takeover(spool, lambda: siblings, adopt, lambda: True, CLOCK.monotonic)


async def template(folder: Path) -> tuple[dict[UUID, OpenCall], dict[UUID, CallRecord], UUID]:
    """Two engines' folders as takers find them: the second is dead, the first had a call of its own."""
    spool = folder / "template" / "spool"
    own = Spool.open(spool, "n1", CLOCK)
    came = arrival()
    own.arrived(came)
    await own.close()
    opened, closed = await dead_engine(spool / "engine-2")
    return opened, closed, came.call_id


async def test_a_taker_killed_at_any_line_loses_and_doubles_nothing(tmp_path: Path) -> None:
    opened, closed, own = await template(tmp_path)
    await taker(tmp_path, "lines")
    killed = sorted(tmp_path.glob("killed-*"))
    assert len(killed) > 50, "the takers were not killed on their way"
    before = after = 0
    for folder in killed:
        check_each_once(folder / "spool", opened, closed, own)
        moved = bool(found_in(folder / "spool")[1])
        before, after = before + (not moved), after + moved
    assert before > 10
    assert after > 3
    for folder in killed:  # whoever comes next has all that is left, and nothing twice
        adopted = Adopted()
        spool = Spool.open(folder / "spool", "n1", CLOCK)
        left = {call.arrival.call_id for call in spool.left_open} - {own}
        await taking_over(spool, adopted).take(second(folder))
        taken = [call.arrival.call_id for call in adopted]
        assert sorted([*left, *taken]) == sorted(opened)
        assert {one.call_id: one for one in await spool.next_batch(100)} == closed
        await spool.close()


async def test_takers_killed_one_after_the_other_lose_and_double_nothing(tmp_path: Path) -> None:
    opened, closed, own = await template(tmp_path)
    seeds = [random.randrange(10**6) for _ in range(RELAYS)]
    print(f"seeds: {seeds}")
    await taker(tmp_path, "relay", *seeds)
    for seed in seeds:
        spool = tmp_path / f"relay-{seed}" / "spool"
        check_each_once(spool, opened, closed, own)
        assert found_in(spool / "engine-2") == ({}, {})


@asynccontextmanager
async def engine_process(folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that has the spool and one open call in it."""
    code = f"""
import asyncio, time
from pathlib import Path
from engine.cdr.spool import Spool
from engine.foundation.clock import SystemClock
from tests.call_records import arrival

async def main():
    spool = Spool.open(Path({str(folder)!r}), "n1-2", SystemClock())
    spool.arrived(arrival())
    print("has it", flush=True)
    time.sleep(600)

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, cwd=PRODUCT_FILES, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert (await process.stdout.readline()).strip() == b"has it"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_an_engine_keeps_its_calls_until_it_is_dead_frozen_or_not(tmp_path: Path) -> None:
    other, adopted = second(tmp_path), Adopted()
    spool = Spool.open(tmp_path / "spool", "n1", CLOCK)
    taking = taking_over(spool, adopted, other)
    await taking.take(other)  # no such engine ever was
    async with engine_process(other.spool) as engine:
        await taking.take(other)
        engine.send_signal(signal.SIGSTOP)
        await taking.take(other)
        assert adopted == []
        engine.kill()
        await engine.wait()
        tasks = Tasks("test")
        tasks.start("takeover", taking.keep_trying())
        await eventually(lambda: bool(adopted))
        await tasks.close()
    assert len(adopted) == 1
    await taking.take(other)
    assert len(adopted) == 1
    await spool.close()


async def test_an_engine_that_could_not_go_on_with_calls_leaves_them_to_others(tmp_path: Path) -> None:
    opened, _ = await dead_engine(tmp_path / "spool" / "engine-2")
    spool, adopted, able = Spool.open(tmp_path / "spool", "n1", CLOCK), Adopted(), [False]
    looks = []

    def siblings() -> list[Sibling]:
        looks.append(1)
        return [second(tmp_path)]

    tasks = Tasks("test")
    tasks.start("takeover", Takeover(spool, siblings, adopted, lambda: able[0], CLOCK.monotonic).keep_trying())
    await eventually(lambda: len(looks) > 1)
    assert adopted == []
    able[0] = True
    await eventually(lambda: len(adopted) == len(opened))
    await tasks.close()
    await spool.close()


async def test_a_new_life_waits_while_a_sibling_takes_what_is_in_its_spool(tmp_path: Path) -> None:
    await dead_engine(tmp_path / "spool")
    tasks, lives = Tasks("test"), []

    async def live() -> None:
        lives.append(await open_own(tmp_path / "spool", "n1", CLOCK))

    with locked(tmp_path / "spool") as dead:
        assert dead
        starting = tasks.start("life", live())
        with pytest.raises(Conflict):
            Spool.open(tmp_path / "spool", "n1", CLOCK)
        assert not starting.done()
    await starting
    await lives[0].close()


async def test_a_new_life_gets_its_lock_only_when_callers_of_the_dead_one_are_settled(tmp_path: Path) -> None:
    await dead_engine(tmp_path / "spool" / "engine-2")
    settling, settled, told = asyncio.Event(), asyncio.Event(), []

    async def adopt(calls: Sequence[OpenCall], app: str) -> None:
        told.append((len(calls), app))
        settling.set()
        await settled.wait()

    spool, tasks = Spool.open(tmp_path / "spool", "n1", CLOCK), Tasks("test")
    taking = taking_over(spool, adopt)
    first = tasks.start("take", taking.take(second(tmp_path)))
    await settling.wait()
    with pytest.raises(Conflict):
        Spool.open(second(tmp_path).spool, "n1-2", CLOCK)
    settled.set()
    await first
    await taking.take(second(tmp_path))  # nothing is left of it, and it was settled
    again = await open_own(second(tmp_path).spool, "n1-2", CLOCK)
    await taking.take(second(tmp_path))
    await again.close()
    await taking.take(second(tmp_path))  # it lived again, and had no call of its own when it died
    assert told == [(3, "dari-n1-2"), (0, "dari-n1-2")]
    await spool.close()


async def test_two_engines_of_one_spool_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "_TAKER_IS_DONE", 0.1)
    spool = Spool.open(tmp_path / "spool", "n1", CLOCK)
    with pytest.raises(Conflict, match="another engine uses it"):
        await open_own(tmp_path / "spool", "n1", CLOCK)
    await spool.close()


async def test_calls_taken_over_go_on_in_the_new_spool_to_the_database_and_its_files_go(tmp_path: Path) -> None:
    opened, closed = await dead_engine(tmp_path / "spool" / "engine-2")
    spool, adopted = Spool.open(tmp_path / "spool", "n1", CLOCK), Adopted()
    mine = arrival()
    spool.arrived(mine)
    await taking_over(spool, adopted).take(second(tmp_path))
    assert list((tmp_path / "spool" / "engine-2").glob("*.spool")) == []
    on = {call_id: Progress(at=MORNING + timedelta(hours=1), life=2) for call_id in opened}
    for call_id, progress in on.items():
        spool.progress(call_id, progress)
    await spool.close()

    again = Spool.open(tmp_path / "spool", "n1", CLOCK)
    left = {call.arrival.call_id: call for call in again.left_open}
    assert left.keys() == opened.keys() | {mine.call_id}
    assert {call_id: left[call_id].progress for call_id in on} == on
    for call_id in left:
        again.closed(msgspec.structs.replace(record(), call_id=call_id))
    records = await again.next_batch(100)
    assert {one.call_id for one in records} == left.keys() | closed.keys()
    await again.drained([one.call_id for one in records])
    await again.close()
    last = Spool.open(tmp_path / "spool", "n1", CLOCK)
    assert (last.left_open, last.waiting) == ([], 0)
    assert list((tmp_path / "spool").glob("*.spool")) == []
    await last.close()


async def test_the_calls_of_siblings_are_known_while_they_live_and_when_they_are_dead(tmp_path: Path) -> None:
    opened, _ = await dead_engine(tmp_path / "spool" / "engine-2")
    living = Spool.open(tmp_path / "spool" / "engine-3", "n1-3", CLOCK)
    came = arrival()
    living.arrived(came)
    elsewhere = Elsewhere(lambda: [second(tmp_path), Sibling(tmp_path / "spool" / "engine-3", "dari-n1-3")])
    found = {call.arrival.call_id for call in await elsewhere.calls()}
    assert found == opened.keys() | {came.call_id}
    living.closed(record(came))
    assert {call.arrival.call_id for call in await elsewhere.calls()} == opened.keys()
    await living.close()


async def test_a_folder_that_cannot_be_read_is_left_as_it_is_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, closed = await dead_engine(tmp_path / "spool" / "engine-2")
    spool, adopted = Spool.open(tmp_path / "spool", "n1", CLOCK), Adopted()
    (tmp_path / "spool" / "000000000001.spool").mkdir()  # where the file would go: the rename fails
    taking = taking_over(spool, adopted)
    with pytest.raises(IsADirectoryError):
        await taking.take(second(tmp_path))
    assert adopted == []
    assert found_in(tmp_path / "spool" / "engine-2") == (opened, closed)
    (tmp_path / "spool" / "000000000001.spool").rmdir()
    await taking.take(second(tmp_path))
    assert {call.arrival.call_id for call in adopted} == opened.keys()
    await spool.close()


async def test_what_only_one_does_is_done_by_the_next_when_that_one_is_gone(tmp_path: Path) -> None:
    doing: list[str] = []

    async def work(name: str) -> None:
        doing.append(name)
        try:
            await asyncio.Event().wait()
        finally:
            doing.remove(name)

    first, second = Tasks("first"), Tasks("second")
    first.start("duty", on_duty(tmp_path / "run" / "duty.lock", lambda: work("first")))
    await eventually(lambda: doing == ["first"])
    second.start("duty", on_duty(tmp_path / "run" / "duty.lock", lambda: work("second")))
    await asyncio.sleep(0)
    assert doing == ["first"]
    await first.close()
    await eventually(lambda: doing == ["second"])
    await second.close()


@pytest.mark.parametrize("given_up", [False, True])
async def test_the_loop_turns_while_a_large_spool_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, given_up: bool
) -> None:
    opened, _ = await dead_engine(tmp_path / "spool")
    reading, go_on = threading.Event(), threading.Event()

    def slow(folder: Path) -> LeftBehind:
        reading.set()
        assert go_on.wait(60)
        return read_back(folder)

    with monkeypatch.context() as large:
        large.setattr("engine.cdr.spool.read_back", slow)
        life = asyncio.ensure_future(open_own(tmp_path / "spool", "n1", CLOCK))
        await eventually(reading.is_set)  # would never be seen by a loop that waits for the reading
        if given_up:
            life.cancel()
            await asyncio.sleep(0)
        assert not life.done()
        go_on.set()
        await asyncio.wait([life])
    if given_up:
        assert life.cancelled()
        spool = Spool.open(tmp_path / "spool", "n1", CLOCK)  # nobody has it
    else:
        spool = life.result()
    assert {call.arrival.call_id for call in spool.left_open} == opened.keys()
    await spool.close()
