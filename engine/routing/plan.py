"""The heart, pure: what a call to a number goes through. Everything that wants to know asks this one function."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from engine.cdr.model import Result
from engine.foundation.errors import NotAllowed
from engine.foundation.phone_number import PhoneNumber, check_target
from engine.numbers.model import ServiceNumber

NOT_IN_SERVICE = "ko/not-in-service"
STANDARD_RINGBACK = "ko/ringback-tone"
RECORDING_NOTICE_TO_CALLER = "ko/recording-notice"
RECORDING_NOTICE_TO_TARGET = "ko/recording-notice-target"


@dataclass(frozen=True, slots=True)
class Announce:
    """The caller hears `sound`, then is refused as `result`."""

    sound: str
    result: Result
    account_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Forward:
    """The caller hears notice and ringback while the target rings; the target hears the whisper; then they talk."""

    account_id: UUID
    target: PhoneNumber
    ring_seconds: int
    ringback: str
    whisper: str | None
    record: bool
    """Whether to record, once both recording notices were heard whole."""

    @property
    def recording_notice_to_caller(self) -> str | None:
        return RECORDING_NOTICE_TO_CALLER if self.record else None

    @property
    def recording_notice_to_target(self) -> str | None:
        return RECORDING_NOTICE_TO_TARGET if self.record else None


CallPlan = Announce | Forward


def plan(number: ServiceNumber | None, caller: PhoneNumber | None, instant: datetime, ring_seconds: int) -> CallPlan:
    """What a call from `caller` to `number` at `instant` goes through; `number` is None when nobody has it.

    `ring_seconds` is the system's ring time, for numbers that set none.
    """
    if number is None:
        return Announce(NOT_IN_SERVICE, Result.NOT_IN_SERVICE)
    try:
        check_target(number.target)
    except NotAllowed:
        return Announce(NOT_IN_SERVICE, Result.NOT_FORWARDABLE, number.account_id)
    return Forward(
        account_id=number.account_id,
        target=number.target,
        ring_seconds=number.ring_seconds or ring_seconds,
        ringback=number.ringback or STANDARD_RINGBACK,
        whisper=number.whisper,
        record=number.record,
    )
