"""The limits that the dialplan counts against."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import structlog

from engine.foundation.errors import TryLater
from engine.foundation.tasks import Tasks
from engine.trunks.model import Trunk
from engine.trunks.overload import Overload, keep_finding, limits
from engine.trunks.rate_control import LOOK_EVERY, RateControl
from tests.eventually import eventually
from tests.overloaded import overloaded

NARROW = Trunk(name="narrow", match=("192.0.2.1",), contact="sip:192.0.2.1", max_calls=30)
WIDE = Trunk(name="wide", match=("192.0.2.2",), contact="sip:192.0.2.2")


class Asterisk:
    """Its global variables."""

    def __init__(self) -> None:
        self.away = False
        self.variables: dict[str, str] = {}

    async def set_global(self, name: str, value: str) -> None:
        if self.away:
            raise TryLater("Asterisk cannot be reached")
        self.variables[name] = value


def test_every_limit_has_its_variable_and_no_limit_is_0() -> None:
    assert limits([NARROW, WIDE], 500, 0) == {
        "DARI_CALLS": "500",
        "DARI_CALLS_A_SECOND": "0",
        "DARI_CALLS_narrow": "30",
        "DARI_CALLS_wide": "0",
    }


def test_a_limit_that_is_found_out_is_left_alone() -> None:
    assert limits([], 0, None) == {"DARI_CALLS": "0"}


async def test_the_limit_of_a_removed_trunk_goes() -> None:
    asterisk, trunks = Asterisk(), [NARROW]
    overload = Overload(asterisk.set_global, lambda: trunks, 0, 40)
    await overload.set_now()
    trunks.clear()
    await overload.set_now()
    assert asterisk.variables == {"DARI_CALLS": "0", "DARI_CALLS_A_SECOND": "40", "DARI_CALLS_narrow": "0"}


async def test_an_asterisk_that_was_away_or_began_anew_has_them_soon() -> None:
    asterisk = Asterisk()
    overload = Overload(asterisk.set_global, lambda: [NARROW], 5, 0)
    asterisk.away = True
    with structlog.testing.capture_logs() as logged:
        await overload.set_now()
        await overload.set_now()
    assert len(logged) == 1
    asterisk.away = False
    tasks = Tasks("test")
    tasks.start("limits", overload.keep_setting(every=0.001))
    try:
        async with asyncio.timeout(10):
            for _ in range(2):
                while "DARI_CALLS_narrow" not in asterisk.variables:
                    await asyncio.sleep(0.001)
                asterisk.variables.clear()
    finally:
        await tasks.close()


async def found_out(control: RateControl, asterisk: Asterisk, until: Callable[[], bool]) -> list[str]:
    """The limits that Asterisk was told, one after the other."""
    told = list[str]()

    async def set_global(name: str, value: str) -> None:
        await asterisk.set_global(name, value)
        told.append(asterisk.variables["DARI_CALLS_A_SECOND"])

    tasks = Tasks("test")
    instants = itertools.count(0.0, LOOK_EVERY / 2)  # asked for twice a look
    tasks.start("finding", keep_finding(control, 2, set_global, lambda: next(instants), every=0.0))
    try:
        await eventually(until)
    finally:
        await tasks.close()
    return told


async def test_what_an_engine_before_found_out_is_gone_at_first() -> None:
    asterisk = Asterisk()
    asterisk.variables["DARI_CALLS_A_SECOND"] = "7"
    await found_out(RateControl(), asterisk, lambda: asterisk.variables["DARI_CALLS_A_SECOND"] == "0")


async def test_what_is_found_out_is_set_for_all_engines_and_goes_when_it_is_over() -> None:
    control, asterisk = overloaded(0.0), Asterisk()
    limit = control.limit
    assert limit is not None
    with structlog.testing.capture_logs() as logged:
        told = await found_out(control, asterisk, lambda: asterisk.variables.get("DARI_CALLS_A_SECOND") == "0")
    assert int(told[0]) == 2 * limit
    assert [entry["log_level"] for entry in logged] == ["warning", "info"]


async def test_a_limit_that_asterisk_did_not_take_is_told_again() -> None:
    control, asterisk = overloaded(0.0), Asterisk()
    asterisk.away = True
    came_back = 0

    def is_told() -> bool:
        nonlocal came_back
        came_back += 1
        asterisk.away = came_back < 3
        return "DARI_CALLS_A_SECOND" in asterisk.variables

    with structlog.testing.capture_logs() as logged:
        await found_out(control, asterisk, is_told)
    assert [entry["log_level"] for entry in logged].count("warning") == 1
