"""The book of rules on the real database; what is typed into it is tested with the commands."""

from __future__ import annotations

import asyncio
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.inventory import NumberChange, add, change
from engine.numbers.treatment import Limits, Target, Treatment, Whisper
from engine.prompts import library
from engine.prompts.library import Shelf
from engine.routing import book
from engine.routing.book import Against, Kept, RuleChange
from engine.routing.finding import Oddity
from engine.routing.model import (
    AccountRouting,
    ClosedDay,
    Condition,
    DateRange,
    DayKind,
    Line,
    Rule,
)
from tests.opened_shop import TARGET, VIRTUAL, number_of, open_shop
from tests.tones import tone, write_audio

AGAINST = Against(now=datetime(2026, 11, 21, tzinfo=UTC))
ACCEPT = Treatment(accept=True)
CALLER = PhoneNumber("01099998888")


def rule(name: str, treatment: Treatment = ACCEPT, **parts: object) -> Rule:
    return Rule(name=name, condition=msgspec.structs.replace(Condition(), **parts), treatment=treatment)


@pytest.fixture
async def shop(database: AsyncEngine) -> UUID:
    """The account of VIRTUAL, which is in service."""
    account = await open_shop(database)
    async with transaction(database) as connection:
        await add(connection, number_of(account))
    return account


async def added(database: AsyncEngine, *rules: Rule, position: int | None = None) -> Kept:
    async with transaction(database) as connection:
        for one in rules:
            kept = await book.add_rule(connection, VIRTUAL, one, AGAINST, position)
    return kept


async def names(database: AsyncEngine) -> list[str]:
    async with transaction(database) as connection:
        return [one.name for one in await book.rules(connection, VIRTUAL)]


@pytest.mark.usefixtures("shop")
async def test_rules_come_back_as_they_were_put_in(database: AsyncEngine) -> None:
    given = rule(
        "all of it",
        Treatment(announcement="", callback="", whisper=Whisper(), ringback=(), targets=(Target(number=TARGET),)),
        weekdays=(1, 7),
        dates=(DateRange(first=date(2027, 1, 1), last=date(2027, 12, 31)),),
        days=(DayKind.OPEN_DAY, DayKind.CLOSED_DAY),
        callers=("withheld",),
    )
    kept = await added(database, given)
    assert kept.rules == (given,)
    async with transaction(database) as connection:
        assert (await book.rules(connection, VIRTUAL)) == (given,)
        assert (await book.line(connection, VIRTUAL)).rules == (given,)


async def test_a_line_is_all_that_decides_about_a_number(database: AsyncEngine, shop: UUID) -> None:
    async with transaction(database) as connection:
        line = await book.line(connection, VIRTUAL)
        holidays = line.holidays
        assert line == Line(number_of(shop), (), AccountRouting(account_id=shop), (), holidays)
        with pytest.raises(NotFound):
            await book.line(connection, CALLER)


@pytest.mark.usefixtures("shop")
async def test_a_rule_goes_behind_those_that_are_as_special(database: AsyncEngine) -> None:
    await added(database, rule("rest"), rule("weekday", weekdays=(1,)), rule("withheld", callers=("withheld",)))
    await added(database, rule("off", days=(DayKind.CLOSED_DAY,)), rule("weekday too", weekdays=(2,)))
    await added(database, rule("first of all"), position=1)
    assert await names(database) == ["first of all", "withheld", "off", "weekday", "weekday too", "rest"]


@pytest.mark.usefixtures("shop")
async def test_those_that_change_the_rules_at_the_same_time_are_all_heard(database: AsyncEngine) -> None:
    await asyncio.gather(*(added(database, rule(f"rule {number}")) for number in range(5)))
    assert sorted(await names(database)) == [f"rule {number}" for number in range(5)]
    results = await asyncio.gather(*(added(database, rule("same")) for _ in range(3)), return_exceptions=True)
    assert sorted(type(result) is Conflict for result in results) == [False, True, True]


@pytest.mark.usefixtures("shop")
async def test_what_may_not_be_changes_nothing(database: AsyncEngine) -> None:
    await added(database, rule("a"), rule("b"))
    forbidden = Treatment(targets=(Target(number=PhoneNumber("0601234567")),))
    refused = [
        rule("c", forbidden),
        rule("c", Treatment(targets=(Target(number=VIRTUAL),))),
        rule("c", Treatment(callback="hello")),
        rule("c", weekdays=(8,)),
        rule("c", callers=("nobody",)),
        rule("", ACCEPT),
        rule("a", ACCEPT),
    ]
    for one in refused:
        with pytest.raises(DariError) as told:
            await added(database, one)
        assert isinstance(told.value, Invalid | NotAllowed | Conflict)
    assert await names(database) == ["a", "b"]


@pytest.mark.usefixtures("shop")
async def test_a_change_names_what_is_different(database: AsyncEngine) -> None:
    await added(database, rule("a", Treatment(accept=True, label="x"), weekdays=(1,), callers=("withheld",)), rule("b"))
    wanted = RuleChange(
        name="c",
        condition=Condition(weekdays=(2,)),
        treatment=Treatment(ring_seconds=9),
        clear=("callers", "label"),
    )
    async with transaction(database) as connection:
        kept = await book.change_rule(connection, VIRTUAL, "a", wanted, AGAINST)
    assert kept.rules[0] == rule("c", Treatment(accept=True, ring_seconds=9), weekdays=(2,))
    for broken in (
        RuleChange(name="b"),
        RuleChange(clear=("nothing_such",)),
        RuleChange(treatment=Treatment(label="\n")),
    ):
        with pytest.raises(DariError):
            async with transaction(database) as connection:
                await book.change_rule(connection, VIRTUAL, "c", broken, AGAINST)
    assert await names(database) == ["c", "b"]


async def test_an_error_that_was_there_before_keeps_nobody_from_mending_the_rest(
    database: AsyncEngine, shop: UUID
) -> None:
    async with transaction(database) as connection:
        await book.add_to_group(connection, shop, "vip", [CALLER])
    await added(database, rule("vip", callers=("vip",)), rule("rest"))
    async with transaction(database) as connection:
        await book.remove_from_group(connection, shop, "vip")
        assert [finding.rule for finding in await book.check_rules(connection, VIRTUAL, AGAINST)] == ["vip"]
        kept = await book.move_rule(connection, VIRTUAL, "rest", 1, AGAINST)
    assert [one.name for one in kept.rules] == ["rest", "vip"]
    assert [finding.rule for finding in kept.findings][-1] == "vip"
    with pytest.raises(Invalid, match="vip"):
        await added(database, rule("another", callers=("vip",)))


@pytest.mark.usefixtures("shop")
async def test_all_rules_are_replaced_or_none(database: AsyncEngine) -> None:
    await added(database, rule("a"), rule("b"))
    async with transaction(database) as connection:
        before = await connection.scalar(text("SELECT updated_at FROM number_rules WHERE name = 'a'"))
        await book.replace_rules(connection, VIRTUAL, [rule("a"), rule("c")], AGAINST)
        assert await connection.scalar(text("SELECT updated_at FROM number_rules WHERE name = 'a'")) == before
    with pytest.raises(Invalid):
        async with transaction(database) as connection:
            await book.replace_rules(connection, VIRTUAL, [rule("d"), rule("d")], AGAINST)
    assert await names(database) == ["a", "c"]


async def test_a_temporary_holiday_stays_when_the_calendar_is_read_again(database: AsyncEngine) -> None:
    temporary, gone = date(2026, 12, 28), date(2026, 6, 1)
    async with transaction(database) as connection:
        new, _ = await book.seed_holidays(connection, [2026, 2027])
        assert new > 25
        await book.add_holiday(connection, temporary, "임시공휴일")
        await connection.execute(text("INSERT INTO holidays VALUES ('2026-06-01', 'no more', 'public')"))
        await book.remove_holiday(connection, date(2026, 12, 25))
        assert await book.seed_holidays(connection, [2026]) == (1, 1)
        days = {holiday.day: holiday.source for holiday in await book.holidays(connection)}
    assert days[temporary] == "temporary"
    assert days[date(2026, 12, 25)] == "public"
    assert gone not in days


async def test_closed_days_and_groups_are_of_one_account(database: AsyncEngine, shop: UUID) -> None:
    other = await open_shop(database, "other")
    async with transaction(database) as connection:
        assert await book.close(connection, shop, [ClosedDay(weekday=7, weeks=(4, 2, 2))]) == 1
        assert await book.close(connection, shop, [ClosedDay(weekday=7, weeks=(2, 4))]) == 0
        assert await book.closed_days(connection, shop) == (ClosedDay(weekday=7, weeks=(2, 4)),)
        assert await book.closed_days(connection, other) == ()
        assert await book.closed_days(connection, VIRTUAL) == ()
        await book.add_to_group(connection, shop, "vip", [CALLER, TARGET])
        assert await book.group_members(connection, other) == []
        assert await book.remove_from_group(connection, shop, "vip", [TARGET]) == 1
        assert [member.number for member in await book.group_members(connection, shop)] == [CALLER]
        for deed in (
            book.closed_days(connection, UUID(int=9)),
            book.close(connection, CALLER, [ClosedDay(weekday=7)]),
            book.open_again(connection, shop, [ClosedDay(weekday=7)]),
            book.set_account(connection, UUID(int=9), zone="Asia/Seoul"),
        ):
            with pytest.raises(NotFound):
                await deed
        for wrong in (ClosedDay(), ClosedDay(weekday=8), ClosedDay(weekday=1, weeks=(6,))):
            with pytest.raises(Invalid):
                await book.close(connection, shop, [wrong])


async def test_an_accounts_zone_and_limits_are_set_apart(database: AsyncEngine, shop: UUID) -> None:
    async with transaction(database) as connection:
        await book.set_account(connection, shop, limits=Limits(per_day=7))
        await book.set_account(connection, shop, zone="Asia/Tokyo")
        found = await book.account_routing(connection, shop)
        assert (found.zone, found.limits) == ("Asia/Tokyo", Limits(per_day=7))
        for wrong in ({"zone": "Nowhere/Else"}, {"limits": Limits(at_once=0)}):
            with pytest.raises(Invalid):
                await book.set_account(connection, shop, **wrong)


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    "broken",
    [
        "INSERT INTO number_rules VALUES ('050799999999', 'a', 1, '{}', '{}')",
        "INSERT INTO number_rules VALUES ('050712345678', '', 1, '{}', '{}')",
        "INSERT INTO number_rules VALUES ('050712345678', 'a', 1, '[]', '{}')",
        "INSERT INTO closed_days (number) VALUES ('050712345678')",
        "INSERT INTO closed_days (number, day, weekday) VALUES ('050712345678', '2026-12-25', 5)",
        "INSERT INTO closed_days (number, weekday, weeks) VALUES ('050712345678', 5, '{6}')",
        "INSERT INTO closed_days (weekday) VALUES (5)",
        "INSERT INTO holidays VALUES ('2026-12-25', 'x', 'mine')",
    ],
)
async def test_the_tables_themselves_refuse_what_no_rule_allows(database: AsyncEngine, broken: str) -> None:
    with pytest.raises(IntegrityError):
        async with transaction(database) as connection:
            await connection.execute(text(broken))


async def made(database: AsyncEngine, shop: UUID, folder: Path, name: str = "인사말") -> str:
    """A prompt of the account; its sound."""
    shelf = Shelf(shop, name, folder / "sounds", AGAINST.now)
    async with transaction(database) as connection:
        return (await library.add(connection, shelf, write_audio(folder / "a.wav", tone(500, 0.5)))).sound


async def test_a_prompt_goes_only_when_no_number_plays_it(database: AsyncEngine, shop: UUID, tmp_path: Path) -> None:
    await made(database, shop, tmp_path)
    await added(database, rule("tune", Treatment(busy=("prompt:인사말",))))
    async with transaction(database) as connection:
        with pytest.raises(Conflict, match="prompt 인사말: it is played by 0507-1234-5678"):
            await book.remove_prompt(connection, shop, "인사말")
        await book.remove_rule(connection, VIRTUAL, "tune", AGAINST)
        await change(connection, VIRTUAL, NumberChange(treatment=Treatment(notice="prompt:인사말")))
        with pytest.raises(Conflict, match="0507-1234-5678"):
            await book.remove_prompt(connection, shop, "인사말")
        await change(connection, VIRTUAL, NumberChange(treatment=Treatment(notice="")))
        await book.remove_prompt(connection, shop, "인사말")
        assert await library.listing(connection, shop) == []
        with pytest.raises(NotFound, match="인사말"):
            await book.remove_prompt(connection, shop, "인사말")


async def test_a_prompt_that_the_account_does_not_have_is_refused(
    database: AsyncEngine, shop: UUID, tmp_path: Path
) -> None:
    said = Treatment(ringback=("prompt:인사말",))
    with pytest.raises(Invalid, match="rule 'tune': the account has no prompt '인사말'"):
        await added(database, rule("tune", said))
    with pytest.raises(Invalid, match="number: the account has no prompt '인사말'"):
        async with transaction(database) as connection:
            await book.change_number(connection, LOCAL_OPERATOR, VIRTUAL, NumberChange(treatment=said), AGAINST)
    sound = await made(database, shop, tmp_path)
    async with transaction(database) as connection:
        await book.change_number(connection, LOCAL_OPERATOR, VIRTUAL, NumberChange(treatment=said), AGAINST)
        assert (await book.line(connection, VIRTUAL)).number.treatment.ringback == (sound,)
        played = [treatment.ringback async for treatment in book.treatments(connection)]
        assert played == [(sound,)], "what is swept goes by what calls hear"


@pytest.mark.usefixtures("shop")
async def test_a_changed_number_tells_only_what_is_newly_odd(database: AsyncEngine) -> None:
    odd = NumberChange(treatment=Treatment(whisper=Whisper(text="{label} 전화")))
    async with transaction(database) as connection:
        _, first = await book.change_number(connection, LOCAL_OPERATOR, VIRTUAL, odd, AGAINST)
        changed, second = await book.change_number(
            connection, LOCAL_OPERATOR, VIRTUAL, NumberChange(treatment=ACCEPT), AGAINST
        )
        assert await book.check_rules(connection, VIRTUAL, AGAINST) == first
    assert [finding.oddity for finding in first] == [Oddity.FACT_MISSING]
    assert (changed.treatment.accept, second) == (True, ())
