"""Several events in one request: in order, one request at a time, and what is wrong among them is found alone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from sqlalchemy import text

from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.database import transaction
from engine.foundation.errors import Invalid
from engine.webhooks import book, replays, trials
from engine.webhooks.egress import Egress
from engine.webhooks.ladder import REFUSED_TRIES
from engine.webhooks.settings import WebhookSettings
from tests.eventually import eventually
from tests.integration.webhooks.conftest import LOOPBACK, World
from tests.stream_written import event, happened, open_node, write
from tests.webhook_sink import Received, WebhookSink, webhook_sink

CHANGED = ("number.changed",)


def told(sink: WebhookSink) -> list[object]:
    return whats(sink.taken)


def whats(events: list[dict[str, Any]]) -> list[object]:
    return [one["data"]["what"] for one in events]


def sizes(received: list[Received]) -> list[int]:
    return [len(one.events) for one in received]


async def test_what_waits_goes_together_and_what_comes_alone_goes_at_once(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink:
        webhook = await world.add(sink, shop, kinds=CHANGED, batch=40)
        await happened(world.database, shop, *range(100))
        async with world.office():
            await eventually(lambda: len(sink.taken) == 100)
            assert sizes(sink.received) == [40, 40, 20]
            await write(world.database, [event(shop, "alone")])
            await eventually(lambda: told(sink)[-1] == "alone")
        assert told(sink) == [*range(100), "alone"]
        assert [one.body["type"] for one in sink.received] == ["batch"] * 4
        assert sink.unproven == []
        assert len({one.id for one in sink.received}) == 4
        assert all(one.id.startswith("bat_") for one in sink.received)
        assert (await world.now(webhook)).progress.position == sink.places[-1]


async def test_few_wanted_ones_of_a_large_stream_still_share_requests(world: World) -> None:
    agency = await open_node(world.database, "agency", "agency")
    small = await open_node(world.database, "small", "shop", agency)
    async with webhook_sink() as sink:
        await world.add(sink, small, kinds=CHANGED, batch=10)
        await write(world.database, [event(small if index % 20 == 0 else agency, index) for index in range(800)])
        await happened(world.database, agency, "last")
        async with world.office():
            await eventually(lambda: len(sink.taken) == 40)
        assert told(sink) == list(range(0, 800, 20))
        assert sizes(sink.received) == [10, 10, 10, 10]


async def test_a_try_that_failed_is_made_again_with_the_same_id_and_events_whatever_came_meanwhile(
    world: World,
) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink:
        sink.status = 503
        webhook = await world.add(sink, shop, kinds=CHANGED, batch=50)
        await happened(world.database, shop, 1, 2, 3)
        async with world.office(quick=5000):
            await eventually(lambda: len(sink.received) > 1)
            await happened(world.database, shop, 4, 5)
            async with transaction(world.database) as connection:  # it is tried at once, and stays what it is
                await book.resume(connection, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))
            seen = len(sink.received)
            await eventually(lambda: len(sink.received) > seen + 1)
            sink.status = 204
            await eventually(lambda: told(sink) == [1, 2, 3, 4, 5])
        first = [one for one in sink.received if one.events[0]["data"]["what"] == 1]
        assert {(one.id, tuple(map(str, whats(one.events)))) for one in first} == {(first[0].id, ("1", "2", "3"))}


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_of_a_refused_batch_the_wrong_ones_are_found_and_set_aside_alone(world: World, status: int) -> None:
    shop = await open_node(world.database, "shop")
    poison = {7, 31, 32}

    async def picky(_request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=status if poison.intersection(whats(body["events"])) else 204)

    async with webhook_sink() as sink:
        sink.answering = picky
        webhook = await world.add(sink, shop, kinds=CHANGED, batch=50)
        await happened(world.database, shop, *range(60))
        async with world.office(quick=5000):
            await eventually(lambda: len(sink.taken) == 57)
            assert told(sink) == [index for index in range(60) if index not in poison]
            alone = [one.events[0]["data"]["what"] for one in sink.received if len(one.events) == 1]
            assert {what: alone.count(what) for what in poison} == dict.fromkeys(poison, REFUSED_TRIES)
            assert len(await world.dead(webhook)) == 3
            refused = [one for one in sink.received if one.status == status and len(one.events) > 1]
            assert len(refused) <= 3 * 6  # halves, not one by one
            sink.answering = None
            async with transaction(world.database) as connection:
                await replays.replay_dead(connection, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))
            await eventually(lambda: len(sink.taken) == 60)
            assert set(whats(sink.received[-1].events)) == poison  # in one request too

            async def empty() -> bool:
                return await world.dead(webhook) == []

            await eventually(empty)


async def test_one_request_at_a_time_and_order_is_kept_through_errors(world: World) -> None:
    shop = await open_node(world.database, "shop")
    running, most, tries = 0, 0, 0

    async def limping(_request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        nonlocal running, most, tries
        running, tries = running + 1, tries + 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return web.Response(status=503 if tries % 3 == 0 else 204)

    async with webhook_sink() as sink, world.office(quick=5000):
        sink.answering = limping
        await world.add(sink, shop, kinds=CHANGED, batch=7)
        for index in range(100):
            await write(world.database, [event(shop, index)])
        await eventually(lambda: len(sink.taken) == 100)
    assert told(sink) == list(range(100))
    assert most == 1
    by_id = {one.id: one.events for one in sink.received}
    assert all(by_id[one.id] == one.events for one in sink.received)


async def test_a_range_is_sent_again_in_batches(world: World) -> None:
    shop = await open_node(world.database, "shop")
    await happened(world.database, shop, *range(50))
    async with webhook_sink() as sink, world.office():
        webhook = await world.add(sink, shop, after=0, kinds=CHANGED, batch=20)
        await eventually(lambda: told(sink) == list(range(50)))
        sink.received.clear()
        async with transaction(world.database) as connection:
            await replays.replay(connection, LOCAL_OPERATOR, webhook.id, 11, 45, datetime.now(UTC))
        await eventually(lambda: sink.places == list(range(11, 46)))
        assert sizes(sink.received) == [20, 15]


async def test_only_what_is_late_of_a_batch_becomes_dead_letters(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink:
        sink.status = 503
        webhook = await world.add(sink, shop, kinds=CHANGED, batch=100)
        await happened(world.database, shop, *range(10))
        async with transaction(world.database) as connection:
            await connection.execute(text("UPDATE events SET numbered_at = numbered_at - interval '4 days'"))
            await connection.execute(
                text("UPDATE webhooks SET failures = 9, failing_since = now() - interval '4 days'")
            )
        await happened(world.database, shop, "young", "younger")
        async with world.office(quick=5000):

            async def buried() -> bool:
                return len(await world.dead(webhook)) == 10

            await eventually(buried)
            sink.status = 204
            await eventually(lambda: told(sink) == ["young", "younger"])


async def test_another_size_counts_from_the_next_request_on(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink:
        sink.status = 503
        webhook = await world.add(sink, shop, kinds=CHANGED)
        await happened(world.database, shop, *range(10))
        async with world.office(quick=1):
            await eventually(lambda: len(sink.received) > 0)
            sink.status = 204
            settings = WebhookSettings(url=sink.url, kinds=CHANGED, batch=100)
            async with transaction(world.database) as connection:
                await book.change(connection, world.rules, LOCAL_OPERATOR, webhook.id, settings, datetime.now(UTC))
            await eventually(lambda: told(sink) == list(range(10)))
        assert sizes(sink.received)[-1] == 10
    with pytest.raises(Invalid, match="batch: 101"):
        await world.add(sink, shop, batch=101)


async def test_a_test_event_comes_as_events_will_come(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink, Egress(LOOPBACK) as egress:
        webhook = await world.add(sink, shop, batch=2)
        async with transaction(world.database) as connection:
            trial = await trials.trial(connection, world.rules, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))
        await trial.send(egress)
    (received,) = sink.received
    assert (received.signed_with, received.body["type"]) == (0, "batch")
    assert [one["type"] for one in received.events] == ["webhook.test"]
