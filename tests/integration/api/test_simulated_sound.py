"""What is made for whoever asks has its bounds: how long one sound is, and how many are made at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from engine.api.renderings import AT_ONCE
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import Target, TargetOrder, Treatment
from tests.trade_desk import TradeDesk, trade_desk

NUMBER = "05071234567"
TARGETS = tuple(Target(number=PhoneNumber(f"021234567{last}"), ring_seconds=120) for last in range(3))


@pytest.fixture
async def desk(database: AsyncEngine, tmp_path: Path) -> AsyncIterator[TradeDesk]:
    async with trade_desk(database, tmp_path) as opened:
        yield opened


async def shop_that_rings_long(desk: TradeDesk) -> str:
    """Six minutes, one telephone after the other; a key of the shop's."""
    shop = (await desk.account("다리분식")).id
    await desk.number(shop, NUMBER, treatment=Treatment(targets=TARGETS, order=TargetOrder.IN_TURN))
    return await desk.key(shop)


async def test_a_sound_of_more_than_five_minutes_is_not_made(desk: TradeDesk) -> None:
    key = await shop_that_rings_long(desk)
    asked = {"number": NUMBER}
    soon = await desk.ask("POST", "/simulate/sound", key, body=asked | {"answer_after": 200})
    assert soon.status == 200, soon
    long = await desk.ask("POST", "/simulate/sound", key, body=asked | {"outcome": "no answer"})
    assert long.code == "invalid", long
    assert "300 s" in long.json["detail"]
    later = await desk.ask("POST", "/simulate/sound", key, body=asked | {"answer_after": 301})
    assert later.json["errors"][0]["field"] == "body.answer_after"


async def test_so_many_are_made_at_once_and_others_come_back_later(desk: TradeDesk) -> None:
    key = await shop_that_rings_long(desk)
    renderings = desk.equipment.renderings
    async with AsyncExitStack() as others:
        for _ in range(AT_ONCE):
            await others.enter_async_context(renderings.turn())
        renderings.waits = 0.01
        refused = await desk.ask("POST", "/simulate/sound", key, body={"number": NUMBER})
        assert refused.code == "try_later", refused
        assert int(refused.headers["Retry-After"]) > 0
        assert (await desk.ask("POST", "/simulate", key, body={"number": NUMBER})).status == 200
    renderings.waits = 10.0
    assert (await desk.ask("POST", "/simulate/sound", key, body={"number": NUMBER})).status == 200
