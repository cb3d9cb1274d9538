"""A call that deserves a message, and the number that was called; tests change what they are about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec

from engine.cdr.model import CallRecord, Consent, Result, Side
from engine.foundation.ids import new_id
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind, ServiceNumber

ACCOUNT = UUID("0190a8a0-0000-7000-8000-000000000001")
NUMBER = PhoneNumber("050712345678")
CALLER = PhoneNumber("01023456789")
SENDER = PhoneNumber("0212345678")
TEXT = "다리꽃집입니다. 전화 주셔서 고맙습니다. 찾아오시는 길은 종로 1길 1"
NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)


def answered_call(ended_at: datetime = NOW, caller: PhoneNumber | None = CALLER, talk: float = 42.0) -> CallRecord:
    """A call of a mobile phone that was answered and has just ended."""
    arrived_at = ended_at - timedelta(seconds=talk + 8)
    call_id = new_id(arrived_at)
    return CallRecord(
        call_id=call_id,
        node="n1",
        sip_call_id=f"{call_id}@carrier",
        account_id=ACCOUNT,
        number=NUMBER,
        number_sent=NUMBER,
        number_kind=NumberKind.VIRTUAL,
        caller=caller,
        caller_sent=caller or "anonymous",
        target=PhoneNumber("0298765432"),
        trunk="carrier",
        arrived_at=arrived_at,
        ringing_at=arrived_at + timedelta(seconds=1),
        answered_at=arrived_at + timedelta(seconds=8),
        ended_at=ended_at,
        ringback_seconds=7.0,
        talk_seconds=talk,
        result=Result.ANSWERED,
        cause=16,
        ended_by=Side.CALLER,
    )


def asked_for(call: CallRecord, text: str = "찾아오시는 길: 종로 1길 1") -> CallRecord:
    """The same call, its caller having pressed 1 for a message with `text` at the end of it."""
    pressed = Consent(
        key="1", at=call.ended_at, sound="ko/consent-offer", sound_version="5e" * 32, before_talk=False, text=text
    )
    return msgspec.structs.replace(call, consent=pressed)


def promised(call: CallRecord, text: str = "지금은 전화를 받을 수 없습니다. 곧 연락드리겠습니다.") -> CallRecord:
    """The same call, nobody having been reached and its caller having been told that `text` comes."""
    return msgspec.structs.replace(call, result=Result.NO_ANSWER, answered_at=None, talk_seconds=0.0, text_only=text)


def number_with_text(text: str | None = TEXT, repeat_window_days: int = 7) -> ServiceNumber:
    """A 050 number that is set to send `text` after calls of at least 10 s."""
    return ServiceNumber(
        number=NUMBER,
        kind=NumberKind.VIRTUAL,
        account_id=ACCOUNT,
        target=PhoneNumber("0298765432"),
        callback=text,
        sender=SENDER if text else None,
        repeat_window_days=repeat_window_days,
        min_talk_seconds=10,
    )
