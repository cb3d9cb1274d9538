"""An incoming call, from ringing to hung up. Read this file and you know what the engine does.

The caller hears everything before the connection as early media: the call is answered (200 OK, and with it charged)
only when the target has answered and has been told what it must be told.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial

from engine.calls.call import PLAIN, Call
from engine.calls.causes import failure_of
from engine.calls.party import Party
from engine.calls.state import CallState
from engine.calls.steps.announcement import announce
from engine.calls.steps.connect import WITH_KEYS, connect, until_arrival_is_safe, until_somebody_hangs_up
from engine.calls.steps.consent import offer_after_talk
from engine.calls.steps.dial import ring
from engine.calls.steps.follow import follow
from engine.calls.steps.recording import Recording
from engine.calls.steps.voicemail import leave_message
from engine.calls.steps.waiting import PlanAt, Waiting
from engine.calls.steps.whisper import speaking, whisper
from engine.cdr.model import Result, Side
from engine.numbers.treatment import RecordMode
from engine.routing.call_plan import Announce, CallPlan, Forward, Ring, Say, SendText, Stage, Voicemail, next_stage


@dataclass(frozen=True, slots=True)
class Place:
    """Where in its plan a call goes on."""

    stage: int | None = None
    """None: with the first that fits."""
    failure: Result | None = None
    """How the stage before that ended."""
    legs: tuple[Party, ...] = ()
    """On which that stage has rung already, in an earlier life of the engine."""


BEGINNING = Place()


@dataclass(frozen=True, slots=True)
class Ready:
    """A target that may be connected: it took the call and has been told what it must be told."""

    target: Party
    recording: Recording


@dataclass(frozen=True, slots=True)
class Nobody:
    """Nobody took the call. `instead` is what the plan has for that; None: the bare refusal."""

    result: Result
    instead: Stage | None = None


async def incoming(call: Call, plan: CallPlan, plan_at: PlanAt, place: Place = BEGINNING) -> None:
    """Takes `call` through its plan from `place` on; `plan_at` gives that of a later instant. Raises CallerHungUp."""
    take_down(call, plan)
    match plan:
        case Announce():
            await announce(call, (plan.sound,), plan.result)
        case Forward():
            await forward(call, plan, plan_at, place)


async def forward(call: Call, plan: Forward, plan_at: PlanAt, place: Place) -> None:
    """Ringback while targets ring, whisper to the one that takes the call, then answer and connect."""
    call.move(CallState.RINGING)
    await go_through(call, plan, plan_at, place)


async def directly(call: Call, plan: Forward, plan_at: PlanAt, target: Party, stage: int) -> None:
    """The dialplan rings that target, the only one of its stage, and connects the two; what it cannot do is done here.

    The plan is taken down already. Raises CallerHungUp.
    """
    if await follow(call, plan, target, stage):
        await converse(call, plan, Ready(target, Recording(call, plan, target)))
    else:
        await go_through(call, plan, plan_at, Place(stage, None, (target,)))


async def go_through(call: Call, plan: Forward, plan_at: PlanAt, place: Place) -> None:
    """The stages from `place` on, and what comes after them."""
    reached = await reach(call, plan, plan_at, place)
    if isinstance(reached, Nobody):
        await refuse(call, reached)
        return
    await connect(call, reached.target)
    await converse(call, plan, reached)


async def converse(call: Call, plan: Forward, ready: Ready) -> None:
    """The talk, and what is offered to a caller who stays on when it is over."""
    await talk(call, ready)
    if plan.consent is not None and ready.target.gone:
        await offer_after_talk(call, plan.consent)


async def talk(call: Call, ready: Ready) -> None:
    """From the connection until somebody hangs up; meanwhile its recording may be switched."""
    call.recording = ready.recording
    try:
        await ready.recording.talk_begins()
        call.keep()
        async with _following_keys(call, ready):
            await until_somebody_hangs_up(call, ready.target)
    finally:
        ready.recording.talk_ends()
        call.recording = None


async def reach(call: Call, plan: Forward, plan_at: PlanAt, place: Place) -> Ready | Nobody:
    """The stages in their order, until somebody takes the call or one of them is its end."""
    result = place.failure or (Result.OVER_LIMIT if plan.failed_before else Result.UNREACHABLE)
    waiting = Waiting(call, plan, plan_at)
    at = next_stage(plan.stages, None, plan.failed_before) if place.stage is None else place.stage
    legs = place.legs
    async with call.meanwhile("waiting", waiting.hear), speaking(call, plan.whisper):
        while at is not None:
            stage = plan.stages[at]
            if not isinstance(stage, Ring):
                await waiting.end()
                return Nobody(result, stage)
            taken = await ring(call, stage, plan, legs)
            if isinstance(taken, Result):
                result = taken
            elif recording := await make_ready(call, taken, plan, waiting):
                return Ready(taken, recording)
            else:
                result = Result.REJECTED
            at, legs = next_stage(plan.stages, at, failure_of(result)), ()
            if at is not None:
                call.begin_stage(at, result)
    return Nobody(result)


def _following_keys(call: Call, ready: Ready) -> AbstractAsyncContextManager[None]:
    """Does what the called party's keys say about the recording, where they say anything."""
    if ready.recording.state == "none":
        return nullcontext()
    return call.meanwhile("recording keys", partial(ready.recording.follow_keys, ready.target))


async def make_ready(call: Call, target: Party, plan: Forward, waiting: Waiting) -> Recording | None:
    """Whisper to the target alone while the caller waits; None when the target hung up meanwhile."""
    call.move(CallState.WHISPERING)
    if not plan.accept:  # else it heard all that before it pressed 1
        await whisper(call, target, plan)
    await waiting.until_ready_to_connect(target)
    if not target.gone:
        await until_arrival_is_safe(call)
        if not target.gone:
            return Recording(call, plan, target)
    call.target = None
    call.move(CallState.RINGING)
    waiting.next_target_rings()
    return None


async def refuse(call: Call, nobody: Nobody) -> None:
    """What the caller hears, leaves or gets instead, and the refusal."""
    match nobody.instead:
        case Say(sounds=sounds):
            await call.stop_music()
            await announce(call, sounds, nobody.result)
        case Voicemail(greeting=greeting):
            await call.stop_music()
            await leave_message(call, greeting)
        case SendText(sound=sound, text=text):
            call.notes.text_only = text
            await call.stop_music()
            await announce(call, (sound,), nobody.result)
        case _:
            last = call.targets[-1] if call.targets else None
            call.notes.conclude(nobody.result, Side.TARGET if last is not None and last.hung_up else Side.DARI)


def take_down(call: Call, plan: CallPlan) -> None:
    """What the call's record keeps of its plan, and its journal all of it."""
    if isinstance(plan, Forward):
        call.bridge_kind = bridge_for(plan)
    call.notes.new_plan = plan
    call.notes.rules = plan.rules
    call.notes.callback = plan.callback if isinstance(plan, Forward) else None


def bridge_for(plan: Forward) -> str:
    """Keys need to be told where they may switch the recording."""
    return PLAIN if plan.recording is RecordMode.NEVER else WITH_KEYS
