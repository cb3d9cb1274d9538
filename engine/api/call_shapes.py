"""Call records as answers have them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict

from engine.api.wire import Phone, Shape, shown_or_none
from engine.cdr.model import CallRecord, Direction, Result, Side, StepKind
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind


def _phone(value: object) -> object:
    return shown_or_none(PhoneNumber(value)) if isinstance(value, str) else value


PhoneOrNone = Annotated[Phone | None, BeforeValidator(_phone)]
"""A number of a record: whatever the network sent, so not every one is a Korean number."""


class Leg(Shape):
    """One SIP dialogue of the call."""

    side: Side
    trunk: str
    number: PhoneOrNone
    started_at: datetime
    ringing_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime | None
    cause: int
    """Q.850."""
    sip_code: int


class Step(Shape):
    """What was played or done, to whom and when."""

    kind: StepKind
    to: tuple[Side, ...]
    started_at: datetime
    ended_at: datetime | None
    sound: str | None
    whole: bool
    """False: it was cut short or failed."""


class PressedKey(Shape):
    """The caller's key press that asked for a message: the evidence of that consent."""

    key: str
    at: datetime
    sound: str
    sound_version: str
    """SHA-256 of the sound that the caller had heard."""
    before_talk: bool


EXAMPLE: dict[str, Any] = {
    "call_id": "019a9f3e-7a10-7c3e-9d7b-2f0f6c1d4e55",
    "account_id": "019a9f00-0000-7000-8000-000000000001",
    "direction": "incoming",
    "number": {"national": "050712345678", "e164": "+8250712345678"},
    "number_kind": "050",
    "caller": {"national": "01023456789", "e164": "+821023456789"},
    "target": {"national": "023456789", "e164": "+8223456789"},
    "arrived_at": "2026-11-22T00:30:00Z",
    "ringing_at": "2026-11-22T00:30:02.100000Z",
    "answered_at": "2026-11-22T00:30:09.400000Z",
    "ended_at": "2026-11-22T00:31:14Z",
    "ringback_seconds": 7.3,
    "talk_seconds": 64.6,
    "result": "answered",
    "cause": 16,
    "ended_by": "caller",
    "recorded": True,
    "recording_reason": "",
    "voicemail": False,
    "post_dial_delay": 0.4,
    "rules": ["낮"],
}


class Call(Shape):
    """One call, closed: its figures."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    call_id: UUID
    account_id: UUID | None
    """Whose number it was at that time; null: nobody's."""
    direction: Direction
    number: PhoneOrNone
    """The number that was called."""
    number_kind: NumberKind | None
    caller: PhoneOrNone
    """Null: withheld."""
    target: PhoneOrNone
    """Who talked, or rang last."""
    arrived_at: datetime
    ringing_at: datetime | None
    answered_at: datetime | None
    ended_at: datetime
    ringback_seconds: float
    talk_seconds: float
    result: Result
    cause: int
    """Q.850, towards the caller."""
    ended_by: Side
    recorded: bool
    """Whether a recording of the talk is kept, or on its way."""
    recording_reason: str
    """Why it was not recorded, or its recording is gone."""
    voicemail: bool
    """Whether the caller left a message that is kept."""
    post_dial_delay: float | None
    """Seconds from the INVITE to the first sound or ringing."""
    rules: tuple[str, ...]
    """The rules that decided a setting of this call."""


class WholeCall(Call):
    """One call with what it went through."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                EXAMPLE
                | {
                    "consent": None,
                    "legs": [
                        {
                            "side": "caller",
                            "trunk": "carrier",
                            "number": {"national": "01023456789", "e164": "+821023456789"},
                            "started_at": "2026-11-22T00:30:00Z",
                            "ringing_at": None,
                            "answered_at": "2026-11-22T00:30:09.400000Z",
                            "ended_at": "2026-11-22T00:31:14Z",
                            "cause": 16,
                            "sip_code": 200,
                        }
                    ],
                    "steps": [
                        {
                            "kind": "ringback",
                            "to": ["caller"],
                            "started_at": "2026-11-22T00:30:00.400000Z",
                            "ended_at": "2026-11-22T00:30:09.400000Z",
                            "sound": "ko/ringback-tone",
                            "whole": False,
                        }
                    ],
                }
            ]
        }
    )

    consent: PressedKey | None
    legs: tuple[Leg, ...]
    steps: tuple[Step, ...]


def call_shown(record: CallRecord) -> Call:
    return Call(**_figures(record, Call))


def whole_call_shown(record: CallRecord) -> WholeCall:
    return WholeCall(**_figures(record, WholeCall))


def _figures(record: CallRecord, shape: type[Call]) -> dict[str, object]:
    told: dict[str, object] = {
        name: getattr(record, name) for name in shape.model_fields if name not in ("recorded", "voicemail")
    }
    return told | {"recorded": record.recording is not None, "voicemail": record.voicemail is not None}
