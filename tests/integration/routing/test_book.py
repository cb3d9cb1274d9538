"""The book of rules on the real database; what is typed into it is tested with the commands."""

from __future__ import annotations

import asyncio
from datetime import date
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR, Module
from engine.accounts.modules import switch
from engine.audit import trail
from engine.audit.model import Entry, Wanted
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, DariError, Invalid, NotAllowed, NotFound
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import Fallback, RecordMode, Target, Then, Treatment, Whisper
from engine.routing import book, caller_groups, current_lines
from engine.routing.model import AccountRouting, Condition, DateRange, DayKind, Line
from engine.routing.rule_change import RuleChange
from tests.integration.routing.conftest import ACCEPT, AGAINST, CALLER, added, rule
from tests.opened_shop import TARGET, VIRTUAL, number_of

RECORDED = Treatment(recording=RecordMode.ALWAYS)


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
        assert (await current_lines.find(connection, VIRTUAL)).rules == (given,)


async def test_a_line_is_all_that_decides_about_a_number(database: AsyncEngine, shop: UUID) -> None:
    async with transaction(database) as connection:
        line = await current_lines.find(connection, VIRTUAL)
        holidays = line.holidays
        assert line == Line(number_of(shop), (), AccountRouting(account_id=shop), (), holidays)
        with pytest.raises(NotFound):
            await current_lines.find(connection, CALLER)


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
        kept = await book.change_rule(connection, LOCAL_OPERATOR, VIRTUAL, "a", wanted, AGAINST)
    assert kept.rules[0] == rule("c", Treatment(accept=True, ring_seconds=9), weekdays=(2,))
    for broken in (
        RuleChange(name="b"),
        RuleChange(clear=("nothing_such",)),
        RuleChange(treatment=Treatment(label="\n")),
    ):
        with pytest.raises(DariError):
            async with transaction(database) as connection:
                await book.change_rule(connection, LOCAL_OPERATOR, VIRTUAL, "c", broken, AGAINST)
    assert await names(database) == ["c", "b"]


async def test_an_error_that_was_there_before_keeps_nobody_from_mending_the_rest(
    database: AsyncEngine, shop: UUID
) -> None:
    async with transaction(database) as connection:
        await caller_groups.add(connection, LOCAL_OPERATOR, shop, "vip", [CALLER], AGAINST.now)
    await added(database, rule("vip", callers=("vip",)), rule("rest"))
    async with transaction(database) as connection:
        await caller_groups.remove(connection, LOCAL_OPERATOR, shop, "vip", AGAINST.now)
        assert [finding.rule for finding in await book.check_rules(connection, VIRTUAL, AGAINST)] == ["vip"]
        kept = await book.move_rule(connection, LOCAL_OPERATOR, VIRTUAL, "rest", 1, AGAINST)
    assert [one.name for one in kept.rules] == ["rest", "vip"]
    assert [finding.rule for finding in kept.findings][-1] == "vip"
    with pytest.raises(Invalid, match="vip"):
        await added(database, rule("another", callers=("vip",)))


@pytest.mark.usefixtures("shop")
async def test_all_rules_are_replaced_or_none(database: AsyncEngine) -> None:
    await added(database, rule("a"), rule("b"))
    async with transaction(database) as connection:
        before = await connection.scalar(text("SELECT updated_at FROM number_rules WHERE name = 'a'"))
        await book.replace_rules(connection, LOCAL_OPERATOR, VIRTUAL, [rule("a"), rule("c")], AGAINST)
        assert await connection.scalar(text("SELECT updated_at FROM number_rules WHERE name = 'a'")) == before
    with pytest.raises(Invalid):
        async with transaction(database) as connection:
            await book.replace_rules(connection, LOCAL_OPERATOR, VIRTUAL, [rule("d"), rule("d")], AGAINST)
    assert await names(database) == ["a", "c"]


async def test_a_rule_needs_the_functions_of_its_account(database: AsyncEngine, shop: UUID) -> None:
    """Mobile telephones among them; what a rule needed already, and a rule that nobody asks, is left as it is."""
    mobile = Treatment(targets=(Target(number=CALLER),))
    chain = Treatment(fallbacks=(Fallback(then=Then.RING, targets=(Target(number=CALLER),)),))
    await added(database, rule("rings", mobile), rule("off", chain))
    async with transaction(database) as connection:
        await book.enable_rule(connection, LOCAL_OPERATOR, VIRTUAL, "off", AGAINST, enabled=False)
        await switch(connection, LOCAL_OPERATOR, shop, Module.MOBILE_TARGETS, False, AGAINST.now)
        await switch(connection, LOCAL_OPERATOR, shop, Module.RECORDING, False, AGAINST.now)
    for name, refused in (("mobile targets", mobile), ("mobile targets", chain), ("recording", RECORDED)):
        with pytest.raises(NotAllowed, match=f"{name}: this function is off"):
            await added(database, rule("new", msgspec.structs.replace(refused, accept=True)))
    with pytest.raises(NotAllowed, match="mobile targets"):
        async with transaction(database) as connection:
            await book.enable_rule(connection, LOCAL_OPERATOR, VIRTUAL, "off", AGAINST, enabled=True)
    async with transaction(database) as connection:
        await book.change_rule(connection, LOCAL_OPERATOR, VIRTUAL, "rings", RuleChange(name="called"), AGAINST)
        await book.change_rule(connection, LOCAL_OPERATOR, VIRTUAL, "called", RuleChange(treatment=ACCEPT), AGAINST)
    assert await names(database) == ["called", "off"]


async def test_what_is_written_of_rules_is_what_changes(database: AsyncEngine, shop: UUID) -> None:
    """The order, and the rules that are others now; people's numbers apart, message texts nowhere."""
    secret = "약도는 문자로 보내 드립니다"
    talks = Treatment(targets=(Target(number=CALLER),), announcement="", whisper=Whisper(text=secret), ring_seconds=20)
    await added(database, rule("a"), rule("b"))
    before = await written(database)
    async with transaction(database) as connection:
        wanted = RuleChange(treatment=talks, position=1)
        await book.change_rule(connection, LOCAL_OPERATOR, VIRTUAL, "b", wanted, AGAINST)
        await book.change_rule(connection, LOCAL_OPERATOR, VIRTUAL, "b", wanted, AGAINST)
    (entry,) = [entry for entry in await written(database) if entry not in before]
    assert entry.before is not None
    assert entry.after is not None
    assert (entry.account_id, entry.object_kind, entry.object_id) == (shop, "number", VIRTUAL)
    assert (entry.before["rules"], entry.after["rules"]) == (["a", "b"], ["b", "a"])
    assert set(entry.before["changed"]) == set(entry.after["changed"]) == {"b"}
    assert entry.after["changed"]["b"]["treatment"] == {
        "accept": True,
        "announcement": "",
        "whisper": "set",
        "ring_seconds": 20,
    }
    assert entry.after["personal"] == {"b": [CALLER]}
    assert secret not in str(entry)


async def written(database: AsyncEngine) -> list[Entry]:
    async with transaction(database) as connection:
        return await trail.entries(connection, Wanted())
