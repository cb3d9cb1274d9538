"""Receivers that are up, down, slow, broken, moved and gone: each gets all that is its own, in order."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from aiohttp import web
from sqlalchemy import text

from engine.accounts.model import LOCAL_OPERATOR, Module
from engine.accounts.modules import switch
from engine.events import store as event_store
from engine.events.sequencer import number_all
from engine.events.store import Mark
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, Invalid, NotAllowed, NotFound
from engine.webhooks import book, lane, replays, store_dead_letters, store_sending, trials
from engine.webhooks.egress import Egress
from engine.webhooks.ladder import REFUSED_TRIES
from engine.webhooks.model import DELETED, DeadLetter, Progress, Span, Webhook, WebhookStatus
from engine.webhooks.retention import forget_old
from engine.webhooks.settings import WebhookSettings, settings_of
from tests.eventually import PATIENCE, eventually
from tests.hand_clock import HandClock
from tests.integration.webhooks.conftest import LOOPBACK, World
from tests.stream_written import event, happened, move_node, open_node, write
from tests.webhook_sink import WebhookSink, webhook_sink

_FAILING = "UPDATE webhooks SET failures = 9, failing_since = now() - interval '4 days'"


def told(sink: WebhookSink) -> list[object]:
    return [body["data"]["what"] for body in sink.taken]


async def test_events_arrive_signed_in_order_and_once(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink, world.office():
        webhook = await world.add(sink, shop)
        for index in range(60):
            await write(world.database, [event(shop, index)])
        await eventually(lambda: len(sink.taken) == 61)
        assert sink.taken[0]["data"]["change"] == "change webhooks"  # it was added
        assert [body["data"]["what"] for body in sink.taken[1:]] == list(range(60))
        assert len(sink.received) == len(sink.taken)
        assert sink.unproven == []
        assert sink.places == sorted(sink.places)

        async def written_down() -> bool:
            return (await world.now(webhook)).progress.position == sink.places[-1]

        await eventually(written_down)


async def test_a_receiver_gets_its_own_and_what_is_below_and_the_kinds_it_wants(world: World) -> None:
    agency = await open_node(world.database, "agency", "agency")
    inside = await open_node(world.database, "inside", "shop", agency)
    beside = await open_node(world.database, "beside", "shop", agency)
    rival = await open_node(world.database, "rival", "agency")
    async with webhook_sink() as whole, webhook_sink() as one, world.office():
        await world.add(whole, agency, kinds=("call.*",))
        await world.add(one, inside, kinds=("call.ended", "number.changed"))
        kinds = ("call.started", "call.ended", "number.changed")
        accounts = {"agency": agency, "inside": inside, "beside": beside, "rival": rival}
        for name, account in accounts.items():
            await write(world.database, [event(account, f"{name} {kind}", kind) for kind in kinds])
        await write(world.database, [event(agency, "last", "call.ended"), event(inside, "last", "call.ended")])
        await eventually(lambda: told(whole)[-2:] == ["last", "last"])
        await eventually(lambda: told(one)[-1:] == ["last"])
    names = ("agency", "inside", "beside")
    assert told(whole)[:-2] == [f"{name} {kind}" for name in names for kind in kinds[:2]]
    assert told(one)[:-1] == ["inside call.ended", "inside number.changed"]


async def test_a_receiver_that_was_down_misses_nothing_through_crashes_and_errors(world: World) -> None:
    """The outage: refused connections, errors, no answers, workers that die; then everything, in order."""
    shop = await open_node(world.database, "shop")
    sink = WebhookSink()
    await sink.open()
    webhook = await world.add(sink, shop, kinds=("number.changed",))
    wanted = list(range(400))
    written = 0

    async def write_some(count: int) -> None:
        nonlocal written
        for index in range(written, written + count):
            await write(world.database, [event(shop, index)])
        written += count

    async with world.office(lease=1.5):
        await write_some(100)
        await eventually(lambda: len(sink.taken) > 20)
    await sink.close()
    for _ in range(3):  # nobody is there, and workers come and go
        async with world.office(lease=1.5):
            await write_some(60)
            failures = (await world.now(webhook)).progress.failures

            async def failed_more(failures: int = failures) -> bool:
                return (await world.now(webhook)).progress.failures > failures

            await eventually(failed_more)
    await number_all(world.database)
    tries = (await world.now(webhook)).progress
    assert tries.failures >= 3
    assert "no connection" in tries.failure
    chance = Random(7)

    async def limping(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if chance.random() < 0.2:
            return web.Response(status=chance.choice([500, 503, 429, 404, 302]))
        if chance.random() < 0.05:
            assert request.transport is not None
            request.transport.close()  # it has the event, and nobody learns so
        return web.Response(status=204)

    sink.answering = limping
    await sink.open()
    async with world.office(lease=1.5, quick=5000):
        await write_some(len(wanted) - written)
        await eventually(lambda: len(sink.taken) == len(wanted))
    await sink.close()
    assert told(sink) == wanted
    assert sink.unproven == []
    assert await world.dead(webhook) == []
    # More than once it came only under the same id, and never after a later one had been taken for good.
    by_id: dict[str, set[int]] = {}
    for one in sink.received:
        by_id.setdefault(one.id, set()).add(one.body["sequence"])
    assert all(len(places) == 1 for places in by_id.values())
    places = [one.body["sequence"] for one in sink.received]
    assert all(place >= max(places[:index], default=0) - 50 for index, place in enumerate(places))


async def test_two_workers_share_receivers_and_send_nothing_twice(world: World) -> None:
    shops = [await open_node(world.database, f"shop {index}") for index in range(4)]
    sinks = [WebhookSink() for _ in shops]
    for sink, shop in zip(sinks, shops, strict=True):
        await sink.open()
        await world.add(sink, shop, kinds=("number.changed",))
    async with world.office(), world.office():
        for index in range(40):
            await write(world.database, [event(shop, index) for shop in shops])
        for sink in sinks:
            await eventually(lambda sink=sink: told(sink) == list(range(40)))
    for sink in sinks:
        assert len(sink.received) == 40
        await sink.close()


async def test_a_dead_workers_receivers_are_taken_over_when_its_lease_ends(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink:
        webhook = await world.add(sink, shop, kinds=("number.changed",))
        async with transaction(world.database) as connection:
            await connection.execute(
                text("UPDATE webhooks SET lease_by = gen_random_uuid(), lease_until = now() + interval '2 seconds'")
            )
        await happened(world.database, shop, "x")
        async with world.office(lease=1.0):
            await eventually(lambda: told(sink) == ["x"])
        async with transaction(world.database) as connection:
            row = (await connection.execute(text("SELECT lease_by, position FROM webhooks"))).one()
        assert (row.lease_by, row.position) == (None, sink.places[-1])  # who stops gives it back
        assert (await world.now(webhook)).progress.failures == 0


async def test_one_that_is_slow_holds_up_no_other(world: World) -> None:
    shop = await open_node(world.database, "shop")
    hold = asyncio.Event()

    async def slow(_request: web.Request, _body: dict[str, Any]) -> web.StreamResponse:
        await hold.wait()
        return web.Response(status=204)

    async with webhook_sink() as stuck, webhook_sink() as quick, world.office():
        stuck.answering = slow
        await world.add(stuck, shop, kinds=("number.changed",))
        await world.add(quick, shop, kinds=("number.changed",))
        for index in range(50):
            await write(world.database, [event(shop, index)])
        await eventually(lambda: told(quick) == list(range(50)))
        assert stuck.received == []
        hold.set()
        await eventually(lambda: told(stuck) == list(range(50)))


async def test_410_disables_and_resuming_goes_on_where_it_stopped(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink, world.office():
        webhook = await world.add(sink, shop, kinds=("number.changed",))
        sink.status = 410
        await write(world.database, [event(shop, 1)])

        async def disabled() -> bool:
            return (await world.now(webhook)).status is WebhookStatus.DISABLED

        await eventually(disabled)
        await write(world.database, [event(shop, 2)])
        await number_all(world.database)
        assert len(sink.received) == 1
        assert "gone" in (await world.now(webhook)).reason
        sink.status = 204
        async with transaction(world.database) as connection:
            await book.resume(connection, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))
        await eventually(lambda: told(sink) == [1, 2])


async def test_paused_it_gets_nothing_and_resumed_it_gets_what_it_missed(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink, webhook_sink() as other, world.office():
        webhook = await world.add(sink, shop, kinds=("number.changed",))
        await world.add(other, shop, kinds=("number.changed",))
        await write(world.database, [event(shop, 1)])
        await eventually(lambda: told(sink) == [1])
        async with transaction(world.database) as connection:
            await book.pause(connection, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))
        with pytest.raises(Conflict, match="it is paused"):
            async with transaction(world.database) as connection:
                await book.pause(connection, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))

        async def let_go() -> bool:
            return (await world.now(webhook)).progress.position > 0

        await eventually(let_go)
        async with transaction(world.database) as connection:
            await book.resume(connection, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))
        await write(world.database, [event(shop, 2)])
        await eventually(lambda: told(sink) == [1, 2])
        await eventually(lambda: told(other) == [1, 2])


async def test_the_second_address_is_used_while_the_first_fails(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as first, webhook_sink() as second, world.office():
        first.status = 500
        await world.add(first, shop, fallback_url=second.url, kinds=("number.changed",))
        second.secrets = first.secrets
        for index in range(30):
            await write(world.database, [event(shop, index)])
        await eventually(lambda: told(second) == list(range(30)))
        assert len(first.received) < 10  # once it has failed, the second one is asked first for a while
        assert second.unproven == []
        second.status, first.status = 500, 204
        await write(world.database, [event(shop, "back")])
        await eventually(lambda: told(first) == ["back"])


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_an_event_that_a_receiver_finds_wrong_is_set_aside_and_holds_up_no_other(
    world: World, status: int
) -> None:
    shop = await open_node(world.database, "shop")

    async def picky(_request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        return web.Response(status=status if body["data"]["what"] == "poison" else 204)

    async with webhook_sink() as sink, world.office(quick=5000):
        sink.answering = picky
        webhook = await world.add(sink, shop, kinds=("number.changed",))
        await write(world.database, [event(shop, what) for what in (1, "poison", 2)])
        await eventually(lambda: told(sink) == [1, 2])
        poisoned = [one for one in sink.received if one.body["data"]["what"] == "poison"]
        assert len(poisoned) == REFUSED_TRIES
        assert await world.dead(webhook) == [poisoned[0].body["sequence"]]
        sink.answering = None
        async with transaction(world.database) as connection:
            await replays.replay_dead(connection, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))
        await eventually(lambda: told(sink) == [1, 2, "poison"])

        async def empty() -> bool:
            return await world.dead(webhook) == []

        await eventually(empty)
        with pytest.raises(NotFound, match="no dead letters"):
            async with transaction(world.database) as connection:
                await replays.replay_dead(connection, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))


async def test_after_three_days_events_are_dead_letters_and_younger_ones_are_not(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink:
        sink.status = 503
        webhook = await world.add(sink, shop, kinds=("number.changed",))
        await happened(world.database, shop, *range(10))
        async with transaction(world.database) as connection:
            await connection.execute(text("UPDATE events SET numbered_at = numbered_at - interval '4 days'"))
            await connection.execute(text(_FAILING))
        await happened(world.database, shop, "young")
        async with world.office(quick=5000):

            async def buried() -> bool:
                return len(await world.dead(webhook)) == 10

            await eventually(buried)
            sink.status = 204
            await eventually(lambda: told(sink) == ["young"])
            await _replay_dead(world, webhook, first=1, last=sink.places[0] - 6)
            await eventually(lambda: len(sink.taken) == 6)
        assert len(await world.dead(webhook)) == 5


async def _replay_dead(world: World, webhook: Webhook, first: int, last: int) -> None:
    async with transaction(world.database) as connection:
        await replays.replay_dead(connection, LOCAL_OPERATOR, webhook.id, datetime.now(UTC), first=first, last=last)


async def test_any_range_is_sent_again_beside_what_is_new(world: World) -> None:
    shop = await open_node(world.database, "shop")
    await happened(world.database, shop, *range(50))
    async with webhook_sink() as sink, world.office():
        webhook = await world.add(sink, shop, after=0, kinds=("number.changed",))
        await eventually(lambda: told(sink) == list(range(50)))
        first_time = {one.id: one.body for one in sink.received}
        sink.received.clear()
        async with transaction(world.database) as connection:
            await replays.replay(connection, LOCAL_OPERATOR, webhook.id, 11, 20, datetime.now(UTC))
        await write(world.database, [event(shop, "new")])
        await eventually(lambda: sorted(sink.places)[:10] == list(range(11, 21)) and "new" in told(sink))
        again = [one for one in sink.received if one.body["sequence"] <= 20]
        assert [one.body["sequence"] for one in again] == list(range(11, 21))
        assert all(first_time[one.id] == one.body for one in again)

        async def done() -> bool:
            async with transaction(world.database) as connection:
                return not await replays.listing(connection, LOCAL_OPERATOR, webhook.id)

        await eventually(done)
        for wrong in ((0, 5), (9, 3), (1000, 1001)):
            with pytest.raises(Invalid, match="no range"):
                async with transaction(world.database) as connection:
                    await replays.replay(connection, LOCAL_OPERATOR, webhook.id, *wrong, datetime.now(UTC))


async def test_while_a_secret_is_changed_either_proves_an_event(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink, world.office():
        webhook = await world.add(sink, shop, kinds=("number.changed",))
        await write(world.database, [event(shop, 1)])
        await eventually(lambda: told(sink) == [1])
        async with transaction(world.database) as connection:
            new = await book.rotate(connection, world.rules, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))
        await write(world.database, [event(shop, 2)])
        await eventually(lambda: told(sink) == [1, 2])
        sink.secrets.insert(0, new)
        await write(world.database, [event(shop, 3)])
        await eventually(lambda: told(sink) == [1, 2, 3])
        assert [one.signed_with for one in sink.received] == [0, 0, 0]
        async with transaction(world.database) as connection:
            newest = await book.rotate(
                connection, world.rules, LOCAL_OPERATOR, webhook.id, datetime.now(UTC), both_valid_for=timedelta(0)
            )
        sink.secrets = [new, newest]
        await write(world.database, [event(shop, 4)])
        await eventually(lambda: told(sink) == [1, 2, 3, 4])
        assert sink.received[-1].signed_with == 1


async def test_a_changed_address_counts_at_once_also_for_what_waits(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as wrong, webhook_sink() as right, world.office(quick=1):
        wrong.status = 500
        webhook = await world.add(wrong, shop, kinds=("number.changed",))
        await write(world.database, [event(shop, 1)])
        await eventually(lambda: len(wrong.received) == 1)
        wanted = settings_of(webhook)
        async with transaction(world.database) as connection:
            changed = WebhookSettings(url=right.url, kinds=wanted.kinds)
            await book.change(connection, world.rules, LOCAL_OPERATOR, webhook.id, changed, datetime.now(UTC))
        await eventually(lambda: told(right) == [1])


async def test_a_moved_account_gets_the_rest_of_the_old_stream_then_the_new_one(world: World) -> None:
    old = await open_node(world.database, "old", "agency")
    new = await open_node(world.database, "new", "agency")
    shop = await open_node(world.database, "shop", "shop", old)
    await happened(world.database, new, *["noise"] * 20)
    async with webhook_sink() as sink:
        await world.add(sink, shop, kinds=("number.changed",))
        await happened(world.database, shop, 1, 2)
        await move_node(world.database, shop, new)
        await happened(world.database, shop, 3)
        async with world.office(lease=3.0):
            await eventually(lambda: told(sink) == [1, 2, 3])
            await write(world.database, [event(shop, 4), event(old, "not theirs any more"), event(new, "never theirs")])
            await eventually(lambda: told(sink) == [1, 2, 3, 4])


async def test_events_that_were_deleted_meanwhile_do_not_stop_the_rest(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink:
        webhook = await world.add(sink, shop, kinds=("number.changed",))
        await happened(world.database, shop, *range(6))
        async with transaction(world.database) as connection:
            await connection.execute(text("DELETE FROM events WHERE seq <= 4"))
            await connection.execute(text("UPDATE event_streams SET kept_after = 4"))
        async with world.office():
            await eventually(lambda: len(sink.taken) > 0 and told(sink)[-1] == 5)
        (letter,) = await letters(world, webhook)
        assert (letter.seq, letter.kind) == (4, DELETED)
        assert "places 1 to 4 were deleted" in letter.reason
        with pytest.raises(NotFound, match="no dead letters"):  # nothing is left of them
            await _replay_dead(world, webhook, first=1, last=10)
        clock = HandClock()
        for _ in range(31):
            await forget_old(world.database, 30, clock)
            assert await letters(world, webhook) == [letter]
            clock.advance(timedelta(days=1))
        clock.advance(timedelta(days=1))
        await forget_old(world.database, 30, clock)
        assert await letters(world, webhook) == []


async def letters(world: World, webhook: Webhook) -> list[DeadLetter]:
    async with transaction(world.database) as connection:
        return await store_dead_letters.listing(connection, webhook.id, None, 1000)


async def test_when_all_was_deleted_it_is_told_once_and_what_comes_then_is_sent(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink:
        webhook = await world.add(sink, shop, kinds=("number.changed",))
        assert webhook.progress.position == 0
        await happened(world.database, shop, *range(6))
        async with transaction(world.database) as connection:
            await connection.execute(text("DELETE FROM events"))
            await connection.execute(text("UPDATE event_streams SET kept_after = last"))
        async with world.office():

            async def is_told() -> bool:
                return [one.kind for one in await letters(world, webhook)] == [DELETED]

            await eventually(is_told)
            await write(world.database, [event(shop, "new")])
            await eventually(lambda: told(sink) == ["new"])
        (letter,) = await letters(world, webhook)
        assert letter.seq == sink.places[0] - 1


async def test_who_begins_with_the_oldest_that_is_kept_misses_nothing(world: World) -> None:
    shop = await open_node(world.database, "shop")
    await happened(world.database, shop, *range(6))
    async with transaction(world.database) as connection:
        await connection.execute(text("DELETE FROM events WHERE seq <= 4"))
        await connection.execute(text("UPDATE event_streams SET kept_after = 4"))
    async with webhook_sink() as sink, world.office():
        webhook = await world.add(sink, shop, after=0, kinds=("number.changed",))
        await eventually(lambda: told(sink) == [4, 5])
        assert await letters(world, webhook) == []
        with pytest.raises(NotFound, match="up to place 4 were deleted"):
            async with transaction(world.database) as connection:
                await replays.replay(connection, LOCAL_OPERATOR, webhook.id, 1, 6, datetime.now(UTC))


async def _switch(world: World, account: UUID, on: bool) -> None:
    async with transaction(world.database) as connection:
        await switch(connection, LOCAL_OPERATOR, account, Module.WEBHOOKS, on, datetime.now(UTC))


@pytest.mark.parametrize("above", [False, True], ids=["of the account", "of one above"])
async def test_switched_off_nothing_is_sent_and_switched_on_it_goes_on(world: World, above: bool) -> None:
    agency = await open_node(world.database, "agency", "agency")
    shop = await open_node(world.database, "shop", "shop", agency)
    rival = await open_node(world.database, "rival", "shop")
    async with webhook_sink() as sink, webhook_sink() as other, world.office(lease=3.0):
        webhook = await world.add(sink, shop, kinds=("number.changed",))
        await world.add(other, rival, kinds=("number.changed",))
        await write(world.database, [event(shop, 1)])
        await eventually(lambda: told(sink) == [1])
        await _switch(world, agency if above else shop, on=False)

        async def let_go() -> bool:
            async with transaction(world.database) as connection:
                until = await connection.scalar(
                    text("SELECT lease_until < now() FROM webhooks WHERE id = :id"), {"id": webhook.id}
                )
                return bool(until)

        await eventually(let_go)
        await write(world.database, [event(shop, 2), event(rival, 2)])
        await eventually(lambda: told(other) == [2])
        assert told(sink) == [1]
        with pytest.raises(NotAllowed, match="webhooks: this function is off"):
            async with transaction(world.database) as connection:
                await trials.trial(connection, world.rules, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))
        await _switch(world, agency if above else shop, on=True)
        await eventually(lambda: told(sink) == [1, 2])
        assert (await world.now(webhook)).status is WebhookStatus.ACTIVE


@pytest.mark.parametrize("how", ["off", "paused"])
async def test_the_time_in_which_nothing_is_sent_makes_no_dead_letters(world: World, how: str) -> None:
    """Four days off or paused, with a receiver that failed before and fails once more after."""
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink:
        webhook = await world.add(sink, shop, kinds=("number.changed",))
        await happened(world.database, shop, 1, 2)
        async with transaction(world.database) as connection:
            if how == "paused":
                await book.pause(connection, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))
            else:
                await switch(connection, LOCAL_OPERATOR, shop, Module.WEBHOOKS, False, datetime.now(UTC))
            await connection.execute(text("UPDATE events SET numbered_at = numbered_at - interval '4 days'"))
            await connection.execute(text(_FAILING))
        sink.status = 503
        async with world.office(lease=3.0, quick=5000):

            async def rests() -> bool:
                return how == "paused" or (await world.now(webhook)).progress.failing_since is None

            await eventually(rests)
            assert sink.received == []
            async with transaction(world.database) as connection:
                if how == "paused":
                    await book.resume(connection, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))
                else:
                    await switch(connection, LOCAL_OPERATOR, shop, Module.WEBHOOKS, True, datetime.now(UTC))
            await eventually(lambda: len(sink.received) > 2)
            sink.status = 204
            await eventually(lambda: told(sink) == [1, 2])
        assert await world.dead(webhook) == []


async def test_a_receiver_that_answers_too_late_gets_the_same_again_and_the_rest_in_order(world: World) -> None:
    shop = await open_node(world.database, "shop")
    again = asyncio.Event()
    tries: list[object] = []

    async def late(_request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        tries.append(body["data"]["what"])
        if len(tries) == 1:
            await again.wait()
        again.set()
        return web.Response(status=200)

    async with webhook_sink() as sink, world.office(answer_within=2.0):
        sink.answering = late
        webhook = await world.add(sink, shop, kinds=("number.changed",))
        await write(world.database, [event(shop, what) for what in (1, 2, 3)])
        await eventually(lambda: len(sink.taken) == 3)
        assert tries[:2] == [1, 1]
        assert sorted(map(str, tries)) == list(map(str, tries))
        assert len({one.id for one in sink.received}) == 3
        assert await world.dead(webhook) == []


async def test_what_became_a_dead_letter_is_not_sent_on_after_a_crash(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dead letter and the place behind it are written together, or neither."""
    shop = await open_node(world.database, "shop")
    refused = asyncio.Event()

    async def save(_connection: object, webhook: Webhook, progress: Progress, _me: object) -> bool:
        if progress.position > webhook.progress.position:
            refused.set()
            raise Conflict("it dies here")
        return True

    async with webhook_sink() as sink:
        sink.status = 422
        webhook = await world.add(sink, shop, kinds=("number.changed",))
        await happened(world.database, shop, "poison")
        with monkeypatch.context() as patch:
            patch.setattr(store_sending, "save", save)
            async with world.office(quick=5000):
                await eventually(refused.is_set)
        assert await world.dead(webhook) == []
        sink.status = 204
        async with world.office():
            await eventually(lambda: told(sink) == ["poison"])
        assert await world.dead(webhook) == []


async def test_an_instant_far_away_is_not_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock was set back since it was reckoned."""
    monkeypatch.setattr(lane, "LONGEST_WAIT", timedelta(seconds=0.2))
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink:
        await world.add(sink, shop, kinds=("number.changed",))
        await happened(world.database, shop, 1)
        async with transaction(world.database) as connection:
            await connection.execute(text("UPDATE webhooks SET next_at = now() + interval '1 year'"))
        async with world.office():
            await eventually(lambda: told(sink) == [1])


async def test_an_error_that_nobody_foresaw_ends_the_post_office(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def take(*_given: object) -> list[Webhook]:
        raise ZeroDivisionError

    monkeypatch.setattr(store_sending, "take", take)
    async with world.office(numbering=False) as tasks, asyncio.timeout(PATIENCE):
        with pytest.raises(ZeroDivisionError):
            await tasks.first_failure()


async def test_a_test_event_tells_what_the_receiver_says(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink, webhook_sink() as second, Egress(LOOPBACK) as egress:
        second.status = 500
        webhook = await world.add(sink, shop, fallback_url=second.url)
        async with transaction(world.database) as connection:
            trial = await trials.trial(connection, world.rules, LOCAL_OPERATOR, webhook.id, datetime.now(UTC))
        answers = await trial.send(egress)
    assert [(url, answer.status) for url, answer in answers] == [(sink.url, 204), (second.url, 500)]
    (received,) = sink.received
    assert (received.signed_with, received.body["type"]) == (0, "webhook.test")


async def test_dead_letters_go_with_the_events_that_they_tell_of(world: World) -> None:
    shop = await open_node(world.database, "shop")
    async with webhook_sink() as sink:
        webhook = await world.add(sink, shop)
        await happened(world.database, shop, *range(5))
        async with transaction(world.database) as connection:
            dead = await store_dead_letters.bury(
                connection, webhook, Span(webhook.top, 0, 6), "it answered 503", datetime.now(UTC)
            )
            assert dead == [1, 2, 3, 4, 5, 6]
        clock = HandClock()
        async with transaction(world.database) as connection:
            fourth = await connection.scalar(text("SELECT id FROM events WHERE seq = 4"))
            for ago in (32, 0):
                await event_store.add_mark(connection, Mark(clock.now() - timedelta(days=ago), clock.now(), fourth))
        await forget_old(world.database, 30, clock)
        assert await world.dead(webhook) == [5, 6]
