"""What is too much is refused in the dialplan; calls in progress and calls with room go on."""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections.abc import AsyncIterator

import pytest

from engine.asterisk.commands import Ari
from engine.foundation.tasks import Tasks
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.ear import tones
from engine.sandbox.phone import Answers
from engine.trunks.model import Trunk
from engine.trunks.overload import Overload, keep_finding
from engine.trunks.rate_control import LOOK_EVERY
from tests.asterisk.trunks.desk import FIRST_TRUNK, NUMBER, SECOND_TRUNK, SHOP, Desk
from tests.eventually import eventually
from tests.overloaded import overloaded
from tests.real_asterisk import CallLine, RunningAsterisk

SWITCHING_EQUIPMENT_CONGESTION = 42


@pytest.fixture(autouse=True)
async def no_limit_afterwards(ari: Ari) -> AsyncIterator[None]:
    yield
    await Overload(ari.set_global, lambda: [FIRST_TRUNK, SECOND_TRUNK], 0, 0).set_now()


def limited(trunk: Trunk, most: int) -> Trunk:
    return Trunk(name=trunk.name, match=trunk.match, contact=trunk.contact, max_calls=most)


async def called(carrier: Carrier, calls: int) -> tuple[list[CallerLeg], list[CallerLeg]]:
    """So many calls, one after the other, which stay: those that were answered, and those that were refused."""
    legs = []
    for _ in range(calls):
        leg = await carrier.call(NUMBER)
        legs.append(leg)
        await eventually(lambda leg=leg: leg.answered_at is not None or leg.is_over)
    return [leg for leg in legs if not leg.is_over], [leg for leg in legs if leg.is_over]


def refused_at_once(leg: CallerLeg) -> bool:
    """With the code, the reason and nothing to hear."""
    reason = leg.reason
    return (
        leg.final_code == 503
        and reason is not None
        and reason.cause == SWITCHING_EQUIPMENT_CONGESTION
        and not leg.provisionals
        and not leg.party.first_packet()
    )


async def test_as_long_as_no_engine_sets_a_limit_there_is_none(desk: Desk, first: Carrier) -> None:
    answered, refused = await called(first, 12)
    assert (len(answered), len(refused)) == (12, 0)


async def test_of_twelve_calls_five_have_room_and_go_on_unharmed(
    desk: Desk, ari: Ari, asterisk: RunningAsterisk, first: Carrier
) -> None:
    await Overload(ari.set_global, lambda: [FIRST_TRUNK], 5, 0).set_now()
    before = len(written_as_refused(asterisk))
    answered, refused = await called(first, 12)
    assert (len(answered), len(refused)) == (5, 7)
    await eventually(lambda: len(written_as_refused(asterisk)) == before + 7)
    assert all(map(refused_at_once, refused))
    one, other, *_ = answered
    await desk.bring_together("talk", 5)
    one.say(700)
    assert not (await called(first, 3))[0]
    await eventually(lambda: any(heard.what == "700 Hz" for heard in tones(other.recording, [500, 700])))
    assert not any(leg.is_over for leg in answered)
    for leg in answered:
        await leg.hang_up()
    assert [len(part) for part in await called(first, 5)] == [5, 0]


async def test_a_full_trunk_refuses_while_another_has_room(
    desk: Desk, ari: Ari, first: Carrier, second: Carrier
) -> None:
    await Overload(ari.set_global, lambda: [FIRST_TRUNK, limited(SECOND_TRUNK, 2)], 0, 0).set_now()
    answered, refused = await called(second, 4)
    assert (len(answered), len(refused)) == (2, 2)
    assert all(map(refused_at_once, refused))
    assert [len(part) for part in await called(first, 4)] == [4, 0]


async def test_calls_that_we_place_count_on_their_trunk(desk: Desk, ari: Ari, first: Carrier) -> None:
    await Overload(ari.set_global, lambda: [limited(FIRST_TRUNK, 2)], 0, 0).set_now()
    first.shop(SHOP, Answers())
    await desk.place("out", FIRST_TRUNK)
    await eventually(lambda: "out" in desk.answered)
    assert [len(part) for part in await called(first, 3)] == [1, 2]


async def test_a_limit_that_is_raised_or_removed_counts_at_once(desk: Desk, ari: Ari, first: Carrier) -> None:
    trunks = [limited(FIRST_TRUNK, 1)]
    overload = Overload(ari.set_global, lambda: trunks, 0, 0)
    await overload.set_now()
    assert [len(part) for part in await called(first, 2)] == [1, 1]
    trunks[:] = [limited(FIRST_TRUNK, 3)]
    await overload.set_now()
    assert [len(part) for part in await called(first, 3)] == [2, 1]
    trunks.clear()
    await overload.set_now()
    assert [len(part) for part in await called(first, 3)] == [3, 0]


async def test_more_calls_in_a_second_than_the_limit_are_refused(desk: Desk, ari: Ari, first: Carrier) -> None:
    await Overload(ari.set_global, lambda: [FIRST_TRUNK], 0, 2).set_now()
    began = int(time.time())
    answered, refused = await called(first, 60)
    seconds = int(time.time()) - began + 1
    assert 2 <= len(answered) <= 2 * seconds
    assert refused
    assert all(map(refused_at_once, refused))


async def test_the_calls_of_a_second_are_let_in_as_it_passes(desk: Desk, ari: Ari, first: Carrier) -> None:
    """Together at its beginning they would keep each other waiting."""
    limit, let_in = 40, list[tuple[float, int]]()
    await Overload(ari.set_global, lambda: [FIRST_TRUNK], 0, limit).set_now()
    began = math.ceil(time.time()) + 1
    await asyncio.sleep(began - time.time())
    while time.time() < began + 1.0:
        answered, _ = await called(first, 1)
        if time.time() < began + 1.0:
            let_in.append((time.time() - began, len(answered)))
    so_far = list(itertools.accumulate(count for _, count in let_in))
    assert all(count <= limit * (1 / 16 + passed) + 4 for (passed, _), count in zip(let_in, so_far, strict=True))
    assert so_far[-1] <= limit
    assert so_far[-1] >= min(limit, len(let_in)) * 0.8, "none but those too many are refused"


async def test_what_is_found_out_is_refused_until_it_is_over(desk: Desk, ari: Ari, first: Carrier) -> None:
    control = overloaded(time.monotonic())
    tasks = Tasks("test")
    tasks.start("finding", keep_finding(control, 1, ari.set_global, time.monotonic))
    try:
        answered, refused = await called(first, 60)
        assert answered
        assert refused
        assert all(map(refused_at_once, refused))
        await eventually(lambda: control.limit is None)
        await asyncio.sleep(2 * LOOK_EVERY)
        assert [len(part) for part in await called(first, 12)] == [12, 0]
    finally:
        await tasks.close()


async def test_calls_of_the_same_instant_have_every_place_that_there_is(desk: Desk, ari: Ari, first: Carrier) -> None:
    await Overload(ari.set_global, lambda: [FIRST_TRUNK], 5, 0).set_now()
    legs = await asyncio.gather(*(first.call(NUMBER) for _ in range(12)))
    await eventually(lambda: all(leg.answered_at is not None or leg.is_over for leg in legs))
    assert sum(not leg.is_over for leg in legs) >= 5
    assert not (await called(first, 1))[0]


async def test_an_asterisk_without_an_engine_keeps_its_limit(ari: Ari, first: Carrier) -> None:
    await Overload(ari.set_global, lambda: [limited(FIRST_TRUNK, 1)], 0, 0).set_now()
    told = await first.call(NUMBER)
    assert await told.provisional() == 183
    refused = await first.call(NUMBER)
    await refused.ended()
    assert refused_at_once(refused)
    assert not told.is_over
    await told.cancel()


def written_as_refused(asterisk: RunningAsterisk) -> list[CallLine]:
    return [line for line in asterisk.lines() if (line.engine, line.cause) == ("FULL", "42")]
