"""A trunk that fails before the target rings: the call goes over the next one, and the caller notices nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from engine.cdr.model import Result
from engine.sandbox.carrier import Carrier
from engine.sandbox.phone import Answers, Behaviour, Busy, Rejects, Rings, Silent
from engine.trunks.model import Trunk
from tests.engine_rig import Rig, carrier_trunk, network, second_trunk
from tests.eventually import eventually

NUMBER, SHOP = "050712345678", "0212345678"


@pytest.fixture
async def second(carrier: Carrier) -> AsyncIterator[Carrier]:
    async with Carrier(f"{network()}.4", 5070, (f"{network()}.1", 5060)) as second:
        yield second


async def trunks_used(rig: Rig, carrier: Carrier, first: Behaviour, then: Carrier) -> tuple[list[str], Result]:
    """The trunks of the target legs of one call whose first trunk, `second`, behaves so."""
    rig.trunks.trunks = [second_trunk(), carrier_trunk()]
    then.shop(SHOP, first)
    carrier.shop(SHOP, Answers(after_seconds=0.2))
    caller = await carrier.call(NUMBER)
    await eventually(lambda: caller.final_code is not None)
    await caller.hang_up()
    record = await rig.record(caller.call_id)
    return [leg.trunk for leg in record.legs[1:]], record.result


@pytest.mark.parametrize("code", [408, 500, 502, 503, 504])
async def test_carrier_that_fails_is_passed_over(rig: Rig, carrier: Carrier, second: Carrier, code: int) -> None:
    assert await trunks_used(rig, carrier, Rejects(code), second) == (["second", "carrier"], Result.ANSWERED)


@pytest.mark.parametrize(
    ("behaviour", "result"),
    [
        (Busy(), Result.BUSY),
        (Rejects(404), Result.UNREACHABLE),
        (Rejects(603), Result.REJECTED),
        (Rings(0.5, 503), Result.CONGESTION),
    ],
)
async def test_what_the_number_itself_says_stands(
    rig: Rig, carrier: Carrier, second: Carrier, behaviour: Behaviour, result: Result
) -> None:
    assert await trunks_used(rig, carrier, behaviour, second) == (["second"], result)


async def test_carrier_that_says_nothing_at_all_is_given_up(rig: Rig, carrier: Carrier, second: Carrier) -> None:
    assert await trunks_used(rig, carrier, Silent(), second) == (["second", "carrier"], Result.ANSWERED)


async def test_dead_port_is_given_up(rig: Rig, carrier: Carrier) -> None:
    rig.trunks.trunks = [second_trunk(), carrier_trunk()]
    carrier.shop(SHOP, Answers(after_seconds=0.2))
    caller = await carrier.call(NUMBER)
    await caller.answered()
    await caller.hang_up()
    assert [leg.trunk for leg in (await rig.record(caller.call_id)).legs[1:]] == ["second", "carrier"]


async def test_trunk_that_asterisk_does_not_have_is_passed_over(rig: Rig, carrier: Carrier) -> None:
    rig.trunks.trunks = [Trunk(name="gone", match=(), contact="sip:127.0.0.1"), carrier_trunk()]
    carrier.shop(SHOP, Answers(after_seconds=0.2))
    caller = await carrier.call(NUMBER)
    await caller.answered()
    await caller.hang_up()
    assert [leg.trunk for leg in (await rig.record(caller.call_id)).legs[1:]] == ["gone", "carrier"]
