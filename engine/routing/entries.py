"""What people list of the groups of callers and of the holidays. Values."""

from __future__ import annotations

from datetime import date, datetime
from typing import NamedTuple

from engine.foundation.phone_number import PhoneNumber


class Member(NamedTuple):
    """A caller in a group."""

    group: str
    number: PhoneNumber
    note: str
    added_at: datetime


class Holiday(NamedTuple):
    """A public holiday; `source` says whether it is the calendar's (`public`) or was entered by hand (`temporary`)."""

    day: date
    name: str
    source: str
