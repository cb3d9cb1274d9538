"""Calls as tests need them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from engine.cdr.model import Arrival, CallRecord, Leg, Result, Side, Step, StepKind
from engine.foundation.ids import new_id
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind

MORNING = datetime(2026, 11, 2, 0, 0, 0, 123_000, tzinfo=UTC)
NUMBER = PhoneNumber("05071234567")
CALLER = PhoneNumber("01012345678")
TARGET = PhoneNumber("0212345678")


def arrival(at: datetime = MORNING, *, account_id: UUID | None = None) -> Arrival:
    """A call to NUMBER that came at `at`."""
    return Arrival(
        call_id=new_id(at),
        node="n1",
        sip_call_id="abc@192.0.2.1",
        channel="PJSIP/carrier-00000001",
        number=NUMBER,
        number_sent="+825071234567",
        number_kind=NumberKind.VIRTUAL,
        account_id=account_id,
        caller=CALLER,
        caller_sent="01012345678",
        trunk="carrier",
        arrived_at=at,
    )


def record(came: Arrival | None = None, *, talk_seconds: float = 42.5) -> CallRecord:
    """How the call `came` ended: answered, with every field filled."""
    came = came or arrival()
    at = came.arrived_at
    answered = at + timedelta(seconds=6)
    ended = answered + timedelta(seconds=talk_seconds)
    return CallRecord(
        call_id=came.call_id,
        node=came.node,
        sip_call_id=came.sip_call_id,
        account_id=came.account_id,
        number=came.number,
        number_sent=came.number_sent,
        number_kind=came.number_kind,
        caller=came.caller,
        caller_sent=came.caller_sent,
        target=TARGET,
        trunk=came.trunk,
        arrived_at=came.arrived_at,
        ringing_at=at + timedelta(seconds=1),
        answered_at=answered,
        ended_at=ended,
        ringback_seconds=5.25,
        talk_seconds=talk_seconds,
        result=Result.ANSWERED,
        cause=16,
        ended_by=Side.CALLER,
        recording=f"2026/11/02/{came.call_id}.wav",
        post_dial_delay=0.125,
        legs=(
            Leg(
                side=Side.TARGET,
                channel="PJSIP/carrier-00000002",
                sip_call_id="def@192.0.2.2",
                trunk="carrier",
                number=TARGET,
                started_at=at,
                answered_at=answered,
                ended_at=ended,
                cause=16,
                sip_code=200,
            ),
        ),
        steps=(
            Step(
                kind=StepKind.RINGBACK,
                to=(Side.CALLER,),
                started_at=at,
                ended_at=answered,
                sound="ko/ringback-tone",
                whole=True,
            ),
        ),
    )
