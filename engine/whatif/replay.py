"""Past calls against other rules: which of them would have gone otherwise, and in what.

Compared are the plans under the rules as they are and under the other ones, each at the call's own instant with the
past that it had then. What really happened is asked for one thing only: whether the call was answered, and how long the
talk was, which the decision about the message goes by.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from engine.callbacks.decision import EndedCall, SendMessage, foreseen
from engine.callbacks.evidence import Evidence
from engine.callbacks.gather_evidence import evidence_then
from engine.calls.causes import failure_of
from engine.cdr.model import CallRecord, Result
from engine.cdr.past import arrived
from engine.foundation.phone_number import PhoneNumber, written
from engine.numbers.treatment import Failure, Treatment
from engine.routing.call_plan import Announce, CallPlan, Forward, Ring, Say, SendText, Stage, Voicemail
from engine.routing.current_prompts import with_current_prompts
from engine.routing.history import needs_history
from engine.routing.model import Line, Rule
from engine.routing.plan import plan
from engine.routing.way_out import gone_through
from engine.whatif.past import history_at

NONE = "none"
_MESSAGE_AFTER = timedelta(seconds=1)
_FAILED = frozenset(
    {Result.BUSY, Result.NO_ANSWER, Result.UNREACHABLE, Result.REJECTED, Result.NOT_ACCEPTED, Result.CONGESTION}
    | {Result.VOICEMAIL, Result.OVER_LIMIT}
)


class RuleSet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a number shall be tried with; what is not said stays as it is."""

    treatment: Treatment | None = None
    rules: tuple[Rule, ...] | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that would have been otherwise, in words."""

    setting: str
    before: str
    after: str


class ChangedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A past call that would have gone otherwise."""

    call_id: UUID
    arrived_at: datetime
    number: PhoneNumber
    caller: PhoneNumber | None
    result: Result
    """How it really ended."""
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Tried:
    """A number as it is, and as it is tried."""

    before: Line
    after: Line


def tried_with(line: Line, wanted: RuleSet) -> Tried:
    """The line, and the same with the other rules."""
    number = line.number
    if wanted.treatment is not None:
        number = msgspec.structs.replace(number, treatment=wanted.treatment)
    rules = line.rules if wanted.rules is None else wanted.rules
    return Tried(line, with_current_prompts(replace(line, number=number, rules=rules)))


async def replay(
    connection: AsyncConnection,
    lines: Mapping[PhoneNumber, Tried],
    since: datetime,
    until: datetime,
    ring_seconds: int,
) -> AsyncGenerator[tuple[int, list[ChangedCall]], None]:
    """Page by page, oldest first: how many calls were looked at, and those of them that would have gone otherwise."""
    async for page in arrived(connection, lines, since, until):
        changed: list[ChangedCall] = []
        for call in page:
            if call.number is None:
                continue
            changes = await _changes(connection, call, lines[call.number], ring_seconds)
            if changes:
                changed.append(_changed(call, call.number, changes))
        yield len(page), changed


async def _changes(
    connection: AsyncConnection, call: CallRecord, tried: Tried, ring_seconds: int
) -> tuple[Change, ...]:
    # One past for both: a line that does not look back goes by nothing in it.
    asked = tried.after if needs_history(tried.after) else tried.before
    history = await history_at(connection, asked, call.caller, call.arrived_at)
    before, after = (
        plan(line, call.caller, call.arrived_at, history, ring_seconds) for line in (tried.before, tried.after)
    )
    changes = differences(before, after)
    sender = tried.before.number.sender
    evidence = Evidence({sender} if sender else set())
    if _messages(call, tried, before, after, evidence):
        # They differ if nothing was sent before. Only now is it worth asking whether something was.
        evidence = await evidence_then(connection, call, tried.before.number)
        changes += _messages(call, tried, before, after, evidence)
    return changes


def differences(before: CallPlan, after: CallPlan) -> tuple[Change, ...]:
    """What a call would go through otherwise, setting by setting. Pure."""
    if isinstance(before, Forward) and isinstance(after, Forward):
        told = [(setting, say(before), say(after)) for setting, say in _SETTINGS.items()]
    else:
        told = [("whether it rings", _whole(before), _whole(after))]
    return tuple(Change(setting=setting, before=was, after=is_now) for setting, was, is_now in told if was != is_now)


def message_after(call: CallRecord, line: Line, made: CallPlan, evidence: Evidence) -> str:
    """What would be sent after a past call under that plan, in words. Pure."""
    if isinstance(made, Announce):
        return NONE
    if call.result is Result.ANSWERED:
        record = msgspec.structs.replace(call, callback=made.callback, text_only=None)
    elif call.result in _FAILED:
        record = msgspec.structs.replace(call, callback=made.callback, text_only=_promised(made, call.result))
    elif call.result is Result.CALLER_GAVE_UP:
        return NONE
    else:
        return "not known: it rang nobody then"
    ended = EndedCall(record, line.number, evidence.senders, line.account.off)
    decided = foreseen(ended, evidence.last_at, call.ended_at + _MESSAGE_AFTER)
    sent = [f"“{wish.text}”" for wish, decision in decided if isinstance(decision, SendMessage)]
    return " and ".join(sent) or NONE


def _messages(
    call: CallRecord, tried: Tried, before: CallPlan, after: CallPlan, evidence: Evidence
) -> tuple[Change, ...]:
    was = message_after(call, tried.before, before, evidence)
    is_now = message_after(call, tried.after, after, evidence)
    return (Change(setting="message", before=was, after=is_now),) if was != is_now else ()


def _promised(made: Forward, result: Result) -> str | None:
    """The message that a caller is promised whose call failed so."""
    gone = gone_through(made, failure_of(result))
    last = made.stages[gone[-1]] if gone else None
    return last.text if isinstance(last, SendText) else None


def _changed(call: CallRecord, number: PhoneNumber, changes: tuple[Change, ...]) -> ChangedCall:
    return ChangedCall(
        call_id=call.call_id,
        arrived_at=call.arrived_at,
        number=number,
        caller=call.caller,
        result=call.result,
        changes=changes,
    )


def _whole(made: CallPlan) -> str:
    if isinstance(made, Announce):
        return f"{made.sound}, {made.result.value}"
    return _rings(made)


def _rings(made: Forward) -> str:
    rings = [_ring(stage) for stage in made.stages if isinstance(stage, Ring)]
    return ", then ".join(rings) or "nobody"


def _ring(stage: Ring) -> str:
    together = " and ".join(f"{written(one.number)} for {one.seconds} s" for one in stage.targets)
    return together + _after(stage.on)


def _after(on: frozenset[Failure] | None) -> str:
    return "" if on is None else f" (after {', '.join(failure.value for failure in Failure if failure in on)})"


def _if_nobody(made: Forward) -> str:
    return "; ".join(_end(stage) for stage in made.stages if not isinstance(stage, Ring)) or NONE


def _end(stage: Stage) -> str:
    match stage:
        case Say():
            what = ", ".join(stage.sounds)
        case Voicemail():
            what = f"voicemail {stage.greeting}"
        case SendText():
            what = f"{stage.sound} and the text “{stage.text}”"
        case Ring():
            what = _ring(stage)
    return what + _after(stage.on)


def _whisper(made: Forward) -> str:
    if made.whisper is None:
        return NONE
    return f"“{made.whisper.text}”" if made.whisper.text else made.whisper.sound or NONE


_SETTINGS: dict[str, Callable[[Forward], str]] = {
    "rings": _rings,
    "if nobody answers": _if_nobody,
    "over the limit": lambda made: "yes" if made.failed_before else "no",
    "notices": lambda made: ", ".join(notice.sound for notice in made.notices) or NONE,
    "ringback": lambda made: ", ".join(made.ringback),
    "whisper": _whisper,
    "press 1": lambda made: "yes" if made.accept else "no",
    "number shown": lambda made: made.shown.value,
    "recording": lambda made: made.recording.value,
    "offer": lambda made: f"“{made.consent.text}”" if made.consent else NONE,
}
"""What is compared of two plans that ring somebody."""
