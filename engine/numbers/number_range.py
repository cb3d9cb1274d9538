"""What a range of 050 numbers is. Values and rules, pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

import msgspec

from engine.foundation.errors import Invalid
from engine.numbers.quarantine_terms import QuarantineTerms

EXCHANGES = ("0502", "0503", "0504", "0505", "0506", "0507", "0508")
"""Beginnings of 050 numbers that carriers hold (MSIT notice on telecommunication numbers)."""
LENGTHS = (11, 12)
"""Digits of a 050 number."""
_LONGEST_NAME = 60
_LONGEST_PREFIX = 9


class NumberRange(msgspec.Struct, frozen=True, kw_only=True):
    """All numbers of one length that begin alike."""

    id: UUID
    name: str
    prefix: str
    """Digits: the exchange, and as many more as all its numbers share."""
    digits: int
    """Of a whole number: 11 or 12."""
    terms: QuarantineTerms = QuarantineTerms()
    added_by: str
    added_at: datetime

    def holds(self, number: str) -> bool:
        """Whether the number is of this range."""
        return len(number) == self.digits and number.startswith(self.prefix)


def range_of(number: str, ranges: Iterable[NumberRange]) -> NumberRange | None:
    """The range that the number is of; None: of none of these."""
    return next((one for one in ranges if one.holds(number)), None)


def checked_prefix(prefix: str, digits: int) -> str:
    """The digits that all numbers of a range begin with. Raises Invalid."""
    if digits not in LENGTHS:
        raise Invalid(f"digits: {digits} must be 11 or 12, as 050 numbers have")
    plain = re.sub(r"[\s-]", "", prefix)
    if not re.fullmatch(r"[0-9]+", plain) or not plain.startswith(EXCHANGES) or len(plain) > _LONGEST_PREFIX:
        raise Invalid(
            f"prefix: {prefix[:40]!r} must be 4 to {_LONGEST_PREFIX} digits "
            f"that begin with {EXCHANGES[0]} to {EXCHANGES[-1]}"
        )
    return plain


def checked_name(name: str) -> str:
    """Raises Invalid."""
    name = name.strip()
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise Invalid(f"range: {name[:40]!r} must be 1 to {_LONGEST_NAME} printable characters")
    return name
