"""What is written down of a call: one vocabulary for the spool, the database and the tables that people see."""

from __future__ import annotations

from collections.abc import Iterable
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
    NOT_ACCEPTED = "not accepted"
    """Something answered at the target, and nobody pressed 1 to take the call."""
    OVER_LIMIT = "over limit"
    """More calls than the number or its account may have."""
    CLOSED = "closed"
    """The announcement of a rule instead of ringing: after hours, on holiday."""
    BLOCKED = "blocked"
    """The caller is in the account's group of those who are turned away."""
    VOICEMAIL = "voicemail"
    """Nobody was reached, and the caller could leave a message."""
    CALLER_GAVE_UP = "caller gave up"
    NOT_IN_SERVICE = "not in service"
    NOT_FORWARDABLE = "not forwardable"
    """The target set may not be dialled (international, premium, emergency, short code, 050)."""
    SWITCHED_OFF = "switched off"
    """The function `calls` is off for the account, or above it."""
    FAILED = "failed"
    """Something of ours failed; the program's log says what."""
    LOST = "lost"
    """The engine died and nobody saw the end; times are bounded by the last proof of life."""


class Side(Enum):
    """A party of a call, or Dari itself."""

    CALLER = "caller"
    TARGET = "target"
    DARI = "dari"


class Direction(Enum):
    """Who placed the call."""

    INCOMING = "incoming"
    OUTGOING = "outgoing"
    """Dari rang both parties: the one that asked for the call first, as the caller."""


class StepKind(Enum):
    """What a party went through."""

    NOTICE = "notice"
    """The shop's own announcement before the ringback."""
    STORE_NOTICE = "store notice"
    FEE_NOTICE = "fee notice"
    RINGBACK = "ringback"
    ANNOUNCEMENT = "announcement"
    WHISPER = "whisper"
    RECORDING_NOTICE = "recording notice"
    CONNECT = "connect"
    RECORDING = "recording"
    PAUSE = "pause"
    """The recording is silent meanwhile."""
    ACCEPT = "accept"
    """The target is asked to press 1."""
    CONNECTING = "connecting"
    """The target waits for the caller to have heard a mandatory notice."""
    VOICEMAIL = "voicemail"
    CONSENT = "consent"
    """The caller is offered a message for a key press."""
    LISTENING = "listening"
    """Somebody of the called party's organisation listens."""


class Consent(msgspec.Struct, frozen=True, kw_only=True):
    """The caller's key press that asks for a message: the evidence of it (X5)."""

    key: str
    at: datetime
    sound: str
    sound_version: str
    """SHA-256 of the sound that the caller had heard."""
    before_talk: bool
    text: str
    """The message asked for."""


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
    direction: Direction = Direction.INCOMING


NOT_TOLD_AGAIN = msgspec.Raw(b"")


def expected_file(arrival: Arrival, ending: str) -> str:
    """What is kept of a call, as its record tells that it is to be expected: by the day on which it came."""
    return f"{arrival.arrived_at:%Y/%m/%d}/{arrival.call_id}{ending}"


class Progress(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a live call has come: with it another life of an engine goes on with the call, and its record is whole.

    Fields without a word here are those of `CallRecord`.
    """

    at: datetime
    life: int
    """How many lives of engines have had the call, from 1: what each of them made in Asterisk has names of its own."""
    plan: msgspec.Raw = NOT_TOLD_AGAIN
    """What the call goes through (`engine.routing.call_plan`, as JSON); empty: as it was told before."""
    stage: int | None = None
    """The place in the plan of the stage that goes on; None: the first has not begun."""
    legs_before: int = 0
    """How many legs to targets there were when that stage began."""
    failure: Result | None = None
    """How the stage before it ended."""
    taken_by: str | None = None
    """The channel of the target that has the call: it answered, and where it must, it pressed 1."""
    taker_was_told: bool = False
    """Whether that one heard the whole recording notice."""
    target: PhoneNumber | None = None
    ringing_at: datetime | None = None
    answered_at: datetime | None = None
    first_sound_at: datetime | None = None
    result: Result | None = None
    ended_by: Side = Side.DARI
    recording: str | None = None
    recording_reason: str = ""
    rules: tuple[str, ...] = ()
    callback: str | None = None
    text_only: str | None = None
    consent: Consent | None = None
    voicemail: str | None = None
    legs: tuple[Leg, ...] = ()
    """The caller's first, once it is known."""
    steps: tuple[Step, ...] = ()
    """Those that go on have no end."""


class OpenCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that has arrived and is not closed yet."""

    arrival: Arrival
    last_alive: datetime
    """The latest instant at which the call is known to have lived."""
    progress: Progress | None = None
    """How far it had come; None: nobody told."""

    def seen_at(self, instant: datetime) -> OpenCall:
        """The same call, which lived at `instant`."""
        last_alive = max(self.last_alive, instant)
        return OpenCall(arrival=self.arrival, last_alive=last_alive, progress=self.progress)

    def come_to(self, progress: Progress) -> OpenCall:
        """The same call, which has come so far; its plan is told once and stays."""
        known = self.progress
        if not progress.plan and known is not None:
            progress = msgspec.structs.replace(progress, plan=known.plan)
        return OpenCall(arrival=self.arrival, last_alive=max(self.last_alive, progress.at), progress=progress)


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
    direction: Direction = Direction.INCOMING
    rules: tuple[str, ...] = ()
    """Names of the rules that decided a setting of this call."""
    callback: str | None = None
    """The message after the call that a rule set in place of the number's; "": none."""
    text_only: str | None = None
    """The message that the caller was promised because nobody could be reached."""
    consent: Consent | None = None
    voicemail: str | None = None
    """File name under the recordings folder of what the caller left, once it is to be expected."""


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
        direction=arrival.direction,
        ended_at=ended_at,
        result=result,
        ended_by=ended_by,
    )


def answered_as(direction: Direction, legs: Iterable[Leg], voicemail: str | None) -> Result:
    """How a call went whose caller was answered: who was, while nobody was reached, was to leave a message."""
    reached = direction is Direction.OUTGOING or any(leg.side is Side.TARGET and leg.answered_at for leg in legs)
    return Result.ANSWERED if reached and not voicemail else Result.VOICEMAIL
