"""What a call that Dari places goes through once the first party has answered. Pure."""

from __future__ import annotations

from engine.accounts.model import Module
from engine.foundation.errors import NotAllowed
from engine.foundation.phone_number import PhoneNumber, check_target, written
from engine.numbers.treatment import CallerShown, RecordMode
from engine.routing.call_plan import Forward, Notice, NoticeKind, Ring, Ringing
from engine.routing.model import BLOCKED, Line
from engine.routing.plan import RECORDING_NOTICE_TO_CALLER, STANDARD_RINGBACK
from engine.routing.switched import as_switched


def check_calls_on(line: Line) -> None:
    """Raises NotAllowed when calls are switched off for the number's account: then none are placed either."""
    if Module.CALLS in line.account.off:
        raise NotAllowed(
            f"number {written(line.number.number)}: calls are switched off for its account; "
            "ask who is above it to switch them on"
        )


def placed(line: Line, second: PhoneNumber, ring_seconds: int) -> Forward:
    """Rings `second` in the name of the line's number, which it sees; recorded as the number's own calls are.

    Raises NotAllowed for a number that calls may not go to, or that the account turns away itself.
    """
    check_target(second)
    if second in line.account.groups.get(BLOCKED, ()):
        raise NotAllowed(f"second: {written(second)} is blocked by this account; take it out of the group first")
    treatment, switched_off = as_switched(line, line.number.treatment)
    recording = treatment.recording or RecordMode.NEVER
    told = () if recording is RecordMode.NEVER else (Notice(NoticeKind.RECORDING, RECORDING_NOTICE_TO_CALLER),)
    return Forward(
        account_id=line.number.account_id,
        stages=(Ring((Ringing(second, treatment.ring_seconds or ring_seconds),)),),
        failed_before=None,
        notices=told,
        ringback=(STANDARD_RINGBACK,),
        ringback_until=None,
        whisper=None,
        accept=False,
        shown=CallerShown.NUMBER,
        recording=recording,
        consent=None,
        callback=None,
        switched_off=tuple(module for module in switched_off if module is Module.RECORDING),
    )
