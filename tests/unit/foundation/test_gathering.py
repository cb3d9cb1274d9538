from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from engine.foundation.errors import Conflict, TryLater
from engine.foundation.gathering import Gathering

NEVER = 3600.0


class Desk:
    """Doubles numbers, and notes in which lots they came. Some it refuses; it may be made to wait."""

    def __init__(self, *refused: int) -> None:
        self.lots: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()
        self._refused = set(refused)

    async def do(self, numbers: Sequence[int]) -> Sequence[int]:
        self.lots.append(list(numbers))
        await self.open.wait()
        if refused := self._refused & set(numbers):
            raise Conflict(f"{sorted(refused)}")
        return [2 * number for number in numbers]


async def test_a_full_lot_is_done_at_once_and_each_gets_its_own_outcome() -> None:
    desk = Desk()
    gathering = Gathering("test", desk.do, within=NEVER, at_most=3)
    assert await asyncio.gather(*map(gathering.add, [1, 2, 3, 4, 5, 6])) == [2, 4, 6, 8, 10, 12]
    assert desk.lots == [[1, 2, 3], [4, 5, 6]]


async def test_one_that_nobody_joins_is_done_after_a_moment() -> None:
    desk = Desk()
    gathering = Gathering("test", desk.do, within=0.0, at_most=100)
    assert [await gathering.add(1), await gathering.add(2)] == [2, 4]
    assert desk.lots == [[1], [2]]


async def test_what_comes_while_a_lot_is_done_is_the_next_lot() -> None:
    desk = Desk()
    gathering = Gathering("test", desk.do, within=0.0, at_most=100)
    desk.open.clear()
    first = asyncio.ensure_future(gathering.add(1))
    while not desk.lots:
        await asyncio.sleep(0)
    rest = [asyncio.ensure_future(gathering.add(number)) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    desk.open.set()
    assert await asyncio.gather(first, *rest) == [2, 4, 6, 8]
    assert desk.lots == [[1], [2, 3, 4]]


@pytest.mark.parametrize("bad", [{1}, {4}, {2, 7}, set(range(1, 8))])
async def test_only_those_fail_that_are_at_fault(bad: set[int]) -> None:
    gathering = Gathering("test", Desk(*bad).do, within=NEVER, at_most=7)
    outcomes = await asyncio.gather(*map(gathering.add, range(1, 8)), return_exceptions=True)
    for number, outcome in enumerate(outcomes, start=1):
        if number in bad:
            assert isinstance(outcome, Conflict)
            assert str(outcome) == str([number])
        else:
            assert outcome == 2 * number


async def test_when_a_part_is_away_all_are_told_so_and_nobody_is_tried_alone() -> None:
    lots = []

    async def away(numbers: Sequence[int]) -> Sequence[int]:
        lots.append(list(numbers))
        raise TryLater("it is away")

    gathering = Gathering("test", away, within=NEVER, at_most=3)
    outcomes = await asyncio.gather(*map(gathering.add, [1, 2, 3]), return_exceptions=True)
    assert [str(outcome) for outcome in outcomes] == ["it is away"] * 3
    assert lots == [[1, 2, 3]]


async def test_who_leaves_disturbs_nobody_and_what_it_gave_is_done() -> None:
    desk = Desk()
    gathering = Gathering("test", desk.do, within=NEVER, at_most=3)
    desk.open.clear()
    before, during, stays = (asyncio.ensure_future(gathering.add(number)) for number in (1, 2, 3))
    await asyncio.sleep(0)
    before.cancel()
    while not desk.lots:
        await asyncio.sleep(0)
    during.cancel()
    desk.open.set()
    assert await stays == 6
    assert before.cancelled()
    assert during.cancelled()
    assert desk.lots == [[1, 2, 3]]


async def test_closing_cancels_those_who_wait() -> None:
    desk = Desk()
    desk.open.clear()
    gathering = Gathering("test", desk.do, within=NEVER, at_most=2)
    at_work, waiting = (
        [asyncio.ensure_future(gathering.add(number)) for number in numbers] for numbers in ((1, 2), (3,))
    )
    while not desk.lots:
        await asyncio.sleep(0)
    await gathering.close()
    await asyncio.wait([*at_work, *waiting])
    assert all(one.cancelled() for one in (*at_work, *waiting))
