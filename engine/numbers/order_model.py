"""What an order of numbers is (C22). Values and rules, pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import Enum
from uuid import UUID

import msgspec

from engine.foundation.errors import Invalid
from engine.foundation.phone_number import PhoneNumber

MOST_NUMBERS = 1000
"""Of one order: more come by another."""
FOR_EVER = datetime(9999, 12, 31, tzinfo=UTC)
"""Until when the numbers of an order without an end are reserved."""
_FARTHEST_START = timedelta(days=366)
_LATEST_ENTRY = timedelta(days=1)  # who says today means the midnight before


class OrderStatus(Enum):
    """What has become of an order."""

    PLACED = "placed"
    """Its numbers are reserved; its period of use has not begun."""
    BEGUN = "begun"
    ENDED = "ended"
    """Its period of use is over; what was in service is suspended, and then released."""
    CANCELLED = "cancelled"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """So many numbers for so long."""

    id: UUID
    account_id: UUID
    count: int
    prefix: str = ""
    """Only numbers that begin so."""
    target: PhoneNumber | None = None
    """Whom all their calls ring from the beginning of the period; None: each is issued by itself."""
    starts_at: datetime
    ends_at: datetime | None = None
    """None: until they are released."""
    status: OrderStatus = OrderStatus.PLACED
    warned_at: datetime | None = None
    """When the holder was told that the period ends soon."""
    ordered_by: str
    ordered_at: datetime


class Periods(msgspec.Struct, frozen=True, kw_only=True):
    """What happens around the end of a period of use."""

    warn_days: int = 7
    """The holder is told so many days before."""
    grace_days: int = 7
    """Numbers are suspended so many days before they are released."""


STANDARD_PERIODS = Periods()


def check_order(count: int, prefix: str, starts_at: datetime, ends_at: datetime | None, now: datetime) -> None:
    """Raises Invalid for what cannot be ordered."""
    if not 1 <= count <= MOST_NUMBERS:
        raise Invalid(f"count: {count} must be 1 to {MOST_NUMBERS}")
    if prefix and not (prefix.isascii() and prefix.isdigit() and len(prefix) < 12):
        raise Invalid(f"prefix: {prefix[:40]!r} must be digits, like 0507")
    if not now - _LATEST_ENTRY <= starts_at <= now + _FARTHEST_START:
        raise Invalid(f"starts: {starts_at:%Y-%m-%d %H:%M %Z} must be today or within a year")
    check_end(starts_at, ends_at, now)


def check_end(starts_at: datetime, ends_at: datetime | None, now: datetime) -> None:
    """Raises Invalid for an end that is none."""
    if ends_at is not None and (ends_at <= max(starts_at, now) or ends_at >= FOR_EVER):
        raise Invalid(f"ends: {ends_at:%Y-%m-%d %H:%M %Z} must lie behind the beginning and in the future")
