"""Orders of numbers by count and period of use, on the real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.database import open_database, transaction
from engine.foundation.errors import Conflict, DariError, Invalid, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import inventory, life, orders, transfer
from engine.numbers.keeping import look_after_numbers
from engine.numbers.order_model import FOR_EVER, Order, OrderStatus
from engine.numbers.states import State
from engine.numbers.suspension import SuspendedFor
from tests.number_world import NOW, TARGET, World, events, fill, following, make_world, stock_of, wanted

END = NOW + timedelta(days=30)


@pytest.fixture
async def world(database: AsyncEngine) -> World:
    """With ten free numbers."""
    world = await make_world(database)
    await fill(database, 10)
    return world


@pytest.fixture
async def people(database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = open_database(database_url, command_timeout=60.0, application_name="dari test", pool_size=50)
    yield engine
    await engine.dispose()


async def placed(database: AsyncEngine, world: World, count: int = 3, **terms: Any) -> tuple[Order, list[PhoneNumber]]:
    async with transaction(database) as connection:
        return await orders.place(connection, world.owner, world.shop, count, NOW, **terms)


async def states(database: AsyncEngine, numbers: list[PhoneNumber]) -> set[State]:
    return {(await stock_of(database, number)).state for number in numbers}


async def status(database: AsyncEngine, world: World, order: Order) -> OrderStatus:
    async with transaction(database) as connection:
        return (await orders.find(connection, world.owner, order.id))[0].status


async def test_an_order_with_a_target_rings_it_at_once(database: AsyncEngine, world: World) -> None:
    order, numbers = await placed(database, world, target=TARGET)
    assert order.status is OrderStatus.BEGUN
    assert numbers == following("050710000000", 3)
    async with transaction(database) as connection:
        assert await inventory.listing(connection) == [wanted(number, world.shop) for number in numbers]
        found, still = await orders.find(connection, world.owner, order.id)
        assert found == order
        assert [stock.number for stock in still] == numbers
        assert [one.id for one in await orders.listing(connection, world.manager)] == [order.id]
        assert await orders.listing(connection, world.other_manager) == []
        with pytest.raises(NotFound):
            await orders.find(connection, world.other_owner, order.id)


async def test_an_order_without_a_target_keeps_numbers_that_are_issued_one_by_one(
    database: AsyncEngine, world: World
) -> None:
    order, numbers = await placed(database, world)
    assert await states(database, numbers) == {State.RESERVED}
    assert (await stock_of(database, numbers[0])).reserved_until == FOR_EVER
    with pytest.raises(Conflict, match="reserved"):
        async with transaction(database) as connection:
            await life.issue(connection, world.other_owner, wanted(numbers[0], world.other_shop), NOW)
    async with transaction(database) as connection:
        await life.issue(connection, world.owner, wanted(numbers[0], world.shop), NOW)
    stock = await stock_of(database, numbers[0])
    assert (stock.state, stock.order_id) == (State.IN_SERVICE, order.id)


async def test_all_or_none(database: AsyncEngine, world: World) -> None:
    with pytest.raises(Conflict, match="only 10 of 11"):
        await placed(database, world, 11)
    with pytest.raises(Conflict, match="only 0 of 1"):
        await placed(database, world, 1, prefix="0502")
    async with transaction(database) as connection:
        assert len(await life.listing(connection, LOCAL_OPERATOR, state=State.AVAILABLE)) == 10
        assert await orders.listing(connection, world.owner) == []


@pytest.mark.parametrize(
    "terms",
    [
        {"count": 0},
        {"count": 1001},
        {"prefix": "05o7"},
        {"ends_at": NOW},
        {"starts_at": NOW + timedelta(days=2), "ends_at": NOW + timedelta(days=2)},
        {"starts_at": NOW + timedelta(days=400)},
        {"starts_at": NOW - timedelta(days=2)},
        {"ends_at": FOR_EVER},
        {"target": PhoneNumber("112")},
    ],
)
async def test_an_order_that_cannot_be_is_refused(database: AsyncEngine, world: World, terms: dict[str, Any]) -> None:
    with pytest.raises(DariError) as told:
        await placed(database, world, **terms)
    assert not isinstance(told.value, Conflict)


async def test_a_period_that_begins_later_begins_by_itself(database: AsyncEngine, world: World) -> None:
    start = NOW + timedelta(days=2)
    order, numbers = await placed(database, world, target=TARGET, starts_at=start, ends_at=END)
    assert await states(database, numbers) == {State.RESERVED}
    await look_after_numbers(database, start - timedelta(seconds=1))
    assert await status(database, world, order) is OrderStatus.PLACED
    await look_after_numbers(database, start)
    assert await states(database, numbers) == {State.IN_SERVICE}
    assert await status(database, world, order) is OrderStatus.BEGUN


async def test_the_end_is_told_before_then_numbers_are_suspended_and_then_released(
    database: AsyncEngine, world: World
) -> None:
    order, numbers = await placed(database, world, target=TARGET, ends_at=END)
    await look_after_numbers(database, END - timedelta(days=7))
    await look_after_numbers(database, END - timedelta(days=6))
    warned = [body for _, body in await events(database) if body["change"] == orders.ENDS_SOON]
    assert [body["number"] for body in warned] == numbers, "each once"
    assert warned[0]["ends_at"] == END.isoformat()

    await look_after_numbers(database, END)
    assert await status(database, world, order) is OrderStatus.ENDED
    assert (await stock_of(database, numbers[0])).suspended_for is SuspendedFor.PERIOD_OVER
    async with transaction(database) as connection:
        assert {number.suspended for number in await inventory.listing(connection)} == {life.NOT_IN_SERVICE}
        with pytest.raises(Conflict, match="period of use is over"):
            await life.resume(connection, LOCAL_OPERATOR, numbers[0], END)

    await look_after_numbers(database, END + timedelta(days=6))
    assert await states(database, numbers) == {State.SUSPENDED}
    await look_after_numbers(database, END + timedelta(days=7))
    assert await states(database, numbers) == {State.QUARANTINED}
    async with transaction(database) as connection:
        assert await inventory.listing(connection) == []
    assert (await look_after_numbers(database, END + timedelta(days=8))).orders == 0


async def test_a_longer_period_resumes_them(database: AsyncEngine, world: World) -> None:
    order, numbers = await placed(database, world, target=TARGET, ends_at=END)
    await look_after_numbers(database, END)
    later = END + timedelta(days=30)
    async with transaction(database) as connection:
        longer = await orders.prolong(connection, world.owner, order.id, later, END + timedelta(days=1))
    assert (longer.ends_at, longer.status) == (later, OrderStatus.BEGUN)
    assert await states(database, numbers) == {State.IN_SERVICE}
    async with transaction(database) as connection:
        assert {number.suspended for number in await inventory.listing(connection)} == {None}
    await look_after_numbers(database, later + timedelta(days=7))
    assert await states(database, numbers) == {State.QUARANTINED}
    with pytest.raises(Conflict, match="were released"):
        async with transaction(database) as connection:
            await orders.prolong(connection, world.owner, order.id, None, later + timedelta(days=7))


async def test_what_was_barred_stays_so_when_the_period_becomes_longer(database: AsyncEngine, world: World) -> None:
    order, numbers = await placed(database, world, 2, target=TARGET, ends_at=END)
    async with transaction(database) as connection:
        await life.suspend(connection, world.manager, numbers[0], NOW)
    await look_after_numbers(database, END)
    async with transaction(database) as connection:
        await orders.prolong(connection, world.owner, order.id, None, END)
    assert (await stock_of(database, numbers[0])).suspended_for is SuspendedFor.BARRED
    assert (await stock_of(database, numbers[1])).state is State.IN_SERVICE


async def test_unused_numbers_of_an_order_are_free_at_its_end(database: AsyncEngine, world: World) -> None:
    order, numbers = await placed(database, world, ends_at=END)
    async with transaction(database) as connection:
        longer = await orders.prolong(connection, world.owner, order.id, END + timedelta(days=1), NOW)
    assert (await stock_of(database, numbers[0])).reserved_until == longer.ends_at
    await look_after_numbers(database, END)
    assert await states(database, numbers) == {State.RESERVED}
    await look_after_numbers(database, END + timedelta(days=1))
    assert await states(database, numbers) == {State.AVAILABLE}
    assert await status(database, world, order) is OrderStatus.ENDED


async def test_an_order_is_cancelled_before_it_begins(database: AsyncEngine, world: World) -> None:
    order, numbers = await placed(database, world, starts_at=NOW + timedelta(days=1))
    with pytest.raises(NotFound):
        async with transaction(database) as connection:
            await orders.cancel(connection, world.other_owner, order.id, NOW)
    async with transaction(database) as connection:
        cancelled = await orders.cancel(connection, world.owner, order.id, NOW)
    assert cancelled.status is OrderStatus.CANCELLED
    assert await states(database, numbers) == {State.AVAILABLE}
    begun, _ = await placed(database, world)
    for again in (order, begun):
        with pytest.raises(Conflict):
            async with transaction(database) as connection:
                await orders.cancel(connection, world.owner, again.id, NOW)
    with pytest.raises(Conflict, match="cancelled"):
        async with transaction(database) as connection:
            await orders.prolong(connection, world.owner, order.id, None, NOW)
    with pytest.raises(Invalid, match="ends"):
        async with transaction(database) as connection:
            await orders.prolong(connection, world.owner, begun.id, NOW - timedelta(days=1), NOW)


async def test_numbers_released_or_transferred_leave_the_order(database: AsyncEngine, world: World) -> None:
    order, numbers = await placed(database, world, target=TARGET, ends_at=END)
    async with transaction(database) as connection:
        await life.release(connection, world.owner, numbers[0], NOW)
        assert [stock.number for stock in (await orders.find(connection, world.owner, order.id))[1]] == numbers[1:]


async def test_fifty_orders_at_once_share_ten_numbers(database: AsyncEngine, people: AsyncEngine, world: World) -> None:
    async def try_once(place: int) -> PhoneNumber:
        who, account = (world.owner, world.shop) if place % 2 else (world.other_owner, world.other_shop)
        async with transaction(people) as connection:
            return (await orders.place(connection, who, account, 1, NOW, target=TARGET))[1][0]

    results = await asyncio.gather(*map(try_once, range(50)), return_exceptions=True)
    got = [result for result in results if isinstance(result, str)]
    assert len(got) == len(set(got))
    assert {type(result) for result in results if not isinstance(result, str)} == {Conflict}
    for one in got:
        stock = await stock_of(database, PhoneNumber(one))
        assert stock.state is State.IN_SERVICE
    left: datetime = NOW + timedelta(minutes=1)
    while True:  # those who saw others' locks find the rest
        try:
            async with transaction(database) as connection:
                await orders.place(connection, world.owner, world.shop, 1, left)
                got.append(PhoneNumber("x"))
        except Conflict:
            break
    assert len(got) == 10


async def test_a_holders_own_suspension_survives_the_prolonging(database: AsyncEngine, world: World) -> None:
    order, numbers = await placed(database, world, 2, target=TARGET, ends_at=END)
    async with transaction(database) as connection:
        await life.suspend(connection, world.owner, numbers[0], NOW, announcement="ko/closed")
    await look_after_numbers(database, END)
    ended = await stock_of(database, numbers[0])
    assert [(one.why, one.by) for one in ended.suspensions] == [
        (SuspendedFor.PERIOD_OVER, "time"),
        (SuspendedFor.WISH, world.owner.who),
    ]
    async with transaction(database) as connection:
        assert (await inventory.find(connection, numbers[0])).suspended == life.NOT_IN_SERVICE
        await orders.prolong(connection, world.owner, order.id, None, END)
        assert (await inventory.find(connection, numbers[0])).suspended == "ko/closed"
        assert (await inventory.find(connection, numbers[1])).suspended is None
    assert (await stock_of(database, numbers[0])).suspended_for is SuspendedFor.WISH
    async with transaction(database) as connection:
        assert (await life.resume(connection, world.owner, numbers[0], END)).state is State.IN_SERVICE
        assert (await inventory.find(connection, numbers[0])).suspended is None


async def test_a_number_whose_period_is_over_is_not_given_away(database: AsyncEngine, world: World) -> None:
    _, numbers = await placed(database, world, 2, target=TARGET, ends_at=END)
    before = END - timedelta(days=1)
    async with transaction(database) as connection:
        made = await transfer.offer(connection, world.owner, numbers[0], world.other_shop, before)
    await look_after_numbers(database, END)
    deeds: list[Callable[[AsyncConnection], Awaitable[object]]] = [
        lambda rows: transfer.accept(rows, world.other_owner, made.id, END),
        lambda rows: transfer.offer(rows, world.owner, numbers[1], world.other_shop, END),
    ]
    for deed in deeds:
        with pytest.raises(Conflict, match="period of use is over"):
            async with transaction(database) as connection:
                await deed(connection)


async def test_a_large_order_that_is_not_over_yet_holds_up_nobody(database: AsyncEngine, world: World) -> None:
    async with transaction(database) as connection:
        _, first = await orders.place(connection, world.owner, world.shop, 7, NOW)
        async with transaction(database) as other:
            _, rest = await orders.place(other, world.other_owner, world.other_shop, 3, NOW)
        assert (first, rest) == (following("050710000000", 7), following("050710000007", 3))
