"""The life of numbers on the real database: who may do what, what is told, and what many at once come to."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR, Actor, Module, Role
from engine.accounts.modules import switch
from engine.accounts.tree import close, place_of
from engine.foundation.database import open_database, transaction
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import inventory, life, orders, store_life, transfer
from engine.numbers.inventory import NumberChange
from engine.numbers.keeping import look_after_numbers
from engine.numbers.model import NumberKind
from engine.numbers.quarantine_terms import QuarantineTerms
from engine.numbers.states import HELD, SERVED, State, StockNumber
from engine.numbers.suspension import SuspendedFor
from engine.numbers.treatment import Fallback, Target, Then, Treatment
from tests.number_world import (
    FIRST,
    NOW,
    SENDER,
    TARGET,
    World,
    audited,
    events,
    fill,
    make_world,
    moves_of,
    stock_of,
    wanted,
)

PEOPLE = 50
NUMBER = FIRST
OWN = PhoneNumber("0311234567")


@pytest.fixture
async def world(database: AsyncEngine) -> World:
    return await make_world(database)


@pytest.fixture
async def people(database_url: str) -> AsyncIterator[AsyncEngine]:
    """A connection for each of many people at once."""
    engine = open_database(database_url, command_timeout=60.0, application_name="dari test", pool_size=PEOPLE)
    yield engine
    await engine.dispose()


async def in_service(database: AsyncEngine, world: World) -> PhoneNumber:
    """NUMBER, the shop's."""
    await fill(database, 3)
    async with transaction(database) as connection:
        await life.issue(connection, world.owner, wanted(NUMBER, world.shop), NOW)
    return NUMBER


async def test_the_whole_round_is_written_down(database: AsyncEngine, world: World) -> None:
    await fill(database, 1)
    async with transaction(database) as connection:
        held = await life.reserve(connection, world.owner, NUMBER, world.shop, NOW)
        assert held.reserved_until == NOW + timedelta(minutes=10)
    async with transaction(database) as connection:
        kept = await life.issue(connection, world.owner, wanted(NUMBER, world.shop), NOW)
        assert await inventory.find(connection, NUMBER) == kept
    async with transaction(database) as connection:
        await life.suspend(connection, world.owner, NUMBER, NOW)
        assert (await inventory.find(connection, NUMBER)).suspended == life.NOT_IN_SERVICE
    async with transaction(database) as connection:
        await life.resume(connection, world.owner, NUMBER, NOW)
        assert (await inventory.find(connection, NUMBER)).suspended is None
    async with transaction(database) as connection:
        gone = await life.release(connection, world.owner, NUMBER, NOW)
        assert gone.quarantined_until == NOW + timedelta(days=92)
        assert await inventory.look_up(connection, NUMBER) is None

    changes = ["reserved", "issued", "suspended", "resumed", "released"]
    async with transaction(database) as connection:
        assert await moves_of(connection, [NUMBER]) == ["added", *changes]
        told = await life.history(connection, world.owner, NUMBER)
    assert [one.move.value for one in told] == list(reversed(changes)), "the shop sees what concerns it"
    assert {one.account_id for one in told} == {world.shop}
    assert {one.who for one in told} == {world.owner.who}
    assert [(whose, body["change"]) for whose, body in await events(database)] == [
        (world.shop, change) for change in changes
    ]
    deeds = [(deed, thing) for who, deed, thing in await audited(database) if who == world.owner.who]
    assert sorted(deeds) == [
        ("issue numbers", NUMBER),
        ("issue numbers", NUMBER),
        ("release numbers", NUMBER),
        ("release numbers", NUMBER),
        ("release numbers", NUMBER),
    ]


async def test_the_next_holder_does_not_see_who_was_before(database: AsyncEngine, world: World) -> None:
    await in_service(database, world)
    async with transaction(database) as connection:
        await life.release(connection, world.owner, NUMBER, NOW)
    later = NOW + timedelta(days=93)
    await look_after_numbers(database, later)
    async with transaction(database) as connection:
        await life.issue(connection, world.other_owner, wanted(NUMBER, world.other_shop), later)
        seen = await life.history(connection, world.other_owner, NUMBER)
        everything = await life.history(connection, LOCAL_OPERATOR, NUMBER)
    assert [one.move.value for one in seen] == ["issued"]
    assert [one.move.value for one in everything] == ["issued", "freed", "released", "issued", "added"]


Try = Callable[[AsyncConnection, Actor], Awaitable[object]]

DEEDS: dict[str, Try] = {
    "change": lambda rows, who: life.change(rows, who, NUMBER, NumberChange(target=PhoneNumber("01012345678")), NOW),
    "suspend": lambda rows, who: life.suspend(rows, who, NUMBER, NOW),
    "resume": lambda rows, who: life.resume(rows, who, NUMBER, NOW),
    "release": lambda rows, who: life.release(rows, who, NUMBER, NOW),
    "let go": lambda rows, who: life.let_go(rows, who, NUMBER, NOW),
    "find": lambda rows, who: life.find(rows, who, NUMBER),
    "history": lambda rows, who: life.history(rows, who, NUMBER),
}


@pytest.mark.parametrize("deed", DEEDS)
async def test_a_foreign_number_looks_like_none_and_stays_as_it_is(
    database: AsyncEngine, world: World, deed: str
) -> None:
    await in_service(database, world)
    before = await stock_of(database, NUMBER)
    for stranger in (world.other_owner, world.other_manager):
        with pytest.raises(NotFound, match="that you may see"):
            async with transaction(database) as connection:
                await DEEDS[deed](connection, stranger)
    assert await stock_of(database, NUMBER) == before


async def test_a_foreign_account_gets_nothing_in_another_ones_name(database: AsyncEngine, world: World) -> None:
    await fill(database, 1)
    for attempt in (
        lambda rows: life.reserve(rows, world.other_owner, NUMBER, world.shop, NOW),
        lambda rows: life.issue(rows, world.other_owner, wanted(NUMBER, world.shop), NOW),
        lambda rows: life.port_in(rows, world.other_owner, wanted(OWN, world.shop, kind=NumberKind.OWN), NOW),
    ):
        with pytest.raises(NotFound):
            async with transaction(database) as connection:
                await attempt(connection)
    assert (await stock_of(database, NUMBER)).state is State.AVAILABLE


async def test_a_number_that_another_has_is_not_issued(database: AsyncEngine, world: World) -> None:
    await in_service(database, world)
    for now in (NOW, NOW + timedelta(days=400)):
        with pytest.raises(Conflict, match="in service for another"):
            async with transaction(database) as connection:
                await life.issue(connection, world.other_owner, wanted(NUMBER, world.other_shop), now)
    async with transaction(database) as connection:
        await life.release(connection, world.owner, NUMBER, NOW)
    with pytest.raises(Conflict, match="kept back for its last holder"):
        async with transaction(database) as connection:
            await life.issue(connection, world.other_owner, wanted(NUMBER, world.other_shop), NOW)
    async with transaction(database) as connection:
        await life.issue(connection, world.owner, wanted(NUMBER, world.shop), NOW)
        assert (await life.history(connection, world.owner, NUMBER))[0].move.value == "taken back"


async def test_whoever_stands_above_bars_a_number_and_alone_resumes_it(database: AsyncEngine, world: World) -> None:
    await in_service(database, world)
    async with transaction(database) as connection:
        barred = await life.suspend(connection, world.manager, NUMBER, NOW, note="unpaid")
        assert barred.suspended_for is SuspendedFor.BARRED
    with pytest.raises(NotAllowed, match="barred from above"):
        async with transaction(database) as connection:
            await life.resume(connection, world.owner, NUMBER, NOW)
    async with transaction(database) as connection:
        await life.resume(connection, world.manager, NUMBER, NOW)
        lightly = await life.suspend(connection, world.manager, NUMBER, NOW, bar=False)
        assert lightly.suspended_for is SuspendedFor.WISH
        await life.resume(connection, world.owner, NUMBER, NOW)


async def test_a_suspended_number_has_an_announcement_that_is_a_sound(database: AsyncEngine, world: World) -> None:
    await in_service(database, world)
    for sound in ("", "x", "../etc/passwd", "prompt:", "prompt:a/b"):
        with pytest.raises(Invalid, match="announcement"):
            async with transaction(database) as connection:
                await life.suspend(connection, world.owner, NUMBER, NOW, announcement=sound)
    async with transaction(database) as connection:
        await life.suspend(connection, world.owner, NUMBER, NOW, announcement="prompt:이사했습니다")
        assert (await inventory.find(connection, NUMBER)).suspended == "prompt:이사했습니다"


async def test_a_change_is_told_by_its_fields_and_no_text_stands_in_the_audit(
    database: AsyncEngine, world: World
) -> None:
    await in_service(database, world)
    change = NumberChange(
        target=PhoneNumber("01012345678"), treatment=Treatment(accept=True), callback="비밀 문구", sender=SENDER
    )
    async with transaction(database) as connection:
        changed = await life.change(connection, world.owner, NUMBER, change, NOW)
        assert changed.target == "01012345678"
        entry = (await connection.execute(text("SELECT after FROM audit WHERE deed = 'change numbers'"))).scalar_one()
    assert "비밀" not in str(entry)
    assert entry["personal"]["target"] == "01012345678"
    whose, body = (await events(database))[-1]
    assert (whose, body["change"]) == (world.shop, "settings changed")
    assert body["fields"] == ["target", "treatment", "callback", "sender"]


async def test_a_holders_own_number_is_ported_in_and_leaves_with_the_holder(
    database: AsyncEngine, world: World
) -> None:
    async with transaction(database) as connection:
        await life.put_into_service(connection, world.owner, wanted(OWN, world.shop, kind=NumberKind.OWN), NOW)
    with pytest.raises(Conflict, match="in the stock already"):
        async with transaction(database) as connection:
            await life.port_in(connection, world.other_owner, wanted(OWN, world.other_shop, kind=NumberKind.OWN), NOW)
    async with transaction(database) as connection:
        await life.release(connection, world.owner, OWN, NOW)
    assert (await stock_of(database, OWN)).state is State.PORTED_OUT
    async with transaction(database) as connection:
        await life.put_into_service(
            connection, world.other_owner, wanted(OWN, world.other_shop, kind=NumberKind.MESSAGE_RECEIVING), NOW
        )
    after = await stock_of(database, OWN)
    assert (after.held_by, after.kind) == (world.other_shop, NumberKind.MESSAGE_RECEIVING)


async def test_a_050_number_from_another_carrier_comes_by_the_operator_alone(
    database: AsyncEngine, world: World
) -> None:
    foreign = PhoneNumber("050599998888")
    for nobody in (world.owner, world.manager):
        with pytest.raises(DariError) as told:
            async with transaction(database) as connection:
                await life.put_into_service(connection, nobody, wanted(foreign, world.shop), NOW)
        assert isinstance(told.value, NotFound | NotAllowed)
    async with transaction(database) as connection:
        await life.put_into_service(connection, LOCAL_OPERATOR, wanted(foreign, world.shop), NOW)
        await life.release(connection, world.owner, foreign, NOW)
    assert (await stock_of(database, foreign)).state is State.QUARANTINED, "strangers still call it"
    await look_after_numbers(database, NOW + timedelta(days=93))
    assert (await stock_of(database, foreign)).state is State.PORTED_OUT, "it is not ours to issue"


async def test_a_number_goes_to_another_carrier_and_comes_back_into_quarantine(
    database: AsyncEngine, world: World
) -> None:
    await in_service(database, world)
    with pytest.raises(DariError):
        async with transaction(database) as connection:
            await life.port_out(connection, world.owner, NUMBER, NOW)
    async with transaction(database) as connection:
        await life.port_out(connection, LOCAL_OPERATOR, NUMBER, NOW)
        assert await inventory.look_up(connection, NUMBER) is None
    with pytest.raises(Conflict, match="with another carrier"):
        async with transaction(database) as connection:
            await life.issue(connection, world.owner, wanted(NUMBER, world.shop), NOW)
    async with transaction(database) as connection:
        back = await life.take_return(connection, LOCAL_OPERATOR, NUMBER, NOW, QuarantineTerms(days=1))
    assert back.quarantined_until == NOW + timedelta(days=92), "its range's terms"


async def test_a_closed_account_gets_no_number(database: AsyncEngine, world: World) -> None:
    await fill(database, 1)
    async with transaction(database) as connection:
        await close(connection, LOCAL_OPERATOR, world.shop, NOW)
    for deed in (
        lambda rows: life.reserve(rows, LOCAL_OPERATOR, NUMBER, world.shop, NOW),
        lambda rows: life.issue(rows, LOCAL_OPERATOR, wanted(NUMBER, world.shop), NOW),
    ):
        with pytest.raises(Conflict, match="closed"):
            async with transaction(database) as connection:
                await deed(connection)


async def test_a_refused_setting_leaves_the_number_free(database: AsyncEngine, world: World) -> None:
    await fill(database, 1)
    refused: list[dict[str, Any]] = [
        {"target": PhoneNumber("112")},
        {"sender": PhoneNumber("0311112222")},
        {"treatment": Treatment(ring_seconds=1)},
    ]
    for settings in refused:
        with pytest.raises(DariError):
            async with transaction(database) as connection:
                await life.issue(connection, world.owner, wanted(NUMBER, world.shop, **settings), NOW)
    assert (await stock_of(database, NUMBER)).state is State.AVAILABLE
    assert await events(database) == []


async def test_calls_go_to_mobiles_by_permission_alone(database: AsyncEngine, world: World) -> None:
    mobile = PhoneNumber("01012345678")
    numbers = await fill(database, 3)
    async with transaction(database) as connection:
        await life.issue(connection, world.owner, wanted(numbers[0], world.shop), NOW)
        await life.issue(connection, world.other_owner, wanted(numbers[1], world.other_shop, target=mobile), NOW)
        made = await transfer.offer(connection, world.other_owner, numbers[1], world.shop, NOW)
        await switch(connection, LOCAL_OPERATOR, world.agency, Module.MOBILE_TARGETS, False, NOW)
    chain = Treatment(fallbacks=(Fallback(then=Then.RING, targets=(Target(number=mobile),)),))
    refused: list[Callable[[AsyncConnection], Awaitable[object]]] = [
        lambda rows: life.issue(rows, world.owner, wanted(numbers[2], world.shop, target=mobile), NOW),
        lambda rows: life.change(rows, world.owner, numbers[0], NumberChange(target=mobile), NOW),
        lambda rows: life.change(rows, world.owner, numbers[0], NumberChange(treatment=chain), NOW),
        lambda rows: orders.place(rows, world.owner, world.shop, 1, NOW, target=mobile),
        lambda rows: transfer.accept(rows, world.owner, made.id, NOW),
    ]
    for deed in refused:
        with pytest.raises(NotAllowed, match="mobile targets"):
            async with transaction(database) as connection:
                await deed(connection)
    async with transaction(database) as connection:
        await transfer.accept(connection, world.owner, made.id, NOW, PhoneNumber("0311112222"))
        assert (await inventory.find(connection, numbers[0])).target == TARGET


async def test_a_reservation_ends_by_time_or_by_hand(database: AsyncEngine, world: World) -> None:
    first, second, _ = await fill(database, 3)
    async with transaction(database) as connection:
        for number in (first, second):
            await life.reserve(connection, world.owner, number, world.shop, NOW)
        await life.let_go(connection, world.owner, second, NOW)
        with pytest.raises(Invalid, match="within 31 days"):
            await life.reserve(connection, world.owner, second, world.shop, NOW, NOW + timedelta(days=32))
    assert (await look_after_numbers(database, NOW + timedelta(minutes=9))).let_go == 0
    assert (await look_after_numbers(database, NOW + timedelta(minutes=10))).let_go == 1
    assert {(await stock_of(database, number)).state for number in (first, second)} == {State.AVAILABLE}


async def test_lists_show_what_is_ones_own(database: AsyncEngine, world: World) -> None:
    numbers = await fill(database, 6)
    async with transaction(database) as connection:
        for number in numbers[:2]:
            await life.issue(connection, world.owner, wanted(number, world.shop), NOW)
        await life.issue(connection, world.other_owner, wanted(numbers[2], world.other_shop), NOW)
        await life.issue(connection, world.owner, wanted(numbers[3], world.shop), NOW)
        await life.release(connection, world.owner, numbers[3], NOW)

        def shown(found: list[StockNumber]) -> list[str]:
            return [one.number for one in found]

        assert shown(await life.listing(connection, world.owner)) == numbers[:2]
        assert shown(await life.listing(connection, world.manager)) == numbers[:2]
        assert shown(await life.listing(connection, world.owner, state=State.QUARANTINED)) == [numbers[3]]
        assert shown(await life.listing(connection, world.other_owner, state=State.QUARANTINED)) == []
        assert shown(await life.listing(connection, LOCAL_OPERATOR)) == numbers
        assert shown(await life.listing(connection, LOCAL_OPERATOR, account=world.other_shop)) == [numbers[2]]
        assert shown(await life.listing(connection, LOCAL_OPERATOR, after=numbers[3], limit=1)) == [numbers[4]]
        assert shown(await life.listing(connection, LOCAL_OPERATOR, state=State.AVAILABLE)) == numbers[4:]
        with pytest.raises(NotFound):
            await life.listing(connection, world.owner, account=world.other_shop)


async def test_of_fifty_who_reserve_the_same_number_one_gets_it(
    database: AsyncEngine, people: AsyncEngine, world: World
) -> None:
    await fill(database, 1)

    async def try_once(place: int) -> UUID:
        who, account = (world.owner, world.shop) if place % 2 else (world.other_owner, world.other_shop)
        async with transaction(people) as connection:
            await life.reserve(connection, who, NUMBER, account, NOW)
        return account

    results = await asyncio.gather(*map(try_once, range(PEOPLE)), return_exceptions=True)
    winners = [result for result in results if isinstance(result, UUID)]
    assert len(winners) == 1
    assert {type(result) for result in results if result not in winners} == {Conflict}
    assert (await stock_of(database, NUMBER)).held_by == winners[0]
    async with transaction(database) as connection:
        assert await moves_of(connection, [NUMBER]) == ["added", "reserved"]


async def test_of_fifty_who_issue_the_same_number_one_gets_it(
    database: AsyncEngine, people: AsyncEngine, world: World
) -> None:
    await fill(database, 1)

    async def try_once(place: int) -> UUID:
        who, account = (world.owner, world.shop) if place % 2 else (world.other_owner, world.other_shop)
        async with transaction(people) as connection:
            return (await life.issue(connection, who, wanted(NUMBER, account), NOW)).account_id

    results = await asyncio.gather(*map(try_once, range(PEOPLE)), return_exceptions=True)
    winners = [result for result in results if isinstance(result, UUID)]
    assert len(winners) == 1
    assert {type(result) for result in results if result not in winners} == {Conflict}
    async with transaction(database) as connection:
        assert (await inventory.find(connection, NUMBER)).account_id == winners[0]
        assert await moves_of(connection, [NUMBER]) == ["added", "issued"]


async def test_of_all_deeds_at_once_each_number_ends_in_one_piece(
    database: AsyncEngine, people: AsyncEngine, world: World
) -> None:
    numbers = await fill(database, 5)
    lots = random.Random(7)
    sides = [(world.owner, world.shop), (world.other_owner, world.other_shop)]

    async def try_some(seed: int) -> Counter[str]:
        own = random.Random(seed)
        told: Counter[str] = Counter()
        for _ in range(12):
            who, account = own.choice(sides)
            number = own.choice(numbers)
            deed = own.choice(["reserve", "issue", "suspend", "resume", "release"])
            try:
                async with transaction(people) as connection:
                    await attempt(connection, deed, who, number, account)
                told["done"] += 1
            except (Conflict, NotFound, NotAllowed) as error:
                told[type(error).__name__] += 1
        return told

    tries = sum(await asyncio.gather(*(try_some(lots.randrange(10**9)) for _ in range(20))), Counter[str]())
    assert tries["done"] > 5
    async with transaction(database) as connection:
        served = {one.number: one for one in await inventory.listing(connection)}
        for number in numbers:
            stock = await life.find(connection, LOCAL_OPERATOR, number)
            assert (stock.held_by is not None) == (stock.state in HELD)
            assert (number in served) == (stock.state in SERVED)
            if number in served:
                assert served[number].account_id == stock.held_by
                assert (served[number].suspended is not None) == (stock.state is State.SUSPENDED)
            moves = await moves_of(connection, [number])
            assert len(moves) == stock.version + 1, "each move is in the history once"


async def attempt(rows: AsyncConnection, deed: str, who: Actor, number: PhoneNumber, account: UUID) -> None:
    match deed:
        case "reserve":
            await life.reserve(rows, who, number, account, NOW)
        case "issue":
            await life.issue(rows, who, wanted(number, account), NOW)
        case "suspend":
            await life.suspend(rows, who, number, NOW)
        case "resume":
            await life.resume(rows, who, number, NOW)
        case "release":
            await life.release(rows, who, number, NOW)


async def test_what_was_in_service_before_is_in_the_stock(database: AsyncEngine, world: World) -> None:
    """The plain inventory keeps the stock as well."""
    plain = PhoneNumber("050777776666")
    async with transaction(database) as connection:
        await inventory.add(connection, wanted(plain, world.shop))
    stock = await stock_of(database, plain)
    assert (stock.state, stock.held_by, stock.range_id) == (State.IN_SERVICE, world.shop, None)
    async with transaction(database) as connection:
        await inventory.remove(connection, plain)
    assert (await stock_of(database, plain)).state is State.QUARANTINED
    with pytest.raises(Conflict, match="kept back"):
        async with transaction(database) as connection:
            await inventory.add(connection, wanted(plain, world.other_shop))


async def test_an_announcement_is_changed_while_the_number_stays_suspended(database: AsyncEngine, world: World) -> None:
    await in_service(database, world)
    moving = NumberChange(suspended="prompt:이사했습니다")
    with pytest.raises(Conflict, match="not suspended"):
        async with transaction(database) as connection:
            await life.change(connection, world.owner, NUMBER, moving, NOW)
    async with transaction(database) as connection:
        await life.suspend(connection, world.owner, NUMBER, NOW)
        changed = await life.change(connection, world.owner, NUMBER, moving, NOW)
        assert changed.suspended == "prompt:이사했습니다"
        with pytest.raises(Invalid, match="announcement"):
            await life.change(connection, world.owner, NUMBER, NumberChange(suspended="../x"), NOW)
    stock = await stock_of(database, NUMBER)
    assert (stock.state, stock.announcement) == (State.SUSPENDED, "prompt:이사했습니다")
    assert (await events(database))[-1][1]["fields"] == ["suspended"]
    async with transaction(database) as connection:
        await life.suspend(connection, world.manager, NUMBER, NOW)
        with pytest.raises(NotAllowed, match="barred from above"):
            await life.change(connection, world.owner, NUMBER, moving, NOW)
        await life.change(connection, world.manager, NUMBER, NumberChange(suspended="ko/closed"), NOW)
        assert (await inventory.find(connection, NUMBER)).suspended == "ko/closed"
        left = await life.resume(connection, world.manager, NUMBER, NOW)
        assert (left.state, left.suspended_for) == (State.SUSPENDED, SuspendedFor.WISH)
        assert (await inventory.find(connection, NUMBER)).suspended == "prompt:이사했습니다"


async def test_the_content_centre_changes_what_is_heard_and_read_and_nothing_else(
    database: AsyncEngine, world: World
) -> None:
    await fill(database, 1)
    said = Treatment(ringback=("ko/ringback-tone",), announcement="ko/closed")
    settings = {"treatment": said, "callback": "어서 오세요", "sender": SENDER}
    async with transaction(database) as connection:
        await life.issue(connection, world.owner, wanted(NUMBER, world.shop, **settings), NOW)
        centre = Actor(who="user:content", place=await place_of(connection, world.agency), role=Role.CONTENT)
    content = NumberChange(
        callback="또 오세요",
        treatment=Treatment(ringback=("prompt:노래",), announcement="prompt:휴무", label="배달앱"),
    )
    async with transaction(database) as connection:
        changed = await life.change(connection, centre, NUMBER, content, NOW)
        assert (changed.callback, changed.treatment.announcement) == ("또 오세요", "prompt:휴무")
    for wider in (
        NumberChange(target=PhoneNumber("0311112222")),
        NumberChange(callback="또 오세요!", min_talk_seconds=1),
        NumberChange(treatment=Treatment(accept=True)),
        NumberChange(clear=("announcement",)),
    ):
        with pytest.raises(NotAllowed, match="change numbers"):
            async with transaction(database) as connection:
                await life.change(connection, centre, NUMBER, wider, NOW)
    stranger = msgspec.structs.replace(centre, place=world.other_manager.place)
    with pytest.raises(NotFound):
        async with transaction(database) as connection:
            await life.change(connection, stranger, NUMBER, content, NOW)
    assert [deed for who, deed, _ in await audited(database) if who == centre.who] == ["change messages"]


async def test_fifty_at_once_keep_back_no_more_than_an_account_may(
    database: AsyncEngine, people: AsyncEngine, world: World
) -> None:
    numbers = await fill(database, life.MOST_RESERVED + 10)
    async with transaction(database) as connection:
        for number in numbers[: life.MOST_RESERVED - 10]:
            await life.reserve(connection, world.owner, number, world.shop, NOW)

    async def one(place: int) -> None:
        async with transaction(people) as connection:
            number = numbers[life.MOST_RESERVED - 10 + place % 20]
            await life.reserve(connection, world.owner, number, world.shop, NOW)

    results = await asyncio.gather(*map(one, range(PEOPLE)), return_exceptions=True)
    assert results.count(None) == 10
    assert {type(result) for result in results if result is not None} == {Conflict}
    with pytest.raises(Conflict, match="keeps 100 numbers back"):
        async with transaction(database) as connection:
            await life.reserve(connection, world.owner, numbers[-1], world.shop, NOW)
    later = NOW + timedelta(minutes=10)
    async with transaction(database) as connection:
        await life.reserve(connection, world.owner, numbers[-1], world.shop, later)
        await life.reserve(connection, world.other_owner, numbers[0], world.other_shop, later)


async def test_who_changes_an_announcement_does_not_wait_for_who_moves_the_number(
    database: AsyncEngine, world: World
) -> None:
    """They hold the number's place in the stock and want its settings; who changes it holds these already."""
    await in_service(database, world)
    async with transaction(database) as connection:
        await life.suspend(connection, world.owner, NUMBER, NOW)
    async with transaction(database) as resuming:
        async with transaction(database) as changing:
            await inventory.find_locked(changing, NUMBER)  # as the door does, which compares what is edited
            await store_life.lock(resuming, NUMBER)
            waiting = asyncio.ensure_future(life.resume(resuming, world.owner, NUMBER, NOW))
            with pytest.raises(Conflict, match="changed hands"):
                await life.change(changing, world.owner, NUMBER, NumberChange(suspended="ko/closed"), NOW)
        assert (await waiting).state is State.IN_SERVICE
