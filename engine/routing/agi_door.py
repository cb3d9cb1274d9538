"""The FastAGI door (C23): an operator's own dialplan asks for the route, the decision or the announcement of a number.

It then acts by itself. Answers are channel variables; README.md lists them. The number is `?number=` in the address, or
else the extension that was dialled; the caller is `?caller=`, or else the channel's caller id.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from engine.asterisk.agi import AgiRequest, Script, agi_server, exact, words
from engine.cdr.model import Result
from engine.foundation.clock import Clock
from engine.foundation.errors import Invalid, TryLater
from engine.foundation.phone_number import PhoneNumber, national
from engine.numbers.treatment import CallerShown, Failure
from engine.prompts.catalogue import path_of
from engine.routing.call_plan import Announce, CallPlan, Forward, Ring, Say, SendText, Voicemail
from engine.routing.model import Line
from engine.routing.way_out import gone_through

MOST_STAGES = 20
"""Ringing stages that are told; a chain that is longer is cut."""


@dataclass(frozen=True, slots=True)
class Lookups:
    """What the door asks."""

    known: Callable[[], bool]
    """Whether the numbers were read yet: before, none can be said to be out of service."""
    find: Callable[[PhoneNumber], Line | None]
    plan: Callable[[Line | None, PhoneNumber | None, datetime], Awaitable[CallPlan]]
    """The plan that a call would get, its past looked up."""
    cause: Callable[[Result], int]
    """The Q.850 cause with which a call that ends so is refused."""
    spoken: Callable[[str], str | None] = lambda _text: None
    """The sound that a whisper's text has become already (`Speech.ready`); None: it is left out."""


@asynccontextmanager
async def agi_door(
    host: str, port: int, lookups: Lookups, sounds: Path, clock: Clock, seconds: float
) -> AsyncIterator[tuple[str, int]]:
    """Answers dialplans while the block runs; gives the address. `sounds` is the folder as Asterisk sees it."""
    scripts = scripts_of(lookups, sounds, clock)
    async with agi_server(host, port, scripts, seconds) as bound:
        yield bound


def scripts_of(lookups: Lookups, sounds: Path, clock: Clock) -> dict[str, Script]:
    """What a dialplan may ask, by name."""

    async def planned(request: AgiRequest) -> tuple[CallPlan, PhoneNumber | None, PhoneNumber | None]:
        number = national(request.query.get("number") or request.facts.get("agi_extension", ""))
        caller = _caller(request)
        if not lookups.known():
            raise TryLater("the numbers are not known yet; try again in a moment")
        line = lookups.find(number) if number else None
        return await lookups.plan(line, caller, clock.now()), number, caller

    async def route(request: AgiRequest) -> Mapping[str, str]:
        plan, number, caller = await planned(request)
        told = route_of(plan, number, caller, sounds) | whisper_of(plan, lookups.spoken, sounds)
        return told | refusal_of(plan, None, lookups.cause)

    async def decision(request: AgiRequest) -> Mapping[str, str]:
        plan, _, _ = await planned(request)
        return decision_of(plan)

    async def announcement(request: AgiRequest) -> Mapping[str, str]:
        plan, _, _ = await planned(request)
        failure = _failure(request.query.get("failure", ""))
        return announcement_of(plan, failure, sounds) | refusal_of(plan, failure, lookups.cause)

    return {"route": route, "decision": decision, "announcement": announcement}


def decision_of(plan: CallPlan) -> dict[str, str]:
    """Whether the call is forwarded or refused with an announcement, and by which rule."""
    told = {"DARI_WHY": words(_why(plan))}
    if isinstance(plan, Announce):
        return told | {"DARI_DECISION": "announce", "DARI_RESULT": plan.result.value}
    before = plan.failed_before
    return told | {"DARI_DECISION": "forward", "DARI_RESULT": before.value if before else ""}


def announcement_of(plan: CallPlan, failure: Failure | None, sounds: Path) -> dict[str, str]:
    """What the caller hears when nobody is rung, or when nobody took the call, all failing so; empty: nothing."""
    heard: tuple[str, ...] = ()
    if isinstance(plan, Announce):
        heard = (plan.sound,)
    elif gone := gone_through(plan, failure or plan.failed_before or Failure.NO_ANSWER):
        match plan.stages[gone[-1]]:
            case Say(sounds=said):
                heard = said
            case Voicemail(greeting=sound) | SendText(sound=sound):
                heard = (sound,)
            case Ring():
                pass
    return {"DARI_SOUND": _paths(heard, sounds)}


def refusal_of(plan: CallPlan, failure: Failure | None, cause: Callable[[Result], int]) -> dict[str, str]:
    """The Q.850 cause for hanging up a call that nobody took."""
    if isinstance(plan, Announce):
        result = plan.result
    else:
        result = Result((failure or plan.failed_before or Failure.NO_ANSWER).value)
    return {"DARI_CAUSE": str(cause(result))}


def route_of(plan: CallPlan, number: PhoneNumber | None, caller: PhoneNumber | None, sounds: Path) -> dict[str, str]:
    """All that a dialplan needs to treat the call as Dari would."""
    told = decision_of(plan) | announcement_of(plan, None, sounds)
    stages = [stage for stage in plan.stages if isinstance(stage, Ring)] if isinstance(plan, Forward) else []
    told["DARI_STAGES"] = str(len(stages[:MOST_STAGES]))
    for place, stage in enumerate(stages[:MOST_STAGES], 1):
        told |= _stage(place, stage)
    told["DARI_TARGETS"] = told.get("DARI_TARGETS_1", "")
    told["DARI_RING_SECONDS"] = told.get("DARI_RING_SECONDS_1", "")
    if isinstance(plan, Forward):
        shown = number if plan.shown is CallerShown.NUMBER else caller
        told |= {
            "DARI_SHOWN": exact(shown or "", "caller"),
            "DARI_NOTICES": _paths([notice.sound for notice in plan.notices], sounds),
            "DARI_RINGBACK": _paths(plan.ringback, sounds),
            "DARI_ACCEPT": "yes" if plan.accept else "no",
            "DARI_RECORDING": plan.recording.value,
        }
    return told


def whisper_of(plan: CallPlan, spoken: Callable[[str], str | None], sounds: Path) -> dict[str, str]:
    """What the target alone hears; empty: nothing. A text is told only when it has been spoken already."""
    whisper = plan.whisper if isinstance(plan, Forward) else None
    if whisper is None:
        return {"DARI_WHISPER": ""}
    sound = (spoken(whisper.text) if whisper.text else None) or whisper.sound
    return {"DARI_WHISPER": _paths([sound] if sound else [], sounds)}


def _stage(place: int, stage: Ring) -> dict[str, str]:
    """Which telephones ring together, for how long, and after which failures."""
    failures = [failure.value for failure in Failure if stage.on is not None and failure in stage.on]
    return {
        f"DARI_TARGETS_{place}": "&".join(exact(one.number, "target") for one in stage.targets),
        f"DARI_RING_SECONDS_{place}": str(max(one.seconds for one in stage.targets)),
        f"DARI_AFTER_{place}": "&".join(failures),
        f"DARI_FOLLOWS_{place}": "yes" if stage.follows else "no",
    }


def _paths(names: tuple[str, ...] | list[str], sounds: Path) -> str:
    """Sounds as Playback takes them: paths without ending, by `&`."""
    return "&".join(exact(str(path_of(name, sounds).with_suffix("")), "sound") for name in names)


def _why(plan: CallPlan) -> str:
    """The rules that held, and the functions that are off and would be needed."""
    held = [f"{one.rule}: {one.why}" for one in plan.asked if one.holds]
    off = [f" - switched off: {module.value}" for module in plan.switched_off]
    return ("; ".join(held) or "no rule held") + "".join(off)


_DIALSTATUS = {
    "BUSY": Failure.BUSY,
    "NOANSWER": Failure.NO_ANSWER,
    "CHANUNAVAIL": Failure.UNREACHABLE,
    "CONGESTION": Failure.UNREACHABLE,
    "CANCEL": Failure.NO_ANSWER,
}


def _failure(told: str) -> Failure | None:
    """How Dial failed, in its own word (DIALSTATUS) or in ours. Raises Invalid for any other."""
    if not told:
        return None
    try:
        return _DIALSTATUS.get(told) or Failure(told.replace("_", " "))
    except ValueError:
        raise Invalid(f"failure: it must be DIALSTATUS or one of {', '.join(one.value for one in Failure)}") from None


def _caller(request: AgiRequest) -> PhoneNumber | None:
    """The caller; None when withheld, absent or no dialable number."""
    if sent := request.query.get("caller"):
        caller = national(sent)
    else:
        caller = None if _withheld(request.facts) else national(request.facts.get("agi_callerid", ""))
    return caller if caller and 3 <= len(caller) <= 15 else None


def _withheld(facts: Mapping[str, str]) -> bool:
    """Asterisk's presentation byte: 0x20 in 0x60 is "prohibited" (Q.951)."""
    told = facts.get("agi_callingpres", "0")
    return told.isascii() and told.isdigit() and int(told) & 0x60 == 0x20
