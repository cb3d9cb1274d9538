"""Telephones ring, one or several together, until one takes the call."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

from engine.calls.call import Call
from engine.calls.causes import ANSWERED_ELSEWHERE, NORMAL_CLEARING
from engine.calls.party import Party, Telephone
from engine.calls.steps.accept import accepts
from engine.calls.steps.invite import invite
from engine.calls.steps.whisper import whisper
from engine.cdr.model import Arrival, Direction, Result, Side
from engine.foundation.errors import NotAllowed
from engine.foundation.phone_number import check_target
from engine.numbers.treatment import CallerShown
from engine.routing.call_plan import Forward, Ring, Ringing

# Of several that rang together: what is nearest to an answer is what happened.
_NEAREST_FIRST = (Result.NOT_ACCEPTED, Result.NO_ANSWER, Result.BUSY, Result.REJECTED)


@dataclass(slots=True)
class _Contest:
    """Telephones that ring together: whoever takes the call first has it."""

    ringing: int
    winner: Party | None = None
    results: list[Result] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return self.winner is not None or len(self.results) == self.ringing

    @property
    def result(self) -> Result:
        return next((result for result in _NEAREST_FIRST if result in self.results), self.results[-1])


async def ring(call: Call, stage: Ring, plan: Forward, legs: Sequence[Party] = ()) -> Party | Result:
    """The target that took the call (it may have hung up since), or why nobody did. Raises CallerHungUp.

    In an earlier life of the engine it rang on `legs`, and somebody may have taken the call.
    """
    contest = _Contest(len(stage.targets), call.target)
    async with AsyncExitStack() as beside:
        for ringing in () if contest.over else stage.targets:
            own = [leg for leg in legs if leg.number == ringing.number]
            attempt = partial(_attempt, call, ringing, plan, contest, own)
            await beside.enter_async_context(call.meanwhile("target", attempt))
        await call.until(lambda: contest.over)
    cause = ANSWERED_ELSEWHERE if contest.winner else NORMAL_CLEARING
    others = [target for target in call.targets if target is not contest.winner and not target.gone]
    await asyncio.gather(*(call.drop(target, cause) for target in others))
    if contest.winner is None:
        return contest.result
    call.target = contest.winner
    call.notes.target = contest.winner.number
    call.keep()
    return contest.winner


async def _attempt(call: Call, ringing: Ringing, plan: Forward, contest: _Contest, legs: Sequence[Party]) -> None:
    """One telephone, until it has taken the call or will not any more."""
    result = Result.UNREACHABLE
    try:
        target = await dial(call, ringing, plan, legs)
        if isinstance(target, Result):
            result = target
        elif not plan.accept or await _takes(call, target, plan):
            contest.winner = contest.winner or target
        else:
            result = Result.REJECTED if target.gone else Result.NOT_ACCEPTED
            await call.drop(target)
    finally:
        contest.results.append(result)
        call.wake()
    if not contest.over:
        call.keep()


async def _takes(call: Call, target: Party, plan: Forward) -> bool:
    call.keep()
    await whisper(call, target, plan)
    return await accepts(call, target)


async def dial(call: Call, ringing: Ringing, plan: Forward, legs: Sequence[Party] = ()) -> Party | Result:
    """The target that answered, or why it did not; it may have been rung on `legs` already."""
    try:
        check_target(ringing.number)
    except NotAllowed:
        return Result.NOT_FORWARDABLE
    arrival = call.notes.arrival
    call.notes.target = ringing.number
    return await invite(call, telephone_of(ringing, plan, arrival), came_in_by=arrival.trunk, legs=legs)


def telephone_of(ringing: Ringing, plan: Forward, arrival: Arrival) -> Telephone:
    """Whom that rings for the call, and what it sees of it."""
    return Telephone(
        side=Side.TARGET,
        number=ringing.number,
        seconds=ringing.seconds,
        shown=arrival.number if plan.shown is CallerShown.NUMBER else arrival.caller,
        diverted_by=None if arrival.direction is Direction.OUTGOING else arrival.number,
    )
