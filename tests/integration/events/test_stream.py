"""The order of the stream, on a real database: nothing is missed, nothing comes twice, nobody reads another's."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import OPERATOR_ID
from engine.events import store, stream
from engine.events import tail as tail_module
from engine.events.outbox import append
from engine.events.retention import forget_old_events
from engine.events.sequencer import Sequencer, number_all
from engine.events.stream import Reader, Slice, StreamEvent
from engine.events.tail import KEPT, Tail
from engine.foundation.database import transaction
from engine.foundation.errors import Invalid, NotFound
from engine.foundation.ids import new_id
from engine.foundation.tasks import Tasks
from tests.eventually import PATIENCE, eventually
from tests.hand_clock import HandClock
from tests.stream_written import AT, event, happened, move_node, open_node, path_of, write

_LISTENERS = text("""
    SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dari listen' AND datname = current_database()
""")


def whats(events: tuple[StreamEvent, ...] | list[StreamEvent]) -> list[object]:
    return [json.loads(one.told)["data"]["what"] for one in events]


async def read(
    database: AsyncEngine, account: UUID, after: int = 0, limit: int = 100, kinds: tuple[str, ...] = ()
) -> Slice:
    async with transaction(database) as connection:
        reader = Reader.at(await path_of(connection, account))
        return await stream.read(connection, reader, after, limit, kinds)


async def test_each_stream_has_places_without_gaps_in_the_order_of_commit(database: AsyncEngine) -> None:
    one, other = await open_node(database, "one"), await open_node(database, "other")
    await happened(database, one, "a", "b")
    await happened(database, other, "x")
    await happened(database, one, "c")
    await happened(database, None, "nobody's")
    assert [event.seq for event in (await read(database, one)).events] == [1, 2, 3]
    assert whats((await read(database, one)).events) == ["a", "b", "c"]
    assert whats((await read(database, other)).events) == ["x"]
    assert whats((await read(database, OPERATOR_ID)).events) == ["nobody's"]


async def test_what_commits_late_comes_later_and_is_not_missed(database: AsyncEngine) -> None:
    shop = await open_node(database, "shop")
    async with transaction(database) as slow:
        await append(slow, [event(shop, "began first, committed last")])
        await happened(database, shop, "quick")
        first = await read(database, shop)
    assert whats(first.events) == ["quick"]
    await number_all(database)
    assert whats((await read(database, shop, after=first.upto)).events) == ["began first, committed last"]


async def test_many_who_number_and_write_at_once_leave_no_gap_and_no_double(database: AsyncEngine) -> None:
    shops = [await open_node(database, f"shop {index}") for index in range(3)]
    chance = Random(5)

    async def writer(index: int) -> None:
        for count in range(20):
            async with transaction(database) as connection:
                await append(connection, [event(chance.choice(shops), f"{index}/{count}")])
                await asyncio.sleep(chance.random() / 200)

    async def numberer() -> None:
        for _ in range(30):
            await number_all(database)
            await asyncio.sleep(0)

    await asyncio.gather(*(writer(index) for index in range(5)), *(numberer() for _ in range(3)))
    await number_all(database)
    found = []
    for shop in shops:
        events = (await read(database, shop, limit=500)).events
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        found += whats(events)
    assert sorted(map(str, found)) == sorted(f"{index}/{count}" for index in range(5) for count in range(20))


async def test_whoever_reads_sees_their_own_and_what_is_below(database: AsyncEngine) -> None:
    agency = await open_node(database, "agency", "agency")
    branch = await open_node(database, "branch", "branch", agency)
    inside, outside = await open_node(database, "a", "shop", branch), await open_node(database, "b", "shop", agency)
    rival = await open_node(database, "rival", "agency")
    for account in (inside, outside, branch, agency, rival):
        await happened(database, account, str(account))
    assert whats((await read(database, agency)).events) == [str(one) for one in (inside, outside, branch, agency)]
    assert whats((await read(database, branch)).events) == [str(inside), str(branch)]
    assert whats((await read(database, inside)).events) == [str(inside)]
    assert whats((await read(database, rival)).events) == [str(rival)]


async def test_who_wants_little_of_a_large_stream_reads_it_to_its_end_in_pieces(database: AsyncEngine) -> None:
    agency = await open_node(database, "agency", "agency")
    small = await open_node(database, "small", "shop", agency)
    await write(database, [event(small if index % 1000 == 999 else agency, index) for index in range(5000)])
    assert await number_all(database) == 5000
    found: list[object] = []
    place, more = 0, True
    while more:
        piece = await read(database, small, after=place, limit=2)
        assert piece.upto > place or not piece.more
        place, more = piece.upto, piece.more
        found += whats(piece.events)
    assert found == [999, 1999, 2999, 3999, 4999]
    assert place == 5000


async def test_only_the_kinds_that_are_wanted(database: AsyncEngine) -> None:
    shop = await open_node(database, "shop")
    kinds = ["call.started", "message.held", "call.ended", "number.changed"]
    await write(database, [event(shop, kind, kind) for kind in kinds])
    await number_all(database)
    assert whats((await read(database, shop, kinds=("call.*", "number.changed"))).events) == [
        "call.started",
        "call.ended",
        "number.changed",
    ]


async def test_what_happens_once_is_told_once(database: AsyncEngine) -> None:
    shop, call = await open_node(database, "shop"), new_id(AT)
    rang = [replace(event(shop, "x", "call.ringing", call), leg=leg) for leg in ("0212345678", "0311234567")]
    await write(database, rang)
    await write(database, rang)
    await number_all(database)
    assert len((await read(database, shop)).events) == 2


async def test_a_moved_account_reads_on_in_its_new_stream_and_the_old_one_keeps_what_was(
    database: AsyncEngine,
) -> None:
    old, new = await open_node(database, "old", "agency"), await open_node(database, "new", "agency")
    shop = await open_node(database, "shop", "shop", old)
    await happened(database, shop, "before")
    await move_node(database, shop, new)
    await happened(database, shop, "after")
    assert whats((await read(database, old)).events) == ["before"]
    assert whats((await read(database, new)).events) == ["after"]
    assert whats((await read(database, shop)).events) == ["after"]


async def test_the_sequencer_numbers_what_is_written_while_it_runs(database: AsyncEngine, database_url: str) -> None:
    shop = await open_node(database, "shop")
    tasks = Tasks("test")
    tasks.start("one", Sequencer(database, database_url).run())
    tasks.start("another", Sequencer(database, database_url).run())
    for index in range(30):
        await write(database, [event(shop, index)])

    async def all_there() -> bool:
        return whats((await read(database, shop)).events) == list(range(30))

    await eventually(all_there)
    await tasks.close()


async def test_retention_deletes_old_ones_and_tells_who_would_miss_them(database: AsyncEngine) -> None:
    shop = await open_node(database, "shop")
    clock = HandClock(datetime.now(UTC))
    await happened(database, shop, *range(6))
    for _ in range(31):
        await forget_old_events(database, 30, clock)
        assert (await read(database, shop)).events[0].seq == 1
        clock.advance(timedelta(days=1))
        if (await read(database, shop)).upto == 6:
            await happened(database, shop, *range(6, 10))
    await forget_old_events(database, 30, clock)
    assert whats((await read(database, shop)).events) == [6, 7, 8, 9]
    assert whats((await read(database, shop, after=6)).events) == [6, 7, 8, 9]
    with pytest.raises(NotFound, match="oldest that is kept is 7"):
        await read(database, shop, after=5)
    await happened(database, shop, "new")
    assert (await read(database, shop)).events[-1].seq == 11


async def test_a_clock_that_jumps_ahead_deletes_nothing_before_its_time(database: AsyncEngine) -> None:
    """Whether events come meanwhile or not, and whether the clock is set right again or not."""
    shop = await open_node(database, "shop")
    clock = HandClock(datetime.now(UTC))
    await happened(database, shop, 1, 2)
    await forget_old_events(database, 30, clock)
    clock.advance(timedelta(days=365))
    async with transaction(database) as connection:
        await connection.execute(text("UPDATE events SET numbered_at = numbered_at - interval '365 days'"))
    await happened(database, shop, 3)
    for _ in range(3):
        await forget_old_events(database, 30, clock)
        clock.advance(timedelta(hours=1))
    clock.advance(-timedelta(days=365))
    for _ in range(29 * 24):
        await forget_old_events(database, 30, clock)
        clock.advance(timedelta(hours=1))
    assert whats((await read(database, shop)).events) == [1, 2, 3]
    for _ in range(3 * 24):
        await forget_old_events(database, 30, clock)
        clock.advance(timedelta(hours=1))
    assert whats((await read(database, shop)).events) == []
    async with transaction(database) as connection:
        marks = await connection.scalar(text("SELECT count(*) FROM event_marks"))
        assert marks < 33 * 24  # those that nothing goes by any more are forgotten


async def test_a_place_ahead_of_the_stream_is_refused(database: AsyncEngine) -> None:
    shop = await open_node(database, "shop")
    with pytest.raises(Invalid, match="ahead of the stream"):
        await read(database, shop, after=3)


async def test_a_cursor_is_of_its_own_stream_only(database: AsyncEngine) -> None:
    one, other = new_id(AT), new_id(AT)
    assert stream.read_cursor(stream.cursor_of(one, 17), one) == 17
    with pytest.raises(Invalid, match="another stream"):
        stream.read_cursor(stream.cursor_of(one, 17), other)
    for wrong in ("", "17", "-", "x-1", f"{one.hex[-12:]}--1", f"{one.hex[-12:]}-{'9' * 30}", "٣-٣"):
        with pytest.raises(Invalid):
            stream.read_cursor(wrong, one)


async def test_followers_get_all_of_it_from_memory_or_from_the_table(database: AsyncEngine, database_url: str) -> None:
    shop = await open_node(database, "shop")
    await happened(database, shop, *range(5))
    tail, tasks = Tail(database, database_url), Tasks("test")
    tasks.start("tail", tail.run())
    tasks.start("sequencer", Sequencer(database, database_url).run())
    many = KEPT + 300
    async with tail.following(shop) as follower:
        assert follower.head == 5
        assert not await follower.news(5, within=0.01)
        await write(database, [event(shop, index) for index in range(5, many)])
        found: list[object] = []
        place = 0
        while len(found) < many:
            assert await follower.news(place, within=30.0)
            events = await follower.after(place, 100)
            found += whats(events)
            place = events[-1].seq if events else place
        assert found == list(range(many))
    await tasks.close()


async def test_nobody_listens_for_a_stream_that_nobody_follows(
    database: AsyncEngine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "_LOOKS_ANYWAY", 0.05)
    shop = await open_node(database, "shop")
    tail, tasks = Tail(database, database_url), Tasks("test")
    tasks.start("tail", tail.run())

    async def listeners() -> int:
        async with transaction(database) as connection:
            return int((await connection.execute(_LISTENERS)).scalar_one())

    async def nobody_listens() -> bool:
        return not await listeners()

    async def somebody_listens() -> bool:
        return await listeners() == 1

    for listens_on in (60.0, 0.0):  # the first time it goes on for the one who is back at once
        monkeypatch.setattr(tail_module, "_LISTENS_ON", listens_on)
        async with tail.following(shop) as follower:
            place = follower.head
            await happened(database, shop, "followed")
            assert await follower.news(place, within=PATIENCE)
            await eventually(somebody_listens)
    await eventually(nobody_listens)
    await happened(database, shop, "nobody followed")
    async with tail.following(shop) as follower:
        assert follower.head == 3
    await tasks.close()


async def test_an_event_is_told_with_numbers_in_both_writings(database: AsyncEngine) -> None:
    shop, call = await open_node(database, "shop"), new_id(AT)
    told = replace(event(shop, "x", "call.started", call), body={"number": "05071234567", "caller": None})
    await write(database, [told])
    await number_all(database)
    (found,) = (await read(database, shop)).events
    body = json.loads(found.told)
    assert body == {
        "id": f"evt_{found.uid.hex}",
        "type": "call.started",
        "sequence": 1,
        "timestamp": "2026-11-22T03:00:00Z",
        "account_id": str(shop),
        "call_id": str(call),
        "data": {"number": {"national": "05071234567", "e164": "+825071234567"}, "caller": None},
    }
    assert found.numbered_at - datetime.now(UTC) < timedelta(minutes=5)


async def test_an_error_that_nobody_foresaw_ends_the_sequencer_and_the_tail(
    database: AsyncEngine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not logged and forgotten: whoever runs them begins whole again."""

    async def fail(*_given: object) -> None:
        raise ZeroDivisionError

    shop = await open_node(database, "shop")
    tail = Tail(database, database_url)
    async with tail.following(shop):
        monkeypatch.setattr(store, "number", fail)
        monkeypatch.setattr(store, "read", fail)
        for endless in (Sequencer(database, database_url).run(), tail.run()):
            async with asyncio.timeout(PATIENCE):
                with pytest.raises(ZeroDivisionError):
                    await endless
