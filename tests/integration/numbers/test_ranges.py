"""Ranges and the import of their numbers, on the real database."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, Invalid, NotAllowed, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import inventory, life, range_import, ranges
from engine.numbers.number_range import NumberRange
from engine.numbers.quarantine_terms import QuarantineTerms
from engine.numbers.range_import import ImportReport, import_numbers
from engine.numbers.states import State
from tests.number_world import FIRST, NOW, World, audited, fill, following, make_world, stock_of, wanted


@pytest.fixture
async def world(database: AsyncEngine) -> World:
    return await make_world(database)


async def added(database: AsyncEngine, name: str, prefix: str, digits: int = 12) -> NumberRange:
    async with transaction(database) as connection:
        return await ranges.add(connection, LOCAL_OPERATOR, name, prefix, digits, NOW)


async def imported(database: AsyncEngine, lines: Sequence[str], only: str | None = None) -> ImportReport:
    async with transaction(database) as connection:
        return await import_numbers(connection, LOCAL_OPERATOR, "\n".join(lines).encode(), NOW, only=only)


async def in_stock(database: AsyncEngine) -> int:
    async with transaction(database) as connection:
        return int((await connection.scalar(text("SELECT count(*) FROM number_stock"))) or 0)


async def test_a_range_is_told_with_what_is_in_it(database: AsyncEngine, world: World) -> None:
    numbers = await fill(database, 4)
    async with transaction(database) as connection:
        await life.issue(connection, world.owner, wanted(numbers[0], world.shop), NOW)
        (one,) = await ranges.figures(connection, LOCAL_OPERATOR)
    assert one.range.prefix == "050710"
    assert one.numbers == {State.AVAILABLE: 3, State.IN_SERVICE: 1}


@pytest.mark.parametrize("prefix", ["0507", "05071", "0507100", "050710000"])
async def test_no_number_is_in_two_ranges(database: AsyncEngine, world: World, prefix: str) -> None:
    await added(database, "first", "05071")
    with pytest.raises(Conflict, match="some of its numbers"):
        await added(database, "second", prefix)
    await added(database, "beside", "05072")
    await added(database, "shorter numbers", prefix, digits=11)


async def test_a_name_is_given_once_and_only_the_operator_gives_it(database: AsyncEngine, world: World) -> None:
    await added(database, "first", "05071")
    with pytest.raises(Conflict):
        await added(database, "first", "0502")
    for somebody in (world.owner, world.manager):
        async with transaction(database) as connection:
            for deed in (
                ranges.add(connection, somebody, "x", "0503", 12, NOW),
                ranges.set_terms(connection, somebody, "first", QuarantineTerms(), NOW),
                ranges.figures(connection, somebody),
                import_numbers(connection, somebody, b"050710000000", NOW),
            ):
                with pytest.raises((NotAllowed, NotFound)):
                    await deed


async def test_terms_of_a_range_hold_for_what_is_released(database: AsyncEngine, world: World) -> None:
    (number,) = await fill(database, 1)
    async with transaction(database) as connection:
        changed = await ranges.set_terms(connection, LOCAL_OPERATOR, "050710", QuarantineTerms(days=10), NOW)
        assert changed.terms.days == 10
        await life.issue(connection, world.owner, wanted(number, world.shop), NOW)
        gone = await life.release(connection, world.owner, number, NOW)
        with pytest.raises(NotFound):
            await ranges.set_terms(connection, LOCAL_OPERATOR, "no such", QuarantineTerms(), NOW)
        with pytest.raises(Invalid):
            await ranges.set_terms(connection, LOCAL_OPERATOR, "050710", QuarantineTerms(days=-1), NOW)
    assert gone.quarantined_until is not None
    assert (gone.quarantined_until - NOW).days == 10


async def test_numbers_in_service_are_of_a_range_that_comes_later(database: AsyncEngine, world: World) -> None:
    async with transaction(database) as connection:
        await inventory.add(connection, wanted(FIRST, world.shop))
    made = await added(database, "late", "05071")
    assert (await stock_of(database, FIRST)).range_id == made.id
    report = await imported(database, [FIRST])
    assert [one.reason for one in report.refused] == ["it is in the stock already (in service)"]


async def test_a_number_of_a_range_that_comes_before_its_import_is_ours_too(
    database: AsyncEngine, world: World
) -> None:
    made = await added(database, "early", "05071")
    async with transaction(database) as connection:
        await ranges.set_terms(connection, LOCAL_OPERATOR, "early", QuarantineTerms(days=10), NOW)
        await inventory.add(connection, wanted(FIRST, world.shop))
        gone = await life.release(connection, world.owner, FIRST, NOW)
    assert (gone.range_id, gone.quarantined_until) == (made.id, NOW + timedelta(days=10))


async def test_numbers_come_in_with_their_ranges_and_their_history(database: AsyncEngine, world: World) -> None:
    one, two = await added(database, "one", "05071"), await added(database, "two", "0502", digits=11)
    report = await imported(database, ["번호", "0507-1000-0000", "0502 300 0000"])
    assert report == ImportReport(lines=2, taken=2, refused=())
    assert (await stock_of(database, FIRST)).range_id == one.id
    stock = await stock_of(database, PhoneNumber("05023000000"))
    assert (stock.range_id, stock.state) == (two.id, State.AVAILABLE)
    async with transaction(database) as connection:
        assert [done.move.value for done in await life.history(connection, LOCAL_OPERATOR, FIRST)] == ["added"]
    assert (LOCAL_OPERATOR.who, "manage ranges", "all ranges") in await audited(database)


async def test_one_bad_line_and_nothing_is_taken_in(database: AsyncEngine, world: World) -> None:
    await added(database, "one", "05071")
    good = following(FIRST, 30)
    report = await imported(database, [*good[:20], "oops", *good[20:], good[0]])
    assert (report.lines, report.taken) == (32, 0)
    assert [(one.line, one.value) for one in report.refused] == [(21, "oops"), (32, good[0])]
    assert await in_stock(database) == 0
    assert (await imported(database, good)).taken == 30


async def test_numbers_that_are_there_are_refused_by_their_lines(
    database: AsyncEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_import, "AT_ONCE", 7)
    await added(database, "one", "05071")
    await imported(database, following(FIRST, 10))
    report = await imported(database, list(reversed(following(FIRST, 25))))
    assert [one.line for one in report.refused] == list(range(16, 26))
    assert {one.reason for one in report.refused} == {"it is in the stock already (available)"}
    assert await in_stock(database) == 10


async def test_only_one_range_may_be_meant(database: AsyncEngine, world: World) -> None:
    await added(database, "one", "05071")
    await added(database, "two", "0502")
    report = await imported(database, [FIRST], only="two")
    assert [one.reason for one in report.refused] == ["it lies in no range; add that with `dari range add`"]
    for content, only in ((b"", None), (b"number\n\n", None), (FIRST.encode(), "no such")):
        with pytest.raises(Invalid):
            async with transaction(database) as connection:
                await import_numbers(connection, LOCAL_OPERATOR, content, NOW, only=only)


async def test_progress_ends_at_the_number_of_lines(
    database: AsyncEngine, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(range_import, "AT_ONCE", 10)
    await added(database, "one", "05071")
    told: list[int] = []
    content = "\n".join(following(FIRST, 35)).encode()
    async with transaction(database) as connection:
        report = await import_numbers(connection, LOCAL_OPERATOR, content, NOW, progress=told.append)
    assert sum(told) == report.lines == 35
    assert len(told) > 3


async def test_two_imports_of_the_same_numbers_at_once_bring_each_in_once(database: AsyncEngine, world: World) -> None:
    await added(database, "one", "05071")
    numbers = following(FIRST, 500)
    reports = await asyncio.gather(*(imported(database, numbers) for _ in range(4)))
    assert sorted(report.taken for report in reports) == [0, 0, 0, 500]
    assert {len(report.refused) for report in reports} == {0, 500}
    assert await in_stock(database) == 500
    async with transaction(database) as connection:
        assert await connection.scalar(text("SELECT count(*) FROM number_history")) == 500


async def test_a_large_file_goes_in_slice_by_slice(database: AsyncEngine) -> None:
    """Whoever else is answered by the same process waits for one slice at most."""
    told: list[int] = []
    lines = "\n".join(f"0507{place:08}" for place in range(9_999)).encode()
    await added(database, "all", "0507")
    for _ in range(2):
        async with transaction(database) as connection:
            report = await import_numbers(connection, LOCAL_OPERATOR, lines, NOW, progress=told.append)
    assert [one.line for one in report.refused] == list(range(1, 10_000))
    assert max(told) <= 2_000
    assert sum(told) == 2 * 9_999
