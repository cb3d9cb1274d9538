"""What is sent again comes once, also where the range and what is new overlap."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.accounts.model import LOCAL_OPERATOR, OPERATOR_ID
from engine.events.stream import StreamEvent
from engine.events.tail import Tail
from engine.foundation.clock import SystemClock
from engine.foundation.database import transaction
from engine.foundation.ids import new_id
from engine.webhooks import replays, store_dead_letters, store_sending
from engine.webhooks.again import Again
from engine.webhooks.ladder import PATIENCE
from engine.webhooks.logbook import Logbook
from engine.webhooks.model import Progress, Span, Webhook
from tests.eventually import eventually
from tests.integration.webhooks.conftest import World
from tests.stream_written import event, happened, move_node, open_node, write
from tests.webhook_sink import WebhookSink, webhook_sink

CHANGED = ("number.changed",)


def counted(sink: WebhookSink) -> Counter[object]:
    return Counter(one["data"]["what"] for received in sink.received for one in received.events)


async def none_left(world: World, webhook: Webhook) -> bool:
    async with transaction(world.database) as connection:
        return not await replays.listing(connection, LOCAL_OPERATOR, webhook.id)


@pytest.mark.parametrize("batch", [1, 20])
async def test_a_range_that_goes_beyond_where_the_receiver_is_comes_once(world: World, batch: int) -> None:
    shop = await open_node(world.database, "shop")
    await happened(world.database, shop, *range(30))
    async with webhook_sink() as sink:
        webhook = await world.add(sink, shop, after=0, kinds=CHANGED, batch=batch)
        async with transaction(world.database) as connection:
            await connection.execute(text("UPDATE webhooks SET position = 10"))
            await replays.replay(connection, LOCAL_OPERATOR, webhook.id, 6, 31, datetime.now(UTC))
        async with world.office():
            await write(world.database, [event(shop, "last")])
            await eventually(lambda: counted(sink)["last"] == 1)
            await eventually(lambda: none_left(world, webhook))
        wanted = [*range(5, 30), "last"]
        assert counted(sink) == Counter(wanted)


async def test_a_range_of_which_all_is_new_is_not_sent_beside_it(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink:
        webhook = await world.add(sink, shop, kinds=CHANGED)
        await happened(world.database, shop, *range(10))
        async with transaction(world.database) as connection:
            await replays.replay(connection, LOCAL_OPERATOR, webhook.id, 2, 11, datetime.now(UTC))
        async with world.office():
            await eventually(lambda: none_left(world, webhook))
            await eventually(lambda: counted(sink) == Counter(range(10)))
            await write(world.database, [event(shop, "last")])
            await eventually(lambda: counted(sink) == Counter([*range(10), "last"]))


async def test_while_it_fails_a_range_to_the_newest_is_sent_once_after_it(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink, world.office(quick=5000):
        webhook = await world.add(sink, shop, kinds=CHANGED)
        await write(world.database, [event(shop, 1)])
        await eventually(lambda: counted(sink)[1] == 1)
        sink.status = 503
        await happened(world.database, shop, 2, 3)
        await eventually(lambda: counted(sink)[2] > 0)
        async with transaction(world.database) as connection:
            head = await connection.scalar(text("SELECT last FROM event_streams"))
            await replays.replay(connection, LOCAL_OPERATOR, webhook.id, 1, head, datetime.now(UTC))
        tries = len(sink.received)
        await eventually(lambda: len(sink.received) > tries + 2)
        sink.received.clear()
        sink.status = 204
        await eventually(lambda: none_left(world, webhook))
        await write(world.database, [event(shop, "last")])
        await eventually(lambda: counted(sink)["last"] == 1)
    taken = Counter(
        one["data"]["what"] for received in sink.received if received.status == 204 for one in received.events
    )
    assert taken == Counter([1, 2, 3, "last"])


async def test_a_large_range_with_nothing_for_the_receiver_does_not_hold_up_what_is_new(world: World) -> None:
    agency = await open_node(world.database, "agency", "agency")
    small = await open_node(world.database, "small", "shop", agency)
    await write(world.database, [event(agency, "noise") for _ in range(2500)])
    await happened(world.database, small, "old")
    async with webhook_sink() as sink, world.office():
        webhook = await world.add(sink, small, kinds=CHANGED)
        async with transaction(world.database) as connection:
            await replays.replay(connection, LOCAL_OPERATOR, webhook.id, 1, 2501, datetime.now(UTC))
        await write(world.database, [event(small, "new")])
        await eventually(lambda: counted(sink) == Counter(["old", "new"]))
        await eventually(lambda: none_left(world, webhook))


async def test_dead_letters_given_up_again_take_none_with_them_that_was_taken(world: World) -> None:
    shop = await open_node(world.database, "shop")
    long_ago = datetime.now(UTC) - PATIENCE - timedelta(hours=1)
    async with webhook_sink() as sink:
        sink.status = 503
        webhook = await world.add(sink, shop, kinds=CHANGED)
        await happened(world.database, shop, *range(8))
        async with transaction(world.database) as connection:
            await connection.execute(
                text("UPDATE webhooks SET position = 9, failures = 9, failing_since = :at"), {"at": long_ago}
            )
            for place in (3, 8):
                await store_dead_letters.bury(connection, webhook, Span(shop, place - 1, place), "too late", long_ago)
            await replays.replay_dead(connection, LOCAL_OPERATOR, webhook.id, long_ago)
        async with world.office():
            await eventually(lambda: none_left(world, webhook))
        assert await world.dead(webhook) == [3, 8]


class ToldWhileReading(Tail):
    """Its reader is told of a change while it reads."""

    def __init__(self, world: World) -> None:
        super().__init__(world.database, world.url)
        self.tell: Callable[[], None] = lambda: None

    async def read(self, top: UUID, place: int, limit: int) -> list[StreamEvent]:
        self.tell()
        return await super().read(top, place, limit)


class WishedMeanwhile(Logbook):
    """Something happens before it writes."""

    meanwhile: Callable[[], Awaitable[None]]

    async def write(self, connection: AsyncConnection, progress: Progress) -> None:
        await self.meanwhile()
        await super().write(connection, progress)


async def taken(world: World, webhook: Webhook) -> tuple[Webhook, UUID]:
    """The receiver, and the worker that holds it."""
    me = new_id(datetime.now(UTC))
    async with transaction(world.database) as connection:
        (found,) = await store_sending.take(connection, me, 60.0)
    assert found.id == webhook.id
    return found, me


async def sent_again(again: Again) -> list[int]:
    """The places of all that comes."""
    places: list[int] = []
    await again.look()
    while (letter := await again.letter()) is not None:
        assert letter.replay is not None
        places += [one.seq for one in letter.events]
        again.passed(letter.replay, letter.last)
        await again.look()
    return places


async def test_who_is_told_while_it_reads_an_old_stream_gets_nothing_of_others(world: World) -> None:
    old = await open_node(world.database, "old", "agency")
    shop = await open_node(world.database, "shop", "shop", old)
    async with webhook_sink() as sink:
        webhook = await world.add(sink, shop, kinds=CHANGED)
        await happened(world.database, shop, "ours 1", "ours 2")
        await happened(world.database, old, "not theirs 1", "not theirs 2")
        async with transaction(world.database) as connection:
            await connection.execute(text("UPDATE webhooks SET position = 10"))
            last = await connection.scalar(text("SELECT last FROM event_streams WHERE top = :top"), {"top": old})
            await replays.replay(connection, LOCAL_OPERATOR, webhook.id, 1, last, datetime.now(UTC))
        await move_node(world.database, shop, OPERATOR_ID)  # its own stream: of which it sees all
        found, me = await taken(world, webhook)
        assert found.top == shop
    tail = ToldWhileReading(world)
    again = Again(world.database, tail, found, Logbook(world.database, SystemClock(), me, found))
    tail.tell = again.look_again
    await again.look()
    letter = await again.letter()
    assert letter is not None
    assert letter.top == old
    assert b"ours 1" in letter.body
    while letter is not None and letter.replay is not None:
        assert b"not theirs" not in letter.body
        again.passed(letter.replay, letter.last)
        letter = await again.letter()


async def test_what_is_wished_for_while_wishes_are_read_is_not_forgotten(world: World) -> None:
    shop = await open_node(world.database, "shop")
    await happened(world.database, shop, *range(10))
    async with webhook_sink() as sink:
        webhook = await world.add(sink, shop, after=0, kinds=CHANGED)
    async with transaction(world.database) as connection:
        await connection.execute(text("UPDATE webhooks SET position = 5"))
        await replays.replay(connection, LOCAL_OPERATOR, webhook.id, 4, 9, datetime.now(UTC))
    found, me = await taken(world, webhook)
    logbook = WishedMeanwhile(world.database, SystemClock(), me, found)
    again = Again(world.database, Tail(world.database, world.url), found, logbook)

    async def one_more() -> None:
        async with transaction(world.database) as connection:
            await replays.replay(connection, LOCAL_OPERATOR, webhook.id, 2, 3, datetime.now(UTC))
        again.look_again()

    async def nothing() -> None: ...

    logbook.meanwhile = one_more
    await again.look()
    logbook.meanwhile = nothing
    assert await sent_again(again) == [4, 5, 2, 3]
