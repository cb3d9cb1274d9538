"""Two sides compared in turns, both open all the time: a machine that becomes slower meanwhile does so for both."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

from tests.bench.figures import Delays, delays
from tests.bench.load import callers
from tests.bench.measuring import AT_REST, until_quiet
from tests.bench.progress import Say
from tests.bench.sides.goals import COMPARED_AT
from tests.bench.sides.probe import Probed
from tests.bench.sides.taker import Room, Side, Taker
from tests.bench.sides.trial import answered, offered, probing

TURNS, TURN = 6, 12.0
"""Of each side, and seconds of one."""
_SETTLE = 8.0


def turns_seconds(sides: Sequence[Side]) -> float:
    """Where nothing is unusual."""
    return sum(side.opens_in + _SETTLE + TURNS * (TURN + side.hold + _SETTLE / 2) for side in sides)


async def in_turns(sides: Sequence[Side], networks: Sequence[str], say: Say) -> list[Delays]:
    """INVITE to 200 of each side at COMPARED_AT calls a second, of all its turns together."""
    async with AsyncExitStack() as stack:
        takers: list[Taker] = []
        for side, network in zip(sides, networks, strict=True):

            def tell(step: str, seconds: float | None = None, *, heading: str = f"{side.name}: ") -> None:
                say(heading + step, seconds)

            taker = await stack.enter_async_context(side.opens(Room(network, tell, {})))
            await until_quiet(taker.parts(), AT_REST)
            await stack.enter_async_context(answered(side, taker))
            takers.append(taker)
        found = [Probed() for _ in sides]
        for turn in range(TURNS):
            for side, taker, told in zip(sides, takers, found, strict=True):
                say(f"{side.name}: {COMPARED_AT:g} calls a second, turn {turn + 1} of {TURNS}", TURN)
                await _turn(side, taker, told)
    return [delays(told.answer) for told in found]


async def _turn(side: Side, taker: Taker, told: Probed) -> None:
    trickle, load = offered(COMPARED_AT, TURN, side)
    async with callers(taker.place(), load, with_sound=side.with_sound) as calling, probing(side, taker) as probe:
        await asyncio.gather(probe.calls(trickle, into=told), calling.wait())
    await until_quiet(taker.parts(), AT_REST, _SETTLE)
