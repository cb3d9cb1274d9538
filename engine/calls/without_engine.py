"""The record of a call that no engine wrote down, out of Asterisk's own row of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import msgspec

from engine.accounts.model import Module
from engine.calls.arrival import as_sent, read_caller, trunk_of
from engine.calls.causes import CAUSE_TOWARDS_CALLER
from engine.cdr.call_row import DIRECT, Alone, Row
from engine.cdr.model import Arrival, CallRecord, Leg, Result, Side, Step, StepKind, closed, expected_file
from engine.foundation.ids import id_from, instant_of
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.treatment import RecordMode
from engine.routing.call_plan import RECORDING_NOTICE_TO_TARGET, CallPlan, Forward, NoticeKind
from engine.routing.model import Line
from engine.routing.plan import RECORDING_NOTICE_TO_CALLER
from engine.routing.switched import NOT_RECORDED

ALONE = "alone"
"""The node of calls that went without an engine: the dialplan ran them, or the caller left before an engine came."""
UNKNOWN = "unknown"
"""The node of calls that an engine took and of which it left nothing."""

_BOTH = (Side.CALLER, Side.TARGET)
_TOLD = {
    NoticeKind.STORE_INFO: StepKind.STORE_NOTICE,
    NoticeKind.RECORDING: StepKind.RECORDING_NOTICE,
    NoticeKind.FEE: StepKind.FEE_NOTICE,
    NoticeKind.OWN: StepKind.NOTICE,
}
_NOBODY_COULD_SAY = 34
"""The cause with which the dialplan ends a call of which it knows nothing."""
_INTERWORKING = 127
"""What Asterisk writes down when SIP told no cause, as of a caller who gave up (CANCEL)."""
_TAKEN = ("SUCCESS", "FAILED", DIRECT)
"""What the offer of a call came to that an engine took, if only for a moment."""


def how_without_engine(node: str) -> str:
    """What is told of a call of that node; empty for those of engines."""
    return {ALONE: "without an engine", UNKNOWN: "its engine left no record"}.get(node, "")


def was_taken(row: Row) -> bool:
    """Whether an engine had the call, if only for a moment: it may have written a record of it."""
    return row.offer in _TAKEN


def id_of(row: Row) -> UUID:
    """The call's id: whoever reads the row, and however often, gives the same one."""
    return id_from(row.started_at, row.channel.encode())


def caller_of(row: Row) -> PhoneNumber | None:
    """The caller's number; None also when Asterisk did not tell whether it is withheld."""
    return read_caller(row.caller_sent, row.presentation) if row.presentation else None


def record_of(row: Row, line: Line | None, plan: CallPlan | None) -> CallRecord:
    """The record of the call.

    `line` is the number called as it is now and `plan` what the call would have gone through: both are left out when
    the number is another account's by now.
    """
    if line is not None and row.account_id not in (None, line.number.account_id):
        line, plan = None, None
    arrival = _arrival(row, line)
    result = _result(row)
    talked = result is Result.ANSWERED and row.answered_at is not None
    recording, reason = _recording(row, plan, arrival) if talked else (None, "")
    return msgspec.structs.replace(
        closed(arrival, ended_at=row.ended_at, result=result, ended_by=_ended_by(row, result)),
        target=row.target,
        answered_at=row.answered_at,
        talk_seconds=row.talk_seconds if talked else 0.0,
        cause=CAUSE_TOWARDS_CALLER[result] if row.cause in (0, _INTERWORKING) else row.cause,
        recording=recording,
        recording_reason=reason,
        rules=plan.rules if plan else (),
        callback=plan.callback if isinstance(plan, Forward) else None,
        legs=(_leg(row, arrival),),
        steps=tuple(_steps(row, plan, talked=talked, recorded=recording is not None)),
    )


def _arrival(row: Row, line: Line | None) -> Arrival:
    call_id = id_of(row)
    return Arrival(
        call_id=call_id,
        node=UNKNOWN if row.alone is Alone.NO and was_taken(row) else ALONE,
        sip_call_id=row.sip_call_id,
        channel=row.channel,
        number=row.number,
        number_sent=as_sent(row.number_sent),
        number_kind=line.number.kind if line else None,
        account_id=row.account_id or (line.number.account_id if line else None),
        caller=caller_of(row),
        caller_sent="withheld" if _withholds(row) else as_sent(row.caller_sent),
        trunk=trunk_of(row.channel_name),
        arrived_at=instant_of(call_id),
    )


def _withholds(row: Row) -> bool:
    return row.presentation.startswith("prohib") or not row.presentation


def _result(row: Row) -> Result:
    if row.alone is Alone.FULL:
        return Result.OVER_LIMIT
    if row.result is Result.VOICEMAIL or (row.result and not row.answered_at):
        return row.result
    if row.answered_at:
        return Result.ANSWERED
    if row.alone is Alone.YES:
        return Result.FAILED if row.cause == _NOBODY_COULD_SAY else Result.CALLER_GAVE_UP
    # The dialplan itself ends no call that it was told to dial: of one that came back there is an engine's record.
    return Result.LOST if was_taken(row) and row.offer != DIRECT else Result.CALLER_GAVE_UP


def _ended_by(row: Row, result: Result) -> Side:
    if row.target_left and result is Result.ANSWERED:
        return Side.TARGET
    if result in (Result.CALLER_GAVE_UP, Result.ANSWERED, Result.VOICEMAIL):
        return Side.CALLER
    return Side.TARGET if result in (Result.BUSY, Result.REJECTED) else Side.DARI


def _recording(row: Row, plan: CallPlan | None, arrival: Arrival) -> tuple[str | None, str]:
    """Where it is to be expected, and why not."""
    if row.recorded and any(_names(told, RECORDING_NOTICE_TO_CALLER) for told in row.notices):
        return expected_file(arrival, ".wav"), ""
    if row.recorded:
        return None, "the caller did not hear the whole recording notice"
    if isinstance(plan, Forward) and Module.RECORDING in plan.switched_off:
        return None, NOT_RECORDED
    if isinstance(plan, Forward) and plan.recording is RecordMode.ALWAYS:
        return None, "the call went without an engine and was not recorded"
    return None, ""


def _names(told: str, sound: str) -> bool:
    """Whether what the dialplan played is the sound: it may put a folder before its name."""
    return told == sound or told.endswith(f"/{sound}")


def _leg(row: Row, arrival: Arrival) -> Leg:
    return Leg(
        side=Side.CALLER,
        channel=row.channel,
        sip_call_id=row.sip_call_id,
        trunk=arrival.trunk,
        number=arrival.caller,
        started_at=arrival.arrived_at,
        answered_at=row.answered_at,
        ended_at=row.ended_at,
        cause=row.cause,
    )


def _steps(row: Row, plan: CallPlan | None, *, talked: bool, recorded: bool) -> Iterator[Step]:
    """What each was told, of which nobody wrote down when, and the talk.

    The dialplan records no talk whose target did not hear the whole notice.
    """
    kinds = {notice.sound: _TOLD[notice.kind] for notice in plan.notices} if isinstance(plan, Forward) else {}
    kinds[RECORDING_NOTICE_TO_CALLER] = StepKind.RECORDING_NOTICE
    for told in row.notices:
        kind = next((kinds[sound] for sound in kinds if _names(told, sound)), StepKind.ANNOUNCEMENT)
        yield _step(kind, (Side.CALLER,), row.started_at, None, as_sent(told))
    if talked and row.answered_at:
        if row.recorded:
            told_at, sound = row.answered_at, RECORDING_NOTICE_TO_TARGET
            yield _step(StepKind.RECORDING_NOTICE, (Side.TARGET,), told_at, None, sound)
        yield _step(StepKind.CONNECT, _BOTH, row.answered_at, row.ended_at)
        if recorded:
            yield _step(StepKind.RECORDING, _BOTH, row.answered_at, row.ended_at)


def _step(
    kind: StepKind, to: tuple[Side, ...], started_at: datetime, ended_at: datetime | None, sound: str | None = None
) -> Step:
    return Step(kind=kind, to=to, sound=sound, started_at=started_at, ended_at=ended_at, whole=True)
