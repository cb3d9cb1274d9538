"""Prompts that numbers and their rules play, on the real database; and what a changed number is told of itself."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.accounts.model import LOCAL_OPERATOR
from engine.foundation.database import transaction
from engine.foundation.errors import Conflict, Invalid, NotFound
from engine.numbers.inventory import NumberChange, change
from engine.numbers.treatment import Treatment, Whisper
from engine.prompts import library
from engine.prompts.library import Shelf
from engine.routing import book, current_lines, number_settings, played_prompts
from engine.routing.finding import Oddity
from tests.integration.routing.conftest import ACCEPT, AGAINST, added, rule
from tests.opened_shop import VIRTUAL
from tests.tones import tone, write_audio


async def made(database: AsyncEngine, shop: UUID, folder: Path, name: str = "인사말") -> str:
    """A prompt of the account; its sound."""
    shelf = Shelf(shop, name, folder / "sounds", AGAINST.now)
    async with transaction(database) as connection:
        return (
            await library.add(connection, LOCAL_OPERATOR, shelf, write_audio(folder / "a.wav", tone(500, 0.5)))
        ).sound


async def test_a_prompt_goes_only_when_no_number_plays_it(database: AsyncEngine, shop: UUID, tmp_path: Path) -> None:
    await made(database, shop, tmp_path)
    await added(database, rule("tune", Treatment(busy=("prompt:인사말",))))
    async with transaction(database) as connection:
        with pytest.raises(Conflict, match="prompt 인사말: it is played by 0507-1234-5678"):
            await played_prompts.remove_prompt(connection, LOCAL_OPERATOR, shop, "인사말", AGAINST.now)
        await book.remove_rule(connection, LOCAL_OPERATOR, VIRTUAL, "tune", AGAINST)
        await change(connection, VIRTUAL, NumberChange(treatment=Treatment(notice="prompt:인사말")))
        with pytest.raises(Conflict, match="0507-1234-5678"):
            await played_prompts.remove_prompt(connection, LOCAL_OPERATOR, shop, "인사말", AGAINST.now)
        await change(connection, VIRTUAL, NumberChange(treatment=Treatment(notice="")))
        await played_prompts.remove_prompt(connection, LOCAL_OPERATOR, shop, "인사말", AGAINST.now)
        assert await library.listing(connection, shop) == []
        with pytest.raises(NotFound, match="인사말"):
            await played_prompts.remove_prompt(connection, LOCAL_OPERATOR, shop, "인사말", AGAINST.now)


async def test_a_prompt_that_the_account_does_not_have_is_refused(
    database: AsyncEngine, shop: UUID, tmp_path: Path
) -> None:
    said = Treatment(ringback=("prompt:인사말",))
    with pytest.raises(Invalid, match="rule 'tune': the account has no prompt '인사말'"):
        await added(database, rule("tune", said))
    with pytest.raises(Invalid, match="number: the account has no prompt '인사말'"):
        async with transaction(database) as connection:
            await number_settings.change(connection, LOCAL_OPERATOR, VIRTUAL, NumberChange(treatment=said), AGAINST)
    sound = await made(database, shop, tmp_path)
    async with transaction(database) as connection:
        await number_settings.change(connection, LOCAL_OPERATOR, VIRTUAL, NumberChange(treatment=said), AGAINST)
        assert (await current_lines.find(connection, VIRTUAL)).number.treatment.ringback == (sound,)
        played = [treatment.ringback async for treatment in played_prompts.treatments(connection)]
        assert played == [(sound,)], "what is swept goes by what calls hear"


@pytest.mark.usefixtures("shop")
async def test_a_changed_number_tells_only_what_is_newly_odd(database: AsyncEngine) -> None:
    odd = NumberChange(treatment=Treatment(whisper=Whisper(text="{label} 전화")))
    async with transaction(database) as connection:
        _, first = await number_settings.change(connection, LOCAL_OPERATOR, VIRTUAL, odd, AGAINST)
        changed, second = await number_settings.change(
            connection, LOCAL_OPERATOR, VIRTUAL, NumberChange(treatment=ACCEPT), AGAINST
        )
        assert await book.check_rules(connection, VIRTUAL, AGAINST) == first
    assert [finding.oddity for finding in first] == [Oddity.FACT_MISSING]
    assert (changed.treatment.accept, second) == (True, ())
