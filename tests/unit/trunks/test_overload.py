"""The limits that the dialplan counts against."""

from __future__ import annotations

import asyncio

import structlog

from engine.foundation.errors import TryLater
from engine.foundation.tasks import Tasks
from engine.trunks.model import Trunk
from engine.trunks.overload import Overload, limits

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
    assert limits([NARROW, WIDE], 500, None) == {
        "DARI_CALLS": "500",
        "DARI_CALLS_A_SECOND": "0",
        "DARI_CALLS_narrow": "30",
        "DARI_CALLS_wide": "0",
    }


async def test_the_limit_of_a_removed_trunk_goes() -> None:
    asterisk, trunks = Asterisk(), [NARROW]
    overload = Overload(asterisk.set_global, lambda: trunks, None, 40)
    await overload.set_now()
    trunks.clear()
    await overload.set_now()
    assert asterisk.variables == {"DARI_CALLS": "0", "DARI_CALLS_A_SECOND": "40", "DARI_CALLS_narrow": "0"}


async def test_an_asterisk_that_was_away_or_began_anew_has_them_soon() -> None:
    asterisk = Asterisk()
    overload = Overload(asterisk.set_global, lambda: [NARROW], 5, None)
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
