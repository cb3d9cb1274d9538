"""Calls that the dialplan rings and connects by itself: which those are, and what it is told for that. Pure.

Where a plan asks for nothing between the ringback and the talk, no hand of ours is needed there: the dialplan's Dial
does it in half the time, and goes on when this engine dies. The engine decides, follows, and writes it all down.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from engine.asterisk.events import StasisStart
from engine.calls.party import Telephone
from engine.numbers.treatment import RecordMode
from engine.routing.call_plan import CallPlan, Forward, Ring, next_stage
from engine.trunks.dialling import caller_on_trunk, counted_for_caller, diverted_on, endpoint
from engine.trunks.model import Trunk

DIAL = "DARI_DIAL"
"""Channel variable with what is to be dialled; empty: the dialplan offers the call to the engines."""
_BACK = "back"
_PARTS = 4
_NOT_ANSWERED = "NOANSWER"
"""Dial's word for a telephone that rang for as long as it might, and for some refusals."""
_REFUSALS = 300
"""SIP codes from here on end a call."""
_CANCELLED = 487
"""Ours, told back."""
_DIGITS = 3


def direct_stage(plan: CallPlan, instant: datetime) -> int | None:
    """The place in a fresh plan of the one telephone that the dialplan can ring by itself; None: there is none."""
    if not isinstance(plan, Forward) or plan.failed_before is not None:
        return None
    if plan.notices or plan.whisper or plan.accept or plan.consent or plan.recording is not RecordMode.NEVER:
        return None
    at = next_stage(plan.stages, None, None)
    if at is None:
        return None
    stage = plan.stages[at]
    if not isinstance(stage, Ring) or len(stage.targets) != 1:
        return None
    if any(isinstance(later, Ring) for later in plan.stages[at + 1 :]):
        return None  # the ringback would begin anew for the next one
    longest = timedelta(seconds=stage.targets[0].seconds)
    changes = plan.ringback_until is not None and plan.ringback_until <= instant + longest
    return None if changes else at


def values_for_dial(telephone: Telephone, trunk: Trunk, music_class: str) -> dict[str, str] | None:
    """What the caller's channel is told; None for a call that shows no number, which Dial cannot hide."""
    if telephone.shown is None or telephone.diverted_by is None:
        return None
    return {
        DIAL: endpoint(trunk, telephone.number),
        "DARI_RINGS": str(min(telephone.seconds, trunk.longest_ringing or telephone.seconds)),
        "DARI_HEARS": music_class,
        "DARI_SHOWS": caller_on_trunk(trunk, telephone.shown),
        **counted_for_caller(trunk),
        **diverted_on(trunk, telephone.diverted_by),
    }


class CameBack(NamedTuple):
    """How it ended that the dialplan rang in vain."""

    timed_out: bool
    """It rang for as long as it might."""
    cause: int = 0
    """Q.850; 0: unknown."""
    sip_code: int = 0
    """The carrier's refusal; 0: there was none."""


def came_back(start: StasisStart) -> CameBack | None:
    """What a StasisStart tells of that: back, Dial's status, cause, SIP code; None: it tells another thing."""
    if len(start.args) != _PARTS or start.args[0] != _BACK:
        return None
    status, cause, code = start.args[1], _number(start.args[2]), _number(start.args[3])
    refusal = code if code >= _REFUSALS and code != _CANCELLED else 0
    return CameBack(status == _NOT_ANSWERED and not refusal, cause, refusal)


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) <= _DIGITS else 0
