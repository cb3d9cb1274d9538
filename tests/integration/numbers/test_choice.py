"""Choosing numbers on the real database: ranking, paging while others reserve, and many people at once."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR, OPERATOR_ID, AccountKind, Actor, Deed, Role
from engine.accounts.tree import open_account, place_of
from engine.foundation.database import open_database, transaction
from engine.foundation.errors import Conflict, Invalid, NotAllowed, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import store_choice
from engine.numbers.choice import MOST_AT_ONCE, Offers, Reservation, choose, reserve, reserve_best
from engine.numbers.life import MOST_RESERVED, RESERVED_FOR
from engine.numbers.model import NumberKind
from engine.numbers.similar import Wish, order, rank, spans, wish

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
SHOP = "031-555-1234"
PEOPLE = 50
_WISH = '[{"why": "wish", "by": "somebody", "at": "2026-11-22T03:00:00Z", "announcement": "ko/closed"}]'


@pytest.fixture
async def people(database_url: str) -> AsyncIterator[AsyncEngine]:
    """A connection for each of many people at once."""
    engine = open_database(database_url, command_timeout=60.0, application_name="dari test", pool_size=PEOPLE)
    yield engine
    await engine.dispose()


def some_numbers(count: int, seed: int = 1) -> list[PhoneNumber]:
    """Of few digits, so that many are like one another and like 1234."""
    lots = random.Random(seed)
    found: set[str] = set()
    while len(found) < count:
        last = "".join(lots.choice("1234") for _ in range(4)) if lots.random() < 0.5 else f"{lots.randrange(10_000):04}"
        middle = lots.choice(["555", "5551", "1234", f"{lots.randrange(10_000):04}", f"{lots.randrange(1000):03}"])
        found.add(f"{lots.choice(['0502', '0505', '0507'])}{middle}{last}")
    return [PhoneNumber(number) for number in found]


async def stock(database: AsyncEngine, numbers: Sequence[str], kind: str = "050") -> None:
    async with transaction(database) as connection:
        await connection.execute(
            text("""
                INSERT INTO number_stock (number, kind, state, changed_at)
                SELECT number, :kind, 'available', :now FROM unnest(CAST(:numbers AS text[])) AS number
            """),
            {"numbers": list(numbers), "kind": kind, "now": NOW},
        )


async def shop(database: AsyncEngine, name: str = "shop") -> UUID:
    async with transaction(database) as connection:
        return (await open_account(connection, LOCAL_OPERATOR, OPERATOR_ID, AccountKind.SHOP, name, NOW)).id


async def page(
    database: AsyncEngine, wished: Wish, after: PhoneNumber | None = None, limit: int = 20, account: UUID = OPERATOR_ID
) -> Offers:
    async with transaction(database) as connection:
        return await choose(connection, LOCAL_OPERATOR, account, wished, after=after, limit=limit)


async def all_pages(database: AsyncEngine, wished: Wish, limit: int) -> list[PhoneNumber]:
    found: list[PhoneNumber] = []
    after = None
    while True:
        offers = await page(database, wished, after, limit)
        found += [offer.number for offer in offers.offers]
        if offers.next is None:
            return found
        assert len(offers.offers) == limit
        after = offers.next


async def kept(
    database: AsyncEngine, account: UUID, number: PhoneNumber, now: datetime = NOW, actor: Actor = LOCAL_OPERATOR
) -> Reservation:
    async with transaction(database) as connection:
        return await reserve(connection, actor, account, number, now)


async def best(database: AsyncEngine, account: UUID, wished: Wish, count: int = 1) -> list[PhoneNumber]:
    async with transaction(database) as connection:
        reservations = await reserve_best(connection, LOCAL_OPERATOR, account, wished, count, NOW)
    return [reservation.number for reservation in reservations]


async def holders(database: AsyncEngine) -> dict[str, UUID]:
    async with transaction(database) as connection:
        rows = await connection.execute(text("SELECT number, held_by FROM number_stock WHERE state = 'reserved'"))
        return {row.number: row.held_by for row in rows}


def in_order(wished: Wish, numbers: Sequence[PhoneNumber]) -> list[PhoneNumber]:
    return sorted((n for n in numbers if rank(wished, n) is not None), key=lambda number: order(wished, number))


@pytest.mark.parametrize(
    "wished",
    [
        wish(SHOP),
        wish("02-5551-1234"),
        wish("1234"),
        wish("4711"),
        wish(),
        wish(SHOP, exchange="0507"),
        wish(SHOP, easy="AABB"),
        wish(easy="aaab", exchange="0505"),
    ],
)
async def test_pages_give_every_wished_number_once_the_best_first(database: AsyncEngine, wished: Wish) -> None:
    numbers = some_numbers(900)
    await stock(database, numbers)
    expected = in_order(wished, numbers)
    assert len(expected) > 5
    assert await all_pages(database, wished, 500) == expected
    assert await all_pages(database, wished, 7) == expected


async def test_only_free_numbers_of_the_kind_are_offered_with_their_reasons(database: AsyncEngine) -> None:
    numbers = ["050255551234", "05075551234", "050700001243"]
    await stock(database, numbers)
    await stock(database, ["0805551234"], kind="080")
    await kept(database, await shop(database), PhoneNumber("050255551234"))
    offers = await page(database, wish(SHOP))
    assert [(offer.number, offer.reasons[0].code) for offer in offers.offers] == [
        ("05075551234", "whole"),
        ("050700001243", "other_order"),
    ]
    assert offers.next is None


async def test_pages_go_on_where_they_were_while_others_reserve(database: AsyncEngine) -> None:
    numbers = some_numbers(120)
    await stock(database, numbers)
    account = await shop(database)
    expected = in_order(wish(SHOP), numbers)
    first = await page(database, wish(SHOP), limit=20)
    assert first.next == expected[19]
    # Gone meanwhile: one seen already, the very last one seen, and one to come.
    for number in (expected[3], expected[19], expected[25]):
        await kept(database, account, number)
    second = await page(database, wish(SHOP), first.next, limit=20)
    assert [offer.number for offer in second.offers] == [*expected[20:25], *expected[26:41]]


async def test_fifty_people_who_wish_the_same_at_once_get_fifty_different_numbers(people: AsyncEngine) -> None:
    numbers = some_numbers(200)
    await stock(people, numbers)
    account = await shop(people)
    got = await asyncio.gather(*(best(people, account, wish(SHOP)) for _ in range(PEOPLE)))
    assert sorted(number for (number,) in got) == sorted(in_order(wish(SHOP), numbers)[:PEOPLE])
    assert await holders(people) == {number: account for (number,) in got}


async def test_of_fifty_people_who_choose_one_number_one_gets_it(people: AsyncEngine) -> None:
    number = PhoneNumber("050712341234")
    await stock(people, [number])
    shops = [await shop(people, f"shop {at % 5}") if at < 5 else None for at in range(PEOPLE)]
    accounts = [one for one in shops if one] * (PEOPLE // 5)
    results = await asyncio.gather(*(kept(people, one, number) for one in accounts), return_exceptions=True)
    winners = [result for result in results if isinstance(result, Reservation)]
    losers = [result for result in results if isinstance(result, Conflict)]
    assert (len(winners), len(losers)) == (1, PEOPLE - 1)
    assert "0507-1234-1234" in str(losers[0])
    assert await holders(people) == {number: accounts[results.index(winners[0])]}


async def test_when_too_few_are_left_nobody_gets_half_of_what_they_want(people: AsyncEngine) -> None:
    numbers = some_numbers(10)
    await stock(people, numbers)
    account = await shop(people)
    results = await asyncio.gather(
        *(best(people, account, wish(SHOP), 3) for _ in range(PEOPLE)), return_exceptions=True
    )
    got = [number for result in results if isinstance(result, list) for number in result]
    assert all(isinstance(result, list | Conflict) for result in results)
    # A loser holds what it found for a moment, so that the others may find fewer than there are.
    assert len(got) in (0, 3, 6, 9)
    assert len(got) == len(set(got))
    assert sorted(await holders(people)) == sorted(got)
    while len(got) < 9:  # now that it is quiet
        got += await best(people, account, wish(SHOP), 3)
    with pytest.raises(Conflict, match="only 1 of 3 such numbers are free"):
        await best(people, account, wish(SHOP), 3)
    assert sorted(await holders(people)) == sorted(got)


async def test_a_reservation_holds_for_ten_minutes_and_no_longer(database: AsyncEngine) -> None:
    number = PhoneNumber("050712341234")
    await stock(database, [number])
    first, second = await shop(database, "first"), await shop(database, "second")
    assert (await kept(database, first, number)).until == NOW + timedelta(minutes=10)
    just_before = NOW + RESERVED_FOR - timedelta(seconds=1)
    with pytest.raises(Conflict, match="not free any more"):
        await kept(database, second, number, just_before)
    assert (await kept(database, second, number, NOW + RESERVED_FOR)).until == NOW + 2 * RESERVED_FOR
    assert await holders(database) == {number: second}


async def test_two_people_of_one_account_do_not_get_the_same_number(database: AsyncEngine) -> None:
    await stock(database, ["050712341234"])
    account = await shop(database)
    await kept(database, account, PhoneNumber("050712341234"))
    with pytest.raises(Conflict, match="choose another"):
        await kept(database, account, PhoneNumber("050712341234"), NOW + timedelta(minutes=1))


@pytest.mark.parametrize("state", ["in service", "suspended", "quarantined", "ported out", "not in the stock"])
async def test_what_is_not_free_cannot_be_reserved(database: AsyncEngine, state: str) -> None:
    number = PhoneNumber("050712341234")
    account = await shop(database)
    if state != "not in the stock":
        await stock(database, [number])
        async with transaction(database) as connection:
            await connection.execute(
                text("""
                    UPDATE number_stock SET state = :state,
                        held_by = CASE WHEN :state IN ('in service', 'suspended') THEN CAST(:account AS uuid) END,
                        suspensions = CASE :state WHEN 'suspended' THEN CAST(:why AS jsonb) ELSE '[]' END,
                        last_holder = :account, released_at = :now,
                        quarantined_until = CASE :state WHEN 'quarantined' THEN CAST(:now AS timestamptz) END
                """),
                {"state": state, "account": account, "now": NOW - timedelta(days=1), "why": _WISH},
            )
    with pytest.raises(Conflict, match="0507-1234-1234: it is not free any more"):
        await kept(database, account, number)
    assert (await page(database, wish(SHOP))).offers == ()
    assert await holders(database) == {}


async def test_who_may_not_issue_numbers_neither_sees_nor_reserves_free_ones(database: AsyncEngine) -> None:
    await stock(database, ["050712341234"])
    own, foreign = await shop(database, "own"), await shop(database, "foreign")
    async with transaction(database) as connection:
        place = await place_of(connection, own)
    staff = Actor(who="user:1", place=place, role=Role.STAFF)
    for account, actor, error in (
        (own, staff, NotAllowed),
        (foreign, staff, NotFound),
        (foreign, msgspec.structs.replace(staff, role=Role.OWNER), NotFound),
        (UUID(int=77), LOCAL_OPERATOR, NotFound),
    ):
        with pytest.raises(error):
            await kept(database, account, PhoneNumber("050712341234"), actor=actor)
        async with transaction(database) as connection:
            with pytest.raises(error):
                await choose(connection, actor, account, wish(SHOP))
            with pytest.raises(error):
                await reserve_best(connection, actor, account, wish(SHOP), 1, NOW)
    assert await holders(database) == {}
    allowed = msgspec.structs.replace(staff, allowed=frozenset({Deed.ISSUE_NUMBERS}))
    await kept(database, own, PhoneNumber("050712341234"), actor=allowed)


async def test_figures_that_cannot_be_are_refused(database: AsyncEngine) -> None:
    account = await shop(database)
    for limit in (0, -1, 501):
        with pytest.raises(Invalid, match=f"limit: {limit} must be 1 to 500"):
            await page(database, wish(SHOP), limit=limit)
    for count in (0, MOST_AT_ONCE + 1):
        with pytest.raises(Invalid, match=f"count: {count} must be 1 to 20"):
            await best(database, account, wish(SHOP), count)
    with pytest.raises(Invalid, match="after: 0507-1234-1234 is not among the numbers wished"):
        await page(database, wish(SHOP, easy="AABB"), PhoneNumber("050712341234"))


@pytest.mark.parametrize(
    ("wished", "index"),
    [
        (wish(SHOP), "number_stock_free"),
        (wish(SHOP, exchange="0507"), "number_stock_free_by_exchange"),
        (wish(SHOP, digits=12), "number_stock_free"),
        (wish(SHOP, exchange="0507", digits=11), "number_stock_free_by_exchange"),
    ],
)
async def test_the_best_are_found_through_an_index_and_without_reading_the_others(
    database: AsyncEngine, wished: Wish, index: str
) -> None:
    await stock(database, some_numbers(20_000))
    async with transaction(database) as connection:
        await connection.execute(text("ANALYZE number_stock"))
        asked, values = store_choice.statement(NumberKind.VIRTUAL, wished, list(spans(wished)), 20)
        plan = "\n".join(
            await connection.scalars(text(f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {asked.text}"), values)
        )
    assert set(re.findall(r"Scan using (\w+) on number_stock", plan)) == {index}, plan
    assert "Seq Scan" not in plan
    assert "Incremental Sort" in plan


@pytest.mark.parametrize("digits", [11, 12])
@pytest.mark.parametrize("exchange", [None, "0505"])
async def test_only_numbers_of_the_length_wished(database: AsyncEngine, digits: int, exchange: str | None) -> None:
    numbers = some_numbers(400)
    await stock(database, numbers)
    wished = wish(SHOP, exchange=exchange, digits=digits)
    expected = in_order(wished, numbers)
    assert {len(number) for number in expected} == {digits}
    assert await all_pages(database, wished, 7) == expected


async def test_an_account_keeps_back_only_so_many_however_it_asks(database: AsyncEngine) -> None:
    await stock(database, some_numbers(200))
    account = await shop(database)
    for _ in range(MOST_RESERVED // MOST_AT_ONCE):
        await best(database, account, wish(SHOP), MOST_AT_ONCE)
    with pytest.raises(Conflict, match="keeps 100 numbers back"):
        await best(database, account, wish(SHOP))
    assert len(await best(database, await shop(database, "another"), wish(SHOP))) == 1
