"""A call that we place begins: click-to-call, a call back, a test call.

Whoever asked for the call is rung first and has the caller's place in it; only when that party has answered is the
other one rung, so that nobody picks up a call with nobody in it. From there on it goes as an incoming call does.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.calls.call import Call
from engine.calls.notes import Moment
from engine.calls.party import Party, Telephone
from engine.calls.steps.invite import invite
from engine.cdr.model import Arrival, Result, Side

RINGS_FOR = 30
"""Seconds for which the first party rings: whoever asked for the call expects it."""


def waiting_to_be_rung(arrival: Arrival, moment: Moment) -> Party:
    """The first party before its INVITE goes out: it has no channel yet."""
    return Party(Side.CALLER, arrival.channel, "", arrival.trunk, arrival.caller, moment)


async def first_answers(call: Call, legs: Sequence[Party] = ()) -> bool:
    """Rings the first party, which it may have on `legs` already. False: it did not answer, and the call is over."""
    arrival = call.notes.arrival
    assert arrival.caller is not None  # noqa: S101 - an order has one
    first = Telephone(side=Side.CALLER, number=arrival.caller, seconds=RINGS_FOR, shown=arrival.number)
    reached = await invite(call, first, came_in_by=None, legs=legs)
    if isinstance(reached, Result):
        call.notes.conclude(reached, Side.CALLER if call.caller.hung_up else Side.DARI)
    return isinstance(reached, Party)
