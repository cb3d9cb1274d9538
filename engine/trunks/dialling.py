"""How numbers are written on a trunk. Pure."""

from __future__ import annotations

from engine.foundation.phone_number import PhoneNumber
from engine.trunks.model import NumberFormat, Trunk

_KOREA = "82"

CALLS_GROUP = "dari_trunk"
"""The dialplan's group category in which Asterisk counts the calls of each trunk."""
DIALLED_GROUP = "dari_dialled"
"""The one of callers whom the dialplan itself dials for, by the trunk over which it does."""


def on_trunk(trunk: Trunk, number: PhoneNumber) -> str:
    """A called number as the trunk wants it written, without the prefix that is dialled before it."""
    return _written(trunk.number_format, number)


def caller_on_trunk(trunk: Trunk, number: PhoneNumber) -> str:
    """A caller's number as the trunk wants it written."""
    return _written(trunk.caller_format or trunk.number_format, number)


def endpoint(trunk: Trunk, number: PhoneNumber) -> str:
    """What Asterisk dials."""
    return f"PJSIP/{trunk.prefix}{on_trunk(trunk, number)}@{trunk.name}"


def counted_on(trunk: Trunk) -> dict[str, str]:
    """The channel variables with which a leg that we place is counted among the trunk's calls by Asterisk."""
    return {f"GROUP({CALLS_GROUP})": trunk.name}


def counted_for_caller(trunk: Trunk) -> dict[str, str]:
    """The same for a leg that Dial makes, set on its caller's channel: that one counts for its own trunk already."""
    return {f"GROUP({DIALLED_GROUP})": trunk.name}


def diverted_on(trunk: Trunk, number: PhoneNumber) -> dict[str, str]:
    """The channel variables with which `number` is named to the trunk as the one that sends the call on (Diversion).

    Without the count Asterisk sends no Diversion (22.10.1).
    """
    return {
        "REDIRECTING(from-num,i)": caller_on_trunk(trunk, number),
        "REDIRECTING(count,i)": "1",
        "REDIRECTING(reason,i)": "unconditional",
    }


def _written(number_format: NumberFormat, number: PhoneNumber) -> str:
    """A number without trunk prefix (15xx) keeps its digits after the 82; one from abroad (00…) has a country's own."""
    if number_format is NumberFormat.NATIONAL:
        return number
    international = number[2:] if number.startswith("00") else _KOREA + number.removeprefix("0")
    return f"+{international}" if number_format is NumberFormat.E164 else international
