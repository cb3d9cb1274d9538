"""Accounts that move to other top-level accounts: their receivers miss nothing, and old letters keep their stream."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from engine.accounts import tree
from engine.accounts.model import LOCAL_OPERATOR
from engine.events.sequencer import number_all
from engine.foundation.database import transaction
from engine.webhooks import replays, store_dead_letters
from engine.webhooks.model import Span
from tests.eventually import eventually
from tests.integration.webhooks.conftest import World
from tests.stream_written import event, happened, move_node, open_node, write
from tests.webhook_sink import WebhookSink, webhook_sink

CHANGED = ("number.changed",)


def told(sink: WebhookSink) -> list[object]:
    return [one["data"]["what"] for one in sink.taken]


@pytest.mark.parametrize("batch", [1, 50])
async def test_there_and_back_while_nobody_sent_misses_nothing_and_keeps_the_order(world: World, batch: int) -> None:
    here = await open_node(world.database, "here", "agency")
    there = await open_node(world.database, "there", "agency")
    shop = await open_node(world.database, "shop", "shop", here)
    await happened(world.database, there, *["noise"] * 5)
    async with webhook_sink() as sink:
        await world.add(sink, shop, kinds=CHANGED, batch=batch)
        await happened(world.database, shop, 1, 2)
        await move_node(world.database, shop, there)
        await happened(world.database, shop, 3)
        await move_node(world.database, shop, here)
        await happened(world.database, here, "not theirs")
        await happened(world.database, shop, 4)
        await move_node(world.database, shop, there)
        await move_node(world.database, shop, here)
        await happened(world.database, shop, 5)
        async with world.office(lease=3.0):
            await eventually(lambda: len(sink.taken) == 5)
            await write(world.database, [event(shop, 6)])
            await eventually(lambda: len(sink.taken) == 6)
        assert told(sink) == [1, 2, 3, 4, 5, 6]
        assert sum(len(one.events) for one in sink.received) == 6  # none of them twice


async def test_a_move_while_events_come_misses_none(world: World) -> None:
    """Moves and numbering at the same time, with the deed itself: each event is in one stream, and is read there."""
    agencies = [await open_node(world.database, name, "agency") for name in ("one", "two", "three")]
    shop = await open_node(world.database, "shop", "shop", agencies[0])
    async with webhook_sink() as sink, world.office(lease=3.0):
        await world.add(sink, shop, kinds=CHANGED)

        async def write_all() -> None:
            for index in range(150):
                await write(world.database, [event(shop, index)])

        async def move_around() -> None:
            for turn in range(1, 12):
                async with transaction(world.database) as connection:
                    await tree.move(connection, LOCAL_OPERATOR, shop, agencies[turn % 3], datetime.now(UTC))
                await asyncio.sleep(0)

        await asyncio.gather(write_all(), move_around())
        await eventually(lambda: len(sink.taken) == 150)
    assert sorted(map(int, map(str, told(sink)))) == list(range(150))


async def test_dead_letters_and_ranges_of_the_old_stream_are_sent_from_there_after_a_move(world: World) -> None:
    old = await open_node(world.database, "old", "agency")
    new = await open_node(world.database, "new", "agency")
    shop = await open_node(world.database, "shop", "shop", old)
    async with webhook_sink() as sink:
        webhook = await world.add(sink, shop, kinds=CHANGED)
        await happened(world.database, shop, "old 1", "old 2", "old 3", "old 4")
        async with transaction(world.database) as connection:
            places = await store_dead_letters.bury(
                connection, webhook, Span(old, 0, 5), "it answered 422", datetime.now(UTC)
            )
            await connection.execute(text("UPDATE webhooks SET position = (SELECT max(seq) FROM events)"))
            await replays.replay(connection, LOCAL_OPERATOR, webhook.id, places[0], places[1], datetime.now(UTC))
        await move_node(world.database, shop, new)
        await happened(world.database, shop, *[f"new {index}" for index in range(8)])
        async with world.office(lease=3.0):
            await eventually(lambda: {"old 1", "old 2", "new 7"} <= set(told(sink)))
            sink.status = 422
            await write(world.database, [event(shop, "new dead")])

            async def is_dead() -> bool:
                return len(await world.dead(webhook)) == len(places) - 2 + 1

            await eventually(is_dead)
            async with transaction(world.database) as connection:
                letters = await replays.dead_letters(connection, LOCAL_OPERATOR, webhook.id)
                assert {letter.top for letter in letters} == {old, new}
                ranges = await replays.replay_dead(connection, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))
                assert {one.top for one in ranges} == {old, new}
            sink.status = 204
            expected = {"old 3", "old 4", "new dead"}
            await eventually(lambda: expected <= set(told(sink)))

            async def none() -> bool:
                return await world.dead(webhook) == []

            await eventually(none)
        assert "not theirs" not in told(sink)


async def test_dead_letters_of_two_streams_are_listed_in_pages(world: World) -> None:
    old = await open_node(world.database, "old", "agency")
    new = await open_node(world.database, "new", "agency")
    shop = await open_node(world.database, "shop", "shop", old)
    async with webhook_sink() as sink:
        webhook = await world.add(sink, shop, kinds=CHANGED)
        await happened(world.database, shop, 1, 2, 3)
        await move_node(world.database, shop, new)
        await happened(world.database, shop, 4, 5, 6)
        async with transaction(world.database) as connection:
            for top in (old, new):
                await store_dead_letters.bury(
                    connection, webhook, Span(top, 0, 100), "it answered 422", datetime.now(UTC)
                )
            every = await store_dead_letters.listing(connection, webhook.id, None, 100)
            paged, after = [], None
            while page := await store_dead_letters.listing(connection, webhook.id, after, 2):
                paged += page
                after = page[-1].seq, page[-1].top
        assert paged == every
        assert len(every) == 6
        assert {letter.seq for letter in every if letter.top == new} & {
            letter.seq for letter in every if letter.top == old
        }


async def test_one_that_is_added_while_its_account_moves_begins_where_the_account_is(world: World) -> None:
    old = await open_node(world.database, "old", "agency")
    new = await open_node(world.database, "new", "agency")
    shop = await open_node(world.database, "shop", "shop", old)
    await happened(world.database, new, *range(4))
    async with webhook_sink() as sink:
        async with transaction(world.database) as moving:
            await tree.move(moving, LOCAL_OPERATOR, shop, new, datetime.now(UTC))
            adding = asyncio.ensure_future(world.add(sink, shop, kinds=CHANGED))

            async def waits() -> bool:
                async with transaction(world.database) as connection:
                    waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
                    return await connection.scalar(text(waiting)) is True

            await eventually(waits)
        webhook = await world.now(await adding)
        assert (webhook.top, webhook.progress.position) == (new, 4)
        await number_all(world.database)
        async with world.office():
            await write(world.database, [event(shop, "x")])
            await eventually(lambda: told(sink) == ["x"])
