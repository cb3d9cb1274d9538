"""Numbers into service, changed and out, on the real database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import account_named
from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.database import connect, transaction
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.inventory import NumberChange, add, change, find, in_service, listing, look_up, look_up_all, remove
from engine.numbers.model import ServiceNumber
from engine.numbers.treatment import (
    CallerShown,
    ConsentOffer,
    Failure,
    Fallback,
    Limits,
    RecordMode,
    Target,
    TargetOrder,
    Then,
    Treatment,
    Whisper,
)
from tests.opened_shop import SENDER, TARGET, VIRTUAL, number_of, open_shop

OTHER = PhoneNumber("050712345679")

EVERYTHING = Treatment(
    targets=(Target(number=TARGET, ring_seconds=20, share=70), Target(number=PhoneNumber("01012345678"), share=30)),
    order=TargetOrder.BY_SHARE,
    ring_seconds=20,
    notice="own/notice",
    fee_notice=True,
    store_notice=True,
    ringback=("own/abc", "own/def"),
    whisper=Whisper(text="{label}에서 온 전화, 이번 주 {count_this_week}"),
    accept=True,
    shown=CallerShown.NUMBER,
    recording=RecordMode.ON_KEY,
    busy=("own/busy",),
    fallbacks=(
        Fallback(then=Then.RING, on=(Failure.BUSY,), targets=(Target(number=PhoneNumber("0311234567")),)),
        Fallback(then=Then.ANNOUNCE, sounds=("own/sorry",)),
        Fallback(then=Then.VOICEMAIL),
        Fallback(then=Then.TEXT, text="곧 연락드리겠습니다"),
    ),
    consent=ConsentOffer(text="약도", sound="own/offer", before=True),
    label="배달앱",
)


async def added(database: AsyncEngine, number: ServiceNumber) -> ServiceNumber:
    async with transaction(database) as connection:
        return await add(connection, number)


async def changed(database: AsyncEngine, **wanted: Any) -> ServiceNumber:
    async with transaction(database) as connection:
        return await change(connection, VIRTUAL, NumberChange(**wanted))


async def test_a_number_comes_back_as_it_was_put_in(database: AsyncEngine) -> None:
    number = number_of(
        await open_shop(database),
        treatment=EVERYTHING,
        limits=Limits(at_once=2, per_hour=30, per_day=200),
        callback="고맙습니다",
        sender=SENDER,
        repeat_window_days=0,
        min_talk_seconds=0,
    )
    assert await added(database, number) == number
    async with transaction(database) as connection:
        assert await find(connection, VIRTUAL) == number
        assert await listing(connection) == [number]
        assert [part async for part in in_service(connection)] == [[number]]


async def test_many_numbers_are_looked_up_at_once(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    numbers = [await added(database, number_of(shop, number=PhoneNumber(f"05071234567{last}"))) for last in range(3)]
    async with transaction(database) as connection:
        asked = [numbers[0].number, numbers[2].number, PhoneNumber("05079999999")]
        assert await look_up_all(connection, asked) == {one.number: one for one in (numbers[0], numbers[2])}
        assert await look_up_all(connection, []) == {}


async def test_a_number_in_service_is_not_added_again(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    await added(database, number_of(shop))
    with pytest.raises(Conflict, match="in service already"):
        await added(database, number_of(shop, target=PhoneNumber("01012345678")))
    async with transaction(database) as connection:
        assert (await find(connection, VIRTUAL)).target == TARGET


async def test_of_two_that_add_the_same_number_one_gets_it(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    results = await asyncio.gather(*(added(database, number_of(shop)) for _ in range(4)), return_exceptions=True)
    assert sorted(type(result) is Conflict for result in results) == [False, True, True, True]


async def test_a_refused_number_leaves_nothing_of_the_same_transaction(database: AsyncEngine) -> None:
    with pytest.raises(NotAllowed):  # noqa: PT012
        async with transaction(database) as connection:
            account = await account_named(connection, LOCAL_OPERATOR, "new", datetime.now(UTC))
            await add(connection, number_of(account.id))
            await add(connection, number_of(account.id, number=OTHER, target=PhoneNumber("112")))
    async with transaction(database) as connection:
        assert await listing(connection) == []
        assert await connection.scalar(text("SELECT count(*) FROM accounts WHERE name = 'new'")) == 0


async def test_a_sender_that_the_account_has_not_registered_is_refused(database: AsyncEngine) -> None:
    await open_shop(database)
    async with transaction(database) as connection:
        other = await account_named(connection, LOCAL_OPERATOR, "other", datetime.now(UTC))
    with pytest.raises(NotAllowed, match="not registered"):
        await added(database, number_of(other.id, callback="x", sender=SENDER))


async def test_a_change_touches_only_what_it_names(database: AsyncEngine) -> None:
    before = Treatment(whisper=Whisper(sound="own/def"), ring_seconds=20, ringback=("own/abc",))
    shop = (await added(database, number_of(await open_shop(database), treatment=before))).account_id
    after = await changed(
        database, target=PhoneNumber("01012345678"), treatment=Treatment(accept=True), clear=("ring_seconds",)
    )
    expected = Treatment(whisper=Whisper(sound="own/def"), ringback=("own/abc",), accept=True)
    assert after == number_of(shop, treatment=expected, target=PhoneNumber("01012345678"))
    async with transaction(database) as connection:
        assert await find(connection, VIRTUAL) == after


async def test_a_change_that_breaks_a_rule_changes_nothing(database: AsyncEngine) -> None:
    before = await added(database, number_of(await open_shop(database), callback="x", sender=SENDER))
    refused: list[dict[str, Any]] = [
        {"target": PhoneNumber("0601234567")},
        {"sender": None},
        {"sender": PhoneNumber("0311234567")},
        {"callback": "😀"},
        {"treatment": Treatment(accept=True, ring_seconds=1)},
        {"treatment": Treatment(targets=(Target(number=PhoneNumber("0601234567")),))},
        {"clear": ("no-such-setting",)},
        {"limits": Limits(at_once=0)},
    ]
    for wanted in refused:
        with pytest.raises(DariError) as told:
            await changed(database, **wanted)
        assert isinstance(told.value, Invalid | NotAllowed)
    async with transaction(database) as connection:
        assert await find(connection, VIRTUAL) == before


async def test_changes_at_the_same_time_are_both_kept(database: AsyncEngine) -> None:
    await added(database, number_of(await open_shop(database)))
    await asyncio.gather(
        changed(database, treatment=Treatment(accept=True)),
        changed(database, treatment=Treatment(ring_seconds=9)),
        changed(database, treatment=Treatment(label="배달앱")),
    )
    async with transaction(database) as connection:
        found = await find(connection, VIRTUAL)
    assert found.treatment == Treatment(accept=True, ring_seconds=9, label="배달앱")


async def test_numbers_that_are_treated_alike_share_one_treatment(database: AsyncEngine) -> None:
    shop = await open_shop(database)
    await added(database, number_of(shop, treatment=EVERYTHING, sender=SENDER))
    await added(database, number_of(shop, number=OTHER, treatment=EVERYTHING, sender=SENDER))
    async with transaction(database) as connection:
        first, second = await listing(connection)
    assert first.treatment is second.treatment


async def test_what_is_not_in_service_is_told_so(database: AsyncEngine) -> None:
    async with transaction(database) as connection:
        assert await look_up(connection, VIRTUAL) is None
        for deed in (
            find(connection, VIRTUAL),
            remove(connection, VIRTUAL),
            change(connection, VIRTUAL, NumberChange()),
        ):
            with pytest.raises(NotFound, match="dari number list"):
                await deed


async def test_a_removed_number_can_be_added_again(database: AsyncEngine) -> None:
    number = await added(database, number_of(await open_shop(database)))
    async with transaction(database) as connection:
        await remove(connection, VIRTUAL)
        assert await look_up(connection, VIRTUAL) is None
        await add(connection, number)


async def test_a_listing_is_of_one_account_in_order(database: AsyncEngine) -> None:
    shop, other = await open_shop(database), await open_shop(database, "other")
    second = await added(database, number_of(shop, number=OTHER))
    first = await added(database, number_of(shop))
    await added(database, number_of(other, number=PhoneNumber("050712345670")))
    async with transaction(database) as connection:
        assert await listing(connection, shop) == [first, second]
        assert len(await listing(connection)) == 3


@pytest.mark.parametrize(
    "broken",
    [
        "target = '112'",
        "target = number",
        "kind = 'own'",
        "treatment = '{\"ring_seconds\": 2}'",
        "treatment = '[]'",
        "limits = '3'",
        "callback = 'x', sender = NULL",
        "sender = '0399999999'",
        "repeat_window_days = 367",
    ],
)
async def test_the_tables_themselves_refuse_what_no_rule_allows(database: AsyncEngine, broken: str) -> None:
    await added(database, number_of(await open_shop(database)))
    with pytest.raises(IntegrityError):
        async with transaction(database) as connection:
            await connection.execute(text(f"UPDATE numbers SET {broken}"))  # noqa: S608


async def test_each_changed_number_is_told_and_many_are_told_as_all(database: AsyncEngine, database_url: str) -> None:
    shop = await open_shop(database)
    told: list[str] = []
    listener = await connect(database_url, command_timeout=5.0)
    try:
        await listener.add_listener("dari_numbers", lambda *heard: told.append(str(heard[3])))
        await added(database, number_of(shop))
        await changed(database, min_talk_seconds=3)
        async with transaction(database) as connection:
            await remove(connection, VIRTUAL)
        await listener.execute("SELECT 1")
        assert told == [VIRTUAL] * 3
        told.clear()
        many = text("""
            INSERT INTO numbers (number, kind, account_id, target)
            SELECT '0507' || lpad(i::text, 8, '0'), '050', :shop, '0212345678' FROM generate_series(1, :count) i
        """)
        for count, expected in ((100, 100), (101, 1)):
            async with transaction(database) as connection:
                await connection.execute(many, {"shop": shop, "count": count})
            async with transaction(database) as connection:
                await connection.execute(text("DELETE FROM numbers"))
            await listener.execute("SELECT 1")
            assert len(told) == 2 * expected
            told.clear()
        async with transaction(database) as connection:
            await connection.execute(text("TRUNCATE numbers CASCADE"))
        await listener.execute("SELECT 1")
        assert told == [""]
    finally:
        await listener.close()
