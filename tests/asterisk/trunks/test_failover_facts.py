"""What a failed trunk looks like in ARI, and what is made of it: each row of the table in `failover.py`."""

from __future__ import annotations

import asyncio
import re
import socket

import pytest

from engine.asterisk.commands import Ari, AsteriskFailed
from engine.sandbox.carrier import Carrier
from engine.sandbox.phone import NeverAnswers, Rejects, Silent
from engine.trunks.failover import ANYTHING_HEARD, FailedLeg, goes_on
from engine.trunks.model import Trunk
from tests.asterisk.trunks.desk import FIRST_TRUNK, NOBODY, SECOND_TRUNK, SHOP, Desk
from tests.eventually import eventually
from tests.real_asterisk import RunningAsterisk


@pytest.mark.parametrize(
    ("code", "cause", "next_trunk"),
    [
        (408, 18, True),
        (500, 38, True),
        (502, 27, True),
        (503, 34, True),
        (504, 102, True),
        (400, 127, False),
        (403, 21, False),
        (404, 1, False),
        (480, 19, False),
        (484, 28, False),
        (486, 17, False),
        (488, 58, False),
        (501, 29, False),
        (600, 17, False),
        (603, 21, False),
    ],
)
async def test_a_refusal_keeps_its_code(desk: Desk, first: Carrier, code: int, cause: int, next_trunk: bool) -> None:
    first.shop(SHOP, Rejects(code))
    await desk.place(f"refused-{code}", FIRST_TRUNK)
    assert await desk.end_of(f"refused-{code}") == (cause, code)
    assert goes_on(FailedLeg(provisional=False, sip_code=code, cause=cause)) is next_trunk


@pytest.mark.parametrize("contact", ["sip:240.1.2.3:5070", "sip:no-such-host.invalid:5070"])
async def test_no_way_to_the_carrier_is_a_503_at_once(desk: Desk, asterisk: RunningAsterisk, contact: str) -> None:
    away = Trunk(name="away", match=(NOBODY,), contact=contact)
    await asterisk.change_trunks([FIRST_TRUNK, away])
    await desk.place("no-way", away)
    cause, code = await desk.end_of("no-way")
    assert (cause, code) == (34, 503)
    assert goes_on(FailedLeg(provisional=False, sip_code=code, cause=cause))


async def test_a_trunk_that_asterisk_does_not_have_is_refused(desk: Desk) -> None:
    with pytest.raises(AsteriskFailed):
        await desk.place("unknown", Trunk(name="unknown", match=(NOBODY,), contact=f"sip:{NOBODY}"))
    assert goes_on(FailedLeg(provisional=False, refused=True))


async def test_a_dead_port_tells_nothing_and_ends_like_nobody_answering(
    desk: Desk, ari: Ari, asterisk: RunningAsterisk
) -> None:
    dead = Trunk(name="dead", match=(NOBODY,), contact=f"sip:{NOBODY}:5070")
    await asterisk.change_trunks([FIRST_TRUNK, dead])
    await desk.place("dead-leg", dead, seconds=3)
    await eventually(lambda: "dead-leg" in desk.names)
    assert await ari.variables("dead-leg", [ANYTHING_HEARD]) == {ANYTHING_HEARD: ""}
    # Only the dial time-out ends it, in the words of a telephone that nobody answers: hence our own timer.
    assert await desk.end_of("dead-leg") == (19, 480)
    assert not goes_on(FailedLeg(provisional=False, sip_code=480, cause=19))
    assert goes_on(FailedLeg(provisional=False, timed_out=True))


async def test_a_carrier_that_is_silent_is_not_heard(desk: Desk, ari: Ari, first: Carrier) -> None:
    shop = first.shop(SHOP, Silent())
    await desk.place("silent", FIRST_TRUNK)
    await shop.next_call()
    assert await ari.variables("silent", [ANYTHING_HEARD]) == {ANYTHING_HEARD: ""}


async def test_a_100_trying_is_heard_though_asterisk_has_no_event_for_it(
    desk: Desk, ari: Ari, asterisk: RunningAsterisk
) -> None:
    slow = Trunk(name="slow", match=(NOBODY,), contact=f"sip:{NOBODY}:5071")
    await asterisk.change_trunks([FIRST_TRUNK, slow])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as carrier:
        carrier.setblocking(False)
        carrier.bind((NOBODY, 5071))
        await desk.place("slow-leg", slow)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            invite, source = await loop.sock_recvfrom(carrier, 65535)
        kept = [line for line in invite.decode().split("\r\n") if re.match(r"(Via|From|To|Call-ID|CSeq):", line)]
        await loop.sock_sendto(carrier, "\r\n".join(["SIP/2.0 100 Trying", *kept, "", ""]).encode(), source)

        async def heard() -> bool:
            return bool((await ari.variables("slow-leg", [ANYTHING_HEARD]))[ANYTHING_HEARD])

        await eventually(heard)
        assert "slow-leg" not in desk.ended
        await ari.hang_up("slow-leg", 16)


async def test_a_telephone_that_rang_is_heard(desk: Desk, ari: Ari, second: Carrier) -> None:
    shop = second.shop(SHOP, NeverAnswers())
    await desk.place("rings", SECOND_TRUNK)
    await shop.next_call()

    async def heard() -> bool:
        return bool((await ari.variables("rings", [ANYTHING_HEARD]))[ANYTHING_HEARD])

    await eventually(heard)
