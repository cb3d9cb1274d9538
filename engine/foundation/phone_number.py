"""Korean phone numbers: how they are written, what kind they are, and which may be dialled as a forwarding target.

A `PhoneNumber` holds national digits only: `05071234567`, `0212345678`, `15881234`. Widths and prefixes follow the
Korean numbering plan (MSIT notice on telecommunication numbers); validity beyond a width is the carrier's to say.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache
from typing import NewType

from engine.foundation.errors import Invalid, NotAllowed

PhoneNumber = NewType("PhoneNumber", str)


class NumberClass(Enum):
    """What a number is by its prefix."""

    MOBILE = "mobile"
    LANDLINE = "landline"
    VIRTUAL = "virtual"
    INTERNET = "internet"
    REPRESENTATIVE = "representative"
    TOLL_FREE = "toll-free"
    PREMIUM = "premium"
    EMERGENCY = "emergency"
    SHORT_CODE = "short code"
    INTERNATIONAL = "international"
    UNKNOWN = "unknown"


_REMEMBERED = 4096
"""Numbers come several times in every call."""

# Emergency and public-safety lines (Framework Act on Telecommunications; police, fire, coast guard, spy, cyber …).
_EMERGENCY = frozenset({"110", "111", "112", "113", "117", "118", "119", "122", "125", "127", "128"})

# First match wins: the order is from the special to the general.
_SHAPES: tuple[tuple[NumberClass, re.Pattern[str]], ...] = (
    (NumberClass.INTERNATIONAL, re.compile(r"00\d+")),
    (NumberClass.VIRTUAL, re.compile(r"050\d{8,9}")),
    (NumberClass.PREMIUM, re.compile(r"060\d{5,9}|0[67]00\d*|030\d{8,9}")),
    (NumberClass.INTERNET, re.compile(r"070\d{8}")),
    (NumberClass.TOLL_FREE, re.compile(r"080\d{7,8}")),
    (NumberClass.MOBILE, re.compile(r"010\d{8}|01[16789]\d{7,8}")),
    (NumberClass.LANDLINE, re.compile(r"02\d{7,8}|0(?:3[1-3]|4[1-4]|5[1-5]|6[1-4])\d{7,8}")),
    (NumberClass.REPRESENTATIVE, re.compile(r"1[568]\d{6}")),
    (NumberClass.SHORT_CODE, re.compile(r"1\d{2,4}|\d{1,5}")),
)

_REFUSED_AS_TARGET = {
    NumberClass.INTERNATIONAL: "it is an international number",
    NumberClass.PREMIUM: "it is a premium-rate number (060)",
    NumberClass.EMERGENCY: "it is an emergency number",
    NumberClass.SHORT_CODE: "it is a short code",
    NumberClass.VIRTUAL: "it is itself a 050 number, which could make a loop",
    NumberClass.UNKNOWN: "it is not a Korean phone number",
}


def national(sent: str) -> PhoneNumber | None:
    """What a trunk sent, as national digits; None when it is no dialable number.

    Takes `050…`, `+8250…`, `8250…` and the same for other prefixes. A 15xx/16xx/18xx number takes no leading 0.
    `+` with another country code becomes `00…`, so that it is classed as international.
    """
    digits = sent.removeprefix("+")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 20:
        return None
    if digits.startswith("82") and (sent.startswith("+") or len(digits) >= 10):
        rest = digits[2:].removeprefix("0")
        return PhoneNumber(rest if re.fullmatch(r"1[568]\d{6}", rest) else "0" + rest)
    if sent.startswith("+"):
        return PhoneNumber("00" + digits)
    return PhoneNumber(digits)


def parse(text: str, field: str = "number") -> PhoneNumber:
    """A number as people write it (hyphens, spaces, brackets, +82). Raises Invalid naming `field`."""
    number = national(re.sub(r"[\s().-]", "", text))
    if not number or classify(number) is NumberClass.UNKNOWN:
        raise Invalid(f"{field}: {text!r} is not a Korean phone number; write it like 0507-1234-5678 or 02-123-4567")
    return number


@lru_cache(_REMEMBERED)
def classify(number: PhoneNumber) -> NumberClass:
    """The kind of a number by its prefix and length; UNKNOWN fits none."""
    if number in _EMERGENCY:
        return NumberClass.EMERGENCY
    for kind, shape in _SHAPES:
        if shape.fullmatch(number):
            return kind
    return NumberClass.UNKNOWN


def check_target(number: PhoneNumber) -> None:
    """Raises NotAllowed when calls may not be forwarded to `number`: asked when it is set and again when dialled."""
    if reason := _REFUSED_AS_TARGET.get(classify(number)):
        raise NotAllowed(
            f"target: calls may not be forwarded to {written(number)}, {reason}; "
            "name a landline, mobile, 070, 080 or 15xx number"
        )


@lru_cache(_REMEMBERED)
def written(number: PhoneNumber) -> str:
    """As it is written in Korea: 0507-1234-5678, 0508-123-4567, 010-1234-5678, 02-123-4567, 1588-1234."""
    if classify(number) in (NumberClass.REPRESENTATIVE,):
        return f"{number[:4]}-{number[4:]}"
    if len(number) < 9 or not number.startswith("0") or number.startswith("00"):
        return number
    area = 2 if number.startswith("02") else 4 if number.startswith("050") and len(number) >= 11 else 3
    return f"{number[:area]}-{number[area:-4]}-{number[-4:]}"


def masked(number: PhoneNumber) -> str:
    """As `written`, with the exchange hidden: 010-****-5678. Short numbers stay as they are."""
    parts = written(number).split("-")
    if len(parts) == 3:
        return f"{parts[0]}-{'*' * len(parts[1])}-{parts[2]}"
    return written(number) if len(number) <= 8 else number[:3] + "*" * (len(number) - 7) + number[-4:]


def e164(number: PhoneNumber) -> str | None:
    """With `+` and the country code; None for what can be dialled in Korea only."""
    kind = classify(number)
    if kind is NumberClass.INTERNATIONAL:
        return f"+{number[2:]}"
    if kind in (NumberClass.EMERGENCY, NumberClass.SHORT_CODE, NumberClass.UNKNOWN):
        return None
    return f"+82{number.removeprefix('0')}"
