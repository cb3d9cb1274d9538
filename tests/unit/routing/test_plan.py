"""What a call to a number goes through."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from engine.cdr.model import Result
from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import ServiceNumber
from engine.routing.plan import (
    NOT_IN_SERVICE,
    RECORDING_NOTICE_TO_CALLER,
    RECORDING_NOTICE_TO_TARGET,
    STANDARD_RINGBACK,
    Announce,
    CallPlan,
    Forward,
    plan,
)
from tests.call_desk import ACCOUNT, service_number


def planned(number: ServiceNumber | None) -> CallPlan:
    return plan(number, PhoneNumber("01012345678"), datetime(2026, 1, 1, tzinfo=UTC), ring_seconds=30)


def test_number_that_nobody_has_is_announced() -> None:
    assert planned(None) == Announce(NOT_IN_SERVICE, Result.NOT_IN_SERVICE)


def test_number_in_service_is_forwarded_as_it_is_set() -> None:
    assert planned(service_number(ring_seconds=7)) == Forward(
        account_id=ACCOUNT,
        target=PhoneNumber("0212345678"),
        ring_seconds=7,
        ringback="test/ringback",
        whisper="test/whisper",
        record=True,
    )


def test_what_is_not_set_is_the_system_s() -> None:
    forward = planned(service_number(ringback=None, whisper=None))
    assert isinstance(forward, Forward)
    assert (forward.ring_seconds, forward.ringback, forward.whisper) == (30, STANDARD_RINGBACK, None)


@pytest.mark.parametrize("record", [True, False])
def test_both_hear_the_recording_notice_exactly_when_it_is_recorded(record: bool) -> None:
    forward = planned(service_number(record=record))
    assert isinstance(forward, Forward)
    assert forward.recording_notice_to_caller == (RECORDING_NOTICE_TO_CALLER if record else None)
    assert forward.recording_notice_to_target == (RECORDING_NOTICE_TO_TARGET if record else None)


@pytest.mark.parametrize("target", ["0014155550123", "060123456", "112", "119", "050812345678", "1234", "7", "abc"])
def test_forbidden_target_is_not_forwarded(target: str) -> None:
    announced = planned(service_number(target=PhoneNumber(target)))
    assert announced == Announce(NOT_IN_SERVICE, Result.NOT_FORWARDABLE, ACCOUNT)
