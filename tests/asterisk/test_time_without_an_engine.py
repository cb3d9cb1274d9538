"""The whole system without its engine for a while: calls go through, and all of it is known afterwards, once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator

import pytest

from engine.foundation.phone_number import PhoneNumber
from engine.routing.alone_text import FAMILY, number_key
from engine.sandbox.phone import Answers, Busy
from engine.settings import read_settings
from engine.supervisor.asterisk import ask
from engine.supervisor.preparation import program_of
from tests.eventually import eventually
from tests.real_asterisk import loopback
from tests.running_shop import NUMBER, PLAIN, PLAIN_TARGET, SHOP, TARGET, RunningShop, running_shop

CLAIMED_WITHIN = "800"
"""Milliseconds: callers wait so long for the engine that is not there."""
CALLER, OTHER = "01023450001", "01023450002"


@pytest.fixture
async def shop() -> AsyncIterator[RunningShop]:
    async with running_shop(loopback(64, 1), loopback(64, 2), DARI_CLAIM_MILLISECONDS=CLAIMED_WITHIN) as shop:
        await eventually(lambda: "routes for the time without an engine are written" in _log(shop))
        yield shop


def _log(shop: RunningShop) -> str:
    return (shop.home.folder / "log" / "engine.log").read_text()


async def _without_engine(shop: RunningShop) -> None:
    """Nobody starts the engine again: the one who would goes first."""
    await shop.up.stop(signal.SIGKILL)
    engine = shop.home.parts()["engine"]
    os.kill(engine.pid, signal.SIGKILL)
    await eventually(lambda: "engine" not in shop.home.parts())


async def _is_told_of(shop: RunningShop) -> None:
    """An operator who looks now learns that no engine runs, and that one call goes on without any."""
    assert (await shop.home.status())["calls_alone"] == 1
    code, output, _ = await shop.home.run("doctor", "--json")
    checks = {check["name"]: check for check in map(json.loads, output.splitlines())}
    assert (code, checks["engine"]["state"], checks["engine"]["mend"]) == (1, "bad", "start it with `dari up`")
    assert checks["calls alone"]["found"] == "1 call without an engine now"
    code, _, errors = await shop.home.run("call", "list")
    assert code == 1
    assert "`dari up`" in errors
    assert "1 call without an engine" in errors


async def test_what_was_said_and_done_meanwhile_is_known_afterwards(shop: RunningShop) -> None:
    await _without_engine(shop)
    phone = shop.carrier.shop(TARGET, Answers(after_seconds=0.2, tone=SHOP))
    shop.carrier.shop(PLAIN_TARGET, Busy())
    caller = await shop.carrier.call(NUMBER, from_number=CALLER)
    target = await phone.next_call()
    await caller.answered(within=30.0)
    await asyncio.sleep(2.0)  # they talk
    await _is_told_of(shop)
    await caller.hang_up()
    await target.ended()
    refused = await shop.refused_call(OTHER)
    assert refused.final_code == 486
    up = await shop.home.up()
    answered, busy = await shop.record(caller), await shop.record(refused)
    assert (answered["result"], answered["node"], answered["target"]) == ("answered", "alone", TARGET)
    assert abs(answered["talk_seconds"] - caller.talk_seconds) < 1.0
    assert (busy["result"], busy["node"], busy["number"]) == ("busy", "alone", PLAIN)
    assert (await shop.message(answered))["status"] == "delivered"
    assert (await shop.message(busy))["status"] == "held"
    assert len(shop.sent(CALLER)) == 1
    assert shop.sent(OTHER) == []

    async def recording_is_kept() -> bool:
        return bool(await shop.objects("recording", "list"))

    await eventually(recording_is_kept)
    assert "without an engine" in await shop.dari("trace", answered["call_id"])
    assert (await shop.dari("tail", "--number", NUMBER)).count("without an engine") == 2
    await up.stop(signal.SIGKILL)
    read_to = shop.home.folder / "run" / "read-back.json"
    engine = shop.home.parts()["engine"]
    read_to.unlink()
    os.kill(engine.pid, signal.SIGKILL)
    await shop.home.up()  # this life does not know how far the last one read: it reads all again
    await eventually(read_to.exists)
    assert len(await shop.objects("calls")) == 2
    assert len(shop.sent(CALLER)) == 1


async def test_what_was_switched_off_for_an_account_is_off_without_an_engine_too(shop: RunningShop) -> None:
    shop.carrier.shop(PLAIN_TARGET, Busy())
    assert (await shop.refused_call(OTHER)).final_code == 486
    await shop.dari("account", "module", "plain", "calls", "--off")
    await eventually(lambda: _refuses(shop, 404))
    await eventually(lambda: _keeps(shop, "switched off"))
    await _without_engine(shop)
    alone = await shop.refused_call(CALLER)
    assert alone.final_code == 404
    await shop.home.up()
    told = await shop.record(alone)
    assert (told["result"], told["node"], told["number"]) == ("switched off", "alone", PLAIN)
    engines = [call for call in await shop.objects("calls") if call["node"] != "alone"]
    assert {call["result"] for call in engines} == {"busy", "switched off"}
    assert "calls switched off for the account" in " ".join(
        (await shop.dari("explain", PLAIN, "--from", OTHER)).split()
    )


async def _refuses(shop: RunningShop, code: int) -> bool:
    return (await shop.refused_call(OTHER)).final_code == code


async def _keeps(shop: RunningShop, words: str) -> bool:
    """Whether that is in the route that Asterisk itself has for PLAIN."""
    settings = read_settings(home=shop.home.folder)
    wanted = f"database get {FAMILY} {number_key(PhoneNumber(PLAIN))}"
    return words in await ask(program_of(settings), settings.paths.asterisk_etc, wanted)
