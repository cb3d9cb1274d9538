"""The six calls: who calls, how the shop behaves, what the caller does, and what must come of it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from engine.cdr.model import Result
from engine.demo.shop import COUNTER, KITCHEN, LEAFLET, NOBODYS, ORDERS
from engine.foundation.phone_number import PhoneNumber
from engine.sandbox.caller import CallerLeg
from engine.sandbox.carrier import Carrier
from engine.sandbox.phone import Answers, Behaviour, Busy, NeverAnswers, TargetLeg

CALLERS_VOICE, SHOPS_VOICE = 500, 1100
"""Hz."""

_PATIENCE = 20.0

Finding = TypeVar("Finding")


@dataclass(frozen=True, slots=True)
class Script:
    """One call and what is expected of it."""

    title: str
    number: PhoneNumber
    target: PhoneNumber | None
    behaviour: Behaviour | None
    caller: Callable[[CallerLeg], Awaitable[None]]
    result: Result
    sip_answer: int
    heard: tuple[str, ...]
    """What the caller must hear, in this order and nothing else; names of `findings.SOUNDS`."""
    target_heard: tuple[str, ...] = ()
    recorded: bool = False
    message_sent: bool = False


@dataclass(frozen=True, slots=True)
class Placed:
    """A call that is over, with both telephones."""

    script: Script
    caller: CallerLeg
    target: TargetLeg | None


def _talks(seconds: float) -> Callable[[CallerLeg], Awaitable[None]]:
    async def talk(leg: CallerLeg) -> None:
        await leg.answered(within=_PATIENCE)
        await asyncio.sleep(seconds)
        await leg.hang_up()

    return talk


def _gives_up_after(seconds: float) -> Callable[[CallerLeg], Awaitable[None]]:
    async def give_up(leg: CallerLeg) -> None:
        await asyncio.sleep(seconds)
        await leg.cancel()

    return give_up


async def _waits(_leg: CallerLeg) -> None:
    """Hears it out."""


ANSWERED = Script(
    title="answered, whisper, recorded",
    number=ORDERS,
    target=KITCHEN,
    behaviour=Answers(after_seconds=2.2, tone=SHOPS_VOICE),
    caller=_talks(1.3),
    result=Result.ANSWERED,
    sip_answer=200,
    heard=("recording notice", "ringback", "shop"),
    target_heard=("whisper", "recording notice to the shop", "caller"),
    recorded=True,
    message_sent=True,
)
BUSY = Script("busy", LEAFLET, COUNTER, Busy(), _waits, Result.BUSY, 486, ())
NO_ANSWER = Script("no answer", LEAFLET, COUNTER, NeverAnswers(), _waits, Result.NO_ANSWER, 480, ("ringback",))
GAVE_UP = Script(
    title="caller gives up",
    number=LEAFLET,
    target=COUNTER,
    behaviour=NeverAnswers(),
    caller=_gives_up_after(2.0),
    result=Result.CALLER_GAVE_UP,
    sip_answer=487,
    heard=("ringback",),
)
NOT_IN_SERVICE = Script(
    "number not in service", NOBODYS, None, None, _waits, Result.NOT_IN_SERVICE, 404, ("not in service",)
)
AGAIN = Script(
    title="same caller again",
    number=LEAFLET,
    target=COUNTER,
    behaviour=Answers(after_seconds=0.4, tone=SHOPS_VOICE),
    caller=_talks(1.2),
    result=Result.ANSWERED,
    sip_answer=200,
    heard=("ringback", "shop"),
    target_heard=("whisper", "caller"),
)
SIX = (ANSWERED, BUSY, NO_ANSWER, GAVE_UP, NOT_IN_SERVICE, AGAIN)


async def place_six(
    carrier: Carrier,
    find_out: Callable[[Placed], Awaitable[Finding]],
    message_is_out: Callable[[Placed], Awaitable[None]],
) -> tuple[Finding, ...]:
    """Places the calls, those that do not depend on each other at the same time; the findings in the order of SIX.

    The three calls at the counter follow each other. The last one also waits for `message_is_out`: it is there to
    show that the same caller gets no second message.
    """
    regular = new_caller()
    over = {script.title: asyncio.Event() for script in SIX}

    async def turn(script: Script, from_number: str, *after: Script) -> Finding:
        for earlier in after:
            await over[earlier.title].wait()
        placed = await place(carrier, script, from_number)
        if script is ANSWERED:
            await message_is_out(placed)
        over[script.title].set()
        return await find_out(placed)

    return await asyncio.gather(
        turn(ANSWERED, regular),
        turn(BUSY, new_caller()),
        turn(NO_ANSWER, new_caller(), BUSY),
        turn(GAVE_UP, new_caller(), NO_ANSWER),
        turn(NOT_IN_SERVICE, new_caller()),
        turn(AGAIN, regular, ANSWERED, GAVE_UP),
    )


async def place(carrier: Carrier, script: Script, from_number: str) -> Placed:
    """One call, from its INVITE to its end at both telephones. Raises GaveUp or Conflict when it does not end."""
    shop = carrier.shop(script.target, script.behaviour) if script.target and script.behaviour else None
    leg = await carrier.call(script.number, from_number=from_number, tone=CALLERS_VOICE)
    await script.caller(leg)
    await leg.ended(_PATIENCE)
    target = shop.calls[-1] if shop and shop.calls else None
    if target:
        await target.ended(_PATIENCE)
    return Placed(script, leg, target)


def new_caller() -> str:
    """A mobile number that has not called before: the repeat window remembers callers over demos."""
    return f"010{2 + secrets.randbelow(8)}{secrets.randbelow(10**7):07}"
