"""Transfer of numbers on the real database: offered, accepted or not, and both sides see it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import register_sender
from engine.accounts.model import LOCAL_OPERATOR, OPERATOR_ID, AccountKind, Actor, Role
from engine.accounts.tree import close, open_account, place_of
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, Invalid, NotAllowed, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import inventory, life, orders, transfer
from engine.numbers.keeping import look_after_numbers
from engine.numbers.model import ServiceNumber
from engine.numbers.states import State
from engine.numbers.transfer_model import Transfer, TransferStatus
from engine.numbers.treatment import Fallback, Limits, Then, Treatment
from tests.eventually import eventually
from tests.number_world import FIRST, NOW, SENDER, World, events, fill, make_world, stock_of, wanted

NUMBER = FIRST
NEW_TARGET = PhoneNumber("01099998888")
SETTINGS = {
    "treatment": Treatment(label="배달앱", fallbacks=(Fallback(then=Then.TEXT, text="곧 연락드립니다"),)),
    "limits": Limits(at_once=3),
    "callback": "고맙습니다",
    "sender": SENDER,
}


@pytest.fixture
async def world(database: AsyncEngine) -> World:
    """The first shop has NUMBER in service, with settings and a rule."""
    world = await make_world(database)
    await fill(database, 2)
    async with transaction(database) as connection:
        await life.issue(connection, world.owner, wanted(NUMBER, world.shop, **SETTINGS), NOW)
        await connection.execute(
            text("""
                INSERT INTO number_rules (number, name, position, condition, treatment)
                VALUES (:n, 'x', 1, '{}', '{}')
            """),
            {"n": NUMBER},
        )
    return world


async def offered(database: AsyncEngine, world: World, *, keep_settings: bool = True) -> Transfer:
    async with transaction(database) as connection:
        return await transfer.offer(connection, world.owner, NUMBER, world.other_shop, NOW, keep_settings=keep_settings)


async def accepted(
    database: AsyncEngine, world: World, made: Transfer, target: PhoneNumber | None = None
) -> ServiceNumber:
    async with transaction(database) as connection:
        await transfer.accept(connection, world.other_owner, made.id, NOW, target)
    async with transaction(database) as connection:
        return await inventory.find(connection, NUMBER)


async def rules(database: AsyncEngine) -> int:
    async with transaction(database) as connection:
        return int((await connection.scalar(text("SELECT count(*) FROM number_rules"))) or 0)


async def test_an_offer_changes_nothing_until_it_is_accepted(database: AsyncEngine, world: World) -> None:
    made = await offered(database, world)
    assert made.status is TransferStatus.OFFERED
    assert (await stock_of(database, NUMBER)).held_by == world.shop
    now_theirs = await accepted(database, world, made)
    assert now_theirs.account_id == world.other_shop
    stock = await stock_of(database, NUMBER)
    assert (stock.state, stock.held_by, stock.last_holder) == (State.IN_SERVICE, world.other_shop, world.shop)


async def test_with_its_settings_it_does_what_it_did(database: AsyncEngine, world: World) -> None:
    now_theirs = await accepted(database, world, await offered(database, world))
    assert now_theirs == wanted(NUMBER, world.other_shop, **SETTINGS), "the receiver registered that sender too"
    assert await rules(database) == 1


async def test_what_needs_a_sender_that_the_receiver_has_not_stays_behind(database: AsyncEngine, world: World) -> None:
    other = PhoneNumber("0311112222")
    async with transaction(database) as connection:
        await register_sender(connection, LOCAL_OPERATOR, world.shop, other, "contract", NOW)
        await life.change(connection, world.owner, NUMBER, inventory.NumberChange(sender=other), NOW)
    now_theirs = await accepted(database, world, await offered(database, world), NEW_TARGET)
    assert (now_theirs.callback, now_theirs.sender, now_theirs.target) == (None, None, NEW_TARGET)
    assert now_theirs.treatment == Treatment(label="배달앱")
    assert now_theirs.limits == Limits(at_once=3)


async def test_without_its_settings_it_only_rings_the_target_named(database: AsyncEngine, world: World) -> None:
    made = await offered(database, world, keep_settings=False)
    with pytest.raises(Invalid, match="name whom its calls ring"):
        await accepted(database, world, made)
    assert await accepted(database, world, made, NEW_TARGET) == wanted(NUMBER, world.other_shop, target=NEW_TARGET)
    assert await rules(database) == 0


async def test_a_suspended_number_stays_suspended(database: AsyncEngine, world: World) -> None:
    async with transaction(database) as connection:
        await life.suspend(connection, world.manager, NUMBER, NOW)
    now_theirs = await accepted(database, world, await offered(database, world, keep_settings=False), NEW_TARGET)
    assert now_theirs.suspended == life.NOT_IN_SERVICE
    assert (await stock_of(database, NUMBER)).state is State.SUSPENDED


async def test_both_sides_see_it_and_nobody_else(database: AsyncEngine, world: World) -> None:
    made = await offered(database, world)
    await accepted(database, world, made)
    async with transaction(database) as connection:
        for side in (world.owner, world.other_owner, world.manager, world.other_manager):
            newest = (await life.history(connection, side, NUMBER))[0]
            assert (newest.move.value, newest.account_id, newest.to_account) == (
                "transferred",
                world.shop,
                world.other_shop,
            )
            assert [one.id for one in await transfer.listing(connection, side)] == [made.id]
            assert (await transfer.find(connection, side, made.id)).status is TransferStatus.ACCEPTED
    told = [(whose, body["change"], body.get("side")) for whose, body in await events(database)][1:]
    assert told == [
        (world.shop, "transfer offered", "giver"),
        (world.other_shop, "transfer offered", "receiver"),
        (world.shop, "transferred", "giver"),
        (world.other_shop, "transferred", "receiver"),
    ]


async def test_only_the_receiver_accepts_or_declines_and_only_the_giver_withdraws(
    database: AsyncEngine, world: World
) -> None:
    made = await offered(database, world)
    for deed, who in (
        (transfer.accept, world.owner),
        (transfer.decline, world.owner),
        (transfer.withdraw, world.other_owner),
    ):
        with pytest.raises((NotFound, NotAllowed)):
            async with transaction(database) as connection:
                await deed(connection, who, made.id, NOW)
    async with transaction(database) as connection:
        assert (await transfer.find(connection, world.owner, made.id)).status is TransferStatus.OFFERED
        third = await somebody_else(database)
        with pytest.raises(NotFound):
            await transfer.find(connection, third, made.id)
    async with transaction(database) as connection:
        declined = await transfer.decline(connection, world.other_owner, made.id, NOW, "no need")
        assert (declined.status, declined.reason) == (TransferStatus.DECLINED, "no need")
    with pytest.raises(Conflict, match="not open any more"):
        await accepted(database, world, made)
    assert (await stock_of(database, NUMBER)).held_by == world.shop


async def somebody_else(database: AsyncEngine) -> Actor:
    """The owner of a third shop."""
    async with transaction(database) as connection:
        third = await open_account(connection, LOCAL_OPERATOR, OPERATOR_ID, AccountKind.SHOP, "third", NOW)
        return Actor(who="user:x", place=await place_of(connection, third.id), role=Role.OWNER)


async def test_an_offer_ends_with_the_giver_having_the_number_no_more(database: AsyncEngine, world: World) -> None:
    made = await offered(database, world)
    async with transaction(database) as connection:
        await life.release(connection, world.owner, NUMBER, NOW)
    with pytest.raises(Conflict, match="not open any more"):
        await accepted(database, world, made)
    async with transaction(database) as connection:
        assert (await transfer.find(connection, world.owner, made.id)).status is TransferStatus.WITHDRAWN
    told = [(whose, body["change"]) for whose, body in await events(database) if body.get("transfer") == str(made.id)]
    assert told[-2:] == [(world.shop, "transfer withdrawn"), (world.other_shop, "transfer withdrawn")]


async def test_an_offer_ends_with_the_order_that_the_number_was_of(database: AsyncEngine, world: World) -> None:
    end = NOW + timedelta(days=3)
    async with transaction(database) as connection:
        _, (number,) = await orders.place(connection, world.owner, world.shop, 1, NOW, target=NEW_TARGET, ends_at=end)
        await transfer.offer(connection, world.owner, number, world.other_shop, NOW, open_for=timedelta(days=30))
    await look_after_numbers(database, end + timedelta(days=8))
    told = [body["change"] for whose, body in await events(database) if whose == world.other_shop]
    assert told == ["transfer offered", "transfer withdrawn"]


async def test_an_offer_ends_with_time(database: AsyncEngine, world: World) -> None:
    made = await offered(database, world)
    after = NOW + timedelta(days=7)
    with pytest.raises(Conflict, match="not open any more"):
        async with transaction(database) as connection:
            await transfer.accept(connection, world.other_owner, made.id, after)
    async with transaction(database) as connection:
        again = await transfer.offer(connection, world.owner, NUMBER, world.other_shop, after)
    told = [body["change"] for account, body in await events(database) if account == world.other_shop]
    assert told == ["transfer offered", "transfer expired", "transfer offered"]
    assert (await look_after_numbers(database, after + timedelta(days=7))).expired == 1
    async with transaction(database) as connection:
        for one in (made, again):
            assert (await transfer.find(connection, world.owner, one.id)).status is TransferStatus.EXPIRED


async def test_what_is_released_at_the_same_time_is_not_offered(database: AsyncEngine, world: World) -> None:
    async def waits() -> bool:
        async with transaction(database) as connection:
            return bool(await connection.scalar(text("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")))

    async with transaction(database) as connection:
        await life.release(connection, world.owner, NUMBER, NOW)
        late = asyncio.ensure_future(offered(database, world))
        await eventually(lambda: _either(late, waits))
    with pytest.raises(NotFound):
        await late


async def _either(task: asyncio.Future[Transfer], waits: Callable[[], Awaitable[bool]]) -> bool:
    return task.done() or await waits()


async def test_what_cannot_be_offered(database: AsyncEngine, world: World) -> None:
    free = PhoneNumber(f"{int(NUMBER) + 1:012}")
    refused: list[tuple[type[Exception], PhoneNumber, UUID]] = [
        (NotFound, free, world.other_shop),
        (NotFound, PhoneNumber("050799999999"), world.other_shop),
        (NotFound, NUMBER, uuid4()),
        (Invalid, NUMBER, world.shop),
    ]
    for kind, number, to in refused:
        with pytest.raises(kind):
            async with transaction(database) as connection:
                await transfer.offer(connection, world.owner, number, to, NOW)
    await offered(database, world)
    with pytest.raises(Conflict, match="offered to somebody already"):
        async with transaction(database) as connection:
            await transfer.offer(connection, world.owner, NUMBER, world.agency, NOW)
    with pytest.raises(NotFound):
        async with transaction(database) as connection:
            await transfer.offer(connection, world.other_owner, NUMBER, world.other_shop, NOW)


async def test_a_reserved_number_is_not_offered_and_a_closed_account_gets_none(
    database: AsyncEngine, world: World
) -> None:
    reserved = PhoneNumber(f"{int(NUMBER) + 1:012}")
    made = await offered(database, world)
    async with transaction(database) as connection:
        await life.reserve(connection, world.owner, reserved, world.shop, NOW)
        await close(connection, LOCAL_OPERATOR, world.other_shop, NOW)
    with pytest.raises(Conflict, match="only a number in service"):
        async with transaction(database) as connection:
            await transfer.offer(connection, world.owner, reserved, world.other_agency, NOW)
    with pytest.raises(Conflict, match="closed"):
        async with transaction(database) as connection:
            await transfer.accept(connection, LOCAL_OPERATOR, made.id, NOW)
    assert (await stock_of(database, NUMBER)).held_by == world.shop


async def test_of_accepting_and_releasing_at_once_one_is_done(database: AsyncEngine, world: World) -> None:
    made = await offered(database, world)

    async def release() -> str:
        async with transaction(database) as connection:
            await life.release(connection, world.owner, NUMBER, NOW)
        return "released"

    async def accept() -> str:
        async with transaction(database) as connection:
            await transfer.accept(connection, world.other_owner, made.id, NOW)
        return "accepted"

    results = await asyncio.gather(accept(), release(), accept(), release(), return_exceptions=True)
    done = [result for result in results if isinstance(result, str)]
    assert len(done) == 1
    stock = await stock_of(database, NUMBER)
    expected = (State.IN_SERVICE, world.other_shop) if done == ["accepted"] else (State.QUARANTINED, None)
    assert (stock.state, stock.held_by) == expected


async def test_old_calls_stay_with_the_old_owner(database: AsyncEngine, world: World) -> None:
    async with transaction(database) as connection:
        await connection.execute(
            text("""
                INSERT INTO calls (arrived_at, call_id, node, account_id, number, number_sent, caller_sent, trunk,
                    ended_at, ringback_seconds, talk_seconds, result, cause, ended_by, recording_reason, legs, steps)
                VALUES (now(), gen_random_uuid(), 'n1', :shop, :number, :number, 'withheld', 't', now(), 0, 0, 'busy',
                    17, 'target', '', '[]', '[]')
            """),
            {"shop": world.shop, "number": NUMBER},
        )
    await accepted(database, world, await offered(database, world))
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT account_id FROM calls")) == world.shop
