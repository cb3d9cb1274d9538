"""A number that is transferred with its settings names nothing of its giver's: prompts are copied, groups stay."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.book import register_sender
from engine.accounts.model import LOCAL_OPERATOR, Module
from engine.accounts.modules import switch
from engine.foundation.database import transaction
from engine.foundation.errors import NotAllowed
from engine.foundation.phone_number import PhoneNumber
from engine.numbers import inventory, life, transfer
from engine.numbers.model import ServiceNumber
from engine.numbers.sound_names import prompts_of
from engine.numbers.treatment import ConsentOffer, Target, Treatment
from engine.prompts import library
from engine.prompts.library import Shelf
from engine.routing import book, caller_groups, handed_over
from engine.routing.check import Against
from engine.routing.model import WITHHELD, Condition, Rule
from tests.number_world import FIRST, NOW, SENDER, World, events, fill, make_world, wanted
from tests.tones import tone, write_audio

AGAINST = Against(now=NOW)
CALLER = PhoneNumber("01099998888")


@pytest.fixture
async def world(database: AsyncEngine) -> World:
    return await make_world(database)


def rule(name: str, treatment: Treatment, **parts: Any) -> Rule:
    return Rule(name=name, condition=msgspec.structs.replace(Condition(), **parts), treatment=treatment)


async def prompt(database: AsyncEngine, folder: Path, account: UUID, name: str, frequency: float) -> str:
    """Its sound."""
    file = write_audio(folder / f"{frequency:.0f}.wav", tone(frequency, 0.2))
    async with transaction(database) as connection:
        shelf = Shelf(account, name, folder / "sounds", NOW)
        return (await library.add(connection, LOCAL_OPERATOR, shelf, file)).sound


async def handed(
    database: AsyncEngine, world: World, rules: list[Rule], *, keep_settings: bool = True, **settings: Any
) -> tuple[ServiceNumber, tuple[Rule, ...]]:
    """The first shop's number and its rules as the other shop has them after the transfer."""
    await fill(database, 1)
    async with transaction(database) as connection:
        await life.issue(connection, world.owner, wanted(FIRST, world.shop, **settings), NOW)
        await book.replace_rules(connection, world.owner, FIRST, rules, AGAINST)
        made = await transfer.offer(connection, world.owner, FIRST, world.other_shop, NOW, keep_settings=keep_settings)
    async with transaction(database) as connection:
        await handed_over.accept(connection, world.other_owner, made.id, NOW, PhoneNumber("0311112222"))
        return await inventory.find(connection, FIRST), await book.rules(connection, FIRST)


async def test_prompts_are_copied_and_never_mistaken_for_others_of_their_name(
    database: AsyncEngine, world: World, tmp_path: Path
) -> None:
    closed = await prompt(database, tmp_path, world.shop, "휴무", 500)
    hello = await prompt(database, tmp_path, world.shop, "인사", 600)
    other = await prompt(database, tmp_path, world.other_shop, "휴무", 700)
    rules = [rule("일요일", Treatment(announcement="prompt:휴무", ringback=("ko/ringback-tone",)), weekdays=(7,))]
    number, kept = await handed(database, world, rules, treatment=Treatment(notice="prompt:인사"))
    assert number.treatment == Treatment(notice="prompt:인사")
    assert kept[0].treatment == Treatment(announcement="prompt:휴무 (2)", ringback=("ko/ringback-tone",))
    async with transaction(database) as connection:
        theirs = await library.played(connection, world.other_shop)
        assert await library.played(connection, world.shop) == {"휴무": closed, "인사": hello}
    assert theirs == {"휴무": other, "휴무 (2)": closed, "인사": hello}


async def test_a_prompt_that_both_have_is_not_copied(database: AsyncEngine, world: World, tmp_path: Path) -> None:
    for shop in (world.shop, world.other_shop):
        await prompt(database, tmp_path, shop, "휴무", 500)
    number, _ = await handed(database, world, [], treatment=Treatment(notice="prompt:휴무"))
    assert prompts_of(number.treatment) == ["휴무"]
    async with transaction(database) as connection:
        assert [one.versions for one in await library.listing(connection, world.other_shop)] == [1]


async def test_rules_that_ask_for_the_givers_callers_stay_behind_and_are_named(
    database: AsyncEngine, world: World
) -> None:
    async with transaction(database) as connection:
        for owner, shop in ((world.owner, world.shop), (world.other_owner, world.other_shop)):
            await caller_groups.add(connection, owner, shop, "단골", [CALLER], NOW)
    accept = Treatment(accept=True)
    rules = [
        rule("단골만", accept, callers=("단골",)),
        rule("숨긴 번호와 단골", accept, callers=(WITHHELD, "단골")),
        rule("주말", accept, weekdays=(6, 7)),
    ]
    _, kept = await handed(database, world, rules)
    assert kept == (rule("숨긴 번호와 단골", accept, callers=(WITHHELD,)), rules[2])
    told = [(whose, body["rules"]) for whose, body in await events(database) if body["change"] == "rules left behind"]
    assert told == [(world.other_shop, ["단골만"])]


async def test_what_needs_the_givers_sender_stays_behind_in_rules_too(database: AsyncEngine, world: World) -> None:
    sender = PhoneNumber("0311113333")
    async with transaction(database) as connection:
        await register_sender(connection, world.owner, world.shop, sender, "contract", NOW)
    rules = [
        rule("낮", Treatment(callback="고맙습니다", accept=True), weekdays=(1,)),
        rule("밤", Treatment(consent=ConsentOffer(text="약도")), weekdays=(2,)),
    ]
    number, kept = await handed(database, world, rules, sender=sender)
    assert number.sender is None
    assert kept == (rule("낮", Treatment(accept=True), weekdays=(1,)),)


async def test_a_registered_sender_keeps_the_rules_messages(database: AsyncEngine, world: World) -> None:
    rules = [rule("낮", Treatment(callback="고맙습니다"), weekdays=(1,))]
    number, kept = await handed(database, world, rules, sender=SENDER)
    assert (number.sender, kept) == (SENDER, tuple(rules))


async def test_without_settings_nothing_is_copied(database: AsyncEngine, world: World, tmp_path: Path) -> None:
    await prompt(database, tmp_path, world.shop, "인사", 600)
    number, kept = await handed(database, world, [], keep_settings=False, treatment=Treatment(notice="prompt:인사"))
    assert (number.treatment, kept) == (Treatment(), ())
    async with transaction(database) as connection:
        assert await library.listing(connection, world.other_shop) == []


async def test_rules_ring_mobiles_only_where_that_is_switched_on(database: AsyncEngine, world: World) -> None:
    async with transaction(database) as connection:
        await switch(connection, LOCAL_OPERATOR, world.other_agency, Module.MOBILE_TARGETS, False, NOW)
    rules = [rule("밤", Treatment(targets=(Target(number=CALLER),)), weekdays=(1,))]
    with pytest.raises(NotAllowed, match="mobile targets"):
        await handed(database, world, rules)
    async with transaction(database) as connection:
        assert (await inventory.find(connection, FIRST)).account_id == world.shop
