"""What a call's record tells those outside: all that happened in it, in order, its end last.

What was told while the call lived is there already and stays (`Event.leg`); the rest is completed.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from engine.cdr.model import CallRecord, Direction, Result, Side, StepKind
from engine.events.kinds import EventKind
from engine.events.live import leg_of
from engine.events.outbox import Event

# Neither what is the system's own matter, nor the texts of messages.
_IN_EVENT = (
    "number",
    "number_kind",
    "direction",
    "caller",
    "target",
    "arrived_at",
    "ringing_at",
    "answered_at",
    "ended_at",
    "ringback_seconds",
    "talk_seconds",
    "result",
    "cause",
    "ended_by",
    "recording_reason",
    "post_dial_delay",
    "rules",
)


def events_of(record: CallRecord) -> list[Event]:
    """The call's events, oldest first."""
    parties: dict[str, object] = {"number": record.number, "caller": record.caller}
    events = [_event(record, EventKind.CALL_STARTED, record.arrived_at, parties | {"direction": _direction(record)})]
    for target, at in _rang(record).items():
        events.append(_event(record, EventKind.CALL_RINGING, at, parties | {"target": target}, target))
    answered_at = _answered_at(record)
    if answered_at is not None:
        events.append(_event(record, EventKind.CALL_ANSWERED, answered_at, parties | {"target": record.target}))
    events.append(_event(record, EventKind.CALL_ENDED, record.ended_at, dict(_ended(record))))
    return events


def _event(
    record: CallRecord, kind: EventKind, at: datetime, body: dict[str, object], target: str | None = None
) -> Event:
    return Event(
        kind=kind.value,
        account_id=record.account_id,
        call_id=record.call_id,
        at=at,
        body=body,
        leg=leg_of(kind, target),
    )


def _direction(record: CallRecord) -> str:
    return "outgoing" if record.direction is Direction.OUTGOING else "incoming"


def _rang(record: CallRecord) -> dict[str, datetime]:
    """The numbers that rang, and since when. A record without legs knows of one at most."""
    rang: dict[str, datetime] = {}
    for leg in record.legs:
        if leg.side is Side.TARGET and leg.number is not None and leg.ringing_at is not None:
            rang.setdefault(leg.number, leg.ringing_at)
    if not record.legs and record.target is not None and record.ringing_at is not None:
        rang[record.target] = record.ringing_at
    return rang


def _answered_at(record: CallRecord) -> datetime | None:
    """When the two were connected. A record without steps knows only when the caller was answered."""
    connected = next((step.started_at for step in record.steps if step.kind is StepKind.CONNECT), None)
    if connected is None and not record.steps and record.result is Result.ANSWERED:
        return record.answered_at
    return connected


def _ended(record: CallRecord) -> Iterator[tuple[str, object]]:
    whole = msgspec.to_builtins(record)
    for name in _IN_EVENT:
        yield name, whole[name]
    yield "recorded", record.recording is not None
    yield "voicemail", record.voicemail is not None
