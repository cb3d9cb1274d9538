"""The record of a call whose end no engine saw: what its journal knows, and what Asterisk itself wrote down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from engine.calls.journal import legs_of, party_again, recall
from engine.calls.notes import Notes, moment_of
from engine.calls.party import Party
from engine.cdr.call_row import DIRECT, Row, with_end
from engine.cdr.model import Arrival, CallRecord, Direction, Leg, OpenCall, Result, Side, Step, StepKind, answered_as

_OF_THE_TALK = (StepKind.CONNECT, StepKind.RECORDING, StepKind.PAUSE, StepKind.LISTENING)


def lost(open_call: OpenCall, notes: Notes, row: Row | None, target: Row | None = None, *, hung_up: bool) -> CallRecord:
    """The record of such a call, bounded by the last proof of life.

    `row` and `target`, Asterisk's own of the caller and of who took the call, have the ends themselves. `hung_up`:
    Asterisk lived on, so that it was the caller who left.
    """
    recall(notes, open_call)
    notes.stopped = moment_of(open_call.last_alive, notes.clock)
    known = [leg for side in Side for leg in legs_of(open_call, side)] or _came_in(open_call.arrival)
    parties = [party_again(leg, notes.clock) for leg in known]
    if row is not None:
        _talk_unseen(notes, parties, row)
    for party in parties:
        party.end(notes.stopped)
    legs = tuple(party.leg() for party in parties)
    ender = Side.TARGET if row and row.target_left else Side.CALLER if hung_up or row else Side.DARI
    if notes.answered is not None:
        notes.conclude(answered_as(notes.arrival.direction, legs, notes.voicemail), ender)
    notes.conclude(Result.CALLER_GAVE_UP if hung_up and row is None else Result.LOST, ender)
    record = notes.record(legs)
    record = with_end(record, row) if row else record
    parted_together = row is not None and row.offer == DIRECT
    return _talked_until_one_left(record, None if parted_together else target)


def _talk_unseen(notes: Notes, parties: Sequence[Party], row: Row) -> None:
    """The dialplan itself connected the two after the engine had gone. Its telephone is the one that had not ended."""
    targets = [party for party in parties if party.side is Side.TARGET]
    was_dialled = row.offer == DIRECT and notes.answered is None and not any(target.gone for target in targets)
    if not was_dialled or row.answered_at is None:
        return
    answered, ended = moment_of(row.answered_at, notes.clock), moment_of(row.ended_at, notes.clock)
    for party in parties:
        party.answered = party.answered or answered
        party.end(ended)
    notes.answered = answered
    notes.end_steps(answered)
    notes.begin(StepKind.CONNECT, (Side.CALLER, Side.TARGET)).began = answered
    notes.conclude(Result.ANSWERED, Side.TARGET if row.target_left else Side.CALLER)


def _came_in(arrival: Arrival) -> list[Leg]:
    """The caller's leg of a call of which nothing else was told: by its channel Asterisk's row finds the record."""
    if arrival.direction is not Direction.INCOMING:
        return []
    return [
        Leg(
            side=Side.CALLER,
            channel=arrival.channel,
            sip_call_id=arrival.sip_call_id,
            trunk=arrival.trunk,
            number=arrival.caller,
            started_at=arrival.arrived_at,
        )
    ]


def _talked_until_one_left(record: CallRecord, target: Row | None) -> CallRecord:
    """The same record: the talk is over when the first of the two leaves, for whoever stays hears nobody."""
    talk = next((step for step in record.steps if step.kind is StepKind.CONNECT), None)
    if talk is None:
        return record
    over, ended_by = talk.ended_at or record.ended_at, record.ended_by
    if target is not None and target.ended_at < over:
        over, ended_by = max(target.ended_at, talk.started_at), Side.TARGET
    if over >= record.ended_at:
        return record
    return msgspec.structs.replace(
        record,
        talk_seconds=round((over - talk.started_at).total_seconds(), 3),
        ended_by=ended_by,
        legs=tuple(_leg_ended(leg, target) for leg in record.legs),
        steps=tuple(_cut_at(step, over) for step in record.steps),
    )


def _leg_ended(leg: Leg, target: Row | None) -> Leg:
    if target is None or leg.channel != target.channel:
        return leg
    return msgspec.structs.replace(leg, ended_at=target.ended_at, cause=target.cause or leg.cause)


def _cut_at(step: Step, over: datetime) -> Step:
    if step.kind not in _OF_THE_TALK or (step.ended_at is not None and step.ended_at <= over):
        return step
    return msgspec.structs.replace(step, ended_at=max(step.started_at, over))
