"""What is written down of a call: one vocabulary for the spool, the database and the tables that people see."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from uuid import UUID

import msgspec

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind


class Result(Enum):
    """How a call ended, from the caller's point of view."""

    ANSWERED = "answered"
    BUSY = "busy"
    NO_ANSWER = "no answer"
    UNREACHABLE = "unreachable"
    REJECTED = "rejected"
    CONGESTION = "congestion"
    CALLER_GAVE_UP = "caller gave up"
    NOT_IN_SERVICE = "not in service"
    NOT_FORWARDABLE = "not forwardable"
    """The target set may not be dialled (international, premium, emergency, short code, 050)."""
    FAILED = "failed"
    """Something of ours failed; the program's log says what."""
    LOST = "lost"
    """The engine died and nobody saw the end; times are bounded by the last proof of life."""


class Side(Enum):
    """A party of a call, or Dari itself."""

    CALLER = "caller"
    TARGET = "target"
    DARI = "dari"


class StepKind(Enum):
    """What a party went through."""

    NOTICE = "notice"
    RINGBACK = "ringback"
    ANNOUNCEMENT = "announcement"
    WHISPER = "whisper"
    RECORDING_NOTICE = "recording notice"
    CONNECT = "connect"
    RECORDING = "recording"


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """One SIP dialogue of the call."""

    side: Side
    channel: str
    sip_call_id: str | None
    trunk: str
    number: PhoneNumber | None
    started_at: datetime
    ringing_at: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime | None = None
    cause: int = 0
    """Q.850."""
    sip_code: int = 0


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What was played or done, to whom and when. `whole` is False when it was cut short or failed."""

    kind: StepKind
    to: tuple[Side, ...]
    started_at: datetime
    ended_at: datetime | None = None
    sound: str | None = None
    whole: bool = False


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call when its INVITE has come. Fields as in `CallRecord`."""

    call_id: UUID
    node: str
    sip_call_id: str | None
    channel: str
    """The caller's channel in Asterisk."""
    number: PhoneNumber | None
    number_sent: str
    number_kind: NumberKind | None
    account_id: UUID | None
    caller: PhoneNumber | None
    caller_sent: str
    trunk: str
    arrived_at: datetime


class OpenCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that has arrived and is not closed yet."""

    arrival: Arrival
    last_alive: datetime
    """The latest instant at which the call is known to have lived."""


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One call, closed. Instants are UTC; durations are seconds from the monotonic clock."""

    call_id: UUID
    node: str
    sip_call_id: str | None
    account_id: UUID | None
    """The owner of the number at that time; None for a number that nobody has."""
    number: PhoneNumber | None
    """The number called, national digits; None when what was sent is no number."""
    number_sent: str
    """What the trunk sent as the called number, printable, at most 64 characters."""
    number_kind: NumberKind | None
    caller: PhoneNumber | None
    """None: withheld, or no dialable number."""
    caller_sent: str
    target: PhoneNumber | None
    trunk: str
    arrived_at: datetime
    ringing_at: datetime | None = None
    answered_at: datetime | None = None
    ended_at: datetime
    ringback_seconds: float = 0.0
    talk_seconds: float = 0.0
    result: Result
    cause: int = 0
    """Q.850 cause towards the caller."""
    ended_by: Side
    recording: str | None = None
    """File name under the recordings folder, once it is to be expected; None: not recorded."""
    recording_reason: str = ""
    """Why it was not recorded, when it should have been."""
    post_dial_delay: float | None = None
    """INVITE to the first sound or ringing towards the caller, seconds."""
    legs: tuple[Leg, ...] = ()
    steps: tuple[Step, ...] = ()


def closed(arrival: Arrival, *, ended_at: datetime, result: Result, ended_by: Side) -> CallRecord:
    """The record of a call of which no more is known than how it came and how it ended."""
    return CallRecord(
        call_id=arrival.call_id,
        node=arrival.node,
        sip_call_id=arrival.sip_call_id,
        account_id=arrival.account_id,
        number=arrival.number,
        number_sent=arrival.number_sent,
        number_kind=arrival.number_kind,
        caller=arrival.caller,
        caller_sent=arrival.caller_sent,
        target=None,
        trunk=arrival.trunk,
        arrived_at=arrival.arrived_at,
        ended_at=ended_at,
        result=result,
        ended_by=ended_by,
    )
