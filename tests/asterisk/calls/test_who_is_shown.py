"""Which numbers a target's carrier is told, by wire: of a withheld caller none, of others as the trunk is trusted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from engine.sandbox.carrier import Carrier
from engine.sandbox.phone import Answers, Rejects, TargetLeg
from engine.trunks.model import Trunk
from tests.engine_rig import Rig, carrier_trunk, network, second_trunk, untrusted_trunk
from tests.eventually import eventually

NUMBER, SHOP, CALLER = "050712345678", "0212345678", "01012345678"
ANYHOW_WRITTEN = CALLER.removeprefix("0")
"""What is in every way of writing the caller's number."""
TRUSTED, UNTRUSTED = second_trunk, untrusted_trunk


@pytest.fixture
async def second(carrier: Carrier) -> AsyncIterator[Carrier]:
    """At the other end of the trusted trunk."""
    async with Carrier(f"{network()}.4", 5070, (f"{network()}.1", 5060)) as second:
        yield second


@pytest.fixture
async def third(carrier: Carrier) -> AsyncIterator[Carrier]:
    """At the other end of the untrusted one."""
    async with Carrier(f"{network()}.5", 5070, (f"{network()}.1", 5060)) as third:
        yield third


async def invited(rig: Rig, carrier: Carrier, trunks: list[Trunk], *, withheld: bool) -> None:
    """One call from the carrier, which goes out by the first of `trunks` that takes it, to its end."""
    rig.trunks.trunks = trunks
    caller = await carrier.call(NUMBER, from_number=CALLER, privacy=withheld)
    await eventually(lambda: caller.final_code is not None)
    assert caller.final_code == 200
    await caller.hang_up()
    record = await rig.record(caller.call_id)
    assert record.caller == (None if withheld else CALLER)
    assert [leg.trunk for leg in record.legs[1:]] == [trunk.name for trunk in trunks]


def only_call(carrier: Carrier) -> TargetLeg:
    (leg,) = carrier.targets
    return leg


def names_nobody(leg: TargetLeg) -> bool:
    """Whether an INVITE shows a withheld caller, and tells the number nowhere."""
    invite = leg.invite.build()
    assert NUMBER.encode() in invite, "not even the number called is in it"
    return ANYHOW_WRITTEN.encode() not in invite and "nonymous" in leg.invite.get("From")


async def test_withheld_number_is_told_to_no_trunk_trusted_or_not(
    rig: Rig, carrier: Carrier, second: Carrier, third: Carrier
) -> None:
    for trunk, far_end in ((TRUSTED(), second), (UNTRUSTED(), third)):
        far_end.shop(SHOP, Answers(after_seconds=0.1))
        await invited(rig, carrier, [trunk], withheld=True)
        assert names_nobody(only_call(far_end)), trunk.name


@pytest.mark.parametrize("untrusted_first", [False, True])
async def test_withheld_number_is_told_to_no_trunk_after_another_failed(
    rig: Rig, carrier: Carrier, second: Carrier, third: Carrier, untrusted_first: bool
) -> None:
    ways = [(TRUSTED(), second), (UNTRUSTED(), third)]
    if untrusted_first:
        ways.reverse()
    (_, fails), (_, takes) = ways
    fails.shop(SHOP, Rejects(503))
    takes.shop(SHOP, Answers(after_seconds=0.1))
    await invited(rig, carrier, [trunk for trunk, _ in ways], withheld=True)
    assert names_nobody(only_call(fails))
    assert names_nobody(only_call(takes))


async def test_number_that_is_shown_is_vouched_for_to_a_trusted_trunk_only(
    rig: Rig, carrier: Carrier, second: Carrier, third: Carrier
) -> None:
    for far_end in (second, third):
        far_end.shop(SHOP, Answers(after_seconds=0.1))
    await invited(rig, carrier, [TRUSTED()], withheld=False)
    await invited(rig, carrier, [UNTRUSTED()], withheld=False)
    told, untold = only_call(second).invite, only_call(third).invite
    assert CALLER in told.get("P-Asserted-Identity")
    assert untold.every("P-Asserted-Identity") + untold.every("Remote-Party-ID") == []
    assert [only_call(far_end).shown_number for far_end in (second, third)] == [CALLER, CALLER]


async def test_withheld_number_that_an_untrusted_trunk_vouches_for_is_withheld_still(
    rig: Rig, carrier: Carrier, third: Carrier
) -> None:
    carrier.shop(SHOP, Answers(after_seconds=0.1))
    await invited(rig, third, [carrier_trunk()], withheld=True)
    assert names_nobody(only_call(carrier))
