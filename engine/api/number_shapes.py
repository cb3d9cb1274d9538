"""Numbers as requests and answers have them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from annotated_types import MaxLen
from msgspec import UNSET
from pydantic import ConfigDict, Field

from engine.api.rules import Finding
from engine.api.treatments import Limits, Sound, Text, Treatment
from engine.api.wire import Phone, PhoneIn, Shape, shown, shown_or_none
from engine.numbers import life
from engine.numbers.history import Happened
from engine.numbers.inventory import NumberChange
from engine.numbers.model import NumberKind, ServiceNumber
from engine.numbers.rules import kind_of
from engine.numbers.states import Move, State, StockNumber
from engine.numbers.suspension import SuspendedFor

MOST_HISTORY = 500

Days = Annotated[int, Field(ge=0, le=366)]
Seconds = Annotated[int, Field(ge=0, le=3600)]
Note = Annotated[str, Field(max_length=200)]

_STOCK: dict[str, Any] = {
    "number": {"national": "050712345678", "e164": "+8250712345678"},
    "kind": "050",
    "state": "in service",
    "account_id": "019a9f00-0000-7000-8000-000000000001",
    "range_id": "019a9e00-0000-7000-8000-000000000007",
    "order_id": None,
    "reserved_until": None,
    "suspended_for": None,
    "suspensions": [],
    "last_holder": None,
    "released_at": None,
    "quarantined_until": None,
    "changed_at": "2026-11-22T00:30:00Z",
}
_SETTINGS: dict[str, Any] = {
    "target": {"national": "023456789", "e164": "+8223456789"},
    "treatment": {"ringback": ["prompt:인사말"], "recording": "always", "label": "배달앱"},
    "limits": {"at_once": 5},
    "callback": "[다리분식] 전화 주셔서 감사합니다.",
    "sender": {"national": "023456789", "e164": "+8223456789"},
    "repeat_window_days": 7,
    "min_talk_seconds": 10,
    "suspended": None,
}


class SuspensionShown(Shape):
    """One reason for which a number is suspended: each is lifted by itself."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "why": "wish",
                    "by": "user:019a9f00-0000-7000-8000-000000000009",
                    "at": "2026-11-22T00:30:00Z",
                    "announcement": "ko/not-in-service",
                }
            ]
        }
    )

    why: SuspendedFor
    """`wish`: the holder's own; `period over`: a longer order lifts it; `barred`: only somebody above the holder."""
    by: str
    at: datetime
    announcement: str
    """What callers hear while no graver reason is there."""


class Stock(Shape):
    """A number: where in its life it is, and whose."""

    model_config = ConfigDict(json_schema_extra={"examples": [_STOCK]})

    number: Phone
    kind: NumberKind
    """`own`: the shop's own number; `mo`: it receives messages."""
    state: State
    account_id: UUID | None
    """Who holds it; null: nobody."""
    range_id: UUID | None
    """Null: it is of no range of ours; its holder brought it."""
    order_id: UUID | None
    reserved_until: datetime | None
    suspended_for: SuspendedFor | None
    """The gravest of its reasons: what callers hear is that one's announcement."""
    suspensions: tuple[SuspensionShown, ...]
    """All of its reasons, the gravest first; empty: its calls are forwarded."""
    last_holder: UUID | None
    """Of a number in quarantine: who may take it back."""
    released_at: datetime | None
    quarantined_until: datetime | None
    """Until when it is kept back from everybody but its last holder."""
    changed_at: datetime


class Settings(Shape):
    """What a number in service does."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SETTINGS]})

    target: Phone
    """Whom its calls ring, unless the treatment names others."""
    treatment: Treatment
    """What its calls go through when no rule says otherwise."""
    limits: Limits
    callback: str | None
    """The message after an answered call; null: none."""
    sender: Phone | None
    """The registered number that messages come from."""
    repeat_window_days: int
    """A recipient gets at most one message in so many days; 0: no limit."""
    min_talk_seconds: int
    """The message goes only after so long a talk."""
    suspended: str | None
    """The announcement that all its callers hear while it is suspended."""


class Number(Stock):
    """A number with what it does."""

    model_config = ConfigDict(json_schema_extra={"examples": [_STOCK | {"settings": _SETTINGS, "findings": []}]})

    settings: Settings | None
    """Null: it is not in service."""
    findings: tuple[Finding, ...]
    """What is odd about its settings and rules."""


class NewNumber(Shape):
    """A number to be put into service: out of the stock, or brought along by its holder."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "number": "0507-1234-5678",
                    "account": "019a9f00-0000-7000-8000-000000000001",
                    "target": "02-345-6789",
                    "treatment": {"recording": "always", "label": "배달앱"},
                }
            ]
        }
    )

    number: PhoneIn
    account: UUID
    """Whose it is to be."""
    target: PhoneIn
    """Whom its calls ring: a landline, mobile, 070, 080 or 15xx number."""
    kind: NumberKind | None = None
    """Null: what its digits say."""
    treatment: Treatment = Treatment()
    limits: Limits = Limits()
    callback: Text | None = None
    sender: PhoneIn | None = None
    repeat_window_days: Days = 7
    min_talk_seconds: Seconds = 10

    def as_said(self) -> ServiceNumber:
        """Raises Invalid for digits that no service number has."""
        return ServiceNumber(
            number=self.number,
            kind=self.kind or kind_of(self.number),
            account_id=self.account,
            target=self.target,
            treatment=self.treatment.as_said(),
            limits=self.limits.as_said(),
            callback=self.callback,
            sender=self.sender,
            repeat_window_days=self.repeat_window_days,
            min_talk_seconds=self.min_talk_seconds,
        )


class ChangedNumber(Shape):
    """What is to be different; what is left out stays. In `treatment` null takes a setting away."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"target": "010-9876-5432", "treatment": {"ringback": ["prompt:인사말"], "whisper": None}}]
        }
    )

    target: PhoneIn | None = None
    treatment: Treatment | None = None
    """Laid over what is set."""
    limits: Limits | None = None
    """All of them anew."""
    callback: Text | None = None
    """Null: no message."""
    sender: PhoneIn | None = None
    """Null: none."""
    repeat_window_days: Days | None = None
    min_talk_seconds: Seconds | None = None
    suspended: Sound | None = None
    """Of a suspended number: what its callers hear from the next call on."""

    def as_said(self) -> NumberChange:
        treatment = self.treatment or Treatment()
        said = self.model_fields_set
        return NumberChange(
            target=UNSET if self.target is None else self.target,
            treatment=treatment.as_said(),
            clear=treatment.taken_away(),
            limits=UNSET if self.limits is None else self.limits.as_said(),
            callback=self.callback if "callback" in said else UNSET,
            sender=self.sender if "sender" in said else UNSET,
            repeat_window_days=UNSET if self.repeat_window_days is None else self.repeat_window_days,
            min_talk_seconds=UNSET if self.min_talk_seconds is None else self.min_talk_seconds,
            suspended=UNSET if self.suspended is None else self.suspended,
        )


class Suspension(Shape):
    """How a number is suspended."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"announcement": "ko/not-in-service", "note": "휴업"}]})

    announcement: Sound = life.NOT_IN_SERVICE
    """What all callers hear."""
    bar: bool = True
    """By somebody above the holder: whether the holder alone cannot resume it."""
    note: Note = ""


class NumberMove(Shape):
    """Something that happened to a number."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "at": "2026-11-22T00:30:00Z",
                    "move": "issued",
                    "state": "in service",
                    "account_id": "019a9f00-0000-7000-8000-000000000001",
                    "to_account": None,
                    "who": "user:019a9f00-0000-7000-8000-000000000009",
                    "note": "",
                }
            ]
        },
    )

    at: datetime
    move: Move
    state: State
    """In which it came out."""
    account_id: UUID | None
    """Whose it was: of a transfer, who gave it."""
    to_account: UUID | None
    """Of a transfer, who got it."""
    who: str
    note: str


class History(Shape):
    """What happened to a number, the newest first: who held it and when."""

    moves: Annotated[tuple[NumberMove, ...], MaxLen(MOST_HISTORY)]


def stock_shown(found: StockNumber) -> Stock:
    return Stock(
        number=shown(found.number),
        kind=found.kind,
        state=found.state,
        account_id=found.held_by,
        range_id=found.range_id,
        order_id=found.order_id,
        reserved_until=found.reserved_until,
        suspended_for=found.suspended_for,
        suspensions=tuple(map(SuspensionShown.model_validate, found.suspensions)),
        last_holder=found.last_holder if found.state is State.QUARANTINED else None,
        released_at=found.released_at,
        quarantined_until=found.quarantined_until,
        changed_at=found.changed_at,
    )


def settings_shown(number: ServiceNumber) -> Settings:
    return Settings(
        target=shown(number.target),
        treatment=Treatment.model_validate(number.treatment),
        limits=Limits.model_validate(number.limits),
        callback=number.callback,
        sender=shown_or_none(number.sender),
        repeat_window_days=number.repeat_window_days,
        min_talk_seconds=number.min_talk_seconds,
        suspended=number.suspended,
    )


def move_shown(happened: Happened) -> NumberMove:
    return NumberMove.model_validate(happened)
