"""Many numbers are moved by one statement, each only while it is as it was read."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.foundation.database import transaction
from engine.foundation.errors import Conflict
from engine.numbers import store_life
from engine.numbers.states import Move, State, StockNumber, reserved
from engine.numbers.stock import Hand, move_each, move_free
from tests.number_world import NOW, World, fill, make_world, moves_of, stock_of

HAND = Hand("somebody", NOW)
UNTIL = NOW + timedelta(minutes=10)


@pytest.fixture
async def world(database: AsyncEngine) -> World:
    return await make_world(database)


async def read(database: AsyncEngine, world: World) -> list[StockNumber]:
    """Three free numbers as they were before the other shop took the second."""
    numbers = await fill(database, 3)
    before = [await stock_of(database, number) for number in numbers]
    async with transaction(database) as connection:
        took = await move_free(
            connection, before[1:2], HAND, lambda old: (Move.RESERVED, reserved(old, world.other_shop, UNTIL, NOW))
        )
    assert [moved.after.number for moved in took] == numbers[1:2]
    return before


async def test_what_was_changed_since_it_was_read_stays(database: AsyncEngine, world: World) -> None:
    before = await read(database, world)
    async with transaction(database) as connection:
        moves = await move_free(
            connection, before, HAND, lambda old: (Move.RESERVED, reserved(old, world.shop, UNTIL, NOW))
        )
        assert [moved.after.number for moved in moves] == [before[0].number, before[2].number]
        assert await moves_of(connection, [before[1].number]) == ["added", "reserved"], "noted once"
    assert (await stock_of(database, before[1].number)).held_by == world.other_shop


async def test_what_somebody_else_moves_now_is_left_out_and_not_waited_for(database: AsyncEngine, world: World) -> None:
    before = [await stock_of(database, number) for number in await fill(database, 3)]

    def decide(old: StockNumber) -> tuple[Move, StockNumber]:
        return Move.RESERVED, reserved(old, world.shop, UNTIL, NOW)

    async with transaction(database) as connection, transaction(database) as other:
        assert len(await move_free(connection, before[:2], HAND, decide)) == 2
        moves = await move_free(other, before, HAND, decide, most=1)
    assert [moved.after.number for moved in moves] == [before[2].number]


async def test_each_is_decided_anew_from_what_others_left(database: AsyncEngine, world: World) -> None:
    before = await read(database, world)
    with pytest.raises(Conflict, match="reserved already"):
        async with transaction(database) as connection:
            await move_each(
                connection,
                before,
                HAND,
                lambda old: (Move.RESERVED, reserved(old, world.shop, UNTIL, NOW)),
                due=lambda stock: True,
            )
    assert (await stock_of(database, before[0].number)).state is State.AVAILABLE
    async with transaction(database) as connection:
        moves = await move_each(
            connection,
            before,
            HAND,
            lambda old: (Move.RESERVED, reserved(old, world.shop, UNTIL, NOW)),
            due=lambda stock: stock.state is State.AVAILABLE,
        )
    assert len(moves) == 2


async def test_all_that_a_number_is_goes_through_the_statement(database: AsyncEngine, world: World) -> None:
    (number,) = await fill(database, 1)
    old = await stock_of(database, number)
    new = reserved(old, world.shop, UNTIL, NOW)
    async with transaction(database) as connection:
        assert await store_life.move_many(connection, [(old, new)], waiting=True) == {number}
        assert await store_life.move_many(connection, [(old, new)], waiting=True) == set()
        assert await store_life.move_many(connection, [], waiting=True) == set()
    assert await stock_of(database, number) == new
