"""How far a call has come, as the spool keeps it while the call lives, and as the next life reads it back."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from engine.calls.notes import Moment, Notes, OpenStep, moment_of
from engine.calls.party import Party
from engine.cdr.model import NOT_TOLD_AGAIN, Leg, OpenCall, Progress, Side, Step, StepKind
from engine.foundation.clock import Clock
from engine.routing.call_plan import plan_on_paper

_GO_ON = frozenset({StepKind.RINGBACK, StepKind.CONNECT, StepKind.RECORDING, StepKind.PAUSE, StepKind.VOICEMAIL})
"""Steps that go on in Asterisk when the engine dies; of the others nobody knows how they ended."""


def progress_of(notes: Notes, parties: Iterable[Party], taker: Party | None, life: int) -> Progress:
    """What is known of a live call now. The plan comes with the first one only."""
    plan, notes.new_plan = notes.new_plan, None
    return Progress(
        at=notes.clock.now(),
        life=life,
        plan=plan_on_paper(plan) if plan is not None else NOT_TOLD_AGAIN,
        stage=notes.stage,
        legs_before=notes.legs_before,
        failure=notes.failure,
        taken_by=taker.channel if taker is not None else None,
        taker_was_told=taker is not None and taker.was_told,
        target=notes.target,
        ringing_at=notes.ringing.at if notes.ringing else None,
        answered_at=notes.answered.at if notes.answered else None,
        first_sound_at=notes.first_sound.at if notes.first_sound else None,
        result=notes.result,
        ended_by=notes.ended_by,
        recording=notes.recording,
        recording_reason=notes.recording_reason,
        rules=notes.rules,
        callback=notes.callback,
        text_only=notes.text_only,
        consent=notes.consent,
        voicemail=notes.voicemail,
        legs=tuple([party.leg() for party in parties]),
        steps=tuple([step.so_far() for step in notes.steps]),
    )


def recall(notes: Notes, open_call: OpenCall) -> None:
    """Everything of an earlier life is known again; what only that life could see the end of, ended with it."""
    told = open_call.progress
    if told is None:
        return
    clock = notes.clock
    notes.know_call_id(next((leg.sip_call_id for leg in told.legs if leg.side is Side.CALLER), None))
    notes.stage, notes.legs_before, notes.failure = told.stage, told.legs_before, told.failure
    notes.target = told.target
    notes.ringing = _moment(told.ringing_at, clock)
    notes.answered = _moment(told.answered_at, clock)
    notes.first_sound = _moment(told.first_sound_at, clock)
    notes.result, notes.ended_by = told.result, told.ended_by
    notes.recording, notes.recording_reason = told.recording, told.recording_reason
    notes.rules, notes.callback = told.rules, told.callback
    notes.text_only, notes.consent, notes.voicemail = told.text_only, told.consent, told.voicemail
    notes.steps = [_step(step, clock) for step in told.steps]
    for step in notes.steps:
        if step.kind not in _GO_ON:
            step.end(moment_of(told.at, clock), whole=False)


def party_again(leg: Leg, clock: Clock) -> Party:
    """The party on a leg of an earlier life."""
    return Party(
        side=leg.side,
        channel=leg.channel,
        channel_name="",
        trunk=leg.trunk,
        number=leg.number,
        started=moment_of(leg.started_at, clock),
        sip_call_id=leg.sip_call_id,
        rang=_moment(leg.ringing_at, clock),
        answered=_moment(leg.answered_at, clock),
        ended=_moment(leg.ended_at, clock),
        cause=leg.cause,
        sip_code=leg.sip_code,
    )


def legs_of(open_call: OpenCall, side: Side) -> list[Leg]:
    """The legs of one side, oldest first."""
    told = open_call.progress
    return [leg for leg in told.legs if leg.side is side] if told is not None else []


def _step(step: Step, clock: Clock) -> OpenStep:
    began, ended = moment_of(step.started_at, clock), _moment(step.ended_at, clock)
    return OpenStep(step.kind, step.to, step.sound, began, ended, step.whole)


def _moment(instant: datetime | None, clock: Clock) -> Moment | None:
    return moment_of(instant, clock) if instant is not None else None
