"""A line with whatever rules a test wants, and the plan that a call to it gets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from engine.foundation.phone_number import PhoneNumber
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.treatment import Treatment
from engine.routing.call_plan import CallPlan
from engine.routing.model import AccountRouting, History, Holidays, Line, Rule
from engine.routing.plan import plan

ACCOUNT = UUID("0190a8a0-0000-7000-8000-000000000001")
NUMBER = PhoneNumber("050712345678")
TARGET = PhoneNumber("0298765432")
SECOND = PhoneNumber("0311234567")
CALLER = PhoneNumber("01023456789")
SENDER = PhoneNumber("0212345678")
SEOUL = ZoneInfo("Asia/Seoul")
MORNING = datetime(2026, 11, 23, 10, 0, tzinfo=SEOUL)
"""A Monday."""
RING_SECONDS = 30


def line_of(treatment: Treatment | None = None, rules: Sequence[Rule] = (), **number: Any) -> Line:
    """NUMBER, which rings TARGET unless `treatment` or `rules` say otherwise; `number`: its other settings."""
    plain = ServiceNumber(
        number=NUMBER,
        kind=NumberKind.VIRTUAL,
        account_id=ACCOUNT,
        target=TARGET,
        treatment=treatment or Treatment(),
    )
    return Line(
        number=msgspec.structs.replace(plain, **number),
        rules=tuple(rules),
        account=AccountRouting(account_id=ACCOUNT),
        closed_days=(),
        holidays=Holidays(),
    )


def plan_of(line: Line | None, caller: PhoneNumber | None = CALLER, at: datetime = MORNING) -> CallPlan:
    """The very plan that a call would get, without a past."""
    return plan(line, caller, at, History(), RING_SECONDS)
