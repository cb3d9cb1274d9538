"""How long a released number is kept back, and how much longer while it is still called (X8). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from engine.foundation.errors import Invalid

KOREA = ZoneInfo("Asia/Seoul")
"""Stray calls are counted by the days of the country whose numbers these are."""

MOST_DAYS = 3650
_MOST_QUIET_DAYS = 366


class QuarantineTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for the numbers of a range. The number is kept back for `days`, and longer while it is called."""

    days: int = 92
    """The longest three months."""
    longest_days: int = 365
    """However often it is called, it is kept back no longer."""
    quiet_days: int = 14
    """So many days at the end are looked at, and so many more it is held while they are not quiet."""
    quiet_calls: int = 3
    """Up to so many stray calls in those days are quiet: people misdial."""


STANDARD_TERMS = QuarantineTerms()
"""Where nobody says otherwise."""


def terms_with(days: int) -> QuarantineTerms:
    """The standard terms with another number of days."""
    return QuarantineTerms(days=days, longest_days=max(days, STANDARD_TERMS.longest_days))


def check_terms(terms: QuarantineTerms) -> None:
    """Raises Invalid for terms that cannot be."""
    for field, least, most in (
        ("days", 0, MOST_DAYS),
        ("longest_days", terms.days, MOST_DAYS),
        ("quiet_days", 1, _MOST_QUIET_DAYS),
        ("quiet_calls", 0, 1_000_000),
    ):
        value = getattr(terms, field)
        if not least <= value <= most:
            raise Invalid(f"quarantine {field.replace('_', ' ')}: {value} must be {least} to {most}")


def quarantine_end(released_at: datetime, terms: QuarantineTerms) -> datetime:
    """Until when a number is kept back if nobody calls it."""
    return released_at + timedelta(days=terms.days)


def korean_day(instant: datetime) -> date:
    """The day that it is in Korea."""
    return instant.astimezone(KOREA).date()


def held_until(
    released_at: datetime, until: datetime, strays: Mapping[date, int], terms: QuarantineTerms, now: datetime
) -> datetime | None:
    """Until when a number whose quarantine ends at `until` is to be held, seen from `now`; None: it is free.

    `strays` are the calls to it by Korean day. They have faded when at most `quiet_calls` came in the last `quiet_days`
    days, today among them.
    """
    if now < until:
        return until
    longest = released_at + timedelta(days=terms.longest_days)
    today = korean_day(now)
    first = today - timedelta(days=terms.quiet_days - 1)
    recent = sum(calls for day, calls in strays.items() if first <= day <= today)
    if recent <= terms.quiet_calls or now >= longest:
        return None
    return min(now + timedelta(days=terms.quiet_days), longest)
